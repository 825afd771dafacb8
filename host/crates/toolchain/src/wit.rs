//! What guests in Python and JavaScript are built against: the interfaces of `wit/` and those of `wasi:http`, compiled
//! in and written beside a project's component, where people can read them too.

use std::path::Path;

use crate::cache::write_whole;
use crate::{Result, sdk};

/// The worlds, and the interfaces that `wit/` has no use for.
const FILES: [(&str, &str); 4] = [
    ("guest.wit", include_str!("../wit/guest.wit")),
    ("deps/wasi-clocks.wit", include_str!("../wit/deps/wasi-clocks.wit")),
    ("deps/wasi-http.wit", include_str!("../wit/deps/wasi-http.wit")),
    ("deps/wasi-io.wit", include_str!("../wit/deps/wasi-io.wit")),
];

/// Every file by its path: the package `aimass:guest`, which depends on the platform's own.
pub(crate) fn files() -> impl Iterator<Item = (String, &'static str)> {
    let platform = sdk::wit().map(|(path, text)| match path.strip_prefix("deps/") {
        Some(_) => (path.to_owned(), text),
        None => (format!("deps/aimass-plugin/{path}"), text),
    });
    FILES.into_iter().map(|(path, text)| (path.to_owned(), text)).chain(platform)
}

/// Writes them into a folder.
pub(crate) fn write(folder: &Path) -> Result<()> {
    files().try_for_each(|(path, text)| write_whole(&folder.join(path), text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worlds_and_all_that_they_name_are_there() {
        let all: Vec<(String, &str)> = files().collect();
        for world in ["model", "event", "http"] {
            assert!(all[0].1.contains(&format!("world {world} {{")), "{world}");
        }
        for package in ["aimass:plugin", "wasi:http", "wasi:io", "wasi:clocks", "wasi:nn", "wasi:config"] {
            assert!(all.iter().any(|(_, text)| text.contains(&format!("package {package}@"))), "{package}");
        }
    }
}
