//! Changes of a project's files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aimass_toolchain::is_source;
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::{Failure, Outcome};

/// An editor writes a file in several steps, and "save all" several files.
const QUIET: Duration = Duration::from_millis(150);
/// What never becomes quiet is not waited for.
const AT_MOST: Duration = Duration::from_secs(2);

/// Tells when somebody changed a file.
pub(super) struct Watcher {
    root: PathBuf,
    watcher: RecommendedWatcher,
    changed: mpsc::Receiver<PathBuf>,
}

impl Watcher {
    /// Watches the files of the project from now on.
    pub(super) fn of(project: &Path) -> Outcome<Self> {
        let root = project.canonicalize()?;
        // One change is enough to begin anew; more of them need not be kept.
        let (sender, changed) = mpsc::channel(1);
        let base = root.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let path = match event {
                Ok(event) if event.need_rescan() => Some(base.clone()),
                Ok(event) if is_change(event.kind) => event.paths.into_iter().find(|path| matters(&base, path)),
                _ => None,
            };
            if let Some(path) = path {
                let _ = sender.try_send(path);
            }
        });
        let mut watcher = Self { root, watcher: watcher.map_err(failed)?, changed };
        watcher.watch()?;
        Ok(watcher)
    }

    /// Waits for a change, and until there are no more just behind it; answers the file, as seen from the project.
    pub(super) async fn changed(&mut self) -> Outcome<PathBuf> {
        let gone = || Failure::new("the project's folder can no longer be watched");
        let path = self.changed.recv().await.ok_or_else(gone)?;
        let end = Instant::now() + AT_MOST;
        while let Ok(Ok(Some(_))) = timeout_at(end, timeout(QUIET, self.changed.recv())).await {}
        self.watch()?;
        Ok(path.strip_prefix(&self.root).map(Path::to_owned).unwrap_or(path))
    }

    /// Watches every folder that holds sources, those that are new as well. Folder by folder: those of dependencies
    /// and of what was built hold thousands, and the system watches a limited number.
    fn watch(&mut self) -> Outcome {
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            self.watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path())
                    .filter(|path| matters(&self.root, path)),
            );
        }
        Ok(())
    }
}

fn failed(error: notify::Error) -> Failure {
    Failure::new(format!("the project's folder cannot be watched: {error}"))
}

/// A lock file is written by the build itself.
fn matters(root: &Path, path: &Path) -> bool {
    !path.ends_with("Cargo.lock") && path.strip_prefix(root).is_ok_and(is_source)
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Remove(_) => true,
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(watcher: &mut Watcher) -> Option<PathBuf> {
        timeout(Duration::from_secs(5), watcher.changed()).await.ok().map(|path| path.unwrap())
    }

    #[tokio::test]
    async fn sources_are_watched_and_what_tools_make_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| std::fs::write(dir.path().join(path), "text").unwrap();
        std::fs::create_dir_all(dir.path().join("src")).unwrap();
        std::fs::create_dir_all(dir.path().join("target/aimass")).unwrap();
        let mut watcher = Watcher::of(dir.path()).unwrap();

        write("target/aimass/x.wasm");
        write("Cargo.lock");
        write(".hidden");
        write("src/lib.rs");
        assert_eq!(next(&mut watcher).await.unwrap(), Path::new("src/lib.rs"));

        // A folder that is new is watched from then on.
        std::fs::create_dir(dir.path().join("src/part")).unwrap();
        assert_eq!(next(&mut watcher).await.unwrap(), Path::new("src/part"));
        write("src/part/more.rs");
        assert_eq!(next(&mut watcher).await.unwrap(), Path::new("src/part/more.rs"));
        std::fs::remove_file(dir.path().join("src/lib.rs")).unwrap();
        assert_eq!(next(&mut watcher).await.unwrap(), Path::new("src/lib.rs"));
    }
}
