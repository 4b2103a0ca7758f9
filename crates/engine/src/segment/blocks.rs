//! Finished rankings on disk, block by block.
//!
//! The distinct queries of a job are scored in blocks; a block that is done is one file: written
//! beside its place, synced, renamed, with a checksum. A killed job finds the blocks it finished
//! and goes on behind them. A file that does not fit the plan (other queries, other k, other model)
//! or its checksum is scored again.
//!
//! A block starts with a table of where its rankings end, and the checksum of each. A ranking is its
//! users, best first, as 4 bytes each; a job that writes scores has the scores of those users behind
//! them, 4 bytes each as well. Rankings are read from the files one by one when they are asked for,
//! and checked then, so that they take no memory however many there are.

use crate::Error;
use crate::score::Ranking;
use kindred_store::Vault;
use kindred_store::files::VaultReader;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Length of the head: plan, block number, rankings, checksum of all behind it.
const HEAD_BYTES: usize = 28;
/// Length of an entry of the table: how many users there are up to the end of a ranking, checksum.
const ENTRY_BYTES: usize = 12;
/// Most files that are kept open; others are opened for every ranking, which only many large blocks
/// make necessary.
const OPEN_FILES_MAX: usize = 128;
/// Bytes of a block that are checked at once.
const CHECK_BYTES: u64 = 1 << 20;

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
    vault: Vault,
    finished: Vec<Block>,
}

/// A finished block.
#[derive(Debug)]
struct Block {
    queries: usize,
    open: Option<VaultReader>,
}

/// A ranking as it was stored.
#[derive(Debug, Default)]
pub(crate) struct StoredRanking {
    bytes: Vec<u8>,
    /// Length of what has the users.
    users_bytes: usize,
}

impl StoredRanking {
    /// Users, best first.
    pub(crate) fn users(&self) -> impl Iterator<Item = u32> + Clone {
        words(&self.bytes[..self.users_bytes]).map(u32::from_le_bytes)
    }

    /// Their scores, if they are kept.
    pub(crate) fn scores(&self) -> impl Iterator<Item = f32> + Clone {
        words(&self.bytes[self.users_bytes..]).map(f32::from_le_bytes)
    }
}

impl Blocks {
    pub(crate) fn new(
        dir: &Path,
        plan: u64,
        block_len: usize,
        scores: bool,
        vault: &Vault,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        Ok(Blocks {
            dir: dir.to_owned(),
            plan,
            block_len,
            scores,
            vault: vault.clone(),
            finished: Vec::new(),
        })
    }

