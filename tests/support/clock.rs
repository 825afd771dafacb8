//! A clock on the wall that a test sets while a node runs.

use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::root;

/// A node's clock. The node is a process of its own, so only its clock is another one.
pub struct Clock {
    folder: TempDir,
    shift: i64,
}

impl Clock {
    /// A clock that goes right.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("shift.so");
        let source = root().join("tests/clock/shift.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success(), "what builds this can compile C as well");
        let mut clock = Self { folder, shift: 0 };
        clock.move_by(0);
        clock
    }

    /// What a node needs in its environment to go by this clock.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.folder.path().join("shift.so")), ("CLOCK_SHIFT", self.file())]
    }

    /// Sets it forward, or back.
    pub fn move_by(&mut self, seconds: i64) {
        self.shift += seconds;
        // In place: the node has the file mapped.
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.file()).unwrap();
        file.rewind().unwrap();
        file.write_all(&self.shift.to_le_bytes()).unwrap();
    }

    /// Sets it so that it is this time now, seconds since the epoch.
    pub fn set(&mut self, time: u64) {
        self.move_by(time as i64 - self.now() as i64);
    }

    /// What it says, seconds since the epoch.
    pub fn now(&self) -> u64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        real.checked_add_signed(self.shift).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shift")
    }
}

/// Borrowed, as a server takes variables.
pub fn borrowed<'a>(variables: &'a [(&'static str, PathBuf)]) -> Vec<(&'static str, &'a Path)> {
    variables.iter().map(|(name, path)| (*name, path.as_path())).collect()
}
