//! The configuration: every key once, with its default and its documentation.
//!
//! A key comes from `kindred.toml`, is overridden by the variable `KINDRED_<KEY>` (upper case, dots
//! as underscores), and that by a flag. Unknown keys and bad values are refused with their place.
//! Numbers and paths are settings; clocks, stores and random sources are parts and not here.

use crate::keys::AuthMode;
use crate::safety::writable_by_all;
use kindred_jobs::{JobQuotas, JobSettings, ModelChoice, SegmentSettings, TrainingSettings};
use kindred_types::arn::Account;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Floating point operations in the unit of `training.budget_tflops`.
const FLOPS_PER_TFLOP: f64 = 1e12;

/// Bytes in the unit of the quotas of imports.
const GB: u64 = 1_000_000_000;

/// The file that is read when none is named and this one is there.
const DEFAULT_FILE: &str = "kindred.toml";

/// What is wrong with the configuration, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that does not exist, or a value that it does not take.
    #[error("{place}: {reason}")]
    Key {
        /// File and key, variable, or flag.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A type that a key can have.
trait Value: Sized {
    /// Reads the text of a file's scalar, a variable or a flag.
    fn read(text: &str) -> Result<Self, String>;
    /// The value as it would stand in a TOML file.
    fn show(&self) -> String;
}

macro_rules! number {
    ($($type:ty: $expected:literal),*) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.replace('_', "").parse().map_err(|_| format!("expected {}, found {text:?}", $expected))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
number!(u64: "a whole number", i64: "a whole number", usize: "a whole number", f64: "a number", bool: "true or false");

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("expected a path".to_owned())
        } else {
            Ok(text.into())
        }
    }

    fn show(&self) -> String {
        format!("{:?}", self.to_string_lossy())
    }
}

impl Value for AuthMode {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "static" => Ok(AuthMode::Static),
            "trust" => Ok(AuthMode::Trust),
            "off" => Ok(AuthMode::Off),
            _ => Err(format!("expected static, trust or off, found {text:?}")),
        }
    }

    fn show(&self) -> String {
        let text = match self {
            AuthMode::Static => "static",
            AuthMode::Trust => "trust",
            AuthMode::Off => "off",
        };
        format!("{text:?}")
    }
}

impl Value for ModelChoice {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(ModelChoice::Auto),
            "lookback" => Ok(ModelChoice::Lookback),
            "ials" => Ok(ModelChoice::Ials),
            _ => Err(format!("expected auto, lookback or ials, found {text:?}")),
        }
    }

    fn show(&self) -> String {
        let text = match self {
            ModelChoice::Auto => "auto",
            ModelChoice::Lookback => "lookback",
            ModelChoice::Ials => "ials",
        };
        format!("{text:?}")
    }
}

/// As whom jobs act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolesMode {
    /// `Open` on a loopback listener, `Enforced` on any other.
    Unset,
    /// With the server's own rights, whatever well-formed role a request names.
    Open,
    /// As the role that the request names, which has to exist, to trust the service, and to have
    /// the rights.
    Enforced,
}

impl Value for RolesMode {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(RolesMode::Unset),
            "open" => Ok(RolesMode::Open),
            "enforced" => Ok(RolesMode::Enforced),
            _ => Err(format!(
                "expected open, enforced or nothing, found {text:?}"
            )),
        }
    }

    fn show(&self) -> String {
        let text = match self {
            RolesMode::Unset => "",
            RolesMode::Open => "open",
            RolesMode::Enforced => "enforced",
        };
        format!("{text:?}")
    }
}

/// How lines of segment files look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// As the real service writes them: `usersList`.
    Aws,
    /// With `recommendedUsers` beside it, as the service's guide shows them.
    Documented,
}

impl Value for OutputFormat {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "aws" => Ok(OutputFormat::Aws),
            "documented" => Ok(OutputFormat::Documented),
            _ => Err(format!("expected aws or documented, found {text:?}")),
        }
    }

    fn show(&self) -> String {
        format!(
            "{:?}",
            if *self == OutputFormat::Aws {
                "aws"
            } else {
                "documented"
            }
        )
    }
}