    /// Whether scores are kept.
    pub(crate) fn has_scores(&self) -> bool {
        self.scores
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
        let block = self.finished.len();
        let path = self.path(block);
        if !path.exists() {
            return Ok(false);
        }
        let checked = self
            .vault
            .open(&path)
            .and_then(|file| Ok(self.fits(&file, block, queries)?.then_some(file)));
        match checked {
            Ok(Some(file)) => {
                self.keep(queries, file);
                return Ok(true);
            }
            // What does not open was not written by an earlier try of this job.
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                return Err(Error::io(&path)(error));
            }
            _ => {}
        }
        std::fs::remove_file(&path).map_err(Error::io(&path))?;
        Ok(false)
    }

    fn fits(&self, file: &VaultReader, block: usize, queries: usize) -> io::Result<bool> {
        let table_bytes = (HEAD_BYTES + queries * ENTRY_BYTES) as u64;
        if file.length() < table_bytes {
            return Ok(false);
        }
        let users = match queries.checked_sub(1) {
            Some(last) => entry(file, last)?.0,
            None => 0,
        };
        let body = users.checked_mul(self.user_bytes() as u64);
        if body.and_then(|body| body.checked_add(table_bytes)) != Some(file.length()) {
            return Ok(false);
        }
        let mut head = Vec::with_capacity(HEAD_BYTES);
        file.read_range(0..HEAD_BYTES as u64, &mut head)?;
        let mut crc = 0;
        let mut piece = Vec::new();
        for from in (HEAD_BYTES as u64..file.length()).step_by(CHECK_BYTES as usize) {
            piece.clear();
            file.read_range(from..file.length().min(from + CHECK_BYTES), &mut piece)?;
            crc = crc32c::crc32c_append(crc, &piece);
        }
        Ok(head == self.head(block, queries, crc))
    }

    fn head(&self, block: usize, queries: usize, crc: u32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[0..8].copy_from_slice(&self.plan.to_le_bytes());
        head[8..16].copy_from_slice(&(block as u64).to_le_bytes());
        head[16..24].copy_from_slice(&(queries as u64).to_le_bytes());
        head[24..28].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Stores the next block; it is on disk when this returns.
    pub(crate) fn push(&mut self, rankings: &[Ranking]) -> Result<(), Error> {
        let block = self.finished.len();
        let body = self.body(rankings);
        let path = self.path(block);
        let staged = path.with_extension("new");
        let head = self.head(block, rankings.len(), crc32c::crc32c(&body));
        let write = || {
            let mut file = self.vault.create(&staged)?;
            file.write_all(&head)?;
            file.write_all(&body)?;
            file.finish()?;
            std::fs::rename(&staged, &path)?;
            File::open(&self.dir)?.sync_all()?;
            self.vault.open(&path)
        };
        let file = write().map_err(Error::io(&path))?;
        self.keep(rankings.len(), file);
        Ok(())
    }

    fn body(&self, rankings: &[Ranking]) -> Vec<u8> {
        let table_bytes = rankings.len() * ENTRY_BYTES;
        let users: usize = rankings.iter().map(|ranking| ranking.users.len()).sum();
        let mut body = Vec::with_capacity(table_bytes + users * self.user_bytes());
        body.resize(table_bytes, 0);
        let mut end = 0u64;
        for (place, Ranking { users, scores }) in rankings.iter().enumerate() {
            assert!(users.len() == scores.len(), "a user has a score");
            let start = body.len();
            body.extend(users.iter().flat_map(|user| user.to_le_bytes()));
            if self.scores {
                body.extend(scores.iter().flat_map(|score| score.to_le_bytes()));
            }
            end += users.len() as u64;
            let crc = crc32c::crc32c(&body[start..]);
            let entry = &mut body[place * ENTRY_BYTES..(place + 1) * ENTRY_BYTES];
            entry[..8].copy_from_slice(&end.to_le_bytes());
            entry[8..].copy_from_slice(&crc.to_le_bytes());
        }
        body
    }

    fn keep(&mut self, queries: usize, file: VaultReader) {
        let open = (self.finished.len() < OPEN_FILES_MAX).then_some(file);
        self.finished.push(Block { queries, open });
    }

    /// The rankings in these places. Those of blocks without scores have none.
    pub(crate) fn rankings(&self, places: std::ops::Range<usize>) -> Result<Vec<Ranking>, Error> {
        let mut stored = StoredRanking::default();
        places
            .map(|place| {
                self.read(place, &mut stored)?;
                Ok(Ranking {
                    users: stored.users().collect(),
                    scores: stored.scores().collect(),
                })
            })
            .collect()
    }

    /// Reads the ranking of the query at `position` among the distinct ones into `ranking`.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written.
    pub(crate) fn read(&self, position: usize, ranking: &mut StoredRanking) -> Result<(), Error> {
        let number = position / self.block_len;
        let place = position % self.block_len;
        let Block { queries, open } = &self.finished[number];
        let again;
        let file = match open {
            Some(file) => file,
            None => {
                let path = self.path(number);
                again = self.vault.open(&path).map_err(Error::io(&path))?;
                &again
            }
        };
        let intact = self.read_from(file, *queries, place, ranking);
        if intact.map_err(|error| Error::io(&self.path(number))(error))? {
            return Ok(());
        }
        let detail = format!("ranking {place} has another checksum");
        Err(Error::damaged(&self.path(number), detail))
    }

    /// Says whether the ranking is what was written.
    fn read_from(
        &self,
        file: &VaultReader,
        queries: usize,
        place: usize,
        ranking: &mut StoredRanking,
    ) -> io::Result<bool> {
        let start = match place.checked_sub(1) {
            Some(before) => entry(file, before)?.0,
            None => 0,
        };
        let (end, crc) = entry(file, place)?;
        let user_bytes = self.user_bytes() as u64;
        let table_bytes = (HEAD_BYTES + queries * ENTRY_BYTES) as u64;
        let users_max = file.length().saturating_sub(table_bytes) / user_bytes;
        if start > end || end > users_max {
            return Ok(false);
        }
        ranking.bytes.clear();
        ranking.users_bytes = ((end - start) * 4) as usize;
        let range = table_bytes + start * user_bytes..table_bytes + end * user_bytes;
        file.read_range(range, &mut ranking.bytes)?;
        Ok(crc32c::crc32c(&ranking.bytes) == crc)
    }
}

