//! Storage that is away: jobs wait, end well later, with the same bytes, and leave no uploads.

use crate::support::*;
use kindred_catalog::records::Dataset;
use kindred_store::FaultStore;
use kindred_store::fault::{Call, Fault, Planned};
use std::fmt::Write as _;
use std::sync::Arc;

fn planned(call: Call, nth: u64, fault: Fault) -> Planned {
    Planned { call, nth, fault }
}

fn faulty(world: &World, plan: Vec<Planned>) -> Arc<FaultStore> {
    Arc::new(FaultStore::new(Arc::new(world.store.clone()), plan))
}

#[test]
fn a_segment_job_waits_for_the_store_and_ends_with_the_same_bytes() {
    let world = World::trained();
    let runner = world.start();
    world.wait_active(&world.segment("first", "s3://demo/in/q.json", "s3://demo/expected/"));
    runner.stop();
    let expected = world.object("demo/expected/q.json.out").unwrap();
    for (number, plan) in [
        vec![planned(Call::Put, 1, Fault::Unavailable)],
        vec![planned(Call::Put, 2, Fault::AnswerLost)],
        vec![planned(Call::Head, 1, Fault::Unavailable)],
        vec![planned(Call::Read, 1, Fault::Unavailable)],
        vec![
            planned(Call::Read, 2, Fault::Unavailable),
            planned(Call::Put, 2, Fault::Unavailable),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let faults = plan.len() as u64;
        let store = faulty(&world, plan);
        let runner = world.start_on(store.clone());
        let output = format!("demo/out-{number}");
        let arn = world.segment(
            &format!("job-{number}"),
            "s3://demo/in/q.json",
            &format!("s3://{output}"),
        );
        world.wait_active(&arn);
        assert_eq!(store.fired(), faults, "case {number}");
        assert!(
            world.object(&format!("{output}/q.json.out")).unwrap() == expected,
            "case {number}"
        );
        runner.stop();
    }
}

#[test]
fn half_a_read_is_no_end_of_the_object() {
    let world = World::trained();
    let runner = world.start();
    world.wait_active(&world.segment("first", "s3://demo/in/q.json", "s3://demo/expected/"));
    runner.stop();
    let store = faulty(
        &world,
        vec![
            planned(Call::Read, 1, Fault::Truncated),
            planned(Call::Read, 3, Fault::Truncated),
        ],
    );
    let runner = world.start_on(store.clone());
    let arn = world.segment("job", "s3://demo/in/q.json", "s3://demo/out/");
    world.wait_active(&arn);
    assert_eq!(store.fired(), 2);
    assert!(world.object("demo/out/q.json.out") == world.object("demo/expected/q.json.out"));
    runner.stop();
}

#[test]
fn an_import_waits_for_the_store() {
    let world = World::new();
    world.put("data/a.csv", csv(10, 10, 60, 1));
    let store = faulty(
        &world,
        vec![
            planned(Call::Head, 1, Fault::Unavailable),
            planned(Call::Read, 1, Fault::Unavailable),
        ],
    );
    let runner = world.start_on(store.clone());
    let arn = world.import("a", INTERACTIONS, "s3://data/a.csv", "FULL");
    world.wait_active(&arn);
    assert_eq!(store.fired(), 2);
    let dataset: Dataset = world.record(INTERACTIONS);
    assert_eq!(dataset.generations[0].rows, 60);
    assert_eq!(
        world.names(world.layout.datasets()),
        world.generations(INTERACTIONS)
    );
    runner.stop();
}

#[test]
fn large_outputs_survive_lost_parts_and_leave_no_upload() {
    let world = World::trained();
    // About 11 MB of output: two parts.
    let mut input = String::new();
    for line in 0..90_000u64 {
        writeln!(
            input,
            "{{\"itemId\": \"i{:03}\", \"line\": {line}}}",
            line % 30
        )
        .unwrap();
    }
    world.put("demo/large.json", input);
    let runner = world.start();
    world.wait_active(&world.segment("first", "s3://demo/large.json", "s3://demo/expected/"));
    runner.stop();
    let expected = world.object("demo/expected/large.json.out").unwrap();
    assert!(expected.len() > 9 << 20, "{} bytes", expected.len());
    for (number, plan) in [
        vec![planned(Call::UploadPart, 2, Fault::Unavailable)],
        vec![planned(Call::CompleteUpload, 1, Fault::AnswerLost)],
        // The upload cannot be forgotten at once: the next try finds it in the job's notes.
        vec![
            planned(Call::UploadPart, 1, Fault::Unavailable),
            planned(Call::AbortUpload, 1, Fault::Unavailable),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let faults = plan.len() as u64;
        let store = faulty(&world, plan);
        let runner = world.start_on(store.clone());
        let output = format!("demo/out-{number}");
        let arn = world.segment(
            &format!("job-{number}"),
            "s3://demo/large.json",
            &format!("s3://{output}/"),
        );
        world.wait_active(&arn);
        assert_eq!(store.fired(), faults, "case {number}");
        assert!(
            world.object(&format!("{output}/large.json.out")).unwrap() == expected,
            "case {number}"
        );
        assert_eq!(world.open_uploads("demo"), 0, "case {number}");
        runner.stop();
    }
}
