//! The audit log: who did what, when, on what, and how it ended.
//!
//! One JSON object per line in `<data-dir>/audit/audit.jsonl`, for every request with a caller and
//! for every access of a job as its role. Sensitive members of a request show `****`; secrets are
//! never in one. A full file is renamed with the next number and the oldest are removed. A line
//! that cannot be written is reported in the server's log; requests do not wait for the disk.

use crate::identity::Caller;
use kindred_types::parts::Clock;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;

/// Largest file before the next one begins.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Full files that are kept beside the one that is written.
const FILES_KEPT: u64 = 15;
/// Largest parameters that are written; larger ones are left out, and the line says so.
const PARAMETER_BYTES_MAX: usize = 16 << 10;
const FILE: &str = "audit.jsonl";
const MASK: &str = "****";

/// Members that the service's model marks as sensitive, and what comes near a secret. Names are
/// compared ignoring case, at any depth.
const MASKED: [&str; 12] = [
    "filterexpression",
    "filtervalues",
    "tags",
    "tagkeys",
    "tagkey",
    "tagvalue",
    "secretaccesskey",
    "sessiontoken",
    "externalid",
    "plaintext",
    "ciphertextblob",
    "encryptioncontext",
];

/// Something that was done or tried.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Entry {
    /// ARN of whoever did it.
    pub(crate) caller: String,
    /// The access key that signed, or nothing for a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_key: Option<String>,
    /// For example `personalize:CreateSolution`.
    pub(crate) action: String,
    /// ARN, or `*` for nothing in particular.
    pub(crate) resource: String,
    /// `Success`, or the error's code.
    pub(crate) outcome: String,
    /// Id of the request, as the client got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// The job that did it, for accesses of jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    /// What was asked for, sensitive members masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<Value>,
}

impl Entry {
    /// An entry about something that the caller did.
    pub(crate) fn by(caller: &Caller) -> Self {
        Entry {
            caller: caller.arn.clone(),
            access_key: Some(caller.access_key.clone()),
            ..Entry::default()
        }
    }
}

impl Entry {
    /// Whether a request was done that changed nothing.
    fn only_reads(&self) -> bool {
        let name = self.action.rsplit(':').next().unwrap_or_default();
        let reads = ["Describe", "List", "Get", "Head"];
        self.job.is_none()
            && self.outcome == SUCCESS
            && reads.iter().any(|verb| name.starts_with(verb))
    }
}

/// The outcome of what went well.
pub(crate) const SUCCESS: &str = "Success";

/// Writes the log.
#[derive(Debug)]
pub(crate) struct Audit {
    clock: Arc<dyn Clock>,
    reads: bool,
    file_bytes_max: u64,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    directory: PathBuf,
    file: File,
    bytes: u64,
}

#[derive(Serialize)]
struct Line<'e> {
    time: String,
    #[serde(flatten)]
    entry: &'e Entry,
}

impl Audit {
    /// Opens the log below `directory`, which only its owner can read. Requests that only read get
    /// lines with `reads`.
    pub(crate) fn open(directory: &Path, clock: Arc<dyn Clock>, reads: bool) -> io::Result<Self> {
        Audit::open_with(directory, clock, reads, FILE_BYTES_MAX)
    }

    fn open_with(
        directory: &Path,
        clock: Arc<dyn Clock>,
        reads: bool,
        file_bytes_max: u64,
    ) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let file = open_file(directory)?;
        let bytes = file.metadata()?.len();
        Ok(Audit {
            clock,
            reads,
            file_bytes_max,
            open: Mutex::new(Open {
                directory: directory.to_owned(),
                file,
                bytes,
            }),
        })
    }

    /// Adds a line.
    pub(crate) fn write(&self, entry: &Entry) {
        if !self.reads && entry.only_reads() {
            return;
        }
        let line = Line {
            time: instant(self.clock.now().0),
            entry,
        };
        let written = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|mut bytes| {
                bytes.push(b'\n');
                let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.append(&bytes, self.file_bytes_max)
            });
        if let Err(error) = written {
            tracing::error!(%error, action = %entry.action, "the audit log lacks a line");
        }
    }
}

impl Open {
    fn append(&mut self, line: &[u8], file_bytes_max: u64) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > file_bytes_max {
            self.rotate()?;
        }
        // One write per line: lines never mix, and a crash tears at most the last.
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let numbers = numbers(&self.directory)?;
        let next = numbers.iter().max().map_or(1, |last| last + 1);
        let current = self.directory.join(FILE);
        std::fs::rename(&current, self.directory.join(format!("audit.{next}.jsonl")))?;
        for number in numbers {
            if number + FILES_KEPT <= next {
                std::fs::remove_file(self.directory.join(format!("audit.{number}.jsonl")))?;
            }
        }
        self.file = open_file(&self.directory)?;
        self.bytes = 0;
        Ok(())
    }
}

