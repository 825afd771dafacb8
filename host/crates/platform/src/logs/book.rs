//! One tenant's lines: a ring for each plugin.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use aimass_core::Name;
use aimass_core::logs::Line;
use tokio::sync::Notify;

/// Bytes that one tenant's lines, and one plugin's, may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) tenant: usize,
    pub(super) plugin: usize,
}

/// What a line costs beside what it says: its reference in the ring, and the counts of both allocations.
const LINE: usize = size_of::<Kept>() + 64;

/// What a plugin costs that has none.
const RING: usize = size_of::<Ring>() + 128;

/// A line with its number.
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) line: Line,
}

impl Kept {
    fn bytes(&self) -> usize {
        LINE + self.line.said.heap() + self.line.request_id.len()
    }
}

/// One plugin's lines, by number. Numbers are given once; one that is missing was a line that is lost.
struct Ring {
    lines: VecDeque<Arc<Kept>>,
    /// The next line's number.
    next: u64,
    bytes: usize,
    told: Arc<Notify>,
}

/// One tenant's lines.
#[derive(Default)]
pub(super) struct Book {
    rings: HashMap<Name, Ring>,
    bytes: usize,
    /// Higher than every number of a ring that is gone.
    above: u64,
}

/// Lines from one number on.
#[derive(Default)]
pub(super) struct Piece {
    pub(super) lines: Vec<Arc<Kept>>,
    /// The number to go on with.
    pub(super) next: u64,
    /// How many of the lines between are gone.
    pub(super) lost: u64,
}

impl Ring {
    fn new(next: u64) -> Self {
        Self { lines: VecDeque::new(), next, bytes: 0, told: Arc::default() }
    }

    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Drops the oldest lines until the rest takes no more than this. Returns the bytes that are free now.
    fn cut(&mut self, to: usize) -> usize {
        let before = self.bytes;
        while self.bytes > to
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
        before - self.bytes
    }
}

impl Book {
    /// Bytes of all lines and rings.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, plugin: &Name, line: Line, bounds: Bounds) {
        let ring = self.ring(plugin);
        let kept = Kept { number: ring.take(), line };
        let bytes = kept.bytes();
        ring.lines.push_back(Arc::new(kept));
        ring.bytes += bytes;
        let freed = ring.cut(bounds.plugin);
        ring.told.notify_waiters();
        self.bytes = self.bytes + bytes - freed;
        if self.bytes > bounds.tenant {
            // With some to spare, so that not every line looks for the largest ring.
            self.shrink(bounds.tenant / 8 * 7);
        }
    }

    /// A line came for which there is no room.
    pub(super) fn miss(&mut self, plugin: &Name) {
        self.ring(plugin).take();
    }

    /// Drops the oldest lines of the plugin that has most, again and again, until all take no more than this.
    pub(super) fn shrink(&mut self, to: usize) {
        while self.bytes > to
            && let Some(largest) = self.rings.values_mut().filter(|ring| ring.bytes > 0).max_by_key(|ring| ring.bytes)
        {
            // Half at once: the next largest may be as large.
            let excess = self.bytes - to;
            self.bytes -= largest.cut(largest.bytes.saturating_sub(excess).max(largest.bytes / 2));
        }
        let above = &mut self.above;
        let before = self.rings.len();
        self.rings.retain(|_, ring| {
            let keep = !ring.lines.is_empty() || Arc::strong_count(&ring.told) > 1;
            *above = if keep { *above } else { (*above).max(ring.next) };
            keep
        });
        self.bytes -= (before - self.rings.len()) * RING;
    }

    pub(super) fn forget(&mut self, plugin: &Name) {
        if let Some(ring) = self.rings.remove(plugin) {
            self.above = self.above.max(ring.next);
            self.bytes -= ring.bytes + RING;
            ring.told.notify_waiters();
        }
    }

    pub(super) fn clear(&mut self) {
        self.rings.drain().for_each(|(_, ring)| ring.told.notify_waiters());
        self.bytes = 0;
    }

    /// What tells of new lines of a plugin, and the number that the next one gets.
    pub(super) fn follow(&mut self, plugin: &Name) -> (Arc<Notify>, u64) {
        let ring = self.ring(plugin);
        (ring.told.clone(), ring.next)
    }

    /// The number of a plugin's oldest line, or of the next one.
    pub(super) fn oldest(&self, plugin: &Name) -> u64 {
        let oldest = |ring: &Ring| ring.lines.front().map_or(ring.next, |kept| kept.number);
        self.rings.get(plugin).map_or(self.above, oldest)
    }

    /// At most `limit` lines of a plugin from `number` on; none if it was forgotten.
    pub(super) fn after(&self, plugin: &Name, number: u64, limit: usize) -> Option<Piece> {
        let ring = self.rings.get(plugin)?;
        let start = ring.lines.partition_point(|kept| kept.number < number);
        let mut piece = Piece { next: number, ..Piece::default() };
        for kept in ring.lines.iter().skip(start).take(limit) {
            piece.lost += kept.number.saturating_sub(piece.next);
            piece.next = kept.number + 1;
            piece.lines.push(kept.clone());
        }
        if piece.lines.len() < limit {
            // Nothing more is there, so what is missing up to the next number will not come.
            piece.lost += ring.next.saturating_sub(piece.next);
            piece.next = ring.next;
        }
        Some(piece)
    }

    /// At most `limit` lines of a plugin before `number`, the newest first.
    pub(super) fn before(&self, plugin: &Name, number: u64, limit: usize) -> Vec<Arc<Kept>> {
        let Some(ring) = self.rings.get(plugin) else { return vec![] };
        let end = ring.lines.partition_point(|kept| kept.number < number);
        ring.lines.range(..end).rev().take(limit).cloned().collect()
    }

    fn ring(&mut self, plugin: &Name) -> &mut Ring {
        if !self.rings.contains_key(plugin) {
            self.bytes += RING;
        }
        self.rings.entry(plugin.clone()).or_insert_with(|| Ring::new(self.above))
    }
}
