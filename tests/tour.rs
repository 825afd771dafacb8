//! The README's tour, line by line, as a newcomer pastes it.

use std::process::Command;

use crate::support::{TOOLCHAIN, binary, root};

/// The lines of the README's shell blocks behind the heading `## A tour`.
fn tour() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, tour) = readme.split_once("\n## A tour").expect("the README has a tour");
    let tour = tour.split("\n## ").next().unwrap();
    let blocks: Vec<&str> = tour.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3, "the tour has its steps");
    blocks.concat()
}

#[test]
fn the_tour_of_the_readme_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let lines = tour();
    // Strict, so that a line that fails fails the tour; the server of the tour ends with the shell.
    let script = format!("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n{lines}");
    let path =
        format!("{}:{}", std::path::Path::new(binary()).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = Command::new("bash")
        .arg("-c")
        .arg(&script)
        .current_dir(folder.path())
        .envs([TOOLCHAIN])
        .env("PATH", path)
        .env("AIMASS_LISTEN", format!("127.0.0.1:{port}"))
        .env("AIMASS_URL", format!("http://127.0.0.1:{port}"))
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}\n{error}");
}
