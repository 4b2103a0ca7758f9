//! The worker threads and the life of a job.
//!
//! Workers lease the oldest job that may run, one thread renews all leases, and every try ends in
//! exactly one way: finished, failed, stopped, or given back for another try. A panic in a job is a
//! failed try; the server lives. Shutting down stops jobs at their next good moment and gives them
//! back, so that they go on where they were.

use crate::artifacts::{self, PublishLock};
use crate::failure::Failure;
use crate::measure::{self, Steps};
use crate::system::MemoryWatch;
use crate::{Buckets, JobSettings, Layout, import_job, segment_job, train_job};
use kindred_catalog::records::{ImportJob, Record, SegmentJob, SolutionVersion, status};
use kindred_catalog::{Catalog, Claim, Tx, WorkKind};
use kindred_engine::progress::Progress;
use kindred_store::KeyService;
use kindred_types::parts::{Clock, Random, random_uuid};
use kindred_types::time::Timestamp;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a lease lasts without renewal.
const LEASE_MS: u64 = 30_000;
/// How often leases are renewed and progress is stored.
const RENEW_MS: u64 = 1_000;
/// Tries in a row without a new checkpoint before a job fails for good.
const TRIES_MAX: u32 = 3;
/// Pause before a job is tried again after storage was away; doubles up to 64 times this.
const RETRY_MS: u64 = 500;
/// Tries while storage is away before the job fails: about a quarter of an hour.
const AWAY_TRIES_MAX: u32 = 32;
/// Percent of a step between two lines of the log.
const LOG_PERCENT: u64 = 10;
/// How long an idle worker waits before it looks again by itself.
const IDLE_MS: u64 = 5_000;

/// What jobs work with; all of it is handed in.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Resources and the queue.
    pub catalog: Arc<Catalog>,
    /// The buckets, for those who have a role.
    pub store: Buckets,
    /// Customer keys.
    pub keys: Arc<dyn KeyService>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub random: Arc<dyn Random>,
    /// Where artifacts and scratch files lie.
    pub layout: Layout,
    /// The numbers.
    pub settings: JobSettings,
}

/// The running job runner. Dropping it without [`Runner::stop`] leaves its threads to the process.
#[derive(Debug)]
pub struct Runner {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    publish: PublishLock,
    shutdown: AtomicBool,
    /// Counts wake-ups, so that none between a look and a wait is lost.
    wakes: Mutex<u64>,
    bell: Condvar,
    active: Mutex<HashMap<String, Arc<Control>>>,
    away_tries: Mutex<HashMap<String, u32>>,
}

/// What the lease thread and a running job tell each other.
#[derive(Debug, Default)]
struct Control {
    token: i64,
    progress: Mutex<String>,
    /// Step and percentage that the log was told last.
    shown: Mutex<(String, u64)>,
    steps: Steps,
    stop: AtomicBool,
    lost: AtomicBool,
}

impl Runner {
    /// Sweeps what a crash left behind and starts the workers.
    ///
    /// # Errors
    /// When the directories cannot be made or the catalog cannot be read.
    pub fn start(parts: Parts) -> Result<Self, Failure> {
        for directory in [
            parts.layout.datasets(),
            parts.layout.models(),
            parts.layout.jobs(),
        ] {
            std::fs::create_dir_all(&directory)?;
        }
        artifacts::sync_directory(parts.layout.root())?;
        let workers = parts.settings.workers.max(1);
        let shared = Arc::new(Shared {
            parts,
            publish: PublishLock::default(),
            shutdown: AtomicBool::new(false),
            wakes: Mutex::new(0),
            bell: Condvar::new(),
            active: Mutex::default(),
            away_tries: Mutex::default(),
        });
        artifacts::sweep(&shared.parts.layout, &shared.parts.catalog, &shared.publish)?;
        sweep_scratch(&shared)?;
        let mut threads = Vec::new();
        for number in 0..workers {
            threads.push(spawn(format!("job-{number}"), &shared, work_loop)?);
        }
        threads.push(spawn("job-leases".to_owned(), &shared, lease_loop)?);
        Ok(Runner { shared, threads })
    }

    /// A function that tells the workers there is something new in the queue.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let shared = self.shared.clone();
        Arc::new(move || shared.wake())
    }

    /// Stops running jobs at their next good moment, gives them back and waits for the threads.
    pub fn stop(self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        self.shared.wake();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a job thread panicked outside of a job");
            }
        }
    }
}

fn spawn(name: String, shared: &Arc<Shared>, body: fn(&Shared)) -> Result<JoinHandle<()>, Failure> {
    let shared = shared.clone();
    Ok(std::thread::Builder::new()
        .name(name)
        .spawn(move || body(&shared))?)
}

