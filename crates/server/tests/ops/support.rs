//! A server in a temporary directory, and a small world in it to test against.

use kindred_catalog::records::{Dataset, Generation, SolutionVersion, status};
use kindred_catalog::{Catalog, Record};
use kindred_server::config::Settings;
use kindred_server::ops::{self, Context};
use kindred_store::keys::NoKeys;
use kindred_types::arn::Account;
use kindred_types::parts::{Clock, Random};
use kindred_types::time::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub(crate) const ARN: &str = "arn:aws:personalize:us-east-1:000000000000:";
pub(crate) const ROLE: &str = "arn:aws:iam::000000000000:role/kindred";
pub(crate) const RECIPE: &str = "arn:aws:personalize:::recipe/aws-item-affinity";
pub(crate) const START_MS: i64 = 1_700_000_000_123;

#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst).unsigned_abs()
    }
}

/// Counts up; every draw is different.
#[derive(Debug, Default)]
struct CountingRandom(AtomicU64);

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes.iter_mut().rev() {
            *byte = 0;
        }
        let drawn = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let shared = bytes.len().min(drawn.len());
        let tail = bytes.len() - shared;
        bytes[tail..].copy_from_slice(&drawn[drawn.len() - shared..]);
    }
}

/// Name and message of an exception.
pub(crate) type Refusal = (String, String);

pub(crate) struct Server {
    pub(crate) ctx: Context,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) woken: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn new() -> Server {
        Server::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(START_MS)));
        let mut settings = Settings::default();
        change(&mut settings);
        let woken = Arc::new(AtomicU64::new(0));
        let count = woken.clone();
        let ctx = Context {
            catalog: Arc::new(
                Catalog::open(&dir.path().join("kindred.db"), clock.clone()).unwrap(),
            ),
            customer_keys: Arc::new(NoKeys),
            clock: clock.clone(),
            random: Arc::new(CountingRandom::default()),
            settings: Arc::new(settings),
            account: Account::default(),
            wake: Arc::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            }),
            access_key: "AKIDEXAMPLE".into(),
            request_id: "00000000-0000-4000-8000-000000000000".into(),
        };
        Server {
            ctx,
            clock,
            woken,
            _dir: dir,
        }
    }

    pub(crate) fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn call(&self, operation: &str, input: Value) -> Result<Value, Refusal> {
        let body = serde_json::to_vec(&input).unwrap();
        match ops::dispatch(&self.ctx, operation, &body) {
            Ok(output) => Ok(output.unwrap_or(Value::Null)),
            Err(exception) => Err((exception.kind.name().to_owned(), exception.message)),
        }
    }

    #[track_caller]
    pub(crate) fn ok(&self, operation: &str, input: Value) -> Value {
        match self.call(operation, input) {
            Ok(output) => output,
            Err((name, message)) => panic!("{operation}: {name}: {message}"),
        }
    }

    /// The call must be refused with this exception; gives the message.
    #[track_caller]
    pub(crate) fn refused(&self, name: &str, operation: &str, input: Value) -> String {
        match self.call(operation, input.clone()) {
            Ok(output) => panic!("{operation} {input} was accepted: {output}"),
            Err((found, message)) => {
                assert_eq!(
                    found,
                    format!("{name}Exception"),
                    "{operation} {input}: {message}"
                );
                message
            }
        }
    }

    /// Changes a stored record as a job would.
    pub(crate) fn edit<R: Record>(&self, arn: &str, change: impl FnOnce(&mut R)) {
        self.ctx
            .catalog
            .write(|tx| {
                let mut record: R = tx.need(arn)?;
                change(&mut record);
                tx.update(&record)
            })
            .unwrap();
    }

    pub(crate) fn status_of_version(&self, arn: &str, to: &str) {
        self.edit::<SolutionVersion>(arn, |version| version.status = to.into());
    }

    /// Schemas `interactions`, `items`, `users`; group `g` with an Interactions dataset that has
    /// been imported; solution `s` with the ACTIVE version `s/v1`.
    pub(crate) fn world() -> Server {
        Server::world_with(|_| ())
    }

    pub(crate) fn world_with(change: impl FnOnce(&mut Settings)) -> Server {
        let server = Server::with(change);
        for (name, text) in [
            ("interactions", interactions_schema()),
            ("items", items_schema(&[])),
            ("users", users_schema()),
        ] {
            server.ok("CreateSchema", json!({"name": name, "schema": text}));
        }
        server.ok("CreateDatasetGroup", json!({"name": "g"}));
        server.ok("CreateDataset", dataset("interactions", "INTERACTIONS"));
        server.edit::<Dataset>(&format!("{ARN}dataset/g/INTERACTIONS"), |dataset| {
            dataset.generations.push(Generation {
                id: "one".into(),
                mode: "FULL".into(),
                rows: 1200,
                job_arn: format!("{ARN}dataset-import-job/first"),
                schema_arn: format!("{ARN}schema/interactions"),
                committed: Timestamp(START_MS),
            });
        });
        server.ok("CreateSolution", solution("s"));
        let version = json!({"solutionArn": format!("{ARN}solution/s"), "name": "v1"});
        server.ok("CreateSolutionVersion", version);
        let arn = format!("{ARN}solution/s/v1");
        server.edit::<SolutionVersion>(&arn, |version| {
            version.status = status::ACTIVE.into();
            version.metrics = [("coverage".to_owned(), 0.6835)].into();
        });
        server.ctx.catalog.write(|tx| tx.remove_work(&arn)).unwrap();
        server
    }
}

