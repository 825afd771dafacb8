//! Debian's packages of Rust, unpacked into the cache: no root, nothing installed.
//!
//! `rustc-web` is the Rust that Debian keeps recent for its browsers (1.96 in Debian 12 when this was written), next to
//! the source of its standard library. That source is compiled once, by that rustc (the machine's own cannot: the
//! intrinsics differ from version to version), and laid out as the standard library of its sysroot. From then on it is
//! a plain `cargo build --target wasm32-wasip2` with `RUSTC` set.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::{self, Cache};
use crate::command::{self, failed, output};
use crate::error::At;
use crate::ladder::{Rung, Toolchain};
use crate::progress::{Progress, Stage, Watch};
use crate::{Result, ToolchainError};

mod packages;
mod standard_library;

const FOLDER: &str = "toolchain";
const QUICK: Duration = Duration::from_secs(20);
const UNPACK_LIMIT: Duration = Duration::from_secs(300);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(900);

/// An unpacked toolchain.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    root: PathBuf,
}

impl Installed {
    /// What cargo needs to compile with it.
    pub(crate) fn toolchain(&self) -> Toolchain {
        Toolchain { rung: Rung::Debian, env: environment(&self.root), key: self.name() }
    }

    /// Its folder's name: the version of rustc, and a digest of the packages' versions.
    pub(crate) fn name(&self) -> String {
        self.root.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The newest toolchain that is in the cache already.
pub(crate) fn cached(cache: &Cache) -> Option<Installed> {
    let folders = fs::read_dir(cache.path().join(FOLDER)).ok()?;
    let complete = folders.filter_map(|entry| {
        let entry = entry.ok()?;
        // What is being made has a name that starts with a dot.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let made = entry.metadata().ok()?.modified().ok()?;
        (!hidden && rustc(&entry.path()).exists()).then(|| (made, entry.path()))
    });
    complete.max().map(|(_, root)| Installed { root })
}

/// Fetches and unpacks the packages, and builds the standard library: once for their versions.
pub(crate) fn install(cache: &Cache, watch: Watch<'_>) -> Result<Installed> {
    let packages = packages::find(watch)?;
    let versions: Vec<String> = packages.iter().map(packages::Package::pinned).collect();
    let upstream = packages[0].version.split(['+', '-']).next().unwrap_or_default();
    let name = format!("{upstream}-{}", cache::key(&versions));

    let root = cache.once(FOLDER, &name, |root| {
        watch(Progress::new(Stage::Download, format!("rustc {upstream} from Debian's packages (140 MB)")));
        let debs = root.join("debs");
        fs::create_dir(&debs).at(&debs)?;
        let mut download = Command::new("apt-get");
        // As root apt would drop to a user who may not write into this folder, and warn.
        download.args(["download", "-q", "-o", "APT::Sandbox::User=root"]).args(&versions).current_dir(&debs);
        output(&mut download, DOWNLOAD_LIMIT)?;

        for deb in fs::read_dir(&debs).at(&debs)? {
            unpack(&deb.at(&debs)?.path(), root, watch)?;
        }
        fs::remove_dir_all(&debs).at(&debs)?;
        linker(root, watch)?;
        standard_library::build(root, watch)
    })?;
    Ok(Installed { root })
}

/// Unpacks a package; of the source only the standard library's, which is a hundredth of it.
fn unpack(deb: &Path, root: &Path, watch: Watch<'_>) -> Result<()> {
    let name = deb.file_name().unwrap_or_default().to_string_lossy();
    watch(Progress::new(Stage::Unpack, name.split('_').next().unwrap_or_default()));
    if !name.starts_with("rust-web-src_") {
        return output(Command::new("dpkg-deb").arg("-x").args([deb, root]), UNPACK_LIMIT).map(drop);
    }
    let mut both = Command::new("sh");
    both.args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar -x -C \"$1\" --wildcards './usr/src/rustc-*/library/*'"]);
    output(both.args([deb, root]), UNPACK_LIMIT).map(drop)
}

/// Puts `wasm-component-ld` and `wasm-ld` where this rustc looks for its linkers.
fn linker(root: &Path, watch: Watch<'_>) -> Result<()> {
    let host = host(root)?;
    let tools = root.join("usr/lib/rustlib").join(&host).join("bin");
    fs::create_dir_all(&tools).at(&tools)?;

    let wasm_ld = in_folder(&root.join("usr/lib"), "llvm-", "")?.join("bin/wasm-ld");
    let link = tools.join("wasm-ld");
    #[cfg(unix)]
    std::os::unix::fs::symlink(relative(&wasm_ld, root), &link).at(&link)?;

    // The machine's Rust brings it, unless it is Debian's own; then it is built from crates.io.
    let wanted = tools.join("wasm-component-ld");
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]), QUICK)?;
    let shipped = Path::new(sysroot.trim()).join("lib/rustlib").join(&host).join("bin/wasm-component-ld");
    if shipped.exists() {
        fs::copy(&shipped, &wanted).at(&shipped)?;
        return Ok(());
    }
    watch(Progress::new(Stage::Download, "wasm-component-ld from crates.io"));
    let made = root.join("wasm-component-ld");
    let mut install = command::cargo();
    install.args(["install", "--locked", "wasm-component-ld", "--root"]).arg(&made);
    output(&mut install, DOWNLOAD_LIMIT)?;
    fs::rename(made.join("bin/wasm-component-ld"), &wanted).at(&wanted)?;
    fs::remove_dir_all(&made).at(&made)
}

/// `path`, which lies in `root`, as seen from the folder of the tools, four below `usr`.
fn relative(path: &Path, root: &Path) -> PathBuf {
    Path::new("../../../..").join(path.strip_prefix(root.join("usr")).unwrap_or(path))
}

fn rustc(root: &Path) -> PathBuf {
    root.join("usr/bin/rustc")
}

/// The machine's own triple, as this rustc names it. Fails, with the loader's words, where a library is missing.
fn host(root: &Path) -> Result<String> {
    let mut rustc = Command::new(rustc(root));
    rustc.arg("-vV").envs(environment(root));
    let text = output(&mut rustc, QUICK)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| failed(&rustc, "does not name its host"))
}

fn environment(root: &Path) -> Vec<(&'static str, OsString)> {
    // Debian keeps libraries in a folder per architecture; there is one here.
    let libraries = in_folder(&root.join("usr/lib"), "", "-linux-gnu").unwrap_or_else(|_| root.join("usr/lib"));
    let mut paths = libraries.into_os_string();
    if let Some(inherited) = std::env::var_os("LD_LIBRARY_PATH").filter(|v| !v.is_empty()) {
        paths.push(":");
        paths.push(inherited);
    }
    vec![("RUSTC", rustc(root).into_os_string()), ("LD_LIBRARY_PATH", paths)]
}

/// The entry of a folder whose name starts and ends so.
fn in_folder(folder: &Path, start: &str, end: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).at(folder)?.filter_map(Result::<_, std::io::Error>::ok);
    let mut paths = entries.map(|e| e.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(start) && name.ends_with(end)
    });
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, format!("nothing named {start}…{end}"));
    paths.next().ok_or_else(missing).at(folder)
}

/// What the packages would give, without fetching them: for the doctor.
pub(crate) fn available() -> Result<String> {
    let packages = packages::look()?;
    Ok(packages[0].version.clone())
}
