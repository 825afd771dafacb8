//! ONNX Runtime's shared library, out of Microsoft's wheel on PyPI.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::At;
use crate::fetch::{download, fault, wheel};
use crate::{Cache, Result};

/// The version that the tests run on.
pub const VERSION: &str = "1.32.0";

/// Which build of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// For the CPU alone.
    Cpu,
    /// With CUDA, whose own libraries must be on the machine.
    Gpu,
}

impl Build {
    /// Every build, the preferred one first.
    pub const ALL: [Self; 2] = [Self::Gpu, Self::Cpu];

    /// The package that it comes from.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Cpu => "onnxruntime",
            Self::Gpu => "onnxruntime-gpu",
        }
    }

    fn name(self) -> String {
        format!("{}-{VERSION}", self.package())
    }
}

/// Installs it into the cache folder, or finds it there; answers the library's path. Every file is checked against the
/// wheel's list of hashes when it is unpacked.
///
/// ```no_run
/// use aimass_toolchain::{Cache, onnxruntime};
/// let library = onnxruntime::install(&Cache::user(), onnxruntime::Build::Cpu)?;
/// assert!(library.is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ToolchainError::Fetch`](crate::ToolchainError::Fetch) that says what to do: pip missing, no network, no wheel for
/// this machine.
pub fn install(cache: &Cache, build: Build) -> Result<PathBuf> {
    let wanted = format!("{}=={VERSION}", build.package());
    let folder = cache.once("onnxruntime", &build.name(), |aside| {
        let file = download(&wanted, aside)?;
        let count = wheel::unpack(&file, aside, place).map_err(|why| fault(&wanted, why))?;
        fs::remove_file(&file).at(&file)?;
        match count {
            0 => Err(fault(&wanted, "its wheel for this machine holds no shared library".to_owned())),
            _ => Ok(()),
        }
    })?;
    library(&folder)
        .ok_or_else(|| fault(&wanted, format!("{} holds no library; delete it and try again", folder.display())))
}

/// The installed library: the build with CUDA before the one without.
pub fn installed(cache: &Cache) -> Option<PathBuf> {
    let folder = cache.path().join("onnxruntime");
    Build::ALL.into_iter().find_map(|build| library(&folder.join(build.name())))
}

/// Where a member of the wheel goes: the library, and the providers that it loads from beside itself.
fn place(member: &str) -> Option<PathBuf> {
    let name = member.strip_prefix("onnxruntime/capi/")?;
    (name.starts_with("libonnxruntime") && name.contains(".so")).then(|| PathBuf::from(name))
}

fn library(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libonnxruntime.so"))).max()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_library_and_its_providers_are_taken_and_the_python_module_is_not() {
        assert!(place("onnxruntime/capi/libonnxruntime.so.1.32.0").is_some());
        assert!(place("onnxruntime/capi/libonnxruntime_providers_cuda.so").is_some());
        assert!(place("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so").is_none());
        assert!(place("onnxruntime/tools/libonnxruntime.so").is_none());
    }

    #[test]
    fn the_build_with_cuda_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        assert_eq!(installed(&cache), None);
        for build in [Build::Cpu, Build::Gpu] {
            let folder = dir.path().join("onnxruntime").join(build.name());
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("libonnxruntime_providers_shared.so"), "").unwrap();
            let library = folder.join(format!("libonnxruntime.so.{VERSION}"));
            fs::write(&library, "").unwrap();
            assert_eq!(installed(&cache), Some(library));
        }
    }
}
