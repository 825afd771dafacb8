//! What a store may grow to, summed over all its memories and tables.

use std::sync::Arc;
use std::time::Instant;

use aimass_core::limits::InvocationLimits;
use aimass_core::usage::Meter;
use wasmtime::ResourceLimiter;

use crate::engine::{MEMORIES_PER_COMPONENT, TABLES_PER_COMPONENT};

/// Counts what a store's memories and tables hold together: a limit on each would be no limit on a guest with many.
///
/// A growth that goes over the limit traps. Answering −1, as WebAssembly would allow, only turns it into whatever
/// the guest's allocator does next (usually an `unreachable` that says nothing).
pub(crate) struct Limiter {
    memory: usize,
    memory_limit: usize,
    elements: usize,
    elements_limit: usize,
    since: Instant,
    meter: Option<Arc<dyn Meter>>,
}

/// A limit of the call that the guest ran into; it becomes `plugin_resource_limit`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Exceeded {
    #[error("the plugin wanted more than {0} bytes of memory")]
    Memory(usize),
    #[error("the plugin wanted more than {0} table elements")]
    Table(usize),
    #[error("the answer is larger than {0} bytes")]
    Output(usize),
    #[error("the plugin holds more than {0} bytes outside of its memory")]
    HostMemory(usize),
}

impl Limiter {
    pub(crate) fn new(limits: &InvocationLimits, meter: Option<Arc<dyn Meter>>) -> Self {
        let (memory_limit, elements_limit) = (limits.memory, limits.table_elements);
        Self { memory: 0, memory_limit, elements: 0, elements_limit, since: Instant::now(), meter }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            // Memory never shrinks, so this is the most that it had.
            meter.held(self.memory, self.since.elapsed());
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond the maximum that the module itself declares: not ours to punish, growth just fails.
        if maximum.is_some_and(|max| desired > max) && desired <= self.memory_limit {
            return Ok(false);
        }
        match grown(self.memory, current, desired, self.memory_limit) {
            Some(sum) => self.memory = sum,
            None => return Err(Exceeded::Memory(self.memory_limit).into()),
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|max| desired > max) && desired <= self.elements_limit {
            return Ok(false);
        }
        match grown(self.elements, current, desired, self.elements_limit) {
            Some(sum) => self.elements = sum,
            None => return Err(Exceeded::Table(self.elements_limit).into()),
        }
        Ok(true)
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_COMPONENT as usize
    }
}

fn grown(sum: usize, current: usize, desired: usize, limit: usize) -> Option<usize> {
    let new = sum.checked_add(desired.checked_sub(current)?)?;
    (new <= limit).then_some(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn f16_memories_are_summed() {
        let limits = InvocationLimits { memory: 100, table_elements: 10, ..InvocationLimits::default() };
        let mut limiter = Limiter::new(&limits, None);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(limiter.memory_growing(40, 41, None).is_err());
        assert!(!limiter.memory_growing(40, 50, Some(45)).unwrap(), "its own maximum is no offence");
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(limiter.table_growing(0, 1, None).is_err());
    }
}
