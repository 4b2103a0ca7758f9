//! Who may run a job.
//!
//! At most one runner holds a lease, and only its holder can publish: the token is checked again
//! inside the transaction that finishes the job. Leases run on the monotonic clock; a process that
//! opens the catalog voids those of an earlier one. Jobs start in creation order, one at a time per
//! queue name. Nothing here knows what a job does; the loop that uses leases is
//! `kindred_jobs::runner`.

use crate::{Error, Result, Tx};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkKind {
    /// A dataset import job.
    Import,
    /// Training a solution version.
    Train,
    /// A batch segment job.
    Segment,
}

impl WorkKind {
    /// The word for it in records, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkKind::Import => "import",
            WorkKind::Train => "train",
            WorkKind::Segment => "segment",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [WorkKind::Import, WorkKind::Train, WorkKind::Segment]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Work to be queued, in the transaction that creates its resource.
#[derive(Clone, Debug)]
pub struct NewWork<'a> {
    /// The resource the work is for.
    pub arn: &'a str,
    /// What to do.
    pub kind: WorkKind,
    /// Work with the same queue name runs one after the other in creation order; work whose queue
    /// is its own ARN waits for nobody.
    pub queue: &'a str,
}

/// A lease on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The resource the work is for.
    pub arn: String,
    /// What to do.
    pub kind: WorkKind,
    /// Proof of the lease.
    pub token: i64,
    /// Tries in a row that ended without a new checkpoint.
    pub tries: u32,
    /// What the job noted last; empty at the start.
    pub checkpoint: Vec<u8>,
}

/// What others may see of a queued or running job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkState {
    /// Whether a runner is at it.
    pub running: bool,
    /// Whether a stop was asked for.
    pub stop: bool,
    /// Tries in a row that ended without a new checkpoint.
    pub tries: u32,
    /// How far it is: a JSON object, or empty.
    pub progress: String,
}

