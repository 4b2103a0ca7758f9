//! Finished rankings on disk, block by block.
//!
//! The distinct queries of a job are scored in blocks; a block that is done is one file: written
//! beside its place, synced, renamed, with a checksum. A killed job finds the blocks it finished
//! and goes on behind them. A file that does not fit the plan (other queries, other k, other model)
//! or its checksum is scored again.
//!
//! A block starts with a table of where its rankings end. A ranking is its users, best first, as 4
//! bytes each; a job that writes scores has the scores of those users behind them, 4 bytes each as well.

use crate::Error;
use crate::score::Ranking;
use memmap2::Mmap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Length of the head: plan, block number, rankings, checksum of all behind it.
const HEAD_BYTES: usize = 28;
/// Length of an entry of the table: how many users there are up to the end of a ranking.
const END_BYTES: usize = 8;

/// The rankings of one job.
#[derive(Debug)]
pub(crate) struct Blocks {
    dir: PathBuf,
    /// Fingerprint of everything that the rankings depend on.
    plan: u64,
    /// Queries per block, the last one may have fewer.
    block_len: usize,
    /// Whether the scores are kept, too.
    scores: bool,
    mapped: Vec<Mmap>,
}

impl Blocks {
    pub(crate) fn new(
        dir: &Path,
        plan: u64,
        block_len: usize,
        scores: bool,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        Ok(Blocks {
            dir: dir.to_owned(),
            plan,
            block_len,
            scores,
            mapped: Vec::new(),
        })
    }

    /// Bytes for one user of a ranking.
    fn user_bytes(&self) -> usize {
        if self.scores { 8 } else { 4 }
    }

    fn path(&self, block: usize) -> PathBuf {
        self.dir.join(format!("block-{block:06}"))
    }

    /// Takes up the next block if an earlier try finished it with `queries` rankings.
    pub(crate) fn take_up(&mut self, queries: usize) -> Result<bool, Error> {
        let block = self.mapped.len();
        let path = self.path(block);
        if !path.exists() {
            return Ok(false);
        }
        let map = map(&path)?;
        if !self.fits(&map, block, queries) {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            return Ok(false);
        }
        self.mapped.push(map);
        Ok(true)
    }

