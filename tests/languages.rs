//! Guests in Python and JavaScript, from nothing to an answer. What they do with a model is in `clients.rs`.

use std::path::Path;
use std::process::Command;

use crate::support::{Server, TOOLCHAIN, aimass, binary};

/// Makes a project and answers its folder.
fn project(folder: &Path, language: &str, template: &str) -> String {
    let project = folder.join(format!("{language}-{template}")).to_str().unwrap().to_owned();
    let made = aimass(&["new", &project, "--lang", language, "--template", template]);
    assert!(made.contains(if language == "python" { "app.py" } else { "app.js" }), "{made}");
    project
}

/// Pushes and calls as a newcomer does: the node compiles in the background, and the command line waits for it.
fn serves(language: &str) {
    let server = Server::start();
    let acme = server.tenant("acme");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["--url", &server.url, "--token", &acme.token]).args(arguments).envs([TOOLCHAIN]);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    let function = project(folder.path(), language, "http");
    let name = format!("{language}-http");
    assert!(run(&["push", &function]).contains(&format!("{name}@1 is new")));
    let wanted = format!("Hello from {name} at /a/b?c=d\n");
    assert_eq!(run(&["invoke", &name, "--path", "/a/b?c=d"]), wanted);
    // Its memory is thrown away after each call, so the next one is answered as the first.
    assert_eq!(run(&["invoke", &name, "--path", "/a/b?c=d"]), wanted);

    // The other template makes a component too; what is built of the same files a second time is not built again.
    let model = project(folder.path(), language, "model");
    let build = || -> serde_json::Value { serde_json::from_str(&run(&["build", "--json", &model])).unwrap() };
    assert_eq!(build()["language"], language);
    assert!(build()["seconds"].as_f64().unwrap() < 5.0);
}

#[test]
fn a_function_in_python_serves() {
    serves("python");
}

#[test]
fn a_function_in_javascript_serves() {
    serves("javascript");
}

#[test]
fn a_machine_without_the_language_is_told_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    for (language, wanted) in [("python", "apt-get install python3"), ("javascript", "apt-get install nodejs npm")] {
        let project = project(folder.path(), language, "model");
        let mut build = Command::new(binary());
        // Neither a program nor what was built by one before.
        build.args(["build", &project]).env("PATH", &nothing).env("XDG_CACHE_HOME", folder.path());
        let output = build.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(wanted), "{error}");
    }
}