fn open_file(directory: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(directory.join(FILE))
}

/// Numbers of the full files.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| {
            name.strip_prefix("audit.")?
                .strip_suffix(".jsonl")?
                .parse()
                .ok()
        });
        numbers.extend(number);
    }
    Ok(numbers)
}

/// The parameters of a request as the log shows them.
pub(crate) fn masked(parameters: Value) -> Value {
    let text = parameters.to_string();
    if text.len() > PARAMETER_BYTES_MAX {
        return Value::from(format!("{} bytes, left out", text.len()));
    }
    mask(parameters)
}

fn mask(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| {
                    // `Tags.member.1.Value` of a form is as sensitive as `tags` of a body.
                    let stem = name.split('.').next().unwrap_or_default();
                    let sensitive = MASKED.contains(&stem.to_ascii_lowercase().as_str());
                    let shown = if sensitive { MASK.into() } else { mask(value) };
                    (name, shown)
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(values) => values.into_iter().map(mask).collect(),
        other => other,
    }
}

/// `2026-11-27T12:00:00.123Z`.
fn instant(ms: i64) -> String {
    let form = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(form).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindred_types::time::Timestamp;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[derive(Debug)]
    struct FixedClock;

    impl Clock for FixedClock {
        fn now(&self) -> Timestamp {
            Timestamp(1_700_000_000_123)
        }

        fn monotonic_ms(&self) -> u64 {
            0
        }
    }

    fn entry(number: usize) -> Entry {
        Entry {
            caller: "arn:aws:iam::000000000000:user/ann".into(),
            action: "personalize:ListSchemas".into(),
            resource: "*".into(),
            outcome: SUCCESS.into(),
            request_id: Some(number.to_string()),
            ..Entry::default()
        }
    }

    #[test]
    fn lines_are_whole_and_private_and_go_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        for number in 0..2 {
            let audit = Audit::open(&path, Arc::new(FixedClock), true).unwrap();
            audit.write(&entry(number));
        }
        let file = path.join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"time":"2023-11-14T22:13:20.123Z","caller":"arn:aws:iam::000000000000:user/ann","action":"personalize:ListSchemas","resource":"*","outcome":"Success","request_id":"0"}"#
        );
        assert_eq!(text.lines().count(), 2);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn full_files_are_kept_up_to_a_number() {
        let dir = tempfile::tempdir().unwrap();
        // One line a file.
        let audit = Audit::open_with(dir.path(), Arc::new(FixedClock), true, 10).unwrap();
        let lines = FILES_KEPT as usize + 5;
        for number in 0..lines {
            audit.write(&entry(number));
        }
        let mut kept = numbers(dir.path()).unwrap();
        kept.sort_unstable();
        let newest = lines as u64 - 1;
        assert_eq!(kept, (newest + 1 - FILES_KEPT..=newest).collect::<Vec<_>>());
        let newest = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(newest.contains(&format!(r#""request_id":"{}""#, lines - 1)));
    }

    #[test]
    fn without_reads_only_they_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), Arc::new(FixedClock), false).unwrap();
        let write = |action: &str, outcome: &str, job: Option<&str>| {
            audit.write(&Entry {
                action: action.into(),
                outcome: outcome.into(),
                job: job.map(str::to_owned),
                ..Entry::default()
            });
        };
        write("s3:GetObject", SUCCESS, None);
        write("personalize:ListSchemas", SUCCESS, None);
        write("personalize:ListSchemas", "AccessDeniedException", None);
        write("s3:GetObject", SUCCESS, Some("job"));
        write("s3:PutObject", SUCCESS, None);
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn sensitive_members_are_masked_at_any_depth() {
        let body = json!({"name": "n", "filterExpression": "INCLUDE x", "tags": [{"tagKey": "k"}],
            "deep": [{"Plaintext": "secret"}], "Tags.member.1.Value": "v"});
        assert_eq!(
            masked(body),
            json!({"name": "n", "filterExpression": "****", "tags": "****",
                "deep": [{"Plaintext": "****"}], "Tags.member.1.Value": "****"})
        );
        let large = masked(json!({"schema": "x".repeat(20_000)}));
        assert_eq!(large, json!("20013 bytes, left out"));
    }
}
