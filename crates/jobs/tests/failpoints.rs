//! Jobs that break at their failpoints: tries, clean-up, and what others notice of it.
//!
//! Failpoints belong to the whole process, so every test holds a scenario while it runs. They are
//! only there with the feature `failpoints`:
//!
//!     cargo nextest run -p kindred-jobs --features failpoints
#![cfg(feature = "failpoints")]

#[path = "runner/support.rs"]
mod support;

use fail::FailScenario;
use kindred_catalog::records::{Dataset, SolutionVersion, status};
use support::*;

/// A job of every kind, on a world where it can run.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Import,
    Train,
    Segment,
}

impl Kind {
    fn queue(self, world: &World, name: &str) -> String {
        match self {
            Kind::Import => world.import(name, INTERACTIONS, "s3://data/i.csv", "FULL"),
            Kind::Train => world.train(name, 32),
            Kind::Segment => {
                world.segment(name, "s3://demo/in/q.json", &format!("s3://demo/{name}/"))
            }
        }
    }
}

/// The failpoints before a job's result is stored.
const BEFORE: [(Kind, &str); 8] = [
    (Kind::Import, "import::staged"),
    (Kind::Import, "import::published"),
    (Kind::Train, "train::staged"),
    (Kind::Train, "train::published"),
    (Kind::Segment, "segment::fixed"),
    (Kind::Segment, "segment::listed"),
    (Kind::Segment, "segment::checked"),
    (Kind::Segment, "segment::written"),
];
const AFTER: [(Kind, &str); 3] = [
    (Kind::Import, "import::committed"),
    (Kind::Train, "train::committed"),
    (Kind::Segment, "segment::committed"),
];

/// Nothing but what records name is left in the data directory.
#[track_caller]
fn nothing_is_left_over(world: &World) {
    world.wait_empty(world.layout.jobs());
    let datasets = [world.generations(INTERACTIONS), world.generations(ITEMS)].concat();
    assert_eq!(world.names(world.layout.datasets()), datasets);
    let mut models: Vec<String> = world
        .catalog
        .read(|tx| tx.all::<SolutionVersion>(None))
        .unwrap()
        .into_iter()
        .filter_map(|version| version.model)
        .collect();
    models.sort();
    assert_eq!(world.names(world.layout.models()), models);
}

#[test]
fn a_job_may_break_twice_and_ends_well_with_the_same_bytes() {
    let scenario = FailScenario::setup();
    let world = World::trained();
    let runner = world.start();
    let expected = {
        world.wait_active(&world.segment("expected", "s3://demo/in/q.json", "s3://demo/expected/"));
        world.object("demo/expected/q.json.out")
    };
    for (number, (kind, point)) in BEFORE.into_iter().enumerate() {
        fail::cfg(point, "2*panic->off").unwrap();
        let name = format!("job-{number}");
        let arn = kind.queue(&world, &name);
        world.wait_active(&arn);
        match kind {
            Kind::Import => {
                let dataset: Dataset = world.record(INTERACTIONS);
                assert_eq!(dataset.generations.len(), 1, "{point}");
                assert_eq!(dataset.generations[0].rows, 1300, "{point}");
            }
            Kind::Train => {
                assert!(
                    world.model_files(&arn) == world.model_files(&version_arn("v")),
                    "{point}"
                );
            }
            Kind::Segment => {
                assert!(
                    world.object(&format!("demo/{name}/q.json.out")) == expected,
                    "{point}"
                );
            }
        }
        nothing_is_left_over(&world);
        fail::remove(point);
    }
    runner.stop();
    scenario.teardown();
}

#[test]
fn the_third_break_in_a_row_fails_the_job_with_a_request_id() {
    let scenario = FailScenario::setup();
    let world = World::trained();
    let before: Dataset = world.record(INTERACTIONS);
    let runner = world.start();
    for (number, (kind, point)) in BEFORE.into_iter().enumerate() {
        // A fourth try would succeed.
        fail::cfg(point, "3*panic->off").unwrap();
        let arn = kind.queue(&world, &format!("job-{number}"));
        let reason = world.wait_failed(&arn);
        let id = reason
            .strip_prefix("Internal error, request id ")
            .and_then(|rest| rest.strip_suffix('.'))
            .unwrap_or_else(|| panic!("{point}: {reason}"));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{point}: {id}");
        nothing_is_left_over(&world);
        fail::remove(point);
    }
    assert_eq!(world.record::<Dataset>(INTERACTIONS), before);
    runner.stop();
    scenario.teardown();
}

