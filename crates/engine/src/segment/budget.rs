//! How the memory of a run is divided.
//!
//! The budget is for everything beside the model and its scorer: stretches that are read, pieces that
//! wait to be written, what is remembered of lines, rankings on their way to disk, ids of users as
//! they are written, and the rest for rendered lines. What grows with the distinct queries of the input
//! cannot be spilled and is taken off the rest: 4 bytes an item and 8 a query, with filter values 16 a
//! query and the values; for attributes, the values of each.

/// Longest stretch of a source: with what is read ahead, one read of an object.
const CHUNK_BYTES_MAX: usize = (4 << 20) - (64 << 10);
const CHUNK_BYTES_MIN: usize = 64 << 10;
/// Longest piece of output that is handed over at once, but for single long members. So short that it
/// is still in a cache when it is written.
const PIECE_BYTES_MAX: usize = 256 << 10;
const PIECE_BYTES_MIN: usize = 64 << 10;
/// Most bytes of output that wait to be written.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Most bytes of texts that are remembered.
const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Copies of a block's rankings there may be: as they are scored, as they are stored, and the block
/// before, whose tails are rendered.
const BLOCK_COPIES: usize = 4;

/// Bytes for each part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Of a stretch of a source.
    pub(crate) chunk_bytes: usize,
    /// Of a piece of output.
    pub(crate) piece_bytes: usize,
    /// Of pieces that wait.
    pub(crate) queue_bytes: usize,
    /// Of texts that are remembered.
    pub(crate) remembered_bytes: usize,
    /// Of the rankings of a block.
    pub(crate) block_bytes: usize,
    /// For rendered lines and all that cannot be spilled.
    pub(crate) rest_bytes: usize,
}

impl Budget {
    /// Divides `memory_bytes` among so many threads; blocks have at most `block_bytes`. A very small
    /// budget is exceeded by the smallest stretches and pieces.
    pub(crate) fn new(memory_bytes: usize, block_bytes: usize, threads: usize) -> Budget {
        let threads = threads.max(1);
        let each = memory_bytes / threads;
        let mut budget = Budget {
            chunk_bytes: (each / 16).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
            piece_bytes: (each / 64).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX),
            queue_bytes: (memory_bytes / 16).min(QUEUE_BYTES_MAX),
            remembered_bytes: (memory_bytes / 16).min(REMEMBERED_BYTES_MAX),
            block_bytes: (memory_bytes / 4 / BLOCK_COPIES).min(block_bytes),
            rest_bytes: 0,
        };
        let lines = threads * (budget.chunk_bytes + 2 * budget.piece_bytes) + budget.queue_bytes;
        let used = lines + budget.remembered_bytes + BLOCK_COPIES * budget.block_bytes;
        budget.rest_bytes = memory_bytes.saturating_sub(used);
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_no_more_than_the_whole() {
        for memory_mib in [2, 16, 64, 1024, 16_384] {
            for threads in [1, 2, 16] {
                let memory_bytes = memory_mib << 20;
                let budget = Budget::new(memory_bytes, 64 << 20, threads);
                let each = budget.chunk_bytes + 2 * budget.piece_bytes;
                let parts = threads * each
                    + budget.queue_bytes
                    + budget.remembered_bytes
                    + BLOCK_COPIES * budget.block_bytes
                    + budget.rest_bytes;
                let smallest = threads * (CHUNK_BYTES_MIN + 2 * PIECE_BYTES_MIN);
                assert!(parts <= memory_bytes.max(smallest + memory_bytes / 2));
                // Half of it is left for rendered lines, where there is enough for anything.
                assert!(memory_mib < 1024 || budget.rest_bytes >= memory_bytes / 2);
            }
        }
        let none = Budget::new(0, 1, 1);
        assert_eq!((none.block_bytes, none.rest_bytes), (0, 0));
    }
}
