//! Rendered ends of lines, by the place of their query, as far as there is room.
//!
//! They lie one behind another in slabs of memory, so that one costs little beside its bytes. What
//! does not fit is rendered for each line anew, from the ranking on disk.

use super::ahead;

/// Length of a slab. A longer tail has one of its own.
const SLAB_BYTES: usize = 4 << 20;
/// Slabs are no more than this part of all the room, so that little of it is lost.
const SLABS_MIN: usize = 8;

/// The tails of places from 0 on.
#[derive(Debug)]
pub(crate) struct Tails {
    /// Where the tail of each place is; none has no length.
    index: Vec<Tail>,
    slabs: Vec<Vec<u8>>,
    slab_bytes: usize,
    room_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Tail {
    slab: u32,
    start: u32,
    length: u32,
}

impl Tails {
    /// Takes no more than `room_bytes` bytes.
    pub(crate) fn new(room_bytes: usize) -> Self {
        Tails {
            index: Vec::new(),
            slabs: Vec::new(),
            slab_bytes: SLAB_BYTES.min(room_bytes / SLABS_MIN),
            room_bytes,
        }
    }

    /// Whether there is no room for another tail of at least so many bytes.
    pub(crate) fn is_full_for(&self, bytes: usize) -> bool {
        let left = self
            .slabs
            .last()
            .map_or(0, |slab| slab.capacity() - slab.len());
        size_of::<Tail>() + bytes.saturating_sub(left) > self.room_bytes
    }

    /// Keeps the tail of the next place, if there is room; one without bytes is none.
    pub(crate) fn push(&mut self, tail: &[u8]) {
        // The index grows in steps, as it is known to do: twice its entries are accounted for.
        let index_bytes = 2 * size_of::<Tail>();
        self.room_bytes = self.room_bytes.saturating_sub(index_bytes);
        let none = Tail {
            slab: 0,
            start: 0,
            length: 0,
        };
        let kept = if tail.is_empty() {
            None
        } else {
            self.place(tail)
        };
        self.index.push(kept.unwrap_or(none));
    }

    /// Copies the tail into a slab.
    fn place(&mut self, tail: &[u8]) -> Option<Tail> {
        let fits = |slab: &Vec<u8>| slab.capacity() - slab.len() >= tail.len();
        if !self.slabs.last().is_some_and(fits) {
            let bytes = self.slab_bytes.max(tail.len());
            if bytes > self.room_bytes {
                return None;
            }
            self.room_bytes -= bytes;
            self.slabs.push(Vec::with_capacity(bytes));
        }
        let number = u32::try_from(self.slabs.len() - 1).ok()?;
        let slab = self.slabs.last_mut()?;
        let placed = Tail {
            slab: number,
            start: u32::try_from(slab.len()).ok()?,
            length: u32::try_from(tail.len()).ok()?,
        };
        slab.extend_from_slice(tail);
        Some(placed)
    }

    /// Says that the tails of these places will be asked for soon.
    pub(crate) fn fetch(&self, places: impl Iterator<Item = usize> + Clone) {
        places
            .clone()
            .for_each(|place| ahead::fetch(&self.index, place));
        places
            .filter_map(|place| self.get(place))
            .for_each(ahead::fetch_bytes);
    }

    /// The tail of a place, if it was kept.
    pub(crate) fn get(&self, place: usize) -> Option<&[u8]> {
        let tail = self.index.get(place).filter(|tail| tail.length > 0)?;
        let start = tail.start as usize;
        Some(&self.slabs[tail.slab as usize][start..start + tail.length as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_kept_as_long_as_there_is_room() {
        let tail = |place: usize| vec![place as u8; place % 40];
        for room_bytes in [0, 100, 2_000, 10_000, 1 << 20] {
            let mut tails = Tails::new(room_bytes);
            let mut kept_bytes = 0;
            for place in 0..1_000 {
                tails.push(&tail(place));
            }
            for place in 0..1_001 {
                if let Some(kept) = tails.get(place) {
                    assert_eq!(kept, tail(place));
                    kept_bytes += kept.len();
                }
            }
            let slabs: usize = tails.slabs.iter().map(Vec::capacity).sum();
            assert!(slabs <= room_bytes && kept_bytes <= room_bytes);
            let all: usize = (0..1_000).map(|place| tail(place).len()).sum();
            assert_eq!(kept_bytes == all, room_bytes == 1 << 20, "{room_bytes}");
            assert!(kept_bytes > 0 || room_bytes < 2_000, "{room_bytes}");
        }
    }

    #[test]
    fn a_tail_longer_than_a_slab_has_its_own() {
        let mut tails = Tails::new(1_000);
        let long = vec![7; 600];
        tails.push(b"short");
        assert!(!tails.is_full_for(600));
        tails.push(&long);
        assert!(tails.is_full_for(600));
        tails.push(&long);
        tails.push(b"short");
        assert_eq!(tails.get(1), Some(&long[..]));
        assert_eq!((tails.get(2), tails.get(3)), (None, Some(&b"short"[..])));
    }
}
