//! Segment jobs: texts of failures, inputs and outputs, shutting down in the middle.

use crate::support::*;
use kindred_catalog::records::{SegmentJob, status};
use kindred_store::FaultStore;
use kindred_store::fault::{Call, Fault, Planned};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn failures_have_the_contracts_texts() {
    let world = World::trained_with(|settings| settings.segment.max_records = 31);
    world.put("demo/array.json", "[{\"itemId\": \"i001\"}]");
    world.put("demo/pretty.json", "{\n  \"itemId\": \"i001\"\n}\n");
    world.put("demo/many.json", queries(31));
    world.put("demo/out/earlier.json.out", "x");
    let runner = world.start();
    let cases = [
        (
            "s3://demo/none.json",
            "s3://demo/o/",
            "Invalid S3 input path: s3://demo/none.json. No object found.",
        ),
        (
            "s3://nobucket/q.json",
            "s3://demo/o/",
            "Invalid S3 input path: s3://nobucket/q.json. No object found.",
        ),
        (
            "s3://demo/out/",
            "s3://demo/o/",
            "Invalid S3 input path: s3://demo/out/. No object found.",
        ),
        (
            "s3://demo/in/q.json",
            "s3://nobucket/o/",
            "Invalid S3 output path: s3://nobucket/o/.",
        ),
        (
            "s3://demo/array.json",
            "s3://demo/o/",
            "Input s3://demo/array.json is not JSON Lines: expected one JSON object per line.",
        ),
        (
            "s3://demo/pretty.json",
            "s3://demo/o/",
            "Input s3://demo/pretty.json is not JSON Lines: expected one JSON object per line.",
        ),
        (
            "s3://demo/many.json",
            "s3://demo/o/",
            "Input has more than 31 records.",
        ),
    ];
    for (number, (input, output, reason)) in cases.into_iter().enumerate() {
        let arn = world.segment(&format!("bad-{number}"), input, output);
        assert_eq!(world.wait_failed(&arn), reason);
        assert_eq!(world.record::<SegmentJob>(&arn).statistics, None);
    }
    let listed = world.store.clone();
    let objects = kindred_store::Store::list(&listed, "demo", "o/", None, 100)
        .unwrap()
        .objects;
    let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
    assert_eq!(keys, ["o/_CHECK"]);
    world.wait_empty(world.layout.jobs());
    runner.stop();
}

#[test]
fn refused_rights_have_the_text_about_privileges() {
    let world = World::trained();
    for (call, nth, refused) in [
        (Call::Put, 1, "s3:PutObject on s3://demo/out/_CHECK"),
        (Call::Put, 2, "s3:PutObject on s3://demo/out/q.json.out"),
        (Call::Head, 1, "s3:GetObject on s3://demo/in/q.json"),
        (Call::Read, 1, "s3:GetObject on s3://demo/in/q.json"),
        (Call::Read, 2, "s3:GetObject on s3://demo/in/q.json"),
    ] {
        let plan = vec![Planned {
            call,
            nth,
            fault: Fault::Denied,
        }];
        let store = Arc::new(FaultStore::new(Arc::new(world.store.clone()), plan));
        let runner = world.start_on(store.clone());
        let arn = world.segment(
            &format!("{call:?}-{nth}"),
            "s3://demo/in/q.json",
            "s3://demo/out",
        );
        assert_eq!(
            world.wait_failed(&arn),
            format!(
                "Insufficient privileges for accessing data in Amazon S3. {refused} was denied."
            )
        );
        assert_eq!(store.fired(), 1);
        assert_eq!(world.object("demo/out/q.json.out"), None);
        runner.stop();
    }
}

