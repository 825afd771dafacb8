//! Builds guests for real, on the rung that needs Debian's packages alone. The first run on a machine may take minutes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use aimass_toolchain::{
    BuildOptions, Cache, Language, Progress, Rung, Stage, Template, ToolchainError, build, fetch, new_project,
};

/// As in the component model's binary format.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn built(project: &Path) -> Vec<u8> {
    built_by(debian(), project)
}

/// The tests reach the package registries and nothing else, so rustup is not asked.
fn debian() -> BuildOptions {
    BuildOptions { rung: Some(Rung::Debian), ..BuildOptions::default() }
}

fn built_by(options: BuildOptions, project: &Path) -> Vec<u8> {
    let mut seen = Vec::new();
    let built = build(project, options, &mut |step: Progress| seen.push(step));
    let built = built.unwrap_or_else(|e| panic!("{e}"));
    assert!(!seen.is_empty());
    std::fs::read(built.component).unwrap()
}

#[test]
fn both_templates_build_pass_their_tests_and_build_again_in_seconds() {
    let dir = tempfile::tempdir().unwrap();
    for (name, template) in [("my-model", Template::Model), ("my-function", Template::Http)] {
        let project = dir.path().join(name);
        new_project(&project, name, Language::Rust, template).unwrap();
        assert!(built(&project).starts_with(COMPONENT));

        // The second build makes nothing again that the first one made.
        let mut seen = Vec::new();
        build(&project, debian(), &mut |step: Progress| seen.push(step)).unwrap_or_else(|e| panic!("{e}"));
        let slow = [Stage::Download, Stage::Unpack, Stage::StandardLibrary];
        assert!(seen.iter().all(|step| !slow.contains(&step.stage)), "{seen:?}");

        let mut tests = Command::new("cargo");
        tests.arg("test").current_dir(&project).env("CARGO_TARGET_DIR", dir.path().join("target"));
        let output = tests.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}

#[test]
fn a_guest_builds_where_rustup_has_no_target_and_the_machine_is_a_debian() {
    if !Path::new("/usr/bin/apt-get").exists() {
        println!("skipped: there is no apt-get here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("by-debian");
    new_project(&project, "by-debian", Language::Rust, Template::Model).unwrap();
    let options = debian();
    assert!(built_by(options, &project).starts_with(COMPONENT));
}

#[test]
fn the_example_plugins_build_inside_the_workspace() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins");
    for (name, largest) in [("hello-http", 20_000), ("counter", 200_000), ("file-type", 400_000)] {
        let component = built(&plugins.join(name));
        assert!(component.starts_with(COMPONENT));
        assert!(component.len() < largest, "{name}: {} bytes", component.len());
    }
}

#[test]
fn a_mistake_is_told_in_the_compilers_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("wrong");
    new_project(&project, "wrong", Language::Rust, Template::Http).unwrap();
    std::fs::write(project.join("src/lib.rs"), "fn f() -> u8 { \"text\" }").unwrap();
    match build(&project, debian(), &mut |_| {}) {
        Err(ToolchainError::Compile(text)) => {
            assert!(text.contains("error[E0308]") && text.contains("src/lib.rs:1"), "{text}");
            assert!(!text.contains("Compiling "), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mistake_in_another_language_is_told_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (language, file, code, wanted)) in [
        (Language::Python, "app.py", "def f(:\n", "app.py\", line 1"),
        (Language::JavaScript, "app.js", "export const model = {\n", "app.js:2"),
        (Language::JavaScript, "app.js", "nothing.here();\n", "app.js:1:1 ReferenceError"),
    ]
    .into_iter()
    .enumerate()
    {
        let project = dir.path().join(number.to_string());
        new_project(&project, "wrong", language, Template::Model).unwrap();
        std::fs::write(project.join(file), code).unwrap();
        match build(&project, BuildOptions::default(), &mut |_| {}) {
            Err(ToolchainError::Compile(text)) => {
                assert!(text.contains(wanted) && !text.contains("componentize.js"), "{text}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn packages_of_a_virtual_environment_and_bundles_of_a_build_script_become_part_of_a_component() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let make = |name: &str, language| new_project(&dir.path().join(name), name, language, Template::Model).unwrap();
    make("with-package", Language::Python);
    let path = "with-package/app.py";
    let code = std::fs::read_to_string(dir.path().join(path)).unwrap();
    write(path, &format!("import words\n\nassert words.GREETING == \"hello\"\n{code}"));
    write("with-package/.venv/lib/python3.11/site-packages/words.py", "GREETING = \"hello\"\n");
    write("with-package/.venv/lib/python3.11/site-packages/words-1.0.dist-info/METADATA", "Name: words\n");
    assert!(built(&dir.path().join("with-package")).starts_with(COMPONENT));

    make("with-bundle", Language::JavaScript);
    let package = r#"{"type":"module","main":"dist/app.js","scripts":{"build":"mkdir -p dist && cp app.js dist/"}}"#;
    write("with-bundle/package.json", package);
    assert!(built(&dir.path().join("with-bundle")).starts_with(COMPONENT));

    let failing = package.replace("mkdir -p dist", "echo the bundler says why; exit 3");
    write("with-bundle/package.json", &failing);
    match build(&dir.path().join("with-bundle"), debian(), &mut |_| {}) {
        Err(ToolchainError::Compile(text)) => assert!(text.contains("the bundler says why"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_that_is_told_of_events_is_a_component() {
    let dir = tempfile::tempdir().unwrap();
    let python = "from wit_world import exports\n\n\nclass Events(exports.Events):\n    def handle(self, event):\n        \
        print(event.type, event.id)\n";
    let javascript = "export const events = { handle: (event) => console.log(event.type, event.id) };\n";
    let files = [
        ("python/app.py", python),
        ("python/pyproject.toml", "[tool.aimass]\nworld = \"event\"\n"),
        ("javascript/app.js", javascript),
        ("javascript/package.json", r#"{"type":"module","aimass":{"world":"event"}}"#),
    ];
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    for language in ["python", "javascript"] {
        let component = built(&dir.path().join(language));
        assert!(component.starts_with(COMPONENT));
        // The export's name stands in the component as it is.
        let wanted = b"aimass:plugin/events@0.1.0";
        assert!(component.windows(wanted.len()).any(|part| part == wanted), "{language}");
    }
}

#[test]
fn two_builds_at_once_both_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let projects = ["a", "b"].map(|folder| dir.path().join(folder).join("same-name"));
    std::thread::scope(|scope| {
        for project in &projects {
            new_project(project, "same-name", Language::Rust, Template::Http).unwrap();
            scope.spawn(|| assert!(built(project).starts_with(COMPONENT)));
        }
    });
}

#[test]
fn magikas_files_are_fetched_checked_and_then_found_in_the_cache() {
    let magika = fetch::magika(&Cache::user()).unwrap();
    assert_eq!(fetch::magika(&Cache::user()).unwrap().model, magika.model);
    for json in [magika.config, magika.content_types] {
        assert!(std::fs::read_to_string(json).unwrap().starts_with('{'));
    }
}
