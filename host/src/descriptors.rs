//! File descriptors: as many as the system gives, and how many of them are for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More connections than one node has memory for at their worst.
const MOST: u64 = 8_192;

/// Raises the soft limit to the hard one. The soft one is 1,024 for the sake of programs that use `select`, which this
/// is not.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(error = %e, "the limit of file descriptors stays as it is");
    }
}

/// Half of the descriptors, so that files, pipes and engines have the other half.
pub(crate) fn connections() -> usize {
    let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((all / 2).clamp(1, MOST)).unwrap_or(usize::MAX)
}
