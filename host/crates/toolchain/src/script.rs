//! Guests in interpreted languages: a component is the interpreter, its standard library, and the project's files as
//! they are after they were imported once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::At;
use crate::progress::{Progress, Stage, Watch};
use crate::{Cache, Language, Result, component, wit};

pub(crate) mod javascript;
mod manifest;
pub(crate) mod python;

use manifest::Project;

/// Components that are kept, whichever projects they are of: 12 to 20 MB each.
const KEPT: usize = 16;
const FOLDER: &str = "components";
const FILE: &str = "component.wasm";

/// Builds the project in a folder; answers the component's path and what it was built with. Of the same files the same
/// tools make the same: a component that was built a while ago is taken from the cache.
pub(crate) fn build(
    folder: &Path,
    language: Language,
    cache: &Cache,
    watch: Watch<'_>,
) -> Result<(PathBuf, &'static str)> {
    let project = Project::read(folder, language)?;
    let target = project.folder.join("target/aimass");
    let tool = match language {
        Language::JavaScript => javascript::TOOL,
        _ => python::TOOL,
    };
    watch(Progress::new(Stage::Find, tool));
    if language == Language::JavaScript {
        javascript::prepare(&project, watch)?;
    }
    let interfaces = target.join("wit");
    wit::write(&interfaces)?;

    let kept = cache.folder(FOLDER)?;
    let made = cache.once(FOLDER, &project.key(tool)?, |aside| {
        prune(&kept);
        let component = aside.join(FILE);
        match language {
            Language::JavaScript => javascript::compile(&project, &interfaces, &component, cache, watch),
            _ => python::compile(&project, &interfaces, &component, cache, watch),
        }
    })?;
    // The last one used is the last to go.
    let _ = fs::File::open(&made).and_then(|folder| folder.set_modified(SystemTime::now()));
    let bytes = component::read(&made.join(FILE))?;
    let component = target.join(format!("{}.wasm", project.name));
    crate::cache::write_whole(&component, &bytes)?;
    Ok((component, tool))
}

/// Makes room for one more. What cannot be removed now is removed another time.
fn prune(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut made: Vec<(SystemTime, PathBuf)> = entries
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    made.sort_unstable_by(|a, b| b.cmp(a));
    for (_, path) in made.into_iter().skip(KEPT - 1) {
        let _ = fs::remove_dir_all(path);
    }
}

/// Every file that somebody wrote, by its path inside the project, in order.
fn sources(project: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inside) = folders.pop() {
        let folder = project.join(&inside);
        for entry in fs::read_dir(&folder).at(&folder)? {
            let entry = entry.at(&folder)?;
            let path = inside.join(entry.file_name());
            if !crate::is_source(&path) {
                continue;
            }
            match entry.file_type().at(&folder)?.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_all_that_goes_in_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("app.py", "a = 1");
        let key = || Project::read(dir.path(), Language::Python).unwrap().key("tool 1").unwrap();
        let first = key();
        write("target/aimass/x.wasm", "made");
        write("__pycache__/app.pyc", "made");
        assert_eq!(key(), first);
        write(".venv/lib/python3.11/site-packages/words-1.0.dist-info/RECORD", "");
        let with_package = key();
        assert_ne!(with_package, first);
        write("part/words.py", "");
        let second = key();
        assert_ne!(second, with_package);
        write("pyproject.toml", "[tool.aimass]\nworld = \"http\"");
        assert_ne!(key(), second);
        assert_ne!(Project::read(dir.path(), Language::Python).unwrap().key("tool 2").unwrap(), key());
    }

    #[test]
    fn the_oldest_components_make_room() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 2 {
            let folder = dir.path().join(format!("{number:02}"));
            fs::create_dir(&folder).unwrap();
            let made = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            fs::File::open(&folder).unwrap().set_modified(made).unwrap();
        }
        fs::create_dir(dir.path().join(".making-x")).unwrap();
        prune(dir.path());
        let mut left: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let newest: Vec<String> = (3..KEPT + 2).map(|number| format!("{number:02}")).collect();
        assert_eq!(left, [vec![".making-x".to_owned()], newest].concat());
    }
}
