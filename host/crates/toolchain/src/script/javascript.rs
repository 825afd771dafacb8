//! JavaScript: `componentize-js`, a program of the Bytecode Alliance for Node.js, with StarlingMonkey in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::manifest::Project;
use crate::command::{output, run};
use crate::error::At;
use crate::fetch::fault;
use crate::progress::{Progress, Stage, Watch};
use crate::{Cache, Result, ToolchainError};

/// What JavaScript is built with. Every package that it needs is pinned by version and hash in the lock file.
pub(crate) const TOOL: &str = "componentize-js 0.23.0";
const WANTED: &str = "@bytecodealliance/componentize-js@0.23.0";
/// The lock file holds no addresses: npm takes the packages from the registry that it is set up for. `jco`, of which
/// only a few functions are used, is held at a version that brings half as much along as the newest.
const PACKAGE: &str = include_str!("../../templates/componentize-js/package.json");
const LOCK: &str = include_str!("../../templates/componentize-js/package-lock.json");
const PROGRAM: &str = "node_modules/@bytecodealliance/componentize-js/src/cli.js";

/// The oldest Node.js that its packages run on.
const OLDEST: u32 = 20;
const ADVICE: &str = "JavaScript is built by Node.js 20 or later and npm: on Debian 13 `apt-get install nodejs npm`, \
    elsewhere from nodejs.org";

/// It takes 15 seconds of a processor.
const LIMIT: Duration = Duration::from_secs(600);
const QUICK: Duration = Duration::from_secs(20);

/// Looks whether Node.js is there, and runs the project's own `build`, if it has one: a bundler, or TypeScript's
/// compiler.
pub(super) fn prepare(project: &Project, watch: Watch<'_>) -> Result<()> {
    let version = version()?;
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(ToolchainError::Missing { what: format!("this is Node.js {version}"), advice: ADVICE });
    }
    if project.has_build {
        watch(Progress::new(Stage::Compile, "npm run build"));
        let mut npm = npm();
        let ended = run(npm.args(["run", "--silent", "build"]).current_dir(&project.folder), LIMIT, &mut |_| {})?;
        if !ended.status.success() {
            return Err(ToolchainError::Compile(format!("{}{}", ended.stdout, ended.stderr).trim().to_owned()));
        }
    }
    Ok(())
}

pub(super) fn compile(
    project: &Project,
    interfaces: &Path,
    component: &Path,
    cache: &Cache,
    watch: Watch<'_>,
) -> Result<()> {
    let tool = install(cache, watch)?;
    watch(Progress::new(Stage::Compile, &project.entry));
    // The tool does not say where a mistake is, and Node.js does; of a module it knows by the manifest.
    if project.is_module || project.entry.ends_with(".mjs") {
        let mut node = Command::new("node");
        let ended = run(node.args(["--check", &project.entry]).current_dir(&project.folder), QUICK, &mut |_| {})?;
        if !ended.status.success() {
            return Err(ToolchainError::Compile(words(&ended.stderr).to_owned()));
        }
    }
    let mut node = Command::new("node");
    node.arg(tool.join(PROGRAM)).arg(&project.entry).arg("--wit").arg(interfaces);
    node.args(["--world-name", project.world.name(), "--out"]).arg(component).current_dir(&project.folder);
    let ended = run(&mut node, LIMIT, &mut |_| {})?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(ToolchainError::Compile(words(&ended.stderr).to_owned())),
    }
}

/// The tool, from the cache or from npm's registry. Nothing that packages would run at their installation is run.
fn install(cache: &Cache, watch: Watch<'_>) -> Result<PathBuf> {
    cache.once("tools", &format!("componentize-js-{}", crate::cache::key([PACKAGE, LOCK])), |aside| {
        watch(Progress::new(Stage::Download, format!("{TOOL} from npm (190 MB)")));
        for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
            let path = aside.join(name);
            fs::write(&path, text).at(&path)?;
        }
        let mut npm = npm();
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(aside);
        output(&mut npm, LIMIT).map(drop).map_err(|e| match e {
            ToolchainError::Program { why, .. } if why.contains("not installed") => {
                ToolchainError::Missing { what: "npm is not here".into(), advice: ADVICE }
            }
            e => fault(WANTED, format!("npm could not install it: {e}")),
        })
    })
}

/// Which Node.js there is: "20.20.2".
pub(crate) fn version() -> Result<String> {
    let text = output(Command::new("node").arg("--version"), QUICK);
    let text = text.map_err(|_| ToolchainError::Missing { what: "Node.js is not here".into(), advice: ADVICE })?;
    Ok(text.trim().trim_start_matches('v').to_owned())
}

fn npm() -> Command {
    Command::new("npm")
}

/// What was wrong with the project, out of what Node.js says around it: where in the tool it was noticed, and by which
/// Node.js.
fn words(stderr: &str) -> &str {
    // "Error: …" at the start of a line is what the tool throws; before it stands the line that throws it.
    let starts = ["\nError: ", "\nComponentError: "].iter().filter_map(|start| Some(stderr.find(start)? + start.len()));
    let text = starts.min().map_or(stderr, |start| &stderr[start..]);
    let text = text.split("\n    at ").next().unwrap_or(text);
    text.split("\nNode.js v").next().unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_project_is_what_is_left() {
        let thrown = "file:///c/src/componentize.js:365\n    throw new Error(err);\n          ^\n\n\
            Error: Failed to initialize component (wizer (/c/wizer)):\nException while evaluating top-level script\n\
            app.js:1:18 ReferenceError: nothing is not defined\n    at componentize (file:///c/src/x.js:1:1)\n\n\
            Node.js v20.20.2\n";
        assert_eq!(
            words(thrown),
            "Failed to initialize component (wizer (/c/wizer)):\nException while evaluating top-level script\n\
             app.js:1:18 ReferenceError: nothing is not defined"
        );
        let checked = "/p/app.js:3\n\n\n\nSyntaxError: Unexpected end of input\n    at wrapSafe (node:internal)\n\n\
            Node.js v20.20.2\n";
        assert_eq!(words(checked), "/p/app.js:3\n\n\n\nSyntaxError: Unexpected end of input");
    }

    #[test]
    fn every_package_is_pinned_and_no_registry_is_named() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).unwrap_or_default();
        let packages = lock["packages"].as_object().map(|all| all.iter().filter(|(path, _)| !path.is_empty()));
        let mut count = 0;
        for (path, package) in packages.into_iter().flatten() {
            assert!(package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")), "{path}");
            assert!(package["resolved"].is_null(), "{path}");
            count += 1;
        }
        assert!(count > 30, "{count}");
        assert!(LOCK.contains("\"version\": \"0.23.0\""));
        assert!(TOOL.ends_with(" 0.23.0") && WANTED.ends_with("@0.23.0") && PACKAGE.contains("\"0.23.0\""));
    }
}
