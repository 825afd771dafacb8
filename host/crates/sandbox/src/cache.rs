//! Compiled code on disk: written once, signed, mapped.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aimass_core::{Code, Digest, Fault, Result};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of the MAC, which stands behind the code: an object file is read from its head, so it may have a tail.
const MAC: usize = 32;

/// A folder of compiled components, one file each, named by the component's digest. It lies in a folder that is
/// named by everything that the code depends on (wasmtime's version, its settings, the processor), so code of
/// another build is never looked at.
pub(crate) struct CompiledCode {
    dir: PathBuf,
    key: [u8; 32],
    build: [u8; 32],
}

impl CompiledCode {
    /// Makes the folder (mode 0700) and removes those of other builds.
    pub(crate) fn open(engine: &Engine, dir: PathBuf, key: [u8; 32]) -> Result<Self> {
        let mut hasher = BuildHasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let build: [u8; 32] = hasher.0.finalize().into();
        let mine = dir.join(blake3::Hash::from_bytes(build).to_hex().as_str());
        DirBuilder::new().recursive(true).mode(0o700).create(&mine).map_err(fault)?;
        for folder in [&dir, &mine] {
            // Also if it was there already, made by somebody with another umask.
            fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(fault)?;
        }
        sweep(&dir, &mine);
        Ok(Self { dir: mine, key, build })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{}.cwasm", digest.hex()))
    }

    /// Writes aside, syncs, renames: a reader finds a whole file or none, and a file that stands is never written
    /// to again.
    pub(crate) fn put(&self, digest: &Digest, code: &mut impl io::Read) -> Result<()> {
        let mut write = || {
            let mut file = tempfile::Builder::new()
                .prefix(".writing-")
                .permissions(Permissions::from_mode(0o400))
                .tempfile_in(&self.dir)?;
            // What is written is what is signed: nothing is read twice.
            let mut both = Copying { code, to: file.as_file_mut() };
            let mac = self.mac(digest, &mut both)?;
            file.write_all(mac.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(self.path(digest)).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(fault)
    }

    /// The component, mapped from its file. None if there is no file, or one that is damaged, foreign or of another
    /// key: that is removed, so that it is compiled again.
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Result<Option<Component>> {
        let path = self.path(digest);
        let file = match self.open_verified(&path, digest) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%digest, %error, "compiled code is not what was written; compiling again");
                self.remove(digest);
                return Ok(None);
            }
            Err(error) => return Err(fault(error)),
        };
        match map(engine, &file) {
            Ok(component) => Ok(Some(component)),
            Err(error) => {
                // Ours, but of a component that this engine's pool can never hold: the caller hears why.
                let detail = format!("it cannot be instantiated here: {error:#}");
                self.remove(digest);
                Err(Fault::new(Code::InvalidComponent, detail))
            }
        }
    }

    /// Removes the file, if there is one. A failure costs room, nothing else.
    pub(crate) fn remove(&self, digest: &Digest) {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%digest, %error, "compiled code could not be removed");
            }
            _ => {}
        }
    }

    /// Opens a file and checks that we wrote it, over the very descriptor that is mapped afterwards.
    fn open_verified(&self, path: &Path, digest: &Digest) -> io::Result<File> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
        let mut file = OpenOptions::new().read(true).custom_flags(no_follow as i32).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(invalid("not a file of this user's alone"));
        }
        let length = meta.len().checked_sub(MAC as u64).ok_or_else(|| invalid("too short"))?;
        let computed = self.mac(digest, &mut (&mut file).take(length))?;
        let mut stored = [0; MAC];
        file.read_exact(&mut stored)?;
        // blake3's own comparison: its time does not depend on the bytes.
        if computed != blake3::Hash::from_bytes(stored) {
            return Err(invalid("the MAC does not fit"));
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    /// Over the build, the component's digest and the code, so that one file cannot pass for another.
    fn mac(&self, digest: &Digest, code: &mut impl io::Read) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&self.build).update(digest.as_bytes());
        hasher.update_reader(code)?;
        Ok(hasher.finalize())
    }
}

/// Maps compiled code out of an open file.
fn map(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: `deserialize_file` asks for a file that `precompile_component` made and that nobody changes while it
    // is mapped.
    //
    // Who made it: `open_verified` computed a keyed MAC over this build's hash, the component's digest and all of
    // the code, and found it behind the code. Only a holder of the key makes such a MAC, and only `put` uses the
    // key, on what a child of this program left that
    // compiled a component (`compiler.rs`), and exited as having done so. The path given here names the descriptor that was verified, not
    // the file's name, so a file that was put in its place meanwhile is not the one that gets mapped.
    //
    // Who could change it: the inode was checked to be a regular file of this user that no other may write to, in
    // folders of mode 0700. `put` writes each file before it has its name and never again (it is replaced by
    // rename, which leaves a mapped inode as it is), and gives it mode 0400. What remains is another process of the
    // same user, or root, writing into it on purpose: either can as well write into this process.
    #[allow(unsafe_code)]
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// Removes code of other builds and files that a crash left half-written. Nothing depends on it, so a failure is
/// only told.
fn sweep(dir: &Path, mine: &Path) {
    let swept = || -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let is_build = path.file_name().is_some_and(|name| name.len() == 64);
            if is_build && path != mine {
                fs::remove_dir_all(path)?;
            }
        }
        for entry in fs::read_dir(mine)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".writing-") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    if let Err(error) = swept() {
        tracing::warn!(%error, "old compiled code could not be removed");
    }
}

fn fault(error: io::Error) -> Fault {
    if error.kind() == io::ErrorKind::StorageFull {
        return Fault::new(Code::StorageFull, "there is no room for compiled code").caused_by(error);
    }
    Fault::internal(format_args!("compiled code: {error}"))
}

/// Writes down what is read through it.
struct Copying<'a, R> {
    code: &'a mut R,
    to: &'a mut File,
}

impl<R: io::Read> io::Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.code.read(buffer)?;
        self.to.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// Feeds what is hashed into BLAKE3: the standard hasher is neither stable nor wide enough for a name.
struct BuildHasher(blake3::Hasher);

impl Hasher for BuildHasher {
    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
