//! What `/openapi.json` says, and whether the node does just that.

use std::io::Write as _;

use serde_json::Value;

use crate::support::{Server, aimass, binary, guests, onnx, python};

#[test]
fn the_document_is_served_and_printed_without_a_node() {
    let served = Server::start().anonymous().get("/openapi.json").expect(200);
    assert_eq!(served.header("content-type"), "application/json");
    let printed: Value = serde_json::from_str(&aimass(&["openapi"])).unwrap();
    assert_eq!(served.json(), printed);
    assert_eq!(printed["openapi"], "3.1.0");
}

#[test]
fn shells_complete_the_command_line() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = aimass(&["completions", shell]);
        assert!(script.contains("signing-keys"), "{shell}");
    }
    // Bash itself finds the script sound, and completes with it.
    let script = aimass(&["completions", "bash"])
        + "\nCOMP_WORDS=(aimass sign) COMP_CWORD=1\n_aimass aimass sign aimass\nprintf '%s ' \"${COMPREPLY[@]}\"\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(script.as_bytes()).unwrap();
    let output = std::process::Command::new("bash").arg(file.path()).output().unwrap();
    let completed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(completed.trim(), "signers sign signing-keys", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_reader_who_has_seen_enough_ends_a_command_quietly() {
    // More than a pipe holds.
    let script = "set -o pipefail; \"$0\" openapi | head -c 1";
    let output = std::process::Command::new("bash").args(["-c", script, binary()]).output().unwrap();
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said:?}");
    assert_eq!(said, ("{".into(), "".into()));
}

/// Requests of each operation: few in every run, `AIMASS_SCHEMATHESIS` for more.
fn examples() -> String {
    std::env::var("AIMASS_SCHEMATHESIS").unwrap_or_else(|_| "2".to_owned())
}

#[test]
fn the_node_answers_as_the_document_says() {
    let server = Server::start();
    let acme = server.tenant("acme");
    acme.put("/api/v1/plugins/hello", guests::hello()).expect(201);
    acme.put("/api/v1/models/tiny", &onnx::relu(4)).expect(201);
    let operator = server.operator().token;
    for token in [&acme.token, &operator, ""] {
        let arguments = [&server.url, token, &examples(), "tenant=acme", "name=hello", "name=tiny", "model=tiny"];
        let said = python::caller("openapi_calls.py", &arguments);
        eprintln!("{said}");
    }
    // And it still lives.
    server.operator().get("/readyz").expect(200);
}