#[test]
fn every_object_below_a_prefix_has_its_output() {
    let world = World::trained();
    let line = |item: u64| format!("{{\"itemId\": \"i{item:03}\"}}\n");
    world.put("demo/many/a.json", line(1));
    world.put("demo/many/deep/b.json", line(2));
    world.put("demo/many/deep/c.json.gz", {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(line(3).as_bytes()).unwrap();
        packed.finish().unwrap()
    });
    for skipped in [
        "_hidden.json",
        ".dot.json",
        "empty.json",
        "folder/",
        "old.json.out",
    ] {
        let body = if skipped == "empty.json" {
            String::new()
        } else {
            line(4)
        };
        world.put(&format!("demo/many/{skipped}"), body);
    }
    let runner = world.start();
    let arn = world.segment("job", "s3://demo/many/", "s3://demo/out");
    world.wait_active(&arn);
    let outputs = kindred_store::Store::list(&world.store, "demo", "out/", None, 100).unwrap();
    let keys: Vec<&str> = outputs
        .objects
        .iter()
        .map(|object| object.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "out/_CHECK",
            "out/a.json.out",
            "out/deep/b.json.out",
            "out/deep/c.json.gz.out"
        ]
    );
    for (item, key) in [(1, "a.json"), (2, "deep/b.json"), (3, "deep/c.json.gz")] {
        let text = world.text(&format!("demo/out/{key}.out"));
        assert!(
            text.starts_with(&format!("{{\"input\": {{\"itemId\": \"i{item:03}\"}}, ")),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
    let figures = world.record::<SegmentJob>(&arn).statistics.unwrap();
    assert_eq!(
        (&figures["lines"], &figures["line_errors"]),
        (&3.into(), &0.into())
    );
    assert_eq!((&figures["users"], &figures["k"]), (&40.into(), &5.into()));
    runner.stop();
}

/// The output of an undisturbed job.
fn expected(world: &World) -> Vec<u8> {
    let runner = world.start();
    world.wait_active(&world.segment("undisturbed", "s3://demo/in/q.json", "s3://demo/expected/"));
    runner.stop();
    world.object("demo/expected/q.json.out").unwrap()
}

#[test]
fn an_output_is_absent_until_it_is_whole() {
    let world = World::trained();
    let expected = expected(&world);
    // The second read is the second pass: everything is scored, writing begins.
    let gate = GateStore::new(Arc::new(world.store.clone()), "in/q.json", 2);
    let runner = world.start_on(gate.clone());
    let arn = world.segment("job", "s3://demo/in/q.json", "s3://demo/out/");
    gate.wait_reached();
    assert_eq!(world.object("demo/out/_CHECK"), Some(Vec::new()));
    assert_eq!(world.object("demo/out/q.json.out"), None);
    assert_eq!(world.state(&arn).0, status::CREATE_IN_PROGRESS);
    gate.open();
    world.wait_active(&arn);
    assert!(world.object("demo/out/q.json.out").unwrap() == expected);
    runner.stop();
}

#[test]
fn a_shutdown_gives_the_job_back_and_the_next_runner_ends_it_with_the_same_bytes() {
    // One query per block, so that the stop is seen between blocks.
    let world = World::trained_with(|settings| settings.segment.block_bytes = 1);
    let expected = expected(&world);
    let gate = GateStore::new(Arc::new(world.store.clone()), "in/q.json", 1);
    let runner = world.start_on(gate.clone());
    let arn = world.segment("job", "s3://demo/in/q.json", "s3://demo/out/");
    gate.wait_reached();
    let stopping = std::thread::spawn(move || runner.stop());
    // The stop has to be under way before the job goes on; it has nothing to do but set a flag.
    std::thread::sleep(Duration::from_millis(500));
    gate.open();
    stopping.join().unwrap();
    let state = world
        .catalog
        .read(|tx| tx.work_state(&arn))
        .unwrap()
        .expect("still queued");
    assert_eq!((state.running, state.tries), (false, 0));
    assert_eq!(
        world.state(&arn),
        (status::CREATE_IN_PROGRESS.to_owned(), None)
    );
    assert_eq!(world.object("demo/out/q.json.out"), None);

    let runner = world.start();
    world.wait_active(&arn);
    assert!(world.object("demo/out/q.json.out").unwrap() == expected);
    world.wait_empty(world.layout.jobs());
    runner.stop();
}

#[test]
fn who_is_left_out_is_decided_by_the_data_of_the_start_even_after_a_restart_and_an_import() {
    // One query per block, so that the stop is seen between blocks.
    let world = World::trained_with(|settings| settings.segment.block_bytes = 1);
    let all = expected(&world);
    let runner = world.start();
    let queue = |name: &str| {
        let output = format!("s3://demo/{name}/");
        world.segment_without(name, "s3://demo/in/q.json", &output, Some("true,100d"))
    };
    world.wait_active(&queue("alone"));
    let undisturbed = world.object("demo/alone/q.json.out").unwrap();
    assert!(undisturbed != all);
    runner.stop();

    let gate = GateStore::new(Arc::new(world.store.clone()), "in/q.json", 1);
    let runner = world.start_on(gate.clone());
    let arn = queue("job");
    gate.wait_reached();
    let old = world.generations(INTERACTIONS);
    world.put("data/other.csv", csv(40, 30, 900, 8));
    let import = world.import("other", INTERACTIONS, "s3://data/other.csv", "FULL");
    world.wait_active(&import);
    let new = world.generations(INTERACTIONS);
    assert!(old != new);
    let stopping = std::thread::spawn(move || runner.stop());
    // The stop has to be under way before the job goes on; it has nothing to do but set a flag.
    std::thread::sleep(Duration::from_millis(500));
    gate.open();
    stopping.join().unwrap();
    assert_eq!(world.state(&arn).0, status::CREATE_IN_PROGRESS);
    // The data that the import replaced is kept for the job, and for nothing else.
    let mut kept = [old, new.clone()].concat();
    kept.sort();
    assert_eq!(world.names(world.layout.datasets()), kept);

    let runner = world.start();
    world.wait_active(&arn);
    assert!(world.object("demo/job/q.json.out").unwrap() == undisturbed);
    until("the sweep", || {
        (world.names(world.layout.datasets()) == new).then_some(())
    });
    world.wait_active(&queue("later"));
    assert!(world.object("demo/later/q.json.out").unwrap() != undisturbed);
    runner.stop();
}

#[test]
fn a_rule_that_the_data_cannot_answer_fails_the_job_in_words() {
    let world = World::trained();
    let runner = world.start();
    let arn = world.segment_without(
        "typed",
        "s3://demo/in/q.json",
        "s3://demo/out/",
        Some("purchase"),
    );
    assert_eq!(
        world.wait_failed(&arn),
        "kindred:exclude-interacted names an event type, but the Interactions dataset has no EVENT_TYPE column."
    );
    assert_eq!(world.object("demo/out/q.json.out"), None);
    runner.stop();
}

#[test]
fn an_input_that_changes_under_the_job_fails_it() {
    let world = World::trained();
    let gate = GateStore::new(Arc::new(world.store.clone()), "in/q.json", 2);
    let runner = world.start_on(gate.clone());
    let arn = world.segment("job", "s3://demo/in/q.json", "s3://demo/out/");
    gate.wait_reached();
    world.put("demo/in/q.json", queries(29));
    gate.open();
    assert_eq!(
        world.wait_failed(&arn),
        "The object s3://demo/in/q.json changed while the job was reading it."
    );
    assert_eq!(world.object("demo/out/q.json.out"), None);
    runner.stop();
}

#[test]
fn every_line_may_be_wrong_and_the_job_still_ends_well() {
    let world = World::trained();
    world.put("demo/bad.json", "{\"itemId\": \"x\"}\nnot json\n{}\n");
    let runner = world.start();
    let arn = world.segment("job", "s3://demo/bad.json", "s3://demo/out/");
    world.wait_active(&arn);
    let figures = world.record::<SegmentJob>(&arn).statistics.unwrap();
    assert_eq!(
        (&figures["lines"], &figures["line_errors"]),
        (&3.into(), &3.into())
    );
    runner.stop();
}