/// One key, for listings.
struct Key {
    name: String,
    documentation: &'static [&'static str],
    default: String,
}

/// Declares a group of keys: a struct with public fields, its defaults, and access by name.
macro_rules! keys {
    ($(#[doc = $about:literal])* $name:ident {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }

        impl $name {
            /// Sets the key `name`; `None` when there is no such key here.
            fn set(&mut self, name: &str, text: &str) -> Option<Result<(), String>> {
                match name {
                    $(stringify!($field) => {
                        Some(<$type as Value>::read(text).map(|value| self.$field = value))
                    })*
                    _ => None,
                }
            }

            fn keys(prefix: &str) -> Vec<Key> {
                let defaults = $name::default();
                vec![$(Key {
                    name: format!("{prefix}{}", stringify!($field)),
                    documentation: &[$($doc),*],
                    default: Value::show(&defaults.$field),
                },)*]
            }
        }
    };
}

keys! {
    /// Keys without a section.
    General {
        /// Where everything is kept: catalog, credentials, buckets, datasets, models.
        data_dir: PathBuf = "./kindred-data".into(),
        /// Address to listen on; port 0 takes a free one.
        listen: String = "127.0.0.1:7070".to_owned(),
        /// Who may call: `static` checks signatures against known keys, `trust` takes any
        /// signature, `off` also takes none. The latter two only listen on loopback.
        auth: AuthMode = AuthMode::Static,
        /// Twelve digits; part of every ARN.
        account: String = "000000000000".to_owned(),
        /// Part of every ARN. Requests signed for another region are accepted.
        region: String = "us-east-1".to_owned(),
        /// Part of every ARN.
        partition: String = "aws".to_owned(),
        /// What `performAutoTraining` is when a solution does not say it. Automatic training is
        /// not supported yet, so only `false` makes sense.
        auto_training_default: bool = false,
        /// Jobs that run at the same time.
        workers: usize = 2,
        /// Threads of one job; 0 for all cores.
        threads: usize = 0,
    }
}

keys! {
    /// Limits of the HTTP server.
    Http {
        /// Connections at the same time; further ones wait to be accepted.
        connections_max: usize = 4096,
        /// Milliseconds from a connection's start to its first byte.
        first_byte_timeout_ms: u64 = 10_000,
        /// Milliseconds a client may take for the head of a request.
        header_timeout_ms: u64 = 10_000,
        /// Milliseconds a connection is kept between an answer and the next request.
        idle_timeout_ms: u64 = 60_000,
        /// Milliseconds a client may take for a body that is not the content of an object.
        body_timeout_ms: u64 = 30_000,
        /// Milliseconds for which an upload, or the taking of an answer, may stand still.
        pause_ms: u64 = 20_000,
        /// What an upload, or the taking of an answer, has to reach in the long run. There is no
        /// limit on the whole time of a large object.
        bytes_per_second_min: u64 = 1024,
        /// Milliseconds that answers in flight get when the server stops.
        shutdown_timeout_ms: u64 = 4_000,
    }
}

keys! {
    /// Request rates per access key.
    Requests {
        /// Requests per second to the control plane, and as many again to STS and IAM. More are
        /// answered LimitExceededException, ThrottlingException or Throttling.
        per_second: f64 = 1000.0,
        /// Requests that may come at once before the rate counts.
        burst: f64 = 2000.0,
        /// Requests per second to S3; more are answered SlowDown.
        s3_per_second: f64 = 5000.0,
        /// Requests to S3 that may come at once before the rate counts.
        s3_burst: f64 = 10_000.0,
    }
}

keys! {
    /// Roles of jobs.
    Roles {
        /// As whom jobs act: `open` with the server's own rights, whatever role a request names;
        /// `enforced` as that role, with its rights and no others. Empty is `open` on a loopback
        /// listener and `enforced` on any other, where `open` does not start.
        mode: RolesMode = RolesMode::Unset,
    }
}

keys! {
    /// The audit log.
    Audit {
        /// Write a line for requests that only read (Describe, List, Get, Head), too. Changes,
        /// refusals and what jobs do as their role always get one.
        reads: bool = true,
    }
}

keys! {
    /// Dataset import jobs.
    Import {
        /// Invalid rows an import may skip; more fail it. They are counted in its statistics.
        max_invalid_rows: u64 = 0,
    }
}

keys! {
    /// Training.
    Training {
        /// Fewest interactions, after all filters.
        min_interactions: u64 = 1000,
        /// Fewest users with two or more interactions.
        min_users: u64 = 25,
        /// Smallest share of users with two or more interactions, in percent.
        min_user_share_percent: f64 = 1.0,
        /// Fit the delivered model on all data again after the metrics were measured.
        final_fit: bool = true,
        /// Seed; the checksum of the data snapshot is mixed in.
        seed: u64 = 0,
        /// Which model serves: `lookback`, `ials`, or `auto` for the one that validation prefers
        /// within the budget.
        model: ModelChoice = ModelChoice::Auto,
        /// What the towers of one fit may cost, in 10^12 floating point operations. Not a time, so
        /// that every machine decides alike.
        budget_tflops: f64 = TrainingSettings::default().budget_flops / FLOPS_PER_TFLOP,
    }
}

keys! {
    /// Batch segment jobs.
    Segment {
        /// Most records in the input of one job; 0 for no limit.
        max_records: u64 = 50_000_000,
        /// Largest `numResults`.
        max_num_results: i64 = 5_000_000,
        /// `aws` as the real service writes, `documented` with `recommendedUsers` beside it.
        output_format: OutputFormat = OutputFormat::Aws,
        /// Write `scores`, the probability of each user, beside the users. The tag `kindred:scores`
        /// of a job overrides it.
        scores: bool = false,
        /// Memory in MiB of one job for all but the model: what is read, ranked, rendered and waits to be
        /// written. What does not fit goes to disk and is read again.
        memory_mib: u64 = 1024,
        /// Most MiB of rankings between two checkpoints: what a killed job may have to rank again.
        block_mib: u64 = 64,
    }
}

/// What quotas are where no key says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaMode {
    /// None.
    Off,
    /// Those of the original service.
    Aws,
}