#[test]
fn breaking_after_the_commit_changes_nothing() {
    let scenario = FailScenario::setup();
    let world = World::trained();
    let runner = world.start();
    for (number, (kind, point)) in AFTER.into_iter().enumerate() {
        fail::cfg(point, "1*panic->off").unwrap();
        let arn = kind.queue(&world, &format!("job-{number}"));
        world.wait_active(&arn);
        fail::remove(point);
        // The worker lives and takes the next job.
        world.wait_active(&kind.queue(&world, &format!("next-{number}")));
        assert_eq!(world.state(&arn).0, status::ACTIVE, "{point}");
        nothing_is_left_over(&world);
    }
    runner.stop();
    scenario.teardown();
}

#[test]
fn a_poison_job_starves_nobody() {
    let scenario = FailScenario::setup();
    let world = World::trained_with(|settings| settings.workers = 1);
    fail::cfg("train::staged", "panic").unwrap();
    let poison = Kind::Train.queue(&world, "poison");
    let others: Vec<String> = (0..4)
        .map(|number| Kind::Segment.queue(&world, &format!("job-{number}")))
        .collect();
    let runner = world.start();
    for other in &others {
        world.wait_active(other);
    }
    let reason = world.wait_failed(&poison);
    assert!(
        reason.starts_with("Internal error, request id "),
        "{reason}"
    );
    runner.stop();
    scenario.teardown();
}

#[test]
fn a_reimport_leaves_the_files_of_a_running_training_until_it_ends() {
    let scenario = FailScenario::setup();
    let world = World::trained();
    world.put("data/new.csv", csv(40, 30, 1100, 99));
    world.put("data/items.csv", "ITEM_ID,GENRE\ni001,a\ni002,b\n");
    world.put("data/new-items.csv", "ITEM_ID,GENRE\ni003,c\n");
    let runner = world.start();
    world.wait_active(&world.import("items", ITEMS, "s3://data/items.csv", "FULL"));
    world.wait_active(&world.train("undisturbed", 32));
    runner.stop();
    let all = |world: &World| {
        let mut all = [world.generations(INTERACTIONS), world.generations(ITEMS)].concat();
        all.sort();
        all
    };
    let old = all(&world);
    // Paused with its snapshot fixed, its work done and nothing published.
    fail::cfg("train::staged", "pause").unwrap();
    let runner = world.start();
    let training = world.train("later", 32);
    until("a snapshot", || {
        world.record::<SolutionVersion>(&training).snapshot
    });
    let import = world.import("new", INTERACTIONS, "s3://data/new.csv", "FULL");
    world.wait_active(&import);
    let import = world.import("new-items", ITEMS, "s3://data/new-items.csv", "FULL");
    world.wait_active(&import);
    // The scratch files go last, after the sweep.
    let scratch = world.layout.scratch(&import);
    until("the import's end", || (!scratch.exists()).then_some(()));
    let new = all(&world);
    assert!(new.iter().all(|id| !old.contains(id)));
    let mut both = [old.clone(), new.clone()].concat();
    both.sort();
    assert_eq!(world.names(world.layout.datasets()), both);

    fail::cfg("train::staged", "off").unwrap();
    world.wait_active(&training);
    let version: SolutionVersion = world.record(&training);
    let read = version.snapshot.unwrap().into_iter();
    let read = read.chain(version.items_snapshot);
    let mut read: Vec<String> = read.map(|generation| generation.id).collect();
    read.sort();
    assert_eq!(read, old);
    until("the sweep", || {
        (world.names(world.layout.datasets()) == new).then_some(())
    });
    assert!(world.model_files(&training) == world.model_files(&version_arn("undisturbed")));
    runner.stop();
    scenario.teardown();
}

/// The model is on disk already when the stop comes: it is thrown away all the same.
#[test]
fn a_stop_that_comes_at_the_last_moment_is_kept() {
    let scenario = FailScenario::setup();
    let world = World::trained();
    let runner = world.start();
    let arn = version_arn("late");
    let (catalog, asked) = (world.catalog.clone(), arn.clone());
    fail::cfg_callback("train::published", move || {
        catalog
            .write(|tx| {
                let mut version: SolutionVersion = tx.need(&asked)?;
                version.status = status::CREATE_STOPPING.to_owned();
                tx.update(&version)?;
                tx.request_stop(&asked)
            })
            .unwrap();
    })
    .unwrap();
    assert_eq!(world.train("late", 32), arn);
    assert_eq!(world.wait(&arn), (status::CREATE_STOPPED.to_owned(), None));
    nothing_is_left_over(&world);
    runner.stop();
    scenario.teardown();
}
