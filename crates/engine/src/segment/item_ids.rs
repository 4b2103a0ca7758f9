//! The number of an item by its id, for as many look-ups as a job has lines.
//!
//! A table of hashes beside the ids in one stretch of memory: a look-up touches a slot and an id,
//! where a search among the model's ids would touch one for every halving. Takes about 12 to 24
//! bytes an item beside the ids.

use rustc_hash::FxHasher;
use std::hash::Hasher as _;

/// The ids of a model's items, hashed.
#[derive(Debug)]
pub(crate) struct ItemIds {
    /// Upper half of the id's hash and the item's number plus one; 0 where there is none.
    slots: Vec<u64>,
    /// All ids, one behind another.
    ids: Vec<u8>,
    /// Where they start, and where the last one ends.
    starts: Vec<usize>,
}

impl ItemIds {
    /// The number of an id is its place.
    pub(crate) fn new(items: &[String]) -> ItemIds {
        let mut ids = Vec::with_capacity(items.iter().map(String::len).sum());
        let mut starts = Vec::with_capacity(items.len() + 1);
        starts.push(0);
        let slots = (items.len() + items.len() / 2 + 1).next_power_of_two();
        let mut slots = vec![0u64; slots];
        for (id, item) in items.iter().zip(1u64..) {
            ids.extend_from_slice(id.as_bytes());
            starts.push(ids.len());
            let hash = hash(id.as_bytes());
            let mut slot = first_slot(hash, slots.len());
            while slots[slot] != 0 {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = tag(hash) | item;
        }
        ItemIds { slots, ids, starts }
    }

    /// The number of the item with this id, if there is one.
    pub(crate) fn get(&self, id: &str) -> Option<u32> {
        let hash = hash(id.as_bytes());
        let mut slot = first_slot(hash, self.slots.len());
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return None;
            }
            let item = (found as u32).wrapping_sub(1);
            if found & TAG == tag(hash) && self.id(item) == id.as_bytes() {
                return Some(item);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn id(&self, item: u32) -> &[u8] {
        let item = item as usize;
        &self.ids[self.starts[item]..self.starts[item + 1]]
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * 8 + self.ids.len() + self.starts.len() * 8
    }
}

const TAG: u64 = 0xFFFF_FFFF << 32;

fn tag(hash: u64) -> u64 {
    hash & TAG
}

/// The lower half decides, which the tag does not have.
fn first_slot(hash: u64, slots: usize) -> usize {
    hash as usize & (slots - 1)
}

fn hash(id: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(id);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_and_others_are_not() {
        for count in [0, 1, 2, 5_000] {
            let items: Vec<String> = (0..count).map(|item| format!("i{}", item * 3)).collect();
            let ids = ItemIds::new(&items);
            for item in 0..count * 3 {
                let expected = (item % 3 == 0).then_some(item as u32 / 3);
                assert_eq!(ids.get(&format!("i{item}")), expected);
            }
            assert_eq!(ids.get(""), None);
            assert_eq!(ids.get("i"), None);
        }
    }

    #[test]
    fn a_full_neighbourhood_is_searched_to_its_end() {
        // Many ids whose hashes start at the same slot of a small table.
        let slots = 64;
        let items: Vec<String> = (0..100_000)
            .map(|item| format!("{item}"))
            .filter(|id| first_slot(hash(id.as_bytes()), slots) == slots - 2)
            .take(40)
            .collect();
        let ids = ItemIds::new(&items);
        assert_eq!(ids.slots.len(), slots);
        for (item, id) in items.iter().enumerate() {
            assert_eq!(ids.get(id), Some(item as u32));
        }
        assert_eq!(ids.get("x"), None);
    }
}