    fn fits(&self, bytes: &[u8], block: usize, queries: usize) -> bool {
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
            return false;
        };
        let users = match queries.checked_sub(1) {
            Some(last) if rest.len() >= queries * END_BYTES => end(bytes, last),
            Some(_) => return false,
            None => 0,
        };
        let body = users.checked_mul(self.user_bytes());
        body.and_then(|body| body.checked_add(queries * END_BYTES)) == Some(rest.len())
            && head == self.head(block, queries, crc32c::crc32c(rest))
    }

    fn head(&self, block: usize, queries: usize, crc: u32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[0..8].copy_from_slice(&self.plan.to_le_bytes());
        head[8..16].copy_from_slice(&(block as u64).to_le_bytes());
        head[16..24].copy_from_slice(&(queries as u64).to_le_bytes());
        head[24..28].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Stores the next block.
    pub(crate) fn push(&mut self, rankings: &[Ranking]) -> Result<(), Error> {
        let block = self.mapped.len();
        let queries = rankings.len();
        let users: usize = rankings.iter().map(|ranking| ranking.users.len()).sum();
        let mut body = Vec::with_capacity(queries * END_BYTES + users * self.user_bytes());
        let mut end = 0u64;
        for ranking in rankings {
            end += ranking.users.len() as u64;
            body.extend(end.to_le_bytes());
        }
        for Ranking { users, scores } in rankings {
            assert!(users.len() == scores.len(), "a user has a score");
            body.extend(users.iter().flat_map(|user| user.to_le_bytes()));
            if self.scores {
                body.extend(scores.iter().flat_map(|score| score.to_le_bytes()));
            }
        }
        let path = self.path(block);
        let staged = path.with_extension("new");
        let write = || {
            let mut file = File::create(&staged)?;
            file.write_all(&self.head(block, queries, crc32c::crc32c(&body)))?;
            file.write_all(&body)?;
            file.sync_all()?;
            std::fs::rename(&staged, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(Error::io(&path))?;
        self.mapped.push(map(&path)?);
        Ok(())
    }

    /// The ranking of the query at `position` among the distinct ones, best user first.
    pub(crate) fn ranking(&self, position: usize) -> impl Iterator<Item = u32> {
        let bytes = self.bytes_of(position);
        words(&bytes[..bytes.len() / self.user_bytes() * 4]).map(u32::from_le_bytes)
    }

    /// The scores that belong to [`Blocks::ranking`], if they are kept.
    pub(crate) fn scores(&self, position: usize) -> Option<impl Iterator<Item = f32>> {
        let bytes = self.bytes_of(position);
        let scores = &bytes[bytes.len() / self.user_bytes() * 4..];
        self.scores.then(|| words(scores).map(f32::from_le_bytes))
    }

    fn bytes_of(&self, position: usize) -> &[u8] {
        let bytes = &self.mapped[position / self.block_len];
        let place = position % self.block_len;
        let queries = read_u64(bytes, 16);
        let from = place.checked_sub(1).map_or(0, |before| end(bytes, before));
        let body = &bytes[HEAD_BYTES + queries * END_BYTES..];
        &body[from * self.user_bytes()..end(bytes, place) * self.user_bytes()]
    }
}

/// How many users there are up to the end of the ranking in a place of the block.
fn end(block: &[u8], place: usize) -> usize {
    read_u64(block, HEAD_BYTES + place * END_BYTES)
}

fn read_u64(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    usize::try_from(u64::from_le_bytes(number)).unwrap_or(usize::MAX)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes
        .chunks_exact(4)
        .map(|word| [word[0], word[1], word[2], word[3]])
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    // SAFETY: the file lies in this job's own scratch directory, was renamed there complete, and
    // nobody writes to it afterwards.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(blocks: &Blocks, position: usize) -> Vec<u32> {
        blocks.ranking(position).collect()
    }

    fn ranking<const N: usize>(users: [u32; N]) -> Ranking {
        Ranking {
            scores: users.map(|user| -0.5 * user as f32).into(),
            users: users.into(),
        }
    }

    #[test]
    fn finished_blocks_are_taken_up_and_foreign_or_damaged_ones_are_not() {
        for scores in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let open = |plan| Blocks::new(dir.path(), plan, 3, scores).unwrap();
            let mut blocks = open(7);
            assert!(!blocks.take_up(3).unwrap());
            blocks
                .push(&[ranking([1, 2]), ranking([]), ranking([3])])
                .unwrap();
            blocks.push(&[ranking([5, 6, 7])]).unwrap();
            for (position, users) in [&[1, 2][..], &[], &[3], &[5, 6, 7]].iter().enumerate() {
                assert_eq!(collect(&blocks, position), *users);
            }

            let mut again = open(7);
            assert!(
                again.take_up(3).unwrap()
                    && again.take_up(1).unwrap()
                    && !again.take_up(1).unwrap()
            );
            assert_eq!(collect(&again, 2), [3]);
            let kept = |position| again.scores(position).map(Iterator::collect::<Vec<f32>>);
            assert_eq!(kept(1), scores.then(Vec::new));
            assert_eq!(kept(2), scores.then(|| vec![-1.5]));
            assert_eq!(kept(3), scores.then(|| vec![-2.5, -3.0, -3.5]));
            drop((blocks, again));

            assert!(!open(8).take_up(3).unwrap());

            let path = dir.path().join("block-000001");
            let whole = std::fs::read(&path).unwrap();
            for damage in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[8] = 0;
                bytes[damage] ^= 0x40;
                std::fs::write(dir.path().join("block-000000"), &bytes).unwrap();
                assert!(!open(7).take_up(1).unwrap(), "byte {damage}");
            }
            for length in 0..whole.len() {
                std::fs::write(dir.path().join("block-000000"), &whole[..length]).unwrap();
                assert!(!open(7).take_up(1).unwrap(), "length {length}");
            }
        }
    }
}
