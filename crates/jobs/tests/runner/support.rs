//! A data directory with buckets, a catalog and generated data, and stores that misbehave.
//!
//! Records are inserted and queued by hand, as the operations of the server would do it.
#![allow(dead_code)]

use bytes::Bytes;
use kindred_catalog::records::{Dataset, ImportJob, Schema, SegmentJob, SolutionVersion, status};
use kindred_catalog::{Catalog, NewWork, Record, WorkKind};
use kindred_jobs::{JobSettings, Layout, Parts, Runner};
use kindred_store::{EmbeddedStore, Error, ListPage, Location, ObjectMeta, PartTag, Store};
use kindred_types::parts::{Clock, Random};
use kindred_types::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const ARN: &str = "arn:aws:personalize:us-east-1:000000000000:";
pub(crate) const INTERACTIONS: &str =
    "arn:aws:personalize:us-east-1:000000000000:dataset/g/INTERACTIONS";
pub(crate) const ITEMS: &str = "arn:aws:personalize:us-east-1:000000000000:dataset/g/ITEMS";
/// Longest wait for anything; a job of these tests takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct RealClock(Instant);

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods)] // A test's own clock.
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(since.as_millis() as i64)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

#[allow(clippy::disallowed_methods)] // A test's own clock.
fn instant() -> Instant {
    Instant::now()
}