impl Value for QuotaMode {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(QuotaMode::Off),
            "aws" => Ok(QuotaMode::Aws),
            _ => Err(format!("expected off or aws, found {text:?}")),
        }
    }

    fn show(&self) -> String {
        let text = match self {
            QuotaMode::Off => "off",
            QuotaMode::Aws => "aws",
        };
        format!("{text:?}")
    }
}

keys! {
    /// Customer keys: the key service inside, or another one.
    Kms {
        /// File with the master key that seals the key ring, 32 bytes as 64 hexadecimal digits or
        /// base64, readable by its owner only. Empty: the variable `KINDRED_MASTER_KEY`, else the
        /// system credential `kindred-master-key` (in `$CREDENTIALS_DIRECTORY`), else
        /// `master.key` in the data directory, which is made with the first key.
        master_key_file: String = String::new(),
        /// Another key service instead, `http://HOST:PORT`, that speaks the protocol of AWS KMS.
        /// Empty: the one inside. Nothing but this address is connected to.
        endpoint: String = String::new(),
        /// Region that requests to it are signed for. Empty: `region`.
        region: String = String::new(),
        /// File in the AWS shared-credentials format whose first profile signs requests to it,
        /// readable by its owner only.
        credentials_file: String = String::new(),
    }
}

keys! {
    /// Quotas of the original service; 0 is no limit. Reached ones answer LimitExceededException.
    Quotas {
        /// `aws` is the strict mode: every key of this section that is not set has the number of
        /// the original service. `off`: it is 0, no limit.
        mode: QuotaMode = QuotaMode::Off,
        /// Schemas (500 on AWS).
        schemas: u64 = 0,
        /// Dataset groups (5 on AWS).
        dataset_groups: u64 = 0,
        /// Pending or running import jobs (5 on AWS).
        pending_import_jobs: u64 = 0,
        /// Pending or running solution versions (20 on AWS).
        pending_solution_versions: u64 = 0,
        /// Solutions of one dataset group (10 on AWS).
        solutions_per_group: u64 = 0,
        /// Filters of one dataset group (10 on AWS).
        filters_per_group: u64 = 0,
        /// Different fields in one filter (10 on AWS; older pages say 5).
        fields_per_filter: u64 = 0,
        /// Different fields in all filters of one dataset group (20 on AWS; older pages say 10).
        filter_fields_per_group: u64 = 0,
        /// Pending or running batch segment jobs (5 on AWS).
        pending_segment_jobs: u64 = 0,
        /// Metadata columns of an Interactions schema (5 on AWS).
        interactions_metadata_columns: u64 = 0,
        /// Metadata columns of an Items schema (100 on AWS).
        items_metadata_columns: u64 = 0,
        /// Metadata columns of a Users schema (25 on AWS).
        users_metadata_columns: u64 = 0,
        /// Textual columns of an Items schema (1 on AWS).
        items_textual_columns: u64 = 0,
        /// Lines in one input file of a segment job with the recipe aws-item-affinity (500 on AWS).
        /// More fail the job.
        segment_lines_item_affinity: u64 = 0,
        /// Lines in one input file of a segment job with the recipe aws-item-attribute-affinity
        /// (10 on AWS). More fail the job.
        segment_lines_item_attribute_affinity: u64 = 0,
        /// Stored bytes of a FULL import, in GB of 10^9 bytes (100 on AWS). More fail the job.
        full_import_gb: u64 = 0,
        /// Stored bytes of an INCREMENTAL import, in GB of 10^9 bytes (1 on AWS). More fail the job.
        incremental_import_gb: u64 = 0,
        /// Fewest rows of an Interactions import (1000 on AWS). Fewer fail the job.
        interactions_import_rows_min: u64 = 0,
    }
}

