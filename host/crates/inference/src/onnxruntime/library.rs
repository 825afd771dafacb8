//! The shared library: found, checked, loaded once for the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::backend::one_line;
use crate::isolated::catch;

/// Why ONNX Runtime cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub(super) String);

#[derive(Debug)]
pub(super) struct Library {
    pub(super) path: PathBuf,
    pub(super) version: String,
    pub(super) environment: Environment,
}

/// `ort` keeps the library and its environment for the whole process, and so does this.
static LOADED: Mutex<Option<Arc<Library>>> = Mutex::new(None);

const INSTALL: &str = "`aimass engines install onnxruntime` installs one";

impl Library {
    /// # Errors
    /// As [`OnnxRuntime::open`](super::OnnxRuntime::open).
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, Unusable> {
        let path = file(path)?;
        // A lock that was poisoned guards an `Option` all the same.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*loaded {
            return match there.path == path {
                true => Ok(Arc::clone(there)),
                false => Err(Unusable(format!(
                    "this process has loaded {} already, and loads no second one",
                    there.path.display()
                ))),
            };
        }
        // It asserts what a damaged library may break.
        let opened = catch(|| load(&path)).unwrap_or_else(Err);
        let unusable = |why: String| Unusable(format!("{} cannot be used: {why}; {INSTALL}", path.display()));
        let environment = opened.map_err(unusable)?;
        let library = Arc::new(Self { version: version(&path), environment, path });
        *loaded = Some(Arc::clone(&library));
        Ok(library)
    }
}

/// The library itself where a folder is named.
fn file(path: &Path) -> Result<PathBuf, Unusable> {
    let missing = || Unusable(format!("there is no ONNX Runtime at {}; {INSTALL}", path.display()));
    let found = if path.is_dir() {
        let names = fs::read_dir(path).map_err(|_| missing())?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_it = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libonnxruntime.so"));
        names.filter(is_it).max().ok_or_else(missing)?
    } else {
        path.to_owned()
    };
    // A symbolic link and what it points to are one library.
    found.canonicalize().map_err(|_| missing())
}

fn load(path: &Path) -> Result<Environment, String> {
    // This checks that the library is one and speaks the API that `ort` was built for, before anything of it is used.
    let builder = ort::init_from(path).map_err(|e| one_line(&e.to_string()))?;
    // What it says may hold names out of tenants' models, so it is for those who look for it.
    let log = |level: LogLevel, _: &str, _: &str, at: &str, message: &str| {
        tracing::debug!(?level, at, message, "ONNX Runtime");
    };
    let builder = builder.with_name("aimass").with_telemetry(false).with_logger(Arc::new(log));
    let environment = builder.build().map_err(|e| one_line(&e.to_string()))?;
    environment.set_log_level(LogLevel::Error);
    Ok(environment)
}

/// From the file's name, which is the version in Microsoft's packages; else from what the library says of its build.
fn version(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some((_, version)) = name.split_once(".so.") {
        return version.to_owned();
    }
    let info = catch(ort::info).unwrap_or_default();
    let branch = info.split("git-branch=rel-").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    branch.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_said_to_be_none() {
        let folder = std::env::temp_dir().join(format!("aimass-ort-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let missing = file(&folder).unwrap_err().to_string();
        assert!(missing.contains("no ONNX Runtime at") && missing.contains("engines install"), "{missing}");

        let text = folder.join("libonnxruntime.so.1.99.0");
        fs::write(&text, "no library").unwrap();
        assert_eq!(file(&folder).unwrap(), text.canonicalize().unwrap());
        let broken = load(&text).unwrap_err();
        assert!(broken.contains("failed to load"), "{broken}");
        // A library, but another one.
        let other = fs::read_to_string("/proc/self/maps").unwrap();
        let other = other.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|p| p.contains("/libc.so"));
        let stranger = load(Path::new(other.unwrap())).unwrap_err();
        assert!(stranger.contains("OrtGetApiBase"), "{stranger}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_version_is_in_the_name() {
        assert_eq!(version(Path::new("/x/libonnxruntime.so.1.32.0")), "1.32.0");
    }
}
