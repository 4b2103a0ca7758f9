//! The number of an item by its id, for as many look-ups as a job has lines.
//!
//! A table of hashes beside the ids in one stretch of memory: a look-up touches a slot and an id,
//! where a search among the model's ids would touch one for every halving. Several look-ups at a time
//! wait for memory together. Takes 21 to 43 bytes an item beside the ids.

use super::ahead::{LINES_AT_ONCE, fetch, fetch_bytes};
use rustc_hash::FxHasher;
use std::hash::Hasher as _;

/// The ids of a model's items, hashed.
#[derive(Debug)]
pub(crate) struct ItemIds {
    slots: Vec<Slot>,
    /// All ids, one behind another.
    ids: Vec<u8>,
}

/// A place of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Where the id is among all ids.
    start: u64,
    length: u32,
    /// The item's number plus one; 0 where there is none.
    item: u32,
}

impl ItemIds {
    /// The number of an id is its place.
    pub(crate) fn new(items: &[String]) -> ItemIds {
        let slots = (items.len() + items.len() / 3 + 1).next_power_of_two();
        let mut all = ItemIds {
            slots: vec![Slot::default(); slots],
            ids: Vec::with_capacity(items.iter().map(String::len).sum()),
        };
        for (id, item) in items.iter().zip(1u32..) {
            let mut slot = all.first_slot(hash(id.as_bytes()));
            while all.slots[slot].item != 0 {
                slot = all.next_slot(slot);
            }
            all.slots[slot] = Slot {
                start: all.ids.len() as u64,
                length: u32::try_from(id.len()).unwrap_or(u32::MAX),
                item,
            };
            all.ids.extend_from_slice(id.as_bytes());
        }
        all
    }

    /// Adds for each of the ids the number of its item, if there is one.
    pub(crate) fn find(&self, ids: &[&str], found: &mut Vec<Option<u32>>) {
        for ids in ids.chunks(LINES_AT_ONCE) {
            let mut first = [0; LINES_AT_ONCE];
            for (slot, id) in first.iter_mut().zip(ids) {
                *slot = self.first_slot(hash(id.as_bytes()));
                fetch(&self.slots, *slot);
            }
            for slot in &first[..ids.len()] {
                fetch_bytes(self.id(&self.slots[*slot]));
            }
            let each = ids.iter().zip(first);
            found.extend(each.map(|(id, slot)| self.find_from(slot, id.as_bytes())));
        }
    }

    fn find_from(&self, mut slot: usize, id: &[u8]) -> Option<u32> {
        loop {
            let found = &self.slots[slot];
            if found.item == 0 {
                return None;
            }
            if self.id(found) == id {
                return Some(found.item - 1);
            }
            slot = self.next_slot(slot);
        }
    }

    fn id(&self, slot: &Slot) -> &[u8] {
        let start = slot.start as usize;
        &self.ids[start..start + slot.length as usize]
    }

    fn first_slot(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.ids.len()
    }
}

fn hash(id: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(id);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(ids: &ItemIds, asked: &[String]) -> Vec<Option<u32>> {
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        ids.find(&asked, &mut found);
        found
    }

    #[test]
    fn items_are_found_and_others_are_not() {
        for count in [0, 1, 2, 5_000] {
            let items: Vec<String> = (0..count).map(|item| format!("i{}", item * 3)).collect();
            let ids = ItemIds::new(&items);
            let mut asked: Vec<String> = (0..count * 3).map(|item| format!("i{item}")).collect();
            asked.extend(["".into(), "i".into()]);
            let found = find(&ids, &asked);
            assert_eq!(found.len(), asked.len());
            for (item, found) in found.into_iter().enumerate() {
                let expected = item % 3 == 0 && item < count * 3;
                assert_eq!(found, expected.then_some(item as u32 / 3));
            }
        }
    }

    #[test]
    fn a_full_neighbourhood_is_searched_to_its_end() {
        // Many ids whose hashes start at the same slot of a small table.
        let slots = 64;
        let all = (0..100_000).map(|item| format!("{item}"));
        let near = all.filter(|id| hash(id.as_bytes()) as usize & (slots - 1) == slots - 2);
        let near: Vec<String> = near.take(45).collect();
        let ids = ItemIds::new(&near[..40]);
        assert_eq!(ids.slots.len(), slots);
        let found = find(&ids, &near);
        for (item, found) in found.into_iter().enumerate() {
            assert_eq!(found, (item < 40).then_some(item as u32));
        }
    }
}