/// Splitmix64: bytes that differ from call to call.
#[derive(Debug)]
struct SeededRandom(AtomicU64);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            chunk.copy_from_slice(&mixed(state).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn mixed(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Rows `USER_ID,ITEM_ID,TIMESTAMP` of users in two groups with tastes of their own.
pub(crate) fn csv(users: u64, items: u64, rows: u64, seed: u64) -> String {
    let mut text = "USER_ID,ITEM_ID,TIMESTAMP\n".to_owned();
    for row in 0..rows {
        let draw = |n: u64| mixed(seed.wrapping_mul(1_000_003).wrapping_add(row * 4 + n));
        let user = if row < users { row } else { draw(0) % users };
        let half = items / 2;
        let item = draw(1) % half * (draw(2) % half + 1) / half + user % 2 * half;
        let time = 1_700_000_000 + draw(3) % (200 * 86_400);
        writeln!(text, "u{user:03},i{item:03},{time}").unwrap();
    }
    text
}

/// One line per item, then an unknown one.
pub(crate) fn queries(items: u64) -> String {
    let mut text = String::new();
    for item in 0..items {
        writeln!(text, "{{\"itemId\": \"i{item:03}\"}}").unwrap();
    }
    text + "{\"itemId\": \"nobody\"}\n"
}

type Wake = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct World {
    pub(crate) store: EmbeddedStore,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) layout: Layout,
    pub(crate) parts: Parts,
    /// Rings when something is queued, as the server does.
    wake: Mutex<Option<Wake>>,
    _dir: tempfile::TempDir,
}

impl World {
    /// Buckets `data` and `demo`, a group with an Interactions and an Items dataset, no jobs.
    pub(crate) fn new() -> World {
        World::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut JobSettings)) -> World {
        // The runner's log explains a failed test. Another test may have set it up already.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(RealClock(instant()));
        let random: Arc<dyn Random> = Arc::new(SeededRandom(AtomicU64::new(1)));
        let layout = Layout::new(dir.path());
        let catalog = Arc::new(Catalog::open(&layout.catalog(), clock.clone()).unwrap());
        let store = EmbeddedStore::open(&layout.buckets(), clock.clone(), random.clone()).unwrap();
        store.create_bucket("data").unwrap();
        store.create_bucket("demo").unwrap();
        let mut settings = JobSettings {
            threads: 2,
            ..JobSettings::default()
        };
        change(&mut settings);
        let parts = Parts {
            catalog: catalog.clone(),
            store: Arc::new(store.clone()),
            clock,
            random,
            layout: layout.clone(),
            settings,
        };
        let world = World {
            store,
            catalog,
            layout,
            parts,
            wake: Mutex::default(),
            _dir: dir,
        };
        world.add_dataset(
            INTERACTIONS,
            "INTERACTIONS",
            r#"{"type":"record","name":"Interactions","fields":[{"name":"USER_ID","type":"string"},
               {"name":"ITEM_ID","type":"string"},{"name":"TIMESTAMP","type":"long"}]}"#,
        );
        world.add_dataset(
            ITEMS,
            "ITEMS",
            r#"{"type":"record","name":"Items","fields":[{"name":"ITEM_ID","type":"string"},
               {"name":"GENRE","type":"string","categorical":true}]}"#,
        );
        world
    }

    /// A world with 1,300 interactions of 40 users imported and the version `v` trained.
    pub(crate) fn trained() -> World {
        World::trained_with(|_| ())
    }

    pub(crate) fn trained_with(change: impl FnOnce(&mut JobSettings)) -> World {
        let world = World::with(change);
        world.put("data/i.csv", csv(40, 30, 1300, 7));
        world.put("demo/in/q.json", queries(30));
        let runner = world.start();
        world.import("first", INTERACTIONS, "s3://data/i.csv", "FULL");
        world.wait_active(&import_arn("first"));
        world.train("v", 32);
        world.wait_active(&version_arn("v"));
        runner.stop();
        world
    }

    fn add_dataset(&self, arn: &str, kind: &str, schema: &str) {
        let schema_arn = format!("{ARN}schema/{}", kind.to_lowercase());
        self.catalog
            .write(|tx| {
                let (created, updated) = (tx.now(), tx.now());
                tx.insert(&Schema {
                    arn: schema_arn.clone(),
                    name: kind.to_lowercase(),
                    schema: schema.into(),
                    domain: None,
                    created,
                    updated,
                })?;
                tx.insert(&Dataset {
                    arn: arn.into(),
                    name: "clicks".into(),
                    group_arn: format!("{ARN}dataset-group/g"),
                    dataset_type: kind.into(),
                    schema_arn: schema_arn.clone(),
                    status: status::ACTIVE.into(),
                    latest_update: None,
                    generations: Vec::new(),
                    created,
                    updated,
                })
            })
            .unwrap();
    }

    /// Starts a runner on this world's own store.
    pub(crate) fn start(&self) -> Runner {
        self.start_on(self.parts.store.clone())
    }

    /// Starts a runner that sees the buckets through `store`.
    pub(crate) fn start_on(&self, store: Arc<dyn Store>) -> Runner {
        let parts = Parts {
            store,
            ..self.parts.clone()
        };
        let runner = Runner::start(parts).unwrap();
        *self.wake.lock().unwrap() = Some(runner.waker());
        runner
    }

    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.store.put(&at(path), Bytes::from(body.into())).unwrap();
    }

    /// The bytes of an object, or `None` where there is none.
    pub(crate) fn object(&self, path: &str) -> Option<Vec<u8>> {
        let location = at(path);
        match self.store.head(&location) {
            Ok(meta) => Some(
                self.store
                    .read(&location, 0..meta.size, None)
                    .unwrap()
                    .to_vec(),
            ),
            Err(Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.object(path).expect("the object is there")).unwrap()
    }

    /// Queues an import.
    pub(crate) fn import(&self, name: &str, dataset: &str, location: &str, mode: &str) -> String {
        let arn = import_arn(name);
        self.queue(WorkKind::Import, &arn, dataset, |created| ImportJob {
            arn: arn.clone(),
            job_name: name.into(),
            dataset_arn: dataset.into(),
            data_location: location.into(),
            role_arn: None,
            import_mode: mode.into(),
            publish_attribution_metrics_to_s3: None,
            status: status::CREATE_PENDING.into(),
            failure_reason: None,
            statistics: None,
            created,
            updated: created,
        });
        arn
    }

    /// Queues the training of a version with vectors of this length.
    pub(crate) fn train(&self, name: &str, dimension: usize) -> String {
        let config = serde_json::json!(
            {"algorithmHyperParameters": {"hidden_dimension": dimension.to_string()}}
        );
        self.train_config(name, config)
    }

    /// Queues the training of a version with short vectors and more settings.
    pub(crate) fn train_with(&self, name: &str, mut config: serde_json::Value) -> String {
        config["algorithmHyperParameters"] = serde_json::json!({"hidden_dimension": "32"});
        self.train_config(name, config)
    }

    fn train_config(&self, name: &str, config: serde_json::Value) -> String {
        let arn = version_arn(name);
        self.queue(WorkKind::Train, &arn, &arn, |created| SolutionVersion {
            arn: arn.clone(),
            name: format!("s/{name}"),
            solution_arn: format!("{ARN}solution/s"),
            group_arn: format!("{ARN}dataset-group/g"),
            recipe_arn: "arn:aws:personalize:::recipe/aws-item-affinity".into(),
            event_type: None,
            config: Some(config),
            training_mode: "FULL".into(),
            training_type: "MANUAL".into(),
            training_hours: None,
            status: status::CREATE_PENDING.into(),
            failure_reason: None,
            snapshot: None,
            items_snapshot: Vec::new(),
            model: None,
            metrics: BTreeMap::new(),
            statistics: None,
            created,
            updated: created,
        });
        arn
    }

    /// Queues a segment job on the version `v` with five users per line.
    pub(crate) fn segment(&self, name: &str, input: &str, output: &str) -> String {
        self.segment_without(name, input, output, None)
    }

    /// The same; who interacted with the item as the rule says is left out.
    pub(crate) fn segment_without(
        &self,
        name: &str,
        input: &str,
        output: &str,
        rule: Option<&str>,
    ) -> String {
        let arn = segment_arn(name);
        self.queue(WorkKind::Segment, &arn, &arn, |created| SegmentJob {
            scores: false,
            exclude_interacted: rule.map(|rule| rule.parse().unwrap()),
            data: None,
            arn: arn.clone(),
            job_name: name.into(),
            solution_version_arn: version_arn("v"),
            group_arn: format!("{ARN}dataset-group/g"),
            filter_arn: None,
            num_results: 5,
            input_path: input.into(),
            input_kms_key_arn: None,
            output_path: output.into(),
            output_kms_key_arn: None,
            role_arn: "arn:aws:iam::000000000000:role/kindred".into(),
            status: status::CREATE_PENDING.into(),
            failure_reason: None,
            statistics: None,
            created,
            updated: created,
        });
        arn
    }

    fn queue<R: Record>(
        &self,
        kind: WorkKind,
        arn: &str,
        queue: &str,
        record: impl FnOnce(Timestamp) -> R,
    ) {
        self.catalog
            .write(|tx| {
                tx.insert(&record(tx.now()))?;
                tx.enqueue(&NewWork { arn, kind, queue })
            })
            .unwrap();
        if let Some(wake) = &*self.wake.lock().unwrap() {
            wake();
        }
    }

    pub(crate) fn record<R: Record>(&self, arn: &str) -> R {
        self.catalog.read(|tx| tx.need(arn)).unwrap()
    }

    /// Status and failure reason of a job or version.
    pub(crate) fn state(&self, arn: &str) -> (String, Option<String>) {
        self.catalog
            .read(|tx| {
                if let Some(job) = tx.get::<ImportJob>(arn)? {
                    return Ok((job.status, job.failure_reason));
                }
                if let Some(version) = tx.get::<SolutionVersion>(arn)? {
                    return Ok((version.status, version.failure_reason));
                }
                tx.need::<SegmentJob>(arn)
                    .map(|job| (job.status, job.failure_reason))
            })
            .unwrap()
    }

    /// Waits until a job has ended and is off the queue, and gives its state.
    #[track_caller]
    pub(crate) fn wait(&self, arn: &str) -> (String, Option<String>) {
        until(arn, || {
            let state = self.state(arn);
            let queued = self
                .catalog
                .read(|tx| tx.work_state(arn))
                .unwrap()
                .is_some();
            (!status::is_unfinished(&state.0) && !queued).then_some(state)
        })
    }

    #[track_caller]
    pub(crate) fn wait_active(&self, arn: &str) {
        assert_eq!(self.wait(arn), (status::ACTIVE.to_owned(), None), "{arn}");
    }

    /// Waits until the job failed; gives the reason.
    #[track_caller]
    pub(crate) fn wait_failed(&self, arn: &str) -> String {
        let (status, reason) = self.wait(arn);
        assert_eq!(status, status::CREATE_FAILED, "{arn}");
        reason.expect("a failed job has a reason")
    }

    /// Waits until a worker is at the job.
    #[track_caller]
    pub(crate) fn wait_running(&self, arn: &str) {
        until(arn, || {
            let state = self.catalog.read(|tx| tx.work_state(arn)).unwrap();
            state.is_some_and(|state| state.running).then_some(())
        });
    }

    /// Names in a directory of the layout, sorted; scratch of a job that just ended may take a
    /// moment to go, so whoever expects an empty one uses [`World::wait_empty`].
    pub(crate) fn names(&self, directory: PathBuf) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[track_caller]
    pub(crate) fn wait_empty(&self, directory: PathBuf) {
        until("an empty directory", || {
            self.names(directory.clone()).is_empty().then_some(())
        });
    }

    /// Ids of a dataset's generations.
    pub(crate) fn generations(&self, dataset: &str) -> Vec<String> {
        let record: Dataset = self.record(dataset);
        record
            .generations
            .into_iter()
            .map(|generation| generation.id)
            .collect()
    }

    /// All files of a version's model, by name.
    pub(crate) fn model_files(&self, version: &str) -> BTreeMap<String, Vec<u8>> {
        let version: SolutionVersion = self.record(version);
        let dir = self
            .layout
            .model(&version.model.expect("the version has a model"));
        let names = self.names(dir.clone());
        names
            .into_iter()
            .map(|name| (name.clone(), std::fs::read(dir.join(name)).unwrap()))
            .collect()
    }

    /// Multipart uploads that are open in a bucket.
    pub(crate) fn open_uploads(&self, bucket: &str) -> usize {
        self.store
            .list_uploads(bucket, "", None, 1000)
            .unwrap()
            .uploads
            .len()
    }
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = instant();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn at(path: &str) -> Location {
    Location::parse(&format!("s3://{path}")).unwrap()
}

pub(crate) fn import_arn(name: &str) -> String {
    format!("{ARN}dataset-import-job/{name}")
}

pub(crate) fn version_arn(name: &str) -> String {
    format!("{ARN}solution/s/{name}")
}

pub(crate) fn segment_arn(name: &str) -> String {
    format!("{ARN}batch-segment-job/{name}")
}

/// A store whose reads of one object wait at a gate, from the `from`-th read on.
#[derive(Debug)]
pub(crate) struct GateStore {
    inner: Arc<dyn Store>,
    key: String,
    from: u64,
    state: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    reads: u64,
    waiting: bool,
    open: bool,
}

impl GateStore {
    pub(crate) fn new(inner: Arc<dyn Store>, key: &str, from: u64) -> Arc<GateStore> {
        Arc::new(GateStore {
            inner,
            key: key.into(),
            from,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Waits until somebody stands at the gate.
    #[track_caller]
    pub(crate) fn wait_reached(&self) {
        until("a reader at the gate", || {
            self.state.lock().unwrap().waiting.then_some(())
        });
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}

impl Store for GateStore {
    fn read(
        &self,
        location: &Location,
        range: Range<u64>,
        etag: Option<&str>,
    ) -> Result<Bytes, Error> {
        if location.key == self.key {
            let mut state = self.state.lock().unwrap();
            state.reads += 1;
            state.waiting |= state.reads >= self.from;
            while state.reads >= self.from && !state.open {
                state = self.changed.wait(state).unwrap();
            }
        }
        self.inner.read(location, range, etag)
    }

    fn head(&self, location: &Location) -> Result<ObjectMeta, Error> {
        self.inner.head(location)
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<ListPage, Error> {
        self.inner.list(bucket, prefix, after, max)
    }

    fn put(&self, location: &Location, body: Bytes) -> Result<ObjectMeta, Error> {
        self.inner.put(location, body)
    }

    fn delete(&self, location: &Location) -> Result<(), Error> {
        self.inner.delete(location)
    }

    fn start_upload(&self, location: &Location) -> Result<String, Error> {
        self.inner.start_upload(location)
    }

    fn upload_part(
        &self,
        location: &Location,
        upload: &str,
        number: u32,
        body: Bytes,
    ) -> Result<PartTag, Error> {
        self.inner.upload_part(location, upload, number, body)
    }

    fn complete_upload(
        &self,
        location: &Location,
        upload: &str,
        parts: &[PartTag],
    ) -> Result<ObjectMeta, Error> {
        self.inner.complete_upload(location, upload, parts)
    }

    fn abort_upload(&self, location: &Location, upload: &str) -> Result<(), Error> {
        self.inner.abort_upload(location, upload)
    }
}