impl Shared {
    fn wake(&self) {
        *lock(&self.wakes) += 1;
        self.bell.notify_all();
    }

    fn stopping(&self) -> bool {
        self.shutdown.load(Ordering::SeqCst)
    }

    fn wait(&self, seen: u64, at_most_ms: u64) {
        let guard = lock(&self.wakes);
        let timeout = Duration::from_millis(at_most_ms.max(1));
        // Spurious wake-ups only cost another look at the queue.
        let _ = self
            .bell
            .wait_timeout_while(guard, timeout, |wakes| *wakes == seen && !self.stopping());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work_loop(shared: &Shared) {
    while !shared.stopping() {
        let seen = *lock(&shared.wakes);
        match shared.parts.catalog.write(claim_and_mark) {
            Ok(Some(claim)) => {
                run(shared, &claim);
                shared.wake();
            }
            Ok(None) => {
                let due = shared
                    .parts
                    .catalog
                    .read(|tx| tx.next_due_ms())
                    .ok()
                    .flatten();
                shared.wait(seen, due.unwrap_or(IDLE_MS).min(IDLE_MS));
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the job queue");
                shared.wait(seen, IDLE_MS);
            }
        }
    }
}

/// Leases a job and shows it as in progress, in one transaction.
fn claim_and_mark(tx: &Tx<'_>) -> Result<Option<Claim>, kindred_catalog::Error> {
    let Some(claim) = tx.claim(LEASE_MS)? else {
        return Ok(None);
    };
    set_status(tx, &claim, |state| {
        if *state.status == status::CREATE_PENDING {
            *state.status = status::CREATE_IN_PROGRESS.to_owned();
        }
    })?;
    Ok(Some(claim))
}

/// Renews the leases of all running jobs and hands stop requests on.
fn lease_loop(shared: &Shared) {
    loop {
        let seen = *lock(&shared.wakes);
        let active: Vec<(String, Arc<Control>)> = lock(&shared.active)
            .iter()
            .map(|(arn, control)| (arn.clone(), control.clone()))
            .collect();
        if active.is_empty() && shared.stopping() {
            return;
        }
        for (arn, control) in active {
            let progress = lock(&control.progress).clone();
            match shared
                .parts
                .catalog
                .write(|tx| tx.renew(&arn, control.token, LEASE_MS, &progress))
            {
                Ok(stop) => control.stop.store(stop, Ordering::SeqCst),
                Err(kindred_catalog::Error::LeaseLost(_)) => {
                    control.lost.store(true, Ordering::SeqCst)
                }
                Err(error) => tracing::error!(%arn, %error, "cannot renew a lease"),
            }
        }
        if shared.stopping() {
            // Jobs are ending; look again soon without a bell.
            std::thread::park_timeout(Duration::from_millis(20));
        } else {
            shared.wait(seen, RENEW_MS);
        }
    }
}

/// One try of a job, from lease to its end.
fn run(shared: &Shared, claim: &Claim) {
    let control = Arc::new(Control {
        token: claim.token,
        ..Control::default()
    });
    lock(&shared.active).insert(claim.arn.clone(), control.clone());
    let job = Job {
        shared,
        claim,
        control: &control,
        memory: MemoryWatch::start(),
    };
    tracing::info!(arn = %claim.arn, kind = ?claim.kind, "job starts");
    let outcome = catch_unwind(AssertUnwindSafe(|| match claim.kind {
        WorkKind::Import => import_job::run(&job),
        WorkKind::Train => train_job::run(&job),
        WorkKind::Segment => segment_job::run(&job),
    }));
    lock(&shared.active).remove(&claim.arn);
    control
        .steps
        .end(claim.kind, shared.parts.clock.monotonic_ms());
    let outcome = outcome.unwrap_or_else(|panic| Err(Failure::Internal(panic_text(&*panic))));
    measure::tried(claim.kind, word_for(&outcome));
    if let Err(error) = conclude(shared, claim, &control, outcome) {
        tracing::error!(arn = %claim.arn, %error, "cannot record the end of a job");
    }
}

/// How a try ended, for those who count.
fn word_for(outcome: &Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "finished",
        Err(Failure::Input(_)) => "input",
        Err(Failure::Retry(_)) => "storage_away",
        Err(Failure::Stopped) => "stopped",
        Err(Failure::LeaseLost) => "lease_lost",
        Err(Failure::Internal(_)) => "internal",
    }
}

/// Records how a try ended. A finished job has recorded that itself, with its result.
fn conclude(
    shared: &Shared,
    claim: &Claim,
    control: &Control,
    outcome: Result<(), Failure>,
) -> Result<(), kindred_catalog::Error> {
    let catalog = &shared.parts.catalog;
    let failure = match outcome {
        Ok(()) => {
            lock(&shared.away_tries).remove(&claim.arn);
            remove_scratch(shared, &claim.arn);
            tracing::info!(arn = %claim.arn, "job is done");
            return Ok(());
        }
        Err(failure) => failure,
    };
    match failure {
        Failure::LeaseLost => {
            tracing::warn!(arn = %claim.arn, "lost the lease");
            Ok(())
        }
        Failure::Stopped if stop_asked(shared, claim, control)? => {
            end(shared, claim, status::CREATE_STOPPED, None)
        }
        Failure::Stopped => catalog.write(|tx| tx.release(&claim.arn, claim.token, 0, false)),
        Failure::Input(reason) => {
            tracing::info!(arn = %claim.arn, %reason, "job failed");
            end(shared, claim, status::CREATE_FAILED, Some(reason))
        }
        Failure::Retry(reason) => {
            let tries = {
                let mut away = lock(&shared.away_tries);
                let tries = away.entry(claim.arn.clone()).or_default();
                *tries += 1;
                *tries
            };
            tracing::warn!(arn = %claim.arn, %reason, tries, "job waits for storage");
            if tries >= AWAY_TRIES_MAX {
                return end(shared, claim, status::CREATE_FAILED, Some(reason));
            }
            let delay = RETRY_MS << tries.min(6);
            catalog.write(|tx| tx.release(&claim.arn, claim.token, delay, false))
        }
        Failure::Internal(reason) => {
            let id = random_uuid(&*shared.parts.random);
            tracing::error!(arn = %claim.arn, request_id = %id, tries = claim.tries + 1, %reason, "job try broke");
            let Some(state) = catalog.read(|tx| tx.work_state(&claim.arn))? else {
                // The result is committed: only the tidying after it broke.
                return tidy(shared, &claim.arn);
            };
            if state.tries + 1 >= TRIES_MAX {
                let text = format!("Internal error, request id {id}.");
                return end(shared, claim, status::CREATE_FAILED, Some(text));
            }
            catalog.write(|tx| tx.release(&claim.arn, claim.token, RETRY_MS, true))
        }
    }
}

/// Whether the user asked for a stop. The catalog knows it before the running job does.
fn stop_asked(
    shared: &Shared,
    claim: &Claim,
    control: &Control,
) -> Result<bool, kindred_catalog::Error> {
    let state = shared.parts.catalog.read(|tx| tx.work_state(&claim.arn))?;
    Ok(control.stop.load(Ordering::SeqCst) || state.is_some_and(|state| state.stop))
}

fn end(
    shared: &Shared,
    claim: &Claim,
    to: &str,
    reason: Option<String>,
) -> Result<(), kindred_catalog::Error> {
    shared.parts.catalog.write(|tx| {
        tx.finish(&claim.arn, claim.token)?;
        set_status(tx, claim, |state| {
            *state.status = to.to_owned();
            *state.failure_reason = reason.clone();
        })
    })?;
    tidy(shared, &claim.arn)
}

/// Removes what a job that is off the queue left behind.
fn tidy(shared: &Shared, arn: &str) -> Result<(), kindred_catalog::Error> {
    lock(&shared.away_tries).remove(arn);
    let parts = &shared.parts;
    let swept = artifacts::sweep(&parts.layout, &parts.catalog, &shared.publish);
    // Last: once the scratch directory is gone, so is everything else of the job.
    remove_scratch(shared, arn);
    swept
}

fn remove_scratch(shared: &Shared, arn: &str) {
    let path = shared.parts.layout.scratch(arn);
    match std::fs::remove_dir_all(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove scratch files"),
    }
}

/// Removes scratch directories whose job is no longer queued.
fn sweep_scratch(shared: &Shared) -> Result<(), Failure> {
    let waiting = shared.parts.catalog.read(|tx| tx.queued())?;
    let keep: Vec<_> = waiting
        .iter()
        .map(|arn| shared.parts.layout.scratch(arn))
        .collect();
    for entry in std::fs::read_dir(shared.parts.layout.jobs())? {
        let path = entry?.path();
        if !keep.contains(&path) {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panic: {}",
        text.unwrap_or_else(|| "of unknown kind".to_owned())
    )
}

/// The members of a job's record that the runner changes.
struct State<'r> {
    status: &'r mut String,
    failure_reason: &'r mut Option<String>,
}

fn set_status(
    tx: &Tx<'_>,
    claim: &Claim,
    change: impl Fn(State<'_>),
) -> Result<(), kindred_catalog::Error> {
    /// The three kinds of records share these members, but not a type.
    macro_rules! change_record {
        ($record:ty) => {{
            if let Some(mut record) = tx.get::<$record>(&claim.arn)? {
                let before = record.clone();
                change(State {
                    status: &mut record.status,
                    failure_reason: &mut record.failure_reason,
                });
                if record != before {
                    record.updated = tx.now();
                    tx.update(&record)?;
                }
            }
        }};
    }
    match claim.kind {
        WorkKind::Import => change_record!(ImportJob),
        WorkKind::Train => change_record!(SolutionVersion),
        WorkKind::Segment => change_record!(SegmentJob),
    }
    Ok(())
}

/// A leased job, as its steps see it.
pub(crate) struct Job<'r> {
    shared: &'r Shared,
    claim: &'r Claim,
    control: &'r Control,
    memory: MemoryWatch,
}

impl Job<'_> {
    pub(crate) fn parts(&self) -> &Parts {
        &self.shared.parts
    }

