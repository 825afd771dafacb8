//! Data files: stored, fetched, listed, deleted, and walled off.

use serde_json::Value;

use crate::support::{Server, aimass_with};

#[test]
fn a_file_comes_back_as_it_went() {
    let server = Server::start();
    let (acme, other) = (server.tenant("acme"), server.tenant("other"));
    // More than a sealed piece, and no whole number of them.
    let bytes: Vec<u8> = (0..700_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let stored = acme.put("/api/v1/files/Rows_1.csv", &bytes).expect(201);
    let document = stored.json();
    assert_eq!((document["size"].as_u64(), document["format"].as_str()), (Some(700_001), Some("csv")));
    let tag = stored.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", document["digest"].as_str().unwrap()));
    acme.put("/api/v1/files/Rows_1.csv", &bytes).expect(200);

    let fetched = acme.get("/api/v1/files/Rows_1.csv").expect(200);
    assert!(fetched.body == bytes);
    assert_eq!((fetched.header("etag"), fetched.header("content-type")), (tag.as_str(), "text/csv; charset=utf-8"));
    other.get("/api/v1/files/Rows_1.csv").problem(404, "not_found");
    other.delete("/api/v1/files/Rows_1.csv").problem(404, "not_found");
    assert_eq!(other.get("/api/v1/files").expect(200).json()["items"], Value::Array(vec![]));

    // What it holds is replaced only by who knows what it holds, if they say so.
    let changed = |tag: &str| acme.send("PUT", "/api/v1/files/Rows_1.csv", &[("if-match", tag)], b"new");
    changed(&format!("\"sha256:{}\"", "0".repeat(64))).problem(412, "precondition_failed");
    changed(&tag).expect(201);
    assert_eq!(acme.get("/api/v1/files/Rows_1.csv").expect(200).text(), "new");

    acme.put("/api/v1/files/b.parquet", b"").expect(201);
    let names = |path: &str| -> Vec<String> {
        let page = acme.get(path).expect(200).json();
        page["items"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/api/v1/files"), ["Rows_1.csv", "b.parquet"]);
    assert_eq!(names("/api/v1/files?limit=1"), ["Rows_1.csv"]);
    assert_eq!(names("/api/v1/files?after=Rows_1.csv"), ["b.parquet"]);
    acme.delete("/api/v1/files/b.parquet").expect(204);
    acme.delete("/api/v1/files/b.parquet").problem(404, "not_found");
    assert_eq!(names("/api/v1/files"), ["Rows_1.csv"]);

    // The disk has nothing of it in the clear, and it is there after a power cut.
    let token = acme.token.clone();
    let folder = server.kill().unwrap();
    let server = Server::on(folder.path(), &[]);
    assert_eq!(server.with(&token).get("/api/v1/files/Rows_1.csv").expect(200).text(), "new");
}

#[test]
fn f09_hostile_names_of_files_are_refused() {
    let server = Server::start();
    let acme = server.tenant("acme");
    for name in [".hidden", "a%2fb", "..%2f..%2fetc", "a%00", "a%20b", "%D0%B0.csv", &"a".repeat(101)] {
        acme.put(&format!("/api/v1/files/{name}"), b"x").problem(400, "invalid_name");
    }
    assert_eq!(acme.get("/api/v1/files").expect(200).json()["items"], Value::Array(vec![]));
}

#[test]
fn f45_a_damaged_file_is_not_given_out() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let document = acme.put("/api/v1/files/rows.csv", &vec![b'7'; 300_000]).expect(201).json();
    let digest = document["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let path = server.data.join("store/blobs/acme").join(digest);
    let mut sealed = std::fs::read(&path).unwrap();
    assert!(!sealed.windows(64).any(|part| part == [b'7'; 64]), "it lies in the clear");
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    std::fs::write(&path, sealed).unwrap();
    acme.get("/api/v1/files/rows.csv").problem(500, "integrity");
}

#[test]
fn the_command_line_stores_and_fetches() {
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let connection = ["--url", &server.url, "--token", &acme.token];
        aimass_with(&[&connection[..], arguments].concat(), &[])
    };
    let (from, to) = (folder.path().join("rows.csv"), folder.path().join("again.csv"));
    std::fs::write(&from, "a,b\n1,2\n").unwrap();
    run(&["files", "put", from.to_str().unwrap()]);
    let listed: Value = serde_json::from_str(&run(&["--json", "files", "list"])).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["size"]), (&"rows.csv".into(), &8.into()));
    run(&["files", "get", "rows.csv", "--output", to.to_str().unwrap()]);
    assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(&from).unwrap());
    assert_eq!(run(&["files", "get", "rows.csv", "--output", "-"]), "a,b\n1,2\n");
    run(&["files", "delete", "rows.csv"]);
    assert_eq!(run(&["files", "list"]).trim(), "there are none");
}
