//! Real clients, unmodified, against the real server; and real answers, against the reference implementation.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Server, files, guests, python};

/// A tenant with the plugin `file-type` and the model `magika`, as the tour makes them.
pub fn with_file_type(server: &Server) -> crate::support::Client {
    with_plugin(server, guests::file_type())
}

/// The same with a component that was made of another language.
fn with_plugin(server: &Server, component: &[u8]) -> crate::support::Client {
    let acme = server.tenant("acme");
    let magika = files::magika();
    acme.put("/api/v1/models/magika", &std::fs::read(&magika.model).unwrap()).expect(201);
    acme.put("/api/v1/plugins/file-type", component).expect(201);
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let settings =
        json!({ "model": "magika", "config": text(&magika.config), "content_types": text(&magika.content_types) });
    acme.put_json("/api/v1/plugins/file-type/config", &settings).expect(200);
    acme
}

/// Files that the rules around the model decide about: nothing, little, white space, a character that is cut in two.
fn edges(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let contents: [&[u8]; 8] = [
        b"",
        b"ab",
        b"\xff\xfe\xfd",
        &[b" ".repeat(5_000), b"word".to_vec(), b"\n".repeat(5_000)].concat(),
        &[b" ".repeat(4_095), "\u{fc}".repeat(3_000).into_bytes()].concat(),
        b"\x0b\x0c import os\nprint(os.environ)\n\x0b ",
        b"{\"constructor\": {\"toString\": [1, 2, 3]}}",
        &(0..9_000u32).map(|i| (i * i % 251) as u8).collect::<Vec<_>>(),
    ];
    let write = |(number, bytes): (usize, &&[u8])| {
        let path = folder.join(number.to_string());
        std::fs::write(&path, bytes).unwrap();
        path
    };
    contents.iter().enumerate().map(write).collect()
}

#[test]
fn tritonclient_calls_the_plugin_and_the_model_and_labels_equal_magikas() {
    labels_equal_magikas(guests::file_type());
}

#[test]
fn the_plugin_in_python_passes_the_same_test() {
    labels_equal_magikas(guests::file_type_python());
}

#[test]
fn the_plugin_in_javascript_passes_the_same_test() {
    labels_equal_magikas(guests::file_type_javascript());
}

fn labels_equal_magikas(component: &[u8]) {
    let server = Server::start();
    let acme = with_plugin(&server, component);
    let folder = tempfile::tempdir().unwrap();
    let samples = files::samples().into_iter().chain(edges(folder.path()));
    let samples: Vec<String> = samples.map(|p| p.to_str().unwrap().to_owned()).collect();
    let samples: Vec<&str> = samples.iter().map(String::as_str).collect();

    let mut arguments = vec![server.address(), acme.token.as_str()];
    arguments.extend(&samples);
    let ours: BTreeMap<String, String> = serde_json::from_str(&python::client("triton.py", &arguments)).unwrap();
    let theirs: BTreeMap<String, (String, f64)> =
        serde_json::from_str(&python::client("magika_labels.py", &samples)).unwrap();
    for path in samples {
        assert_eq!(ours[path], theirs[path].0, "{path}");
    }
}

#[test]
fn another_tenant_and_a_caller_without_a_token_get_nothing() {
    let server = Server::start();
    let acme = with_file_type(&server);
    let other = server.tenant("other");
    let request =
        json!({ "inputs": [{ "name": "content", "datatype": "BYTES", "shape": [1], "data": ["fn main() {}"] }] });
    let path = "/v2/models/file-type/infer";
    let answer = acme.post(path, &request).expect(200).json();
    let label = answer["outputs"].as_array().unwrap().iter().find(|o| o["name"] == "label").unwrap()["data"][0].clone();
    assert_eq!(label, Value::from("txt"), "{answer}");
    other.post(path, &request).expect(404);
    server.anonymous().post(path, &request).expect(401);
    // A guest reaches the models of its own tenant only.
    other.put("/api/v1/plugins/file-type", guests::file_type()).expect(201);
    let config = acme.get("/api/v1/plugins/file-type/config").expect(200).json();
    other.put_json("/api/v1/plugins/file-type/config", &config).expect(200);
    assert!(other.post(path, &request).status >= 400, "the other tenant's plugin found a model that is not its own");
}

#[test]
fn a_model_says_where_it_runs() {
    let server = Server::start();
    let acme = with_file_type(&server);
    let shown = acme.get("/api/v1/models/magika").expect(200).json();
    assert_eq!(shown["placement"]["backend"], "tract", "{shown}");
    assert!(shown["placement"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{shown}");
    assert_eq!(shown["latest"]["signature"]["inputs"][0]["datatype"], "INT32");
}
