//! Finished rankings on disk, block by block.
//!
//! The distinct queries of a job are scored in blocks; a block that is done is one file: written
//! beside its place, synced, renamed, with a checksum. A killed job finds the blocks it finished
//! and goes on behind them. A file that does not fit the plan (other queries, other k, other model)
//! or its checksum is scored again.
//!
//! A ranking is its users, best first, as 4 bytes each; a job that writes scores has the scores of
//! those users behind them, 4 bytes each as well.
//!
//! Blocks are mapped into memory. Those of a sealed vault cannot be: they are held in memory as they
//! were written, up to a limit, and the files only serve the next try.

use crate::Error;
use crate::score::Ranking;
use kindred_store::Vault;
use memmap2::Mmap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Length of the head: plan, block number, rankings, checksum of the body.
const HEAD_BYTES: usize = 28;
/// Most bytes of rankings that are held in memory because their files are sealed.
const SEALED_BYTES_MAX: usize = 4 << 30;

/// The rankings of one job.
#[derive(Debug)]
pub(crate) struct Blocks {
    dir: PathBuf,
    /// Fingerprint of everything that the rankings depend on.
    plan: u64,
    /// Queries per block, the last one may have fewer.
    block_len: usize,
    /// Users per ranking; every ranking of an unfiltered job has the same number.
    ranking_len: usize,
    /// Whether the scores are kept, too.
    scores: bool,
    vault: Vault,
    mapped: Vec<Block>,
    sealed_bytes: usize,
}

/// The bytes of one block.
#[derive(Debug)]
enum Block {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Block::Mapped(map) => map,
            Block::Held(bytes) => bytes,
        }
    }
}

impl Blocks {
    pub(crate) fn new(
        dir: &Path,
        plan: u64,
        block_len: usize,
        ranking_len: usize,
        scores: bool,
        vault: &Vault,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        Ok(Blocks {
            dir: dir.to_owned(),
            plan,
            block_len,
            ranking_len,
            scores,
            vault: vault.clone(),
            mapped: Vec::new(),
            sealed_bytes: 0,
        })
    }

    /// Bytes of one ranking.
    fn ranking_bytes(&self) -> usize {
        self.ranking_len * if self.scores { 8 } else { 4 }
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
        let found = if self.vault.is_sealed() {
            match self.vault.read(&path) {
                Ok(bytes) => Some(Block::Held(bytes)),
                // What does not open was not written by an earlier try of this job.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => None,
                Err(error) => return Err(Error::io(&path)(error)),
            }
        } else {
            Some(Block::Mapped(map(&path)?))
        };
        let Some(found) = found.filter(|found| self.fits(found, block, queries)) else {
            std::fs::remove_file(&path).map_err(Error::io(&path))?;
            return Ok(false);
        };
        self.keep(found)?;
        Ok(true)
    }

    fn fits(&self, bytes: &[u8], block: usize, queries: usize) -> bool {
        if bytes.len() != HEAD_BYTES + queries * self.ranking_bytes() {
            return false;
        }
        let (head, body) = bytes.split_at(HEAD_BYTES);
        head == self.head(block, queries, crc32c::crc32c(body))
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
        let mut body = Vec::with_capacity(queries * self.ranking_bytes());
        for Ranking { users, scores } in rankings {
            assert!(
                users.len() == self.ranking_len && scores.len() == self.ranking_len,
                "rankings of one job have one length"
            );
            body.extend(users.iter().flat_map(|user| user.to_le_bytes()));
            if self.scores {
                body.extend(scores.iter().flat_map(|score| score.to_le_bytes()));
            }
        }
        let path = self.path(block);
        let staged = path.with_extension("new");
        let head = self.head(block, queries, crc32c::crc32c(&body));
        let write = || {
            let mut file = self.vault.create(&staged)?;
            file.write_all(&head)?;
            file.write_all(&body)?;
            file.finish()?;
            std::fs::rename(&staged, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(Error::io(&path))?;
        if self.vault.is_sealed() {
            self.keep(Block::Held([&head[..], &body].concat()))
        } else {
            self.keep(Block::Mapped(map(&path)?))
        }
    }

    fn keep(&mut self, block: Block) -> Result<(), Error> {
        if let Block::Held(bytes) = &block {
            self.sealed_bytes += bytes.len();
            if self.sealed_bytes > SEALED_BYTES_MAX {
                return Err(Error::Data(format!(
                    "The rankings of this job take more than {} GiB, the most that is held in memory where a customer key encrypts the dataset group. Ask for fewer users or items in one job.",
                    SEALED_BYTES_MAX >> 30
                )));
            }
        }
        self.mapped.push(block);
        Ok(())
    }

    /// The ranking of the query at `position` among the distinct ones, best user first.
    pub(crate) fn ranking(&self, position: usize) -> impl Iterator<Item = u32> {
        words(&self.bytes_of(position)[..self.ranking_len * 4]).map(u32::from_le_bytes)
    }

    /// The scores that belong to [`Blocks::ranking`], if they are kept.
    pub(crate) fn scores(&self, position: usize) -> Option<impl Iterator<Item = f32>> {
        let scores = &self.bytes_of(position)[self.ranking_len * 4..];
        self.scores.then(|| words(scores).map(f32::from_le_bytes))
    }

    fn bytes_of(&self, position: usize) -> &[u8] {
        let bytes = self.ranking_bytes();
        let start = HEAD_BYTES + position % self.block_len * bytes;
        &self.mapped[position / self.block_len][start..start + bytes]
    }
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

    fn ranking(users: [u32; 2]) -> Ranking {
        Ranking {
            scores: users.map(|user| -0.5 * user as f32).into(),
            users: users.into(),
        }
    }

    #[test]
    fn finished_blocks_are_taken_up_and_foreign_or_damaged_ones_are_not() {
        for scores in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let open = |plan| Blocks::new(dir.path(), plan, 2, 2, scores, &Vault::plain()).unwrap();
            let mut blocks = open(7);
            assert!(!blocks.take_up(2).unwrap());
            blocks.push(&[ranking([1, 2]), ranking([3, 4])]).unwrap();
            blocks.push(&[ranking([5, 6])]).unwrap();
            assert_eq!(collect(&blocks, 1), [3, 4]);
            assert_eq!(collect(&blocks, 2), [5, 6]);

            let mut again = open(7);
            assert!(
                again.take_up(2).unwrap()
                    && again.take_up(1).unwrap()
                    && !again.take_up(1).unwrap()
            );
            assert_eq!(collect(&again, 2), [5, 6]);
            let kept = |position| again.scores(position).map(Iterator::collect::<Vec<f32>>);
            assert_eq!(kept(1), scores.then(|| vec![-1.5, -2.0]));
            assert_eq!(kept(2), scores.then(|| vec![-2.5, -3.0]));
            drop((blocks, again));

            assert!(!open(8).take_up(2).unwrap());

            let path = dir.path().join("block-000001");
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(dir.path().join("block-000000"), bytes).unwrap();
            assert!(!open(7).take_up(1).unwrap());
        }
    }
}
