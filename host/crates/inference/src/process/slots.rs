//! The parent's shared memory for tensors, used again and again: pages that were touched before cost nothing.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::region::Region;
use super::wire::SlotRef;
use crate::pool::lock;

/// Slots that are larger are given back to the system after use.
const KEEP: usize = 32 << 20;

/// One child's slots. A slot belongs to one request at a time: no more are made than requests are under way.
#[derive(Default)]
pub(super) struct Slots {
    free: Mutex<Vec<(u32, Region, bool)>>,
    next: AtomicU32,
    /// Numbers that the child has mapped and need not any longer.
    forgotten: Mutex<Vec<u32>>,
}

/// A slot in use; it goes back when it is dropped.
pub(super) struct Slot {
    number: u32,
    // Taken only by `drop`.
    region: Option<Region>,
    /// The child has not seen it yet.
    pub(super) new: bool,
    home: Arc<Slots>,
}

impl Slots {
    /// A slot of at least `length` bytes.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> io::Result<Slot> {
        let free = lock(&self.free).pop();
        let (number, region, new) = match free {
            Some((number, region, new)) if region.len() >= length => (number, region, new),
            Some((number, region, new)) => (number, region.grown(length)?, new),
            None => (self.next.fetch_add(1, Ordering::Relaxed), Region::create(length)?, true),
        };
        Ok(Slot { number, region: Some(region), new, home: self.clone() })
    }

    /// What the child is to unmap.
    pub(super) fn forgotten(&self) -> Vec<u32> {
        std::mem::take(&mut *lock(&self.forgotten))
    }
}

impl Slot {
    pub(super) fn region(&self) -> io::Result<&Region> {
        self.region.as_ref().ok_or_else(|| io::Error::other("the slot is gone"))
    }

    pub(super) fn reference(&self) -> SlotRef {
        SlotRef { number: self.number, length: self.region.as_ref().map_or(0, Region::len) }
    }

    /// Maps what the child has made it longer by.
    pub(super) fn follow(&mut self, length: usize) -> io::Result<()> {
        let region = self.region()?;
        if region.len() < length {
            self.region = Some(region.grown(length)?);
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(region) = self.region.take() else { return };
        if region.len() <= KEEP {
            lock(&self.home.free).push((self.number, region, self.new));
        } else if !self.new {
            lock(&self.home.forgotten).push(self.number);
        }
    }
}
