//! What the server counts, and how it is told: Prometheus text.
//!
//! Counters and durations are noted where things happen, through the `metrics` facade. What can be
//! looked up (jobs, the queue, progress, memory) is looked up when somebody asks, so that it cannot
//! be stale. Names are documented in `docs/OPERATING.md`; no label holds anything of a request but
//! the operation's name, and of jobs their ARN.

use crate::error::Exception;
use kindred_catalog::records::{ImportJob, SegmentJob, SolutionVersion, status};
use kindred_catalog::{Catalog, Record, Tx, WorkKind};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

/// How often what was noted about durations is folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);
const REQUEST_SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0];
const STEP_SECONDS: &[f64] = &[0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0];

/// Starts counting for the whole process; a second call gives what the first made. `None` when
/// something else of the process has a recorder.
pub(crate) fn start() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(
                    Matcher::Full("kindred_request_seconds".to_owned()),
                    REQUEST_SECONDS,
                )
                .and_then(|builder| {
                    let steps = Matcher::Full("kindred_job_step_seconds".to_owned());
                    builder.set_buckets_for_metric(steps, STEP_SECONDS)
                })
                .ok()?
                .build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            Some(handle)
        })
        .clone()
}

/// Keeps the memory of durations small while nobody asks.
pub(crate) async fn keep_up(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

/// A request was answered.
pub(crate) fn answered(plane: &'static str, operation: String, status: u16, seconds: f64) {
    metrics::histogram!("kindred_request_seconds", "plane" => plane).record(seconds);
    metrics::counter!(
        "kindred_requests_total",
        "plane" => plane, "operation" => operation, "status" => status.to_string()
    )
    .increment(1);
}

/// A request came above the rate of its key.
pub(crate) fn limited(plane: &'static str) {
    metrics::counter!("kindred_requests_limited_total", "plane" => plane).increment(1);
}

/// A client was cut off: it sent no `request`, no `body`, or did not take its `answer`.
pub(crate) fn timed_out(what: &'static str) {
    metrics::counter!("kindred_timeouts_total", "what" => what).increment(1);
}

/// All of it as text.
pub(crate) fn text(
    handle: Option<&PrometheusHandle>,
    catalog: &Catalog,
) -> Result<String, Exception> {
    let mut text = handle.map(PrometheusHandle::render).unwrap_or_default();
    let found = catalog.read(look_up)?;
    text.push_str(&found);
    text.push_str(&process());
    Ok(text)
}

/// How many of each label combination.
type Counts = BTreeMap<(&'static str, String), u64>;

fn look_up(tx: &Tx<'_>) -> Result<String, Exception> {
    let mut jobs = Counts::new();
    count::<ImportJob>(tx, &mut jobs, WorkKind::Import, |job| &job.status)?;
    count::<SolutionVersion>(tx, &mut jobs, WorkKind::Train, |version| &version.status)?;
    count::<SegmentJob>(tx, &mut jobs, WorkKind::Segment, |job| &job.status)?;
    let mut text = String::new();
    gauge(&mut text, "kindred_jobs", "Jobs by kind and state.");
    for ((kind, state), number) in jobs {
        let _ = writeln!(
            text,
            "kindred_jobs{{kind=\"{kind}\",state=\"{state}\"}} {number}"
        );
    }
    let mut waiting = 0;
    let mut progress = String::new();
    for arn in tx.queued()? {
        let Some(state) = tx.work_state(&arn)? else {
            continue;
        };
        if !state.running {
            waiting += 1;
        } else if let Some((step, share)) = share_done(&state.progress) {
            let (arn, step) = (label(&arn), label(&step));
            let _ = writeln!(
                progress,
                "kindred_job_progress_ratio{{arn=\"{arn}\",step=\"{step}\"}} {share}"
            );
        }
    }
    gauge(
        &mut text,
        "kindred_queue_length",
        "Jobs that wait for a worker.",
    );
    let _ = writeln!(text, "kindred_queue_length {waiting}");
    gauge(
        &mut text,
        "kindred_job_progress_ratio",
        "How much of its step a running job has done.",
    );
    text.push_str(&progress);
    Ok(text)
}

fn count<R: Record>(
    tx: &Tx<'_>,
    into: &mut Counts,
    kind: WorkKind,
    status_of: impl Fn(&R) -> &str,
) -> Result<(), Exception> {
    // States without a job are told as well: a series that comes and goes cannot be watched.
    for state in [
        status::CREATE_PENDING,
        status::CREATE_IN_PROGRESS,
        status::ACTIVE,
        status::CREATE_FAILED,
    ] {
        into.insert((kind.as_str(), state.to_owned()), 0);
    }
    for record in tx.all::<R>(None)? {
        let state = status_of(&record).to_owned();
        *into.entry((kind.as_str(), state)).or_default() += 1;
    }
    Ok(())
}

/// Step and share of a progress note.
fn share_done(progress: &str) -> Option<(String, f64)> {
    let note: serde_json::Value = serde_json::from_str(progress).ok()?;
    let number = |name: &str| note[name].as_f64();
    let share = number("done")? / number("total")?.max(1.0);
    Some((note["step"].as_str()?.to_owned(), share.min(1.0)))
}

/// Memory and open files of this process, where the system tells them.
fn process() -> String {
    let mut text = String::new();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let in_use = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib << 10);
    for (bytes, name, help) in [
        (in_use, "process_resident_memory_bytes", "Memory in use."),
        (
            kindred_jobs::peak_memory_bytes(),
            "kindred_process_resident_memory_peak_bytes",
            "Most memory that was ever in use.",
        ),
    ] {
        if let Some(bytes) = bytes {
            gauge(&mut text, name, help);
            let _ = writeln!(text, "{name} {bytes}");
        }
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge(&mut text, "process_open_fds", "Open files and sockets.");
        let _ = writeln!(text, "process_open_fds {}", files.count());
    }
    text
}

fn gauge(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A label's value in the text format.
fn label(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