impl Quotas {
    /// The numbers of the original service. All keys are named, so that a new quota cannot be
    /// forgotten here.
    fn aws() -> Self {
        Quotas {
            mode: QuotaMode::Aws,
            schemas: 500,
            dataset_groups: 5,
            pending_import_jobs: 5,
            pending_solution_versions: 20,
            solutions_per_group: 10,
            filters_per_group: 10,
            fields_per_filter: 10,
            filter_fields_per_group: 20,
            pending_segment_jobs: 5,
            interactions_metadata_columns: 5,
            items_metadata_columns: 100,
            users_metadata_columns: 25,
            items_textual_columns: 1,
            segment_lines_item_affinity: 500,
            segment_lines_item_attribute_affinity: 10,
            full_import_gb: 100,
            incremental_import_gb: 1,
            interactions_import_rows_min: 1000,
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    general: General,
    /// `http.*`
    pub http: Http,
    /// `requests.*`
    pub requests: Requests,
    /// `roles.*`
    pub roles: Roles,
    /// `audit.*`
    pub audit: Audit,
    /// `import.*`
    pub import: Import,
    /// `training.*`
    pub training: Training,
    /// `segment.*`
    pub segment: Segment,
    /// `kms.*`
    pub kms: Kms,
    /// `quotas.*`
    pub quotas: Quotas,
}

/// The keys without a section are read as if they were fields.
impl std::ops::Deref for Settings {
    type Target = General;

    fn deref(&self) -> &General {
        &self.general
    }
}

impl std::ops::DerefMut for Settings {
    fn deref_mut(&mut self) -> &mut General {
        &mut self.general
    }
}

impl Settings {
    /// Reads the file (`kindred.toml` of the current directory when none is named and it is
    /// there), the variables of this process, and the flags.
    ///
    /// # Errors
    /// With the place of the first thing that is wrong.
    pub fn load(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let file = file.or_else(|| default.exists().then_some(default));
        let text = match file {
            Some(path) => read_file(path).map_err(|reason| ConfigError::File {
                path: path.to_owned(),
                reason,
            })?,
            None => String::new(),
        };
        let name = file.unwrap_or(default).display().to_string();
        Settings::from_parts(&name, &text, |variable| std::env::var(variable).ok(), flags)
    }

    fn from_parts(
        file_name: &str,
        file_text: &str,
        variable: impl Fn(&str) -> Option<String>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let table = toml::Table::from_str(file_text).map_err(|error| ConfigError::File {
            path: file_name.into(),
            reason: error.to_string(),
        })?;
        // Key, value and place; what comes later wins.
        let mut given = Vec::new();
        for (key, text) in flatten(file_name, "", &table)? {
            let place = format!("{file_name}: {key}");
            given.push((key, text, place));
        }
        for key in all_keys() {
            let name = format!("KINDRED_{}", key.name.replace('.', "_").to_uppercase());
            if let Some(text) = variable(&name) {
                given.push((key.name, text, name));
            }
        }
        for (key, text) in flags {
            given.push((key.clone(), text.clone(), format!("--set {key}")));
        }
        let mut settings = Settings::default();
        settings.set_all(&given)?;
        if settings.quotas.mode == QuotaMode::Aws {
            // The mode changes defaults, so every key that is set comes after it.
            settings = Settings {
                quotas: Quotas::aws(),
                ..Settings::default()
            };
            settings.set_all(&given)?;
        }
        settings.check()?;
        Ok(settings)
    }

    fn set_all(&mut self, given: &[(String, String, String)]) -> Result<(), ConfigError> {
        for (key, text, place) in given {
            self.set(key, text, place.clone())?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, text: &str, place: String) -> Result<(), ConfigError> {
        let outcome = match key.split_once('.') {
            None => self.general.set(key, text),
            Some(("http", name)) => self.http.set(name, text),
            Some(("requests", name)) => self.requests.set(name, text),
            Some(("roles", name)) => self.roles.set(name, text),
            Some(("audit", name)) => self.audit.set(name, text),
            Some(("import", name)) => self.import.set(name, text),
            Some(("training", name)) => self.training.set(name, text),
            Some(("segment", name)) => self.segment.set(name, text),
            Some(("kms", name)) => self.kms.set(name, text),
            Some(("quotas", name)) => self.quotas.set(name, text),
            Some(_) => None,
        };
        let outcome = outcome.unwrap_or_else(|| {
            Err("there is no such key; see kindred config --defaults".to_owned())
        });
        outcome.map_err(|reason| ConfigError::Key { place, reason })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let digits = self.account.len() == 12 && self.account.bytes().all(|b| b.is_ascii_digit());
        let port = self
            .listen
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        let address = port.is_some_and(|(host, port)| !host.is_empty() && port.is_ok());
        let wrong = if !address {
            (
                "listen",
                "expected an address with a port, such as 127.0.0.1:7070",
            )
        } else if !digits {
            ("account", "expected twelve digits")
        } else if self.auto_training_default {
            (
                "auto_training_default",
                "automatic training is not supported yet",
            )
        } else if self.workers == 0 {
            ("workers", "expected at least 1")
        } else if !self.training.budget_tflops.is_finite() || self.training.budget_tflops < 0.0 {
            ("training.budget_tflops", "expected a number from 0 on")
        } else if self.segment.max_num_results < 1 {
            ("segment.max_num_results", "expected at least 1")
        } else if self.http.connections_max == 0 {
            ("http.connections_max", "expected at least 1")
        } else if self.http.bytes_per_second_min == 0 {
            ("http.bytes_per_second_min", "expected at least 1")
        } else if self.requests.per_second.is_nan() || self.requests.per_second <= 0.0 {
            ("requests.per_second", "expected more than 0")
        } else if self.requests.s3_per_second.is_nan() || self.requests.s3_per_second <= 0.0 {
            ("requests.s3_per_second", "expected more than 0")
        } else if self.requests.burst.is_nan() || self.requests.burst < 1.0 {
            ("requests.burst", "expected at least 1")
        } else if self.requests.s3_burst.is_nan() || self.requests.s3_burst < 1.0 {
            ("requests.s3_burst", "expected at least 1")
        } else {
            return Ok(());
        };
        Err(ConfigError::Key {
            place: wrong.0.to_owned(),
            reason: wrong.1.to_owned(),
        })
    }

    /// What ARNs are made with.
    pub fn account(&self) -> Account {
        Account {
            partition: self.partition.clone(),
            region: self.region.clone(),
            account: self.account.clone(),
        }
    }

    /// What the job runner goes by.
    pub fn jobs(&self) -> JobSettings {
        let quotas = &self.quotas;
        JobSettings {
            quotas: JobQuotas {
                lines_item_affinity: quotas.segment_lines_item_affinity,
                lines_item_attribute_affinity: quotas.segment_lines_item_attribute_affinity,
                full_import_bytes: quotas.full_import_gb.saturating_mul(GB),
                incremental_import_bytes: quotas.incremental_import_gb.saturating_mul(GB),
                interactions_import_rows_min: quotas.interactions_import_rows_min,
            },
            workers: self.workers,
            threads: self.threads,
            import_max_invalid_rows: self.import.max_invalid_rows,
            training: TrainingSettings {
                min_interactions: self.training.min_interactions,
                min_users: self.training.min_users,
                min_user_share_percent: self.training.min_user_share_percent,
                final_fit: self.training.final_fit,
                seed: self.training.seed,
                model: self.training.model,
                budget_flops: self.training.budget_tflops * FLOPS_PER_TFLOP,
            },
            segment: SegmentSettings {
                max_records: self.segment.max_records,
                documented_format: self.segment.output_format == OutputFormat::Documented,
                memory_bytes: bytes_of_mib(self.segment.memory_mib),
                block_bytes: bytes_of_mib(self.segment.block_mib),
            },
        }
    }
}

/// As many as there are, for a number that would be more.
fn bytes_of_mib(mib: u64) -> usize {
    usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX)
}

/// Reads a configuration file. Who can write it decides who may call, so not everybody may.
fn read_file(path: &Path) -> Result<String, String> {
    if writable_by_all(path).map_err(|error| error.to_string())? {
        return Err("everybody can write it: run chmod o-w".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The scalars of a TOML table by dotted key.
fn flatten(
    file: &str,
    prefix: &str,
    table: &toml::Table,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        let text = match value {
            toml::Value::Table(inner) => {
                pairs.extend(flatten(file, &format!("{key}."), inner)?);
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err(ConfigError::Key {
                    place: format!("{file}: {key}"),
                    reason: "expected a string, a number, true or false".to_owned(),
                });
            }
            scalar => scalar.to_string(),
        };
        pairs.push((key, text));
    }
    Ok(pairs)
}

fn all_keys() -> Vec<Key> {
    [
        General::keys(""),
        Http::keys("http."),
        Requests::keys("requests."),
        Roles::keys("roles."),
        Audit::keys("audit."),
        Import::keys("import."),
        Training::keys("training."),
        Segment::keys("segment."),
        Kms::keys("kms."),
        Quotas::keys("quotas."),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every key with its documentation and default, as a TOML file that changes nothing.
pub fn defaults_documented() -> String {
    let mut text = String::new();
    let mut section = String::new();
    for key in all_keys() {
        let (in_section, name) = key.name.split_once('.').unwrap_or(("", &key.name));
        if in_section != section {
            section = in_section.to_owned();
            text.push_str(&format!("[{section}]\n\n"));
        }
        for line in key.documentation {
            text.push_str(&format!("#{line}\n"));
        }
        text.push_str(&format!("{name} = {}\n\n", key.default));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        file: &str,
        variables: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Settings, ConfigError> {
        let flags: Vec<_> = flags
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::from_parts("kindred.toml", file, variable, &flags)
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_file() {
        let file = "workers = 3\nthreads = 4\n[segment]\nmax_records = 10\n";
        let variables = [
            ("KINDRED_THREADS", "5"),
            ("KINDRED_SEGMENT_MAX_RECORDS", "20"),
        ];
        let settings = load(file, &variables, &[("segment.max_records", "30")]).unwrap();
        assert_eq!((settings.workers, settings.threads), (3, 5));
        assert_eq!(settings.segment.max_records, 30);
    }

    #[test]
    fn training_settings_reach_the_jobs() {
        let of = |flags: &[(&str, &str)]| load("", &[], flags).unwrap().jobs().training;
        let unset = of(&[]);
        assert_eq!(
            format!("{unset:?}"),
            format!("{:?}", TrainingSettings::default())
        );
        let flags = [
            ("training.model", "ials"),
            ("training.budget_tflops", "0.5"),
        ];
        let set = of(&flags);
        assert_eq!((set.model, set.budget_flops), (ModelChoice::Ials, 5e11));
        assert_eq!(
            of(&[("training.model", "lookback")]).model,
            ModelChoice::Lookback
        );
    }

    #[test]
    fn the_strict_mode_sets_every_quota_and_any_key_overrides_it() {
        let strict = load("", &[], &[("quotas.mode", "aws")]).unwrap();
        let expected = format!("{:?}", Quotas::aws());
        assert_eq!(format!("{:?}", strict.quotas), expected);
        for part in expected.split(", ") {
            assert!(!part.ends_with(": 0"), "{part} has no number of AWS");
        }
        // Wherever the mode stands, a key that is set counts.
        let file = "[quotas]\nschemas = 7\nsolutions_per_group = 0\n";
        let mode = [("KINDRED_QUOTAS_MODE", "aws")];
        let flags = [("quotas.pending_segment_jobs", "2")];
        let quotas = load(file, &mode, &flags).unwrap().quotas;
        assert_eq!((quotas.schemas, quotas.solutions_per_group), (7, 0));
        assert_eq!((quotas.pending_segment_jobs, quotas.dataset_groups), (2, 5));
        // The last word on the mode counts, too.
        let off = load("[quotas]\nmode = \"aws\"", &[], &[("quotas.mode", "off")]).unwrap();
        assert_eq!(off.quotas.schemas, 0);
        assert!(load("", &[], &[("quotas.mode", "strict")]).is_err());
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        let check =
            |file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)], place: &str| {
                let error = load(file, variables, flags).unwrap_err().to_string();
                assert!(error.contains(place), "{error}");
            };
        check(
            "workrs = 3",
            &[],
            &[],
            "kindred.toml: workrs: there is no such key",
        );
        check(
            "[quotas]\nschemas = \"many\"",
            &[],
            &[],
            "quotas.schemas: expected a whole number",
        );
        check("listen = [1]", &[], &[], "kindred.toml: listen");
        check("a = ", &[], &[], "kindred.toml: TOML parse error");
        check(
            "",
            &[("KINDRED_AUTH", "maybe")],
            &[],
            "KINDRED_AUTH: expected static",
        );
        check("", &[], &[("segment.color", "red")], "--set segment.color");
        check(
            "[training]\nmodel = \"deep\"",
            &[],
            &[],
            "kindred.toml: training.model: expected auto, lookback or ials",
        );
        for budget in ["-1", "inf", "nan"] {
            let flags = [("training.budget_tflops", budget)];
            check("", &[], &flags, "training.budget_tflops: expected a number");
        }
        check(
            "listen = \"nonsense\"",
            &[],
            &[],
            "listen: expected an address with a port",
        );
        check(
            "account = \"12\"",
            &[],
            &[],
            "account: expected twelve digits",
        );
    }

    #[test]
    fn the_printed_defaults_change_nothing() {
        let printed = defaults_documented();
        let settings = load(&printed, &[], &[]).unwrap();
        assert_eq!(
            format!("{settings:?}"),
            format!("{:?}", Settings::default())
        );
        for key in all_keys() {
            assert!(
                !key.documentation.is_empty(),
                "{} has no documentation",
                key.name
            );
        }
    }
}
