//! What the service's own Describe operations leave out: how far a job is, and what it did.
//!
//! For dataset import jobs, solution versions and batch segment jobs. Whoever may describe one may see
//! this of it. Not an operation of the service's model: it has a path of its own, `/_/jobs`.

use super::{Context, authorize, dispatch};
use crate::error::Exception;
use crate::identity::Caller;
use kindred_catalog::records::{ImportJob, SegmentJob, SolutionVersion};
use kindred_catalog::{Record, Tx};
use kindred_types::time::Timestamp;
use serde_json::{Map, Value, json};

/// The kinds of jobs, by their ARNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    Import,
    Training,
    Segment,
}

impl JobKind {
    /// The kind that an ARN is of, if it is one of a job.
    pub(crate) fn of(arn: &str) -> Option<JobKind> {
        let resource = arn.splitn(6, ':').nth(5)?;
        let (kind, name) = resource.split_once('/')?;
        match kind {
            "dataset-import-job" => Some(JobKind::Import),
            "solution" if name.contains('/') => Some(JobKind::Training),
            "batch-segment-job" => Some(JobKind::Segment),
            _ => None,
        }
    }

    /// The operation that describes it, and the member with its ARN.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            JobKind::Import => ("DescribeDatasetImportJob", "datasetImportJobArn"),
            JobKind::Training => ("DescribeSolutionVersion", "solutionVersionArn"),
            JobKind::Segment => ("DescribeBatchSegmentJob", "batchSegmentJobArn"),
        }
    }

    fn words(self) -> &'static str {
        match self {
            JobKind::Import => "dataset import job",
            JobKind::Training => "solution version",
            JobKind::Segment => "batch segment job",
        }
    }
}

/// The ARN that a request for a report names, and its kind.
///
/// # Errors
/// InvalidInput for a body without one, or with one of something else.
pub(crate) fn job_of(body: &[u8]) -> Result<(String, JobKind), Exception> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        Exception::serialization(format!("Request body is not valid JSON: {error}"))
    })?;
    let arn = body["jobArn"].as_str().unwrap_or_default();
    let kind = JobKind::of(arn).ok_or_else(|| {
        Exception::invalid_input(
            "jobArn must be the ARN of a dataset import job, a solution version or a batch segment job.",
        )
    })?;
    Ok((arn.to_owned(), kind))
}

/// All about a job: `arn`, `kind`, `status`, `failure_reason` of a failed one, `created` and `updated`
/// (seconds since the epoch), `progress` while it runs (`step`, `done`, `total`, `detail`,
/// `step_seconds`, `eta_seconds`), `statistics` of a finished one.
///
/// # Errors
/// Those of describing it.
pub(crate) fn job_report(
    ctx: &Context,
    caller: &Caller,
    arn: &str,
    kind: JobKind,
) -> Result<Value, Exception> {
    let (operation, member) = kind.describe();
    let body = json!({ member: arn }).to_string();
    authorize(ctx, caller, operation, body.as_bytes())?;
    // Its form is checked as that operation checks it, and whether there is such a job.
    dispatch(ctx, operation, body.as_bytes())?;
    ctx.catalog.read(|tx| {
        let mut report = match kind {
            JobKind::Import => about::<ImportJob>(tx, arn)?,
            JobKind::Training => about::<SolutionVersion>(tx, arn)?,
            JobKind::Segment => about::<SegmentJob>(tx, arn)?,
        };
        report.insert("kind".into(), kind.words().into());
        if let Some(state) = tx.work_state(arn)? {
            // The note of an earlier try says nothing about one that waits for its turn.
            let progress = Some(&*state.progress).filter(|_| state.running);
            if let Some(progress) = progress.and_then(|text| serde_json::from_str(text).ok()) {
                report.insert("progress".into(), progress);
            }
        }
        Ok(Value::Object(report))
    })
}

/// What a job's record says.
trait Reported: Record {
    fn status(&self) -> (&str, Option<&str>);
    fn times(&self) -> (Timestamp, Timestamp);
    fn statistics(&self) -> Option<&Value>;
}

macro_rules! reported {
    ($record:ty) => {
        impl Reported for $record {
            fn status(&self) -> (&str, Option<&str>) {
                (&self.status, self.failure_reason.as_deref())
            }

            fn times(&self) -> (Timestamp, Timestamp) {
                (self.created, self.updated)
            }

            fn statistics(&self) -> Option<&Value> {
                self.statistics.as_ref()
            }
        }
    };
}

reported!(ImportJob);
reported!(SolutionVersion);
reported!(SegmentJob);

fn about<R: Reported>(tx: &Tx<'_>, arn: &str) -> Result<Map<String, Value>, Exception> {
    let record: R = super::lookup::need(tx, arn)?;
    let (status, failure_reason) = record.status();
    let (created, updated) = record.times();
    let seconds = |time: Timestamp| time.0 as f64 / 1000.0;
    let mut report = Map::new();
    report.insert("arn".into(), arn.into());
    report.insert("status".into(), status.into());
    if let Some(reason) = failure_reason {
        report.insert("failure_reason".into(), reason.into());
    }
    report.insert("created".into(), seconds(created).into());
    report.insert("updated".into(), seconds(updated).into());
    if let Some(statistics) = record.statistics() {
        report.insert("statistics".into(), statistics.clone());
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_known_by_their_arns() {
        let check = |resource: &str, expected: Option<JobKind>| {
            let arn = format!("arn:aws:personalize:us-east-1:000000000000:{resource}");
            assert_eq!(JobKind::of(&arn), expected, "{resource}");
        };
        check("dataset-import-job/a", Some(JobKind::Import));
        check("solution/a/b", Some(JobKind::Training));
        check("batch-segment-job/a", Some(JobKind::Segment));
        for other in [
            "solution/a",
            "dataset/a/b",
            "filter/a",
            "batch-segment-job",
            "",
        ] {
            check(other, None);
        }
        assert_eq!(JobKind::of("batch-segment-job/a"), None);
        assert!(job_of(b"{}").is_err() && job_of(b"x").is_err());
    }
}