impl Tx<'_> {
    /// Queues work behind all that is queued already.
    pub fn enqueue(&self, work: &NewWork<'_>) -> Result<()> {
        self.inner
            .prepare_cached(
                "INSERT INTO work (arn, kind, queue, sequence, token, running, lease_until,
                   not_before, tries, stop, checkpoint, checkpoint_crc, progress)
                 VALUES (?1, ?2, ?3, (SELECT coalesce(max(sequence), 0) + 1 FROM work),
                   0, 0, 0, 0, 0, 0, x'', 0, '')",
            )?
            .execute(params![work.arn, work.kind.as_str(), work.queue])?;
        Ok(())
    }

    /// Leases the oldest job that may run now for `lease_ms`, if there is one.
    pub fn claim(&self, lease_ms: u64) -> Result<Option<Claim>> {
        let now = to_i64(self.monotonic_ms);
        let arn: Option<String> = self
            .inner
            .prepare_cached(
                "SELECT arn FROM work AS w
                 WHERE (running = 0 OR lease_until <= ?1) AND not_before <= ?1
                   AND NOT EXISTS (SELECT 1 FROM work AS earlier
                     WHERE earlier.queue = w.queue AND earlier.sequence < w.sequence)
                 ORDER BY sequence LIMIT 1",
            )?
            .query_row([now], |row| row.get(0))
            .optional()?;
        let Some(arn) = arn else { return Ok(None) };
        self.inner
            .prepare_cached(
                "UPDATE work SET running = 1, token = token + 1, lease_until = ?2 WHERE arn = ?1",
            )?
            .execute(params![arn, now.saturating_add(to_i64(lease_ms))])?;
        let (kind, token, tries, checkpoint, crc): (String, i64, u32, Vec<u8>, u32) = self
            .inner
            .prepare_cached(
                "SELECT kind, token, tries, checkpoint, checkpoint_crc FROM work WHERE arn = ?1",
            )?
            .query_row([&arn], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            })?;
        if crc32c::crc32c(&checkpoint) != crc {
            return Err(Error::Damaged(arn));
        }
        let Some(kind) = WorkKind::parse(&kind) else {
            return Err(Error::Damaged(arn));
        };
        Ok(Some(Claim {
            arn,
            kind,
            token,
            tries,
            checkpoint,
        }))
    }

    /// Fails with [`Error::LeaseLost`] unless `token` is the current lease of `arn`.
    pub fn check_lease(&self, arn: &str, token: i64) -> Result<()> {
        let held = self
            .inner
            .prepare_cached("SELECT 1 FROM work WHERE arn = ?1 AND token = ?2 AND running = 1")?
            .query_row(params![arn, token], |_| Ok(()))
            .optional()?
            .is_some();
        if held {
            Ok(())
        } else {
            Err(Error::LeaseLost(arn.to_owned()))
        }
    }

    /// Extends the lease by `lease_ms` from now and notes the progress; says whether a stop was
    /// asked for.
    pub fn renew(&self, arn: &str, token: i64, lease_ms: u64, progress: &str) -> Result<bool> {
        self.check_lease(arn, token)?;
        let until = to_i64(self.monotonic_ms).saturating_add(to_i64(lease_ms));
        self.inner
            .prepare_cached("UPDATE work SET lease_until = ?2, progress = ?3 WHERE arn = ?1")?
            .execute(params![arn, until, progress])?;
        Ok(self.work_state(arn)?.is_some_and(|state| state.stop))
    }

    /// Notes how far the job is; tries start counting anew.
    pub fn checkpoint(&self, arn: &str, token: i64, checkpoint: &[u8]) -> Result<()> {
        self.check_lease(arn, token)?;
        self.inner
            .prepare_cached(
                "UPDATE work SET checkpoint = ?2, checkpoint_crc = ?3, tries = 0 WHERE arn = ?1",
            )?
            .execute(params![arn, checkpoint, crc32c::crc32c(checkpoint)])?;
        Ok(())
    }

    /// Gives the lease back for another try after `delay_ms`. `counts` says whether the job itself
    /// ended the try.
    pub fn release(&self, arn: &str, token: i64, delay_ms: u64, counts: bool) -> Result<()> {
        self.check_lease(arn, token)?;
        let not_before = to_i64(self.monotonic_ms).saturating_add(to_i64(delay_ms));
        self.inner
            .prepare_cached(
                "UPDATE work SET running = 0, lease_until = 0, not_before = ?2, tries = tries + ?3
                 WHERE arn = ?1",
            )?
            .execute(params![arn, not_before, i64::from(counts)])?;
        Ok(())
    }

    /// Takes the job off the queue; belongs into the transaction that stores its result.
    pub fn finish(&self, arn: &str, token: i64) -> Result<()> {
        self.check_lease(arn, token)?;
        self.remove_work(arn)
    }

    /// Takes a job that nobody runs off the queue.
    pub fn remove_work(&self, arn: &str) -> Result<()> {
        self.inner
            .prepare_cached("DELETE FROM work WHERE arn = ?1")?
            .execute([arn])?;
        Ok(())
    }

    /// Asks the runner of `arn` to stop.
    pub fn request_stop(&self, arn: &str) -> Result<()> {
        self.inner
            .prepare_cached("UPDATE work SET stop = 1 WHERE arn = ?1")?
            .execute([arn])?;
        Ok(())
    }

    /// What is known of a queued or running job; `None` when it is neither.
    pub fn work_state(&self, arn: &str) -> Result<Option<WorkState>> {
        Ok(self
            .inner
            .prepare_cached("SELECT running, stop, tries, progress FROM work WHERE arn = ?1")?
            .query_row([arn], |row| {
                Ok(WorkState {
                    running: row.get::<_, i64>(0)? != 0,
                    stop: row.get::<_, i64>(1)? != 0,
                    tries: row.get(2)?,
                    progress: row.get(3)?,
                })
            })
            .optional()?)
    }

    /// ARNs of all queued and running jobs, oldest first.
    pub fn queued(&self) -> Result<Vec<String>> {
        let mut statement = self
            .inner
            .prepare_cached("SELECT arn FROM work ORDER BY sequence")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Milliseconds until the next waiting job may run, if one waits for its time.
    pub fn next_due_ms(&self) -> Result<Option<u64>> {
        let now = to_i64(self.monotonic_ms);
        let due: Option<i64> = self
            .inner
            .prepare_cached(
                "SELECT min(not_before) FROM work WHERE running = 0 AND not_before > ?1",
            )?
            .query_row([now], |row| row.get(0))?;
        Ok(due.map(|due| due.saturating_sub(now).unsigned_abs()))
    }
}

fn to_i64(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
