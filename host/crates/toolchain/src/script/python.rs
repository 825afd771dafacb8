//! Python: `componentize-py`, a program of the Bytecode Alliance in a wheel of PyPI, with CPython compiled to
//! WebAssembly in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::manifest::Project;
use crate::command::{output, run};
use crate::error::At;
use crate::fetch::{download, fault, wheel};
use crate::progress::{Progress, Stage, Watch};
use crate::{Cache, Result, ToolchainError};

/// What Python is built with; pinned, since a component is only as good as the interpreter in it.
pub(crate) const TOOL: &str = "componentize-py 0.25.1";
const WANTED: &str = "componentize-py==0.25.1";
const FOLDER: &str = "componentize-py-0.25.1";

/// What it asks of the machine.
const NEEDS: &str = "there are wheels for Python 3.9 or later, on Linux (glibc 2.28 or later), macOS and Windows";

/// It takes 15 seconds of a processor; a project that imports much, more.
const LIMIT: Duration = Duration::from_secs(600);
const QUICK: Duration = Duration::from_secs(20);

/// What the wheel's own script does.
const START: &str = "import sys; from componentize_py import script; sys.exit(script())";

/// The project's virtual environment: packages in it, of pure Python, can be imported.
const ENVIRONMENT: &str = ".venv";
/// An empty one for a project that has none: what happens to be installed on a machine is no part of a project.
const NO_PACKAGES: &str = "nothing";

/// The packages in the project's virtual environment with their versions, as their folders of metadata are called.
pub(super) fn packages(project: &Path) -> Vec<String> {
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let pythons = folders(&project.join(ENVIRONMENT).join("lib"));
    let installed = pythons.flat_map(|python| folders(&python.join("site-packages")).collect::<Vec<_>>());
    let names = installed.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let mut found: Vec<String> = names.filter(|name| name.ends_with(".dist-info")).collect();
    found.sort_unstable();
    found
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
    let module = project.entry.trim_end_matches(".py");
    let mut python = Command::new("python3");
    python.args(["-c", START, "--quiet", "--wit-path"]).arg(interfaces);
    python.args(["--world", project.world.name(), "componentize", module, "--python-path", ".", "--output"]);
    python.arg(component).current_dir(&project.folder);
    let own = project.folder.join(ENVIRONMENT);
    let packages = if own.is_dir() { own } else { tool.join(NO_PACKAGES) };
    python.env("PYTHONPATH", &tool).env("VIRTUAL_ENV", packages);
    // Its errors are Python's; where in the tool they came up is of no use.
    python.envs([("RUST_BACKTRACE", "0"), ("RUST_LIB_BACKTRACE", "0"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    let ended = run(&mut python, LIMIT, &mut |_| {})?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(ToolchainError::Compile(words(&ended.stderr).to_owned())),
    }
}

/// The tool, from the cache or from PyPI.
fn install(cache: &Cache, watch: Watch<'_>) -> Result<PathBuf> {
    version()?;
    cache.once("tools", FOLDER, |aside| {
        watch(Progress::new(Stage::Download, format!("{TOOL} from PyPI (47 MB)")));
        let file = download(WANTED, aside).map_err(|e| fault(WANTED, format!("{e}\n{NEEDS}")))?;
        let place = |member: &str| member.starts_with("componentize_py/").then(|| PathBuf::from(member));
        let files = wheel::unpack(&file, aside, place).map_err(|why| fault(WANTED, why))?;
        if files == 0 {
            return Err(fault(WANTED, "its wheel holds no program".to_owned()));
        }
        fs::remove_file(&file).at(&file)?;
        let none = aside.join(NO_PACKAGES).join("lib/python3/site-packages");
        fs::create_dir_all(&none).at(&none)
    })
}

/// Which Python there is: "3.11.7".
pub(crate) fn version() -> Result<String> {
    let text = output(Command::new("python3").arg("--version"), QUICK);
    let text = text.map_err(|_| ToolchainError::Missing {
        what: "Python is not here".into(),
        advice: "apt-get install python3 python3-pip",
    })?;
    Ok(text.trim().trim_start_matches("Python ").to_owned())
}

/// What Python said, out of what the tool says around it: the script's own traceback before, the cause again behind.
fn words(stderr: &str) -> &str {
    let text = stderr.split_once("AssertionError: ").map_or(stderr, |(_, said)| said);
    text.split("\n\nCaused by:").next().unwrap_or(text).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_own_words_are_what_is_left() {
        let said = "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n\
            AssertionError:   File \"/0/app.py\", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax\n\n\n\
            Caused by:\n    SyntaxError: invalid syntax (app.py, line 1)\n";
        assert_eq!(words(said), "  File \"/0/app.py\", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax");
        assert_eq!(words("something else\n"), "something else");
    }
}
