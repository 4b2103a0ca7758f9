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
/// Bytes of output that a stretch should become: with room for those of all workers in the queue, none
/// of them waits for the one before it.
const STRETCH_OUTPUT_BYTES: usize = 4 << 20;
/// Shortest stretch of the second pass.
const STRETCH_BYTES_MIN: usize = 16 << 10;
/// Most bytes of output that wait to be written.
const QUEUE_BYTES_MAX: usize = 128 << 20;
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
            queue_bytes: (memory_bytes / 16)
                .min(2 * threads * STRETCH_OUTPUT_BYTES)
                .min(QUEUE_BYTES_MAX),
            remembered_bytes: (memory_bytes / 16).min(REMEMBERED_BYTES_MAX),
            block_bytes: (memory_bytes / 4 / BLOCK_COPIES).min(block_bytes),
            rest_bytes: 0,
        };
        let lines = threads * (budget.chunk_bytes + 2 * budget.piece_bytes) + budget.queue_bytes;
        let used = lines + budget.remembered_bytes + BLOCK_COPIES * budget.block_bytes;
        budget.rest_bytes = memory_bytes.saturating_sub(used);
        budget
    }

    /// Bytes of a stretch of the second pass, for so many `threads`, where a line has `line_bytes` bytes
    /// and becomes `output_bytes`.
    pub(crate) fn stretch_bytes(
        &self,
        threads: usize,
        line_bytes: u64,
        output_bytes: u64,
    ) -> usize {
        let output = STRETCH_OUTPUT_BYTES.min(self.queue_bytes / threads.max(1) / 2) as u64;
        let bytes = output * line_bytes / output_bytes.max(1);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        bytes.max(STRETCH_BYTES_MIN).min(self.chunk_bytes)
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
        let budget = Budget::new(1 << 30, 64 << 20, 2);
        assert_eq!(budget.stretch_bytes(2, 23, 284), (4 << 20) * 23 / 284);
        assert_eq!(budget.stretch_bytes(2, 60_000, 60_100), budget.chunk_bytes);
        assert_eq!(budget.stretch_bytes(2, 23, 50_000_000), STRETCH_BYTES_MIN);
        let none = Budget::new(0, 1, 1);
        assert_eq!((none.block_bytes, none.rest_bytes), (0, 0));
    }
}