    pub(crate) fn arn(&self) -> &str {
        &self.claim.arn
    }

    pub(crate) fn publish_lock(&self) -> MutexGuard<'_, ()> {
        self.shared.publish.hold()
    }

    /// The job's own record.
    pub(crate) fn record<R: Record>(&self) -> Result<R, Failure> {
        Ok(self.parts().catalog.read(|tx| tx.need(self.arn()))?)
    }

    /// The scratch directory, made if need be.
    pub(crate) fn scratch(&self) -> Result<std::path::PathBuf, Failure> {
        let path = self.parts().layout.scratch(self.arn());
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// The checkpoint of an earlier try, if it noted one of this type.
    pub(crate) fn load_checkpoint<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.claim.checkpoint).ok()
    }

    /// Notes how far the job is.
    pub(crate) fn checkpoint<T: serde::Serialize>(&self, value: &T) -> Result<(), Failure> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| Failure::Internal(error.to_string()))?;
        let parts = self.parts();
        Ok(parts
            .catalog
            .write(|tx| tx.checkpoint(self.arn(), self.claim.token, &bytes))?)
    }

    /// Runs `body`, which stores the result, in the transaction that takes the job off the queue;
    /// then sweeps what the result replaced.
    pub(crate) fn finish(
        &self,
        body: impl FnOnce(&Tx<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let parts = self.parts();
        parts.catalog.write(|tx| {
            // A stop that was acknowledged is kept, however late it came.
            if tx.work_state(self.arn())?.is_some_and(|state| state.stop) {
                return Err(Failure::Stopped);
            }
            tx.finish(self.arn(), self.claim.token)?;
            body(tx)
        })
    }

    /// Removes generations and models that no record names any more. Never while the publish lock
    /// is held.
    pub(crate) fn sweep(&self) -> Result<(), Failure> {
        let parts = self.parts();
        Ok(artifacts::sweep(
            &parts.layout,
            &parts.catalog,
            &self.shared.publish,
        )?)
    }

    /// Fails with [`Failure::Stopped`] when the job should end early.
    pub(crate) fn check_stop(&self) -> Result<(), Failure> {
        if self.control.lost.load(Ordering::SeqCst) {
            return Err(Failure::LeaseLost);
        }
        if self.stopped() {
            Err(Failure::Stopped)
        } else {
            Ok(())
        }
    }

    /// Peak memory of the process in bytes since this try started.
    pub(crate) fn peak_memory_bytes(&self) -> Option<u64> {
        self.memory.peak_bytes()
    }

    /// Seconds since `start_ms` of the monotonic clock.
    pub(crate) fn seconds_since(&self, start_ms: u64) -> f64 {
        self.parts().clock.monotonic_ms().saturating_sub(start_ms) as f64 / 1000.0
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts().clock.now()
    }
}

impl Progress for Job<'_> {
    fn report(&self, step: &str, done: u64, total: u64, detail: &str) {
        let now_ms = self.parts().clock.monotonic_ms();
        let steps = &self.control.steps;
        let pace = steps.enter(self.claim.kind, step, (done, total), now_ms);
        let text = serde_json::json!({
            "step": step, "done": done, "total": total, "detail": detail,
            "step_seconds": pace.step_seconds, "eta_seconds": pace.eta_seconds,
        });
        *lock(&self.control.progress) = text.to_string();
        let percent = done.saturating_mul(100) / total.max(1);
        let mut shown = lock(&self.control.shown);
        if shown.0 != step || percent >= shown.1 + LOG_PERCENT {
            tracing::info!(arn = %self.claim.arn, step, percent, detail, "progress");
            *shown = (step.to_owned(), percent);
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stopping()
            || self.control.stop.load(Ordering::SeqCst)
            || self.control.lost.load(Ordering::SeqCst)
    }
}
