//! The first command of the README.

use std::process::Command;

use crate::support::{TOOLCHAIN, binary, python, root};

#[test]
fn the_demo_shows_everything_and_ends() {
    let output =
        Command::new(binary()).args(["demo", "--once"]).envs([TOOLCHAIN]).current_dir(root()).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    // A row is: file, label, score, time. What it says of each file is what magika itself says.
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.last() == Some(&"ms"))
        .collect();
    assert!(rows.len() >= 5, "{out}");
    let names: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    let folder =
        out.lines().find_map(|line| line.strip_prefix("Files: ")).expect("the demo names its files").to_owned();
    let paths: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
    let theirs = python::client("magika_labels.py", &paths.iter().map(String::as_str).collect::<Vec<_>>());
    let theirs: serde_json::Value = serde_json::from_str(&theirs).unwrap();
    for (row, path) in rows.iter().zip(&paths) {
        assert_eq!(theirs[path][0], row[1], "{path}");
    }
    for text in ["401", "404", "Try next"] {
        assert!(out.contains(text), "the demo does not show {text}:\n{out}");
    }
}
