//! Looks after one process while it lives: requests that take too long, memory that grows too much.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::link::Link;

/// Between two looks: with the time to start and to load again, well within the second after which service is back.
const EVERY: Duration = Duration::from_millis(50);

/// The kernel counts in pages of this size on every machine that this runs on.
const PAGE: u64 = 4096;

pub(super) async fn watch(link: Arc<Link>, engine: Weak<Engine>) {
    while !link.closed() {
        tokio::time::sleep(EVERY).await;
        let Some(engine) = engine.upgrade() else { return };
        let late = link.late(Instant::now());
        if !late.is_empty() {
            tracing::error!(device = engine.spec.device, pid = link.pid, "an engine process hangs and is replaced");
            engine.blame.died_of(&late);
            // The next call starts another process; those that this one has besides may end.
            link.close();
            let others = Instant::now() + engine.spec.run_limit;
            while link.busy() > late.len() && Instant::now() < others {
                tokio::time::sleep(EVERY).await;
            }
            link.forgive();
            link.kill();
            return;
        }
        let (limit, device, pid) = (engine.spec.memory, engine.spec.device, link.pid);
        if let Some(resident) = resident(pid)
            && resident > limit
        {
            tracing::error!(device, pid, resident, limit, "an engine process takes too much memory and is replaced");
            link.kill();
        }
    }
}

/// Bytes that a process has in memory (`statm` of proc(5), second field).
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    text.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * PAGE)
}
