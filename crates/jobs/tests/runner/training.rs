//! Training jobs: the whole way, minimums, stopping, shutting down.

use crate::support::*;
use kindred_catalog::records::{SolutionVersion, status};

#[test]
fn the_whole_way_from_rows_to_segments() {
    let world = World::trained();
    let version: SolutionVersion = world.record(&version_arn("v"));
    assert_eq!(version.snapshot.clone().unwrap().len(), 1);
    assert_eq!(
        version.metrics.keys().collect::<Vec<_>>(),
        ["coverage", "hits_at_1_percent", "recall_at_1_percent"]
    );
    assert!(version.training_hours.is_some());
    let statistics = version.statistics.clone().unwrap();
    assert_eq!(
        (&statistics["users"], &statistics["dimension"]),
        (&40.into(), &32.into())
    );
    assert_eq!(world.names(world.layout.models()), [version.model.unwrap()]);

    let runner = world.start();
    let job = world.segment("job", "s3://demo/in/q.json", "s3://demo/out/");
    world.wait_active(&job);
    let output = world.text("demo/out/q.json.out");
    let lines: Vec<&str> = output.split_terminator('\n').collect();
    assert_eq!(lines.len(), 31);
    // Users keep to the half of the items that has their parity.
    let mut own = 0;
    for (item, line) in lines[..30].iter().enumerate() {
        let start =
            format!("{{\"input\": {{\"itemId\": \"i{item:03}\"}}, \"output\": {{\"usersList\": [");
        assert!(line.starts_with(&start), "{line}");
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(json["error"].is_null(), "{line}");
        let users = json["output"]["usersList"].as_array().unwrap();
        assert_eq!(users.len(), 5, "{line}");
        let parity = item / 15;
        let fitting = |user: &&serde_json::Value| {
            user.as_str().unwrap()[1..].parse::<usize>().unwrap() % 2 == parity
        };
        own += users.iter().filter(fitting).count();
    }
    assert!(own >= 145, "{own} of 150 users fit the item");
    let last = r#"{"input": {"itemId": "nobody"}, "output": {"usersList": []}, "error": "User error: Item nobody was not present when the solution version was created"}"#;
    assert_eq!(lines[30], last);
    assert_eq!(world.object("demo/out/_CHECK"), Some(Vec::new()));
    world.wait_empty(world.layout.jobs());
    runner.stop();
}

#[test]
fn items_take_part_in_training_and_their_order_does_not_matter() {
    let world = World::new();
    world.put("data/i.csv", csv(40, 30, 1300, 7));
    let rows: Vec<String> = (0..32)
        .map(|item| format!("i{item:03},{}\n", if item % 2 == 0 { "a|b" } else { "c" }))
        .collect();
    let items = |rows: &[String]| format!("ITEM_ID,GENRE\n{}", rows.concat());
    world.put("data/items.csv", items(&rows));
    let backwards: Vec<String> = rows.iter().rev().cloned().collect();
    world.put("data/backwards.csv", items(&backwards));
    world.put("data/other.csv", items(&rows[..31]));
    let runner = world.start();
    let import = |name: &str, dataset: &str| {
        let location = format!("s3://data/{name}.csv");
        world.wait_active(&world.import(name, dataset, &location, "FULL"));
    };
    import("i", INTERACTIONS);
    let trained = |name: &str, config: serde_json::Value| {
        let arn = world.train_with(name, config);
        world.wait_active(&arn);
        let card = &world.model_files(&arn)["card.json"];
        let card: serde_json::Value = serde_json::from_slice(card).unwrap();
        let version: SolutionVersion = world.record(&arn);
        (card["snapshot"].clone(), version)
    };
    let none = serde_json::json!({});
    let (bare, version) = trained("bare", none.clone());
    assert_eq!(version.items_snapshot, []);
    assert_eq!(version.statistics.unwrap()["items"], 30);

    import("items", ITEMS);
    let (with, version) = trained("with", none.clone());
    let read: Vec<String> = version.items_snapshot.into_iter().map(|g| g.id).collect();
    assert_eq!(read, world.generations(ITEMS));
    // Two items have attributes and no events.
    assert_eq!(version.statistics.unwrap()["items"], 32);
    assert_eq!(with["item_columns"], serde_json::json!(["GENRE"]));
    assert_ne!(with["checksum"], bare["checksum"]);

    // The columns that are left out do not count, so all is as without Items.
    for (name, choice) in [
        (
            "excluded",
            serde_json::json!({"excludedDatasetColumns": {"Items": ["GENRE"]}}),
        ),
        (
            "included",
            serde_json::json!({"includedDatasetColumns": {"ITEMS": []}}),
        ),
    ] {
        let (left_out, version) = trained(name, serde_json::json!({"trainingDataConfig": choice}));
        assert_eq!(left_out, bare, "{name}");
        assert_eq!(version.statistics.unwrap()["items"], 30);
        let arn = &version_arn(name);
        assert!(world.model_files(arn) == world.model_files(&version_arn("bare")));
    }
    let choice = serde_json::json!({"includedDatasetColumns": {"INTERACTIONS": ["TIMESTAMP"]}});
    let (named, _) = trained("named", serde_json::json!({"trainingDataConfig": choice}));
    assert_eq!(named, with);

    import("backwards", ITEMS);
    let (shuffled, _) = trained("shuffled", none.clone());
    assert_eq!(shuffled, with);
    let model = |name: &str| world.model_files(&version_arn(name));
    assert!(model("shuffled") == model("with") && model("named") == model("with"));
    import("other", ITEMS);
    let (other, _) = trained("other", none);
    assert_ne!(other["checksum"], with["checksum"]);
    runner.stop();
}

