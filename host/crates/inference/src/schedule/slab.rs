//! Storage with stable keys: a key of something that has left never finds what took its place.
//!
//! The lists of the scheduler name one another's entries by such keys and forget lazily: what a key no longer finds
//! is simply skipped, so that nothing has to be searched for in the middle of a list.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// Finds one entry of a [`Slab`] for as long as it is there, and nothing afterwards.
///
/// `K` names the kind of entry and nothing else, so that a lane is not looked up among the models.
pub(super) struct Key<K> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> K>,
}

/// Entries in reused slots: insertion, look-up and removal take constant time.
pub(super) struct Slab<K, V> {
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    kind: PhantomData<fn() -> K>,
}

struct Slot<V> {
    /// How often the slot was used: what tells a key of what was there before.
    generation: u32,
    value: Option<V>,
}

impl<K, V> Slab<K, V> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), kind: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: V) -> Key<K> {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.generation = slot.generation.wrapping_add(1);
            slot.value = Some(value);
            return Key::at(index, slot.generation);
        }
        self.slots.push(Slot { generation: 0, value: Some(value) });
        // The queue's bounds keep this far below four billion.
        Key::at((self.slots.len() - 1) as u32, 0)
    }

    pub(super) fn get(&self, key: Key<K>) -> Option<&V> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key<K>) -> Option<&mut V> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub(super) fn contains(&self, key: Key<K>) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn remove(&mut self, key: Key<K>) -> Option<V> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<K>, &V)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((Key::at(index as u32, slot.generation), value))
        })
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }
}

impl<K> Key<K> {
    const fn at(index: u32, generation: u32) -> Self {
        Self { index, generation, kind: PhantomData }
    }

    /// As a number, for a key that leaves the scheduler as the name of something.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Back from the number. Any number is a key; most find nothing.
    #[cfg(test)]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self::at(bits as u32, (bits >> 32) as u32)
    }
}

// Written out, because derived they would ask the same of `K`.
impl<K> Clone for Key<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Key<K> {}
impl<K> PartialEq for Key<K> {
    fn eq(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}
impl<K> Eq for Key<K> {}
impl<K> Hash for Key<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_bits().hash(state);
    }
}
impl<K> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_nothing_once_its_entry_has_left() {
        let mut slab = Slab::<(), char>::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!((first.index, slab.len()), (second.index, 1), "the slot is used again");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(Key::from_bits(second.to_bits())), Some(&'b'));
        assert_eq!(slab.get(Key::from_bits(u64::MAX)), None);
    }
}
