//! Which packages, in which versions: asked of `apt-cache`, since their names carry versions.

use std::process::Command;
use std::time::Duration;

use super::{QUICK, ToolchainError};
use crate::Result;
use crate::command::output;
use crate::progress::{Progress, Stage, Watch};

const UPDATE_LIMIT: Duration = Duration::from_secs(120);

/// A package in the version that apt would install.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    depends: String,
}

impl Package {
    /// As `apt-get download` wants it.
    pub(super) fn pinned(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// The dependency whose name starts so.
    fn dependency(&self, start: &str) -> Result<String> {
        let names = self.depends.split([',', '|']).filter_map(|part| part.split_whitespace().next());
        names.map(str::to_owned).find(|name| name.starts_with(start)).ok_or_else(|| ToolchainError::Program {
            program: "apt-cache".into(),
            why: format!("knows of no {start}… that {} depends on", self.name),
        })
    }
}

/// All packages, rustc first; updates apt's lists if they are empty.
pub(super) fn find(watch: Watch<'_>) -> Result<Vec<Package>> {
    look().or_else(|unknown| {
        watch(Progress::new(Stage::Download, "apt's lists of packages"));
        // Only root may; for others the first error says what to do.
        output(Command::new("apt-get").args(["update", "-q"]), UPDATE_LIMIT).map_err(|_| unknown)?;
        look()
    })
}

/// All packages, rustc first, as far as apt's lists know them.
pub(super) fn look() -> Result<Vec<Package>> {
    let rustc = show("rustc-web")?;
    let libraries_dev = show(&rustc.dependency("libstd-rust-web-")?)?;
    let libraries = show(&libraries_dev.dependency("libstd-rust-web-")?)?;
    let llvm = show(&libraries.dependency("libllvm")?)?;
    // The linker of the same LLVM, whose library it shares.
    let lld = show(&llvm.name.replace("libllvm", "lld-"))?;
    let source = show("rust-web-src")?;
    let libc = show("wasi-libc")?;
    Ok(vec![rustc, libraries_dev, libraries, llvm, lld, source, libc])
}

fn show(name: &str) -> Result<Package> {
    let mut apt = Command::new("apt-cache");
    let text = output(apt.args(["show", "--no-all-versions", name]), QUICK).map_err(|e| match e {
        ToolchainError::Program { why, .. } if why.contains("not installed") => ToolchainError::Program {
            program: "apt-cache".into(),
            why: "is not here, so Debian's packages are out of reach".into(),
        },
        _ => ToolchainError::Program {
            program: "apt-cache".into(),
            why: format!("does not know the package {name}; run `apt-get update` as root"),
        },
    })?;
    parse(name, &text)
}

fn parse(name: &str, text: &str) -> Result<Package> {
    let field = |wanted: &str| text.lines().find_map(|line| line.strip_prefix(wanted)).map(|v| v.trim().to_owned());
    match field("Version:") {
        Some(version) => Ok(Package { name: name.to_owned(), version, depends: field("Depends:").unwrap_or_default() }),
        None => {
            Err(ToolchainError::Program { program: "apt-cache".into(), why: format!("gives no version of {name}") })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_found_among_versions_and_alternatives() {
        let text = "Package: x\nVersion: 1.96.0+dfsg1-1\nDepends: libc6 (>= 2.34), a | libllvm22 (= 1), z\n";
        let package = parse("x", text).unwrap();
        assert_eq!(package.pinned(), "x=1.96.0+dfsg1-1");
        assert_eq!(package.dependency("libllvm").unwrap(), "libllvm22");
        assert!(package.dependency("nothing").is_err());
        assert!(parse("x", "").is_err());
    }
}