#[test]
fn too_little_data_fails_the_version_with_the_services_text() {
    let world = World::new();
    world.put("data/i.csv", csv(40, 30, 999, 7));
    world.put("data/one.csv", {
        let rows =
            (0..1200).map(|n| format!("u{},i{},{n}\n", if n < 400 { n % 24 } else { n }, n % 30));
        "USER_ID,ITEM_ID,TIMESTAMP\n".to_owned() + &rows.collect::<String>()
    });
    let runner = world.start();
    world.wait_active(&world.import("a", INTERACTIONS, "s3://data/i.csv", "FULL"));
    let reason = world.wait_failed(&world.train("few", 32));
    assert!(
        reason.starts_with("Dataset has fewer than 1000 interactions"),
        "{reason}"
    );
    world.wait_active(&world.import("b", INTERACTIONS, "s3://data/one.csv", "FULL"));
    let reason = world.wait_failed(&world.train("users", 32));
    assert_eq!(
        reason,
        "Dataset has fewer than 25 users with at least 2 interactions each."
    );
    assert!(world.names(world.layout.models()).is_empty());
    world.wait_empty(world.layout.jobs());
    runner.stop();
}

/// A world whose training takes some seconds.
fn slow() -> World {
    let world = World::with(|settings| settings.threads = 1);
    world.put("data/i.csv", csv(1500, 600, 60_000, 3));
    let runner = world.start();
    world.wait_active(&world.import("a", INTERACTIONS, "s3://data/i.csv", "FULL"));
    runner.stop();
    world
}

#[test]
fn a_stop_request_ends_the_training() {
    let world = slow();
    let runner = world.start();
    let arn = world.train("v", 149);
    world.wait_running(&arn);
    world
        .catalog
        .write(|tx| {
            let mut version: SolutionVersion = tx.need(&arn)?;
            version.status = status::CREATE_STOPPING.into();
            tx.update(&version)?;
            tx.request_stop(&arn)
        })
        .unwrap();
    runner.waker()();
    assert_eq!(world.wait(&arn), (status::CREATE_STOPPED.to_owned(), None));
    let version: SolutionVersion = world.record(&arn);
    assert_eq!((version.model, version.training_hours), (None, None));
    assert!(world.names(world.layout.models()).is_empty());
    world.wait_empty(world.layout.jobs());
    // The data is still there for the next version.
    assert_eq!(
        world.names(world.layout.datasets()),
        world.generations(INTERACTIONS)
    );
    runner.stop();
}

#[test]
fn a_shutdown_gives_the_training_back_and_the_next_runner_ends_it_with_the_same_bytes() {
    let world = slow();
    let runner = world.start();
    let arn = world.train("v", 32);
    world.wait_running(&arn);
    runner.stop();
    assert_eq!(
        world.state(&arn),
        (status::CREATE_IN_PROGRESS.to_owned(), None)
    );
    let state = world
        .catalog
        .read(|tx| tx.work_state(&arn))
        .unwrap()
        .expect("still queued");
    assert_eq!((state.running, state.tries), (false, 0));
    assert!(world.names(world.layout.models()).is_empty());

    let runner = world.start();
    world.wait_active(&arn);
    let undisturbed = world.train("again", 32);
    world.wait_active(&undisturbed);
    assert!(world.model_files(&arn) == world.model_files(&undisturbed));
    assert!(world.model_files(&arn).contains_key("model.safetensors"));
    runner.stop();
}

#[test]
fn a_start_sweeps_what_no_record_names() {
    let world = World::trained();
    let kept = [
        world.names(world.layout.datasets()),
        world.names(world.layout.models()),
    ];
    for directory in [
        world.layout.datasets(),
        world.layout.models(),
        world.layout.jobs(),
    ] {
        std::fs::create_dir_all(directory.join("rubbish/deep")).unwrap();
        std::fs::write(directory.join("rubbish/deep/file"), "x").unwrap();
    }
    let runner = world.start();
    assert_eq!(
        [
            world.names(world.layout.datasets()),
            world.names(world.layout.models())
        ],
        kept
    );
    assert!(world.names(world.layout.jobs()).is_empty());
    runner.stop();
}
