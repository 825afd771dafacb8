//! No core dumps: a node's memory holds the keys that open everything, and what guests and clients are just sending.

use rustix::process::{Resource, Rlimit, setrlimit};

/// A crash of this process, or of the engines and compilers that it starts, leaves no image of the memory on the disk.
/// A debugger still reads it, where the system lets one.
pub(crate) fn disable() {
    if let Err(e) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(error = %e, "a crash may leave the memory on the disk");
    }
}