fn schema_text(name: &str, fields: Value) -> String {
    json!({"type": "record", "name": name, "namespace": "com.amazonaws.personalize.schema",
        "fields": fields, "version": "1.0"})
    .to_string()
}

pub(crate) fn interactions_schema() -> String {
    schema_text(
        "Interactions",
        json!([
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "TIMESTAMP", "type": "long"},
        ]),
    )
}

pub(crate) fn events_schema() -> String {
    schema_text(
        "Interactions",
        json!([
            {"name": "USER_ID", "type": "string"},
            {"name": "ITEM_ID", "type": "string"},
            {"name": "EVENT_TYPE", "type": "string"},
            {"name": "EVENT_VALUE", "type": ["float", "null"]},
            {"name": "TIMESTAMP", "type": "long"},
        ]),
    )
}

pub(crate) fn items_schema(more: &[Value]) -> String {
    let mut fields = vec![
        json!({"name": "ITEM_ID", "type": "string"}),
        json!({"name": "GENRE", "type": "string", "categorical": true}),
    ];
    fields.extend_from_slice(more);
    schema_text("Items", Value::Array(fields))
}

pub(crate) fn users_schema() -> String {
    schema_text(
        "Users",
        json!([{"name": "USER_ID", "type": "string"}, {"name": "AGE", "type": ["null", "int"]}]),
    )
}

pub(crate) fn dataset(schema: &str, kind: &str) -> Value {
    json!({"name": schema, "schemaArn": format!("{ARN}schema/{schema}"),
        "datasetGroupArn": format!("{ARN}dataset-group/g"), "datasetType": kind})
}

pub(crate) fn import(name: &str) -> Value {
    json!({"jobName": name, "datasetArn": format!("{ARN}dataset/g/INTERACTIONS"),
        "dataSource": {"dataLocation": "s3://data/interactions.csv"}, "roleArn": ROLE})
}

pub(crate) fn solution(name: &str) -> Value {
    json!({"name": name, "datasetGroupArn": format!("{ARN}dataset-group/g"), "recipeArn": RECIPE})
}

pub(crate) fn version(solution: &str) -> Value {
    json!({"solutionArn": format!("{ARN}solution/{solution}")})
}

pub(crate) fn segment(name: &str) -> Value {
    json!({"jobName": name, "solutionVersionArn": format!("{ARN}solution/s/v1"),
        "jobInput": {"s3DataSource": {"path": "s3://demo/in/q.json"}},
        "jobOutput": {"s3DataDestination": {"path": "s3://demo/out/"}}, "roleArn": ROLE})
}

/// A filter that needs the Users dataset.
pub(crate) fn filter(name: &str) -> Value {
    json!({"name": name, "datasetGroupArn": format!("{ARN}dataset-group/g"),
        "filterExpression": "INCLUDE UserID WHERE Users.AGE >= $MIN"})
}

/// `base` with `more`'s members over it.
pub(crate) fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else {
        panic!("two objects expected")
    };
    base.extend(more);
    Value::Object(base)
}

/// `count` different tags.
pub(crate) fn tags(count: usize) -> Value {
    (0..count)
        .map(|n| json!({"tagKey": format!("key{n}"), "tagValue": "v"}))
        .collect()
}
