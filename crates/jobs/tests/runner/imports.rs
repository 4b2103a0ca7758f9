//! Import jobs: texts of failures, what becomes visible, their order.

use crate::support::*;
use kindred_catalog::records::{Dataset, ImportJob, SolutionVersion, status};
use kindred_store::FaultStore;
use kindred_store::fault::{Call, Fault, Planned};
use std::sync::Arc;

const PREFIX: &str = "Failed to create a data import job for Interactions dataset clicks. ";

#[test]
fn failing_imports_say_why_and_leave_the_old_data() {
    let world = World::new();
    world.put("data/good.csv", csv(10, 10, 50, 1));
    world.put("data/bad/1.csv", csv(10, 10, 50, 2));
    world.put(
        "data/bad/2.csv",
        "USER_ID,ITEM_ID,TIMESTAMP\nu,i,5\nu,i,today\n",
    );
    world.put("data/columns.csv", "USER_ID,WHEN\nu,5\n");
    world.put("data/packed.csv.gz", "USER_ID,ITEM_ID,TIMESTAMP\n");
    let runner = world.start();
    world.wait_active(&world.import("good", INTERACTIONS, "s3://data/good.csv", "FULL"));
    let before: Dataset = world.record(INTERACTIONS);
    assert_eq!(
        (before.generations.len(), before.generations[0].rows),
        (1, 50)
    );

    let cases = [
        ("s3://data/none.csv", "No data found at s3://data/none.csv"),
        (
            "s3://nobucket/x.csv",
            "No data found at s3://nobucket/x.csv",
        ),
        (
            "s3://data/columns.csv",
            "Input CSV is missing the following columns: [ITEM_ID, TIMESTAMP]",
        ),
        (
            "s3://data/bad/",
            "Invalid value for column TIMESTAMP in s3://data/bad/2.csv line 3: expected long",
        ),
        ("s3://data/packed.csv.gz", ""),
    ];
    for (number, (location, detail)) in cases.into_iter().enumerate() {
        for mode in ["FULL", "INCREMENTAL"] {
            let arn = world.import(
                &format!("bad-{number}-{mode}"),
                INTERACTIONS,
                location,
                mode,
            );
            let reason = world.wait_failed(&arn);
            assert!(
                reason.starts_with(&format!("{PREFIX}{detail}")),
                "{location}: {reason}"
            );
            let job: ImportJob = world.record(&arn);
            assert_eq!(job.statistics, None);
        }
    }
    let after: Dataset = world.record(INTERACTIONS);
    assert_eq!(after, before);
    assert_eq!(
        world.names(world.layout.datasets()),
        world.generations(INTERACTIONS)
    );
    world.wait_empty(world.layout.jobs());
    runner.stop();
}

#[test]
fn refused_objects_have_the_text_about_privileges() {
    let world = World::new();
    world.put("data/good.csv", csv(10, 10, 50, 1));
    let denied = |call| {
        vec![Planned {
            call,
            nth: 1,
            fault: Fault::Denied,
        }]
    };
    for (call, location, refused) in [
        (
            Call::Head,
            "s3://data/good.csv",
            "s3:GetObject on s3://data/good.csv",
        ),
        (
            Call::Read,
            "s3://data/good.csv",
            "s3:GetObject on s3://data/good.csv",
        ),
        (Call::List, "s3://data/", "s3:ListBucket on s3://data/"),
    ] {
        let store = Arc::new(FaultStore::new(Arc::new(world.store.clone()), denied(call)));
        let runner = world.start_on(store.clone());
        let arn = world.import(&format!("{call:?}"), INTERACTIONS, location, "FULL");
        let expected = format!(
            "{PREFIX}Insufficient privileges for accessing data in Amazon S3. {refused} was denied."
        );
        assert_eq!(world.wait_failed(&arn), expected, "{call:?}");
        assert_eq!(store.fired(), 1);
        runner.stop();
    }
    assert_eq!(world.generations(INTERACTIONS), Vec::<String>::new());
}