/// How many users there are up to the end of the ranking in a place of the block, and its checksum.
fn entry(block: &VaultReader, place: usize) -> io::Result<(u64, u32)> {
    let from = (HEAD_BYTES + place * ENTRY_BYTES) as u64;
    let mut bytes = Vec::with_capacity(ENTRY_BYTES);
    block.read_range(from..from + ENTRY_BYTES as u64, &mut bytes)?;
    let (mut end, mut crc) = ([0; 8], [0; 4]);
    end.copy_from_slice(&bytes[..8]);
    crc.copy_from_slice(&bytes[8..]);
    Ok((u64::from_le_bytes(end), u32::from_le_bytes(crc)))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + Clone {
    bytes
        .chunks_exact(4)
        .map(|word| [word[0], word[1], word[2], word[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(blocks: &Blocks, position: usize) -> StoredRanking {
        let mut ranking = StoredRanking::default();
        blocks.read(position, &mut ranking).unwrap();
        ranking
    }

    fn users(blocks: &Blocks, position: usize) -> Vec<u32> {
        read(blocks, position).users().collect()
    }

    fn scores(blocks: &Blocks, position: usize) -> Vec<f32> {
        read(blocks, position).scores().collect()
    }

    fn ranking<const N: usize>(users: [u32; N]) -> Ranking {
        Ranking {
            scores: users.map(|user| -0.5 * user as f32).into(),
            users: users.into(),
        }
    }

    #[test]
    fn finished_blocks_are_taken_up_and_foreign_or_damaged_ones_are_not() {
        for with_scores in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let open =
                |plan| Blocks::new(dir.path(), plan, 3, with_scores, &Vault::plain()).unwrap();
            let mut blocks = open(7);
            assert!(!blocks.take_up(3).unwrap());
            blocks
                .push(&[ranking([1, 2]), ranking([]), ranking([3])])
                .unwrap();
            blocks.push(&[ranking([5, 6, 7])]).unwrap();
            for (position, expected) in [&[1, 2][..], &[], &[3], &[5, 6, 7]].iter().enumerate() {
                assert_eq!(users(&blocks, position), *expected);
            }

            let mut again = open(7);
            assert!(
                again.take_up(3).unwrap()
                    && again.take_up(1).unwrap()
                    && !again.take_up(1).unwrap()
            );
            assert_eq!(users(&again, 2), [3]);
            let expected: &[f32] = if with_scores {
                &[-2.5, -3.0, -3.5]
            } else {
                &[]
            };
            assert!(scores(&again, 1).is_empty());
            assert_eq!(scores(&again, 3), expected);
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

    #[test]
    fn a_ranking_that_goes_bad_later_is_noticed_when_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut blocks = Blocks::new(dir.path(), 7, 2, true, &Vault::plain()).unwrap();
        blocks.push(&[ranking([1, 2]), ranking([3])]).unwrap();
        let path = dir.path().join("block-000000");
        let whole = std::fs::read(&path).unwrap();
        for damage in HEAD_BYTES..whole.len() {
            let mut bytes = whole.clone();
            bytes[damage] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let mut ranking = StoredRanking::default();
            let read = [0, 1].map(|position| blocks.read(position, &mut ranking));
            let damaged = |read: &Result<(), Error>| matches!(read, Err(Error::Damaged { .. }));
            assert!(read.iter().any(damaged), "byte {damage}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(users(&blocks, 1), [3]);
    }

    #[test]
    fn many_blocks_do_not_take_many_open_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut blocks = Blocks::new(dir.path(), 7, 1, false, &Vault::plain()).unwrap();
        let count = OPEN_FILES_MAX as u32 + 5;
        for user in 0..count {
            blocks.push(&[ranking([user])]).unwrap();
        }
        for user in 0..count {
            assert_eq!(users(&blocks, user as usize), [user]);
        }
        let open = blocks.finished.iter().filter(|block| block.open.is_some());
        assert_eq!(open.count(), OPEN_FILES_MAX);
    }
}
