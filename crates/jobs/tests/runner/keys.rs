//! Dataset groups with a key: what jobs leave on disk is sealed, and a refused key fails them.

use crate::support::*;
use kindred_jobs::{Access, Authority, JobSettings, Refused, Resource};
use kindred_store::Store as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A world whose group has a key, with the version `v` trained; and the key.
fn sealed_world(change: impl FnOnce(&mut JobSettings)) -> (World, String) {
    let world = World::with(change);
    let key = world.seal_group();
    world.import_and_train();
    (world, key)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[track_caller]
fn assert_sealed(directory: PathBuf, at_least: usize) {
    let found = files(&directory);
    assert!(found.len() >= at_least, "{found:?}");
    for path in found {
        let stored = std::fs::read(&path).unwrap();
        assert!(stored.starts_with(b"KINDSEA"), "{}", path.display());
    }
}

fn answer(world: &World, name: &str) -> Vec<u8> {
    let runner = world.start();
    let arn = world.segment(name, "s3://demo/in/q.json", &format!("s3://demo/{name}/"));
    world.wait_active(&arn);
    runner.stop();
    world.object(&format!("demo/{name}/q.json.out")).unwrap()
}

#[test]
fn generations_models_and_blocks_are_sealed_and_the_answers_are_the_same() {
    let plain = World::trained_with(|settings| settings.segment.block_bytes = 1);
    let (world, _key) = sealed_world(|settings| settings.segment.block_bytes = 1);
    let expected = answer(&plain, "a");
    assert!(answer(&world, "a") == expected);
    assert_sealed(world.layout.datasets(), 2);
    assert_sealed(world.layout.models(), 5);
    // At the second reading of the input everything is scored, and on disk.
    let gate = GateStore::new(Arc::new(world.store.clone()), "in/q.json", 2);
    let runner = world.start_on(gate.clone());
    let arn = world.segment("b", "s3://demo/in/q.json", "s3://demo/b/");
    gate.wait_reached();
    assert_sealed(world.layout.scratch(&arn).join("blocks"), 30);
    gate.open();
    world.wait_active(&arn);
    assert!(world.object("demo/b/q.json.out").unwrap() == expected);
    runner.stop();
}

#[test]
fn a_job_goes_on_behind_its_sealed_blocks() {
    let (world, _key) = sealed_world(|settings| settings.segment.block_bytes = 1);
    let expected = answer(&world, "a");
    let gate = GateStore::new(Arc::new(world.store.clone()), "in/q.json", 2);
    let runner = world.start_on(gate.clone());
    let arn = world.segment("b", "s3://demo/in/q.json", "s3://demo/b/");
    gate.wait_reached();
    let stopping = std::thread::spawn(move || runner.stop());
    // The stop has to be under way before the job goes on; it has nothing to do but set a flag.
    std::thread::sleep(Duration::from_millis(500));
    gate.open();
    stopping.join().unwrap();
    let blocks = world.layout.scratch(&arn).join("blocks");
    if world.state(&arn).0 == kindred_catalog::records::status::CREATE_IN_PROGRESS {
        // Blocks that changed places, or were cut, are not taken for others.
        std::fs::rename(blocks.join("block-000000"), blocks.join("block-000001")).unwrap();
        let cut = std::fs::read(blocks.join("block-000002")).unwrap();
        std::fs::write(blocks.join("block-000002"), &cut[..cut.len() - 1]).unwrap();
    }
    let runner = world.start();
    world.wait_active(&arn);
    assert!(world.object("demo/b/q.json.out").unwrap() == expected);
    runner.stop();
}

#[test]
fn a_disabled_key_fails_the_groups_jobs_and_nothing_else_until_it_is_enabled() {
    let (world, key) = sealed_world(|_| ());
    let expected = answer(&world, "a");
    let generations = world.generations(INTERACTIONS);
    world.keys.set_enabled(&key, false).unwrap();
    let reason = format!(
        "Insufficient privileges for accessing data in Amazon S3. kms:DescribeKey on {key} was denied: the key is disabled."
    );
    let runner = world.start();
    let segment = world.segment("b", "s3://demo/in/q.json", "s3://demo/b/");
    assert_eq!(world.wait_failed(&segment), reason);
    assert_eq!(world.object("demo/b/_CHECK"), None);
    assert_eq!(world.wait_failed(&world.train("w", 32)), reason);
    let import = world.import("second", INTERACTIONS, "s3://data/i.csv", "FULL");
    assert!(world.wait_failed(&import).contains(&reason));
    assert_eq!(world.generations(INTERACTIONS), generations);
    runner.stop();
    world.keys.set_enabled(&key, true).unwrap();
    assert!(answer(&world, "c") == expected);
}

#[test]
fn a_sealed_file_under_another_name_or_in_another_model_is_damage() {
    let (world, _key) = sealed_world(|_| ());
    let runner = world.start();
    world.wait_active(&world.train("w", 32));
    runner.stop();
    let models = std::fs::read_dir(world.layout.models()).unwrap();
    let models: Vec<PathBuf> = models.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(models.len(), 2);
    // The same data and settings: the content of both models is the same, the sealed bytes are not.
    std::fs::copy(models[0].join("card.json"), models[1].join("card.json")).unwrap();
    std::fs::copy(
        models[1].join("users.parquet"),
        models[0].join("users.parquet"),
    )
    .unwrap();
    let runner = world.start();
    let arn = world.segment("b", "s3://demo/in/q.json", "s3://demo/b/");
    let reason = world.wait_failed(&arn);
    assert!(
        reason.starts_with("Internal error, request id "),
        "{reason}"
    );
    assert_eq!(world.object("demo/b/q.json.out"), None);
    runner.stop();
}

/// Refuses one action on keys.
#[derive(Debug)]
struct Without(&'static str);

impl Authority for Without {
    fn decide(&self, access: &Access<'_>) -> Result<(), Refused> {
        match access.resource {
            Resource::Key(_) if access.action == self.0 => Err(Refused::Denied("a test".into())),
            _ => Ok(()),
        }
    }

    fn note(&self, _access: &Access<'_>, _outcome: &Result<(), Refused>) {}
}

#[test]
fn a_role_without_a_right_to_a_key_fails_the_job_and_writes_nothing() {
    let world = World::trained();
    let key = world.keys.create("").unwrap().arn;
    let body = bytes::Bytes::from(queries(30));
    let locked = at("demo/locked/q.json");
    world.store.put_with_key(&locked, body, &key).unwrap();
    let (plain, locked) = ("s3://demo/in/q.json", "s3://demo/locked/q.json");
    let with_key = Some(key.as_str());
    let cases = [
        ("kms:DescribeKey", (plain, with_key), None),
        ("kms:GenerateDataKey", (plain, None), with_key),
        ("kms:Decrypt", (plain, None), with_key),
        ("kms:Decrypt", (locked, None), None),
    ];
    for (number, (action, input, output_key)) in cases.into_iter().enumerate() {
        let runner = world.start_under(Arc::new(world.store.clone()), Arc::new(Without(action)));
        let name = format!("denied-{number}");
        let arn = world.segment_with_keys(&name, input, ("s3://demo/out/", output_key));
        assert_eq!(
            world.wait_failed(&arn),
            format!(
                "Insufficient privileges for accessing data in Amazon S3. {action} on {key} was denied: there is no right to it."
            )
        );
        let written = world.store.list("demo", "out/", None, 10).unwrap();
        assert_eq!(written.objects, Vec::new(), "{name}");
        runner.stop();
    }
    // With all rights the same job runs.
    let runner = world.start();
    let arn = world.segment_with_keys("allowed", (locked, with_key), ("s3://demo/out/", with_key));
    world.wait_active(&arn);
    let output = at("demo/out/q.json.out");
    assert_eq!(world.store.encryption_key(&output).unwrap(), Some(key));
    runner.stop();
}

#[test]
fn a_groups_role_without_a_right_to_its_key_fails_the_groups_jobs() {
    let (world, key) = sealed_world(|_| ());
    for action in ["kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt"] {
        let runner = world.start_under(Arc::new(world.store.clone()), Arc::new(Without(action)));
        let arn = world.segment(&action[4..], "s3://demo/in/q.json", "s3://demo/out/");
        let reason = world.wait_failed(&arn);
        assert!(
            reason.contains(&format!("{action} on {key} was denied")),
            "{reason}"
        );
        assert_eq!(world.object("demo/out/_CHECK"), None);
        runner.stop();
    }
}