#[test]
fn imports_of_one_dataset_run_in_order_and_hold_up_no_other() {
    let world = World::new();
    world.put("data/a.csv", csv(10, 10, 60, 1));
    world.put("data/b.csv", csv(10, 10, 70, 2));
    world.put("data/items.csv", "ITEM_ID,GENRE\ni000,Drama\n");
    let gate = GateStore::new(Arc::new(world.store.clone()), "a.csv", 1);
    let runner = world.start_on(gate.clone());
    let first = world.import("a", INTERACTIONS, "s3://data/a.csv", "FULL");
    let second = world.import("b", INTERACTIONS, "s3://data/b.csv", "FULL");
    let other = world.import("items", ITEMS, "s3://data/items.csv", "FULL");
    gate.wait_reached();
    world.wait_active(&other);
    assert_eq!(world.state(&first).0, status::CREATE_IN_PROGRESS);
    assert_eq!(world.state(&second).0, status::CREATE_PENDING);
    gate.open();
    world.wait_active(&first);
    world.wait_active(&second);
    let dataset: Dataset = world.record(INTERACTIONS);
    let rows: Vec<u64> = dataset
        .generations
        .iter()
        .map(|generation| generation.rows)
        .collect();
    assert_eq!(rows, [70]);
    // Of the first, nothing is left; the items are untouched.
    let mut kept = [world.generations(INTERACTIONS), world.generations(ITEMS)].concat();
    kept.sort();
    until("the sweep", || {
        (world.names(world.layout.datasets()) == kept).then_some(())
    });
    runner.stop();
}

#[test]
fn incremental_imports_add_and_full_ones_replace() {
    let world = World::new();
    world.put("data/a.csv", csv(40, 30, 1000, 1));
    world.put("data/b.csv", csv(40, 30, 300, 2));
    world.put("data/c/1.csv", csv(40, 30, 900, 3));
    world.put("data/c/2.csv", csv(40, 30, 200, 4));
    let runner = world.start();
    world.import("a", INTERACTIONS, "s3://data/a.csv", "FULL");
    world.wait_active(&world.import("b", INTERACTIONS, "s3://data/b.csv", "INCREMENTAL"));
    let figures = |world: &World| -> Vec<(String, u64)> {
        let dataset: Dataset = world.record(INTERACTIONS);
        dataset
            .generations
            .into_iter()
            .map(|g| (g.mode, g.rows))
            .collect()
    };
    assert_eq!(
        figures(&world),
        [("FULL".into(), 1000), ("INCREMENTAL".into(), 300)]
    );
    let version = world.train("both", 32);
    world.wait_active(&version);
    let record: SolutionVersion = world.record(&version);
    assert_eq!(record.statistics.unwrap()["interactions"], 1300);
    assert_eq!(record.snapshot.unwrap().len(), 2);

    world.wait_active(&world.import("c", INTERACTIONS, "s3://data/c", "FULL"));
    assert_eq!(figures(&world), [("FULL".into(), 1100)]);
    runner.stop();
}

#[test]
fn an_import_counts_what_it_did() {
    let world = World::with(|settings| settings.import_max_invalid_rows = 1);
    world.put(
        "data/a.csv",
        "USER_ID,ITEM_ID,TIMESTAMP\nu,i,5\nu,i,today\nv,j,6\n",
    );
    let runner = world.start();
    let arn = world.import("a", INTERACTIONS, "s3://data/a.csv", "FULL");
    world.wait_active(&arn);
    let statistics = world.record::<ImportJob>(&arn).statistics.unwrap();
    assert_eq!(
        (&statistics["rows"], &statistics["skipped_rows"]),
        (&2.into(), &1.into())
    );
    runner.stop();
}

#[test]
fn quotas_of_imports_fail_the_job_and_leave_the_old_data() {
    let few = csv(10, 10, 50, 1);
    let bytes = few.len() as u64;
    let world = World::with(|settings| {
        settings.quotas.full_import_bytes = bytes;
        settings.quotas.incremental_import_bytes = bytes - 1;
        settings.quotas.interactions_import_rows_min = 50;
    });
    world.put("data/few.csv", few);
    world.put("data/fewer.csv", csv(10, 10, 49, 1));
    world.put("data/many/1.csv", csv(10, 10, 50, 1));
    world.put("data/many/2.csv", csv(10, 10, 50, 2));
    let runner = world.start();
    let check = |name: &str, mode: &str, expected: &str| {
        let location = format!("s3://data/{name}");
        let arn = world.import(
            &format!("{}-{mode}", &name[..4]),
            INTERACTIONS,
            &location,
            mode,
        );
        let reason = world.wait_failed(&arn);
        assert!(reason.starts_with(PREFIX), "{reason}");
        assert!(reason.ends_with(expected), "{reason}");
    };
    let full = format!("more than the {bytes} of FULL imports.");
    check("many/", "FULL", &full);
    let incremental = format!(
        "has {bytes} bytes, more than the {} of INCREMENTAL imports.",
        bytes - 1
    );
    check("few.csv", "INCREMENTAL", &incremental);
    world.wait_active(&world.import("enough", INTERACTIONS, "s3://data/few.csv", "FULL"));
    check(
        "fewer.csv",
        "FULL",
        "The data has 49 rows, fewer than the 50 that an import needs.",
    );
    let dataset: Dataset = world.record(INTERACTIONS);
    assert_eq!(dataset.generations.len(), 1);
    assert_eq!(dataset.generations[0].rows, 50);
    runner.stop();
}
