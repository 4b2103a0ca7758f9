//! The AWS SDK for Rust against the real program: the whole way, and who is refused.
//!
//! This SDK reads error names from the `x-amzn-ErrorType` header first, where botocore reads the
//! body, and it is stricter about numbers and times. Signatures are on.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_personalize as personalize;
use aws_sdk_s3 as s3;
use aws_smithy_async::time::StaticTimeSource;
use kindred_testkit::server::{KeyPair, Options, TestServer};
use personalize::config::{BehaviorVersion, Credentials, Region};
use personalize::error::ProvideErrorMetadata;
use personalize::types::{
    BatchSegmentJobInput, BatchSegmentJobOutput, DataSource, ImportMode, RecipeProvider,
    S3DataConfig, SolutionConfig, Tag,
};

const ROLE: &str = "arn:aws:iam::000000000000:role/kindred";
const RECIPE: &str = "arn:aws:personalize:::recipe/aws-item-affinity";
const BUCKET: &str = "rust-sdk";
const USERS: u64 = 60;
const ITEMS: u64 = 40;
const POLL_MS: u64 = 50;
const POLLS_MAX: u64 = 240_000 / POLL_MS;

fn credentials(keys: &KeyPair) -> Credentials {
    Credentials::new(
        &keys.access_key_id,
        &keys.secret_access_key,
        None,
        None,
        "the server's file",
    )
}

fn personalize_config(server: &TestServer, keys: &KeyPair) -> personalize::config::Builder {
    personalize::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(server.endpoint())
        .credentials_provider(credentials(keys))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
}

fn personalize_client(server: &TestServer, keys: &KeyPair) -> personalize::Client {
    personalize::Client::from_conf(personalize_config(server, keys).build())
}

fn s3_client(server: &TestServer, keys: &KeyPair) -> s3::Client {
    s3::Client::from_conf(
        s3::Config::builder()
            .behavior_version(s3::config::BehaviorVersion::latest())
            .region(s3::config::Region::new("us-east-1"))
            .endpoint_url(server.endpoint())
            .credentials_provider(credentials(keys))
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    )
}

/// Polls `$describe` until the status is ACTIVE; a failure or too long a wait panics.
macro_rules! wait_active {
    ($describe:expr, $member:ident) => {{
        let mut polls = 0;
        loop {
            let answer = $describe.send().await.unwrap();
            let found = answer.$member().unwrap();
            let status = found.status().unwrap().to_owned();
            if status == "ACTIVE" {
                break;
            }
            assert!(!status.ends_with("FAILED"), "{found:?}");
            polls += 1;
            assert!(polls < POLLS_MAX, "still {status}");
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }};
}

/// Even users like even items and odd users odd ones, nine times in ten.
fn interactions() -> String {
    let mut state = 7u64;
    let mut below = |n: u64| {
        // Knuth's linear congruential generator: repeatable, and good enough to mix items.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut text = String::from("USER_ID,ITEM_ID,TIMESTAMP\n");
    for user in 0..USERS {
        for step in 0..40 {
            let side = if below(10) < 9 {
                user % 2
            } else {
                1 - user % 2
            };
            let item = 2 * below(ITEMS / 2) + side;
            let time = 1_700_000_000 + 3_600 * step + user;
            let _ = writeln!(text, "u{user},i{item},{time}");
        }
    }
    text
}

const SCHEMA: &str = r#"{"type":"record","name":"Interactions","namespace":"com.amazonaws.personalize.schema","fields":[{"name":"USER_ID","type":"string"},{"name":"ITEM_ID","type":"string"},{"name":"TIMESTAMP","type":"long"}],"version":"1.0"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_goes_the_whole_way() {
    let server = TestServer::start(Options::default()).unwrap();
    let keys = server.key_pair().unwrap();
    let (p, objects) = (
        personalize_client(&server, &keys),
        s3_client(&server, &keys),
    );

    objects.create_bucket().bucket(BUCKET).send().await.unwrap();
    let put = |key: &'static str, body: String| {
        objects
            .put_object()
            .bucket(BUCKET)
            .key(key)
            .body(body.into_bytes().into())
    };
    put("data/interactions.csv", interactions())
        .send()
        .await
        .unwrap();
    let queries: String = (0..ITEMS).fold(String::new(), |mut text, item| {
        let _ = writeln!(text, "{{\"itemId\": \"i{item}\"}}");
        text
    });
    put("in/q.json", queries).send().await.unwrap();

    let schema = p
        .create_schema()
        .name("events")
        .schema(SCHEMA)
        .send()
        .await
        .unwrap();
    let schema = schema.schema_arn().unwrap();
    let described = p.describe_schema().schema_arn(schema).send().await.unwrap();
    assert_eq!(described.schema().unwrap().schema(), Some(SCHEMA));
    let created = described.schema().unwrap().creation_date_time().unwrap();
    assert!(created.secs() > 1_600_000_000, "{created:?}");

    let group = p
        .create_dataset_group()
        .name("shop")
        .tags(
            Tag::builder()
                .tag_key("team")
                .tag_value("a")
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
    let group = group.dataset_group_arn().unwrap();
    wait_active!(
        p.describe_dataset_group().dataset_group_arn(group),
        dataset_group
    );
    let tags = p
        .list_tags_for_resource()
        .resource_arn(group)
        .send()
        .await
        .unwrap();
    assert_eq!(tags.tags()[0].tag_value(), "a");

    let dataset = p
        .create_dataset()
        .name("events")
        .dataset_type("Interactions")
        .schema_arn(schema)
        .dataset_group_arn(group)
        .send()
        .await
        .unwrap();
    let dataset = dataset.dataset_arn().unwrap();
    wait_active!(p.describe_dataset().dataset_arn(dataset), dataset);
    let import = p
        .create_dataset_import_job()
        .job_name("events")
        .dataset_arn(dataset)
        .role_arn(ROLE)
        .import_mode(ImportMode::Full)
        .data_source(
            DataSource::builder()
                .data_location(format!("s3://{BUCKET}/data/interactions.csv"))
                .build(),
        )
        .send()
        .await
        .unwrap();
    let import = import.dataset_import_job_arn().unwrap();
    wait_active!(
        p.describe_dataset_import_job()
            .dataset_import_job_arn(import),
        dataset_import_job
    );

    let recipes = p
        .list_recipes()
        .recipe_provider(RecipeProvider::Service)
        .send()
        .await
        .unwrap();
    assert!(
        recipes
            .recipes()
            .iter()
            .any(|recipe| recipe.recipe_arn() == Some(RECIPE))
    );
    let solution = p
        .create_solution()
        .name("affinity")
        .dataset_group_arn(group)
        .recipe_arn(RECIPE)
        .perform_auto_training(false)
        .solution_config(
            SolutionConfig::builder()
                .algorithm_hyper_parameters("hidden_dimension", "32")
                .build(),
        )
        .send()
        .await
        .unwrap();
    let solution = solution.solution_arn().unwrap();
    wait_active!(p.describe_solution().solution_arn(solution), solution);
    let version = p
        .create_solution_version()
        .solution_arn(solution)
        .send()
        .await
        .unwrap();
    let version = version.solution_version_arn().unwrap();
    wait_active!(
        p.describe_solution_version().solution_version_arn(version),
        solution_version
    );
    let metrics = p
        .get_solution_metrics()
        .solution_version_arn(version)
        .send()
        .await
        .unwrap();
    let mut names: Vec<_> = metrics.metrics().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(
        names,
        ["coverage", "hits_at_1_percent", "recall_at_1_percent"]
    );

    let place = |path: &str| {
        S3DataConfig::builder()
            .path(format!("s3://{BUCKET}/{path}"))
            .build()
            .unwrap()
    };
    let job = p
        .create_batch_segment_job()
        .job_name("segments")
        .solution_version_arn(version)
        .num_results(10)
        .role_arn(ROLE)
        .job_input(
            BatchSegmentJobInput::builder()
                .s3_data_source(place("in/q.json"))
                .build(),
        )
        .job_output(
            BatchSegmentJobOutput::builder()
                .s3_data_destination(place("out/"))
                .build(),
        )
        .send()
        .await
        .unwrap();
    let job = job.batch_segment_job_arn().unwrap();
    wait_active!(
        p.describe_batch_segment_job().batch_segment_job_arn(job),
        batch_segment_job
    );

    let answer = objects
        .get_object()
        .bucket(BUCKET)
        .key("out/q.json.out")
        .send()
        .await
        .unwrap();
    let bytes = answer.body.collect().await.unwrap().into_bytes();
    check_segments(std::str::from_utf8(&bytes).unwrap());

    let mut pages = p
        .list_batch_segment_jobs()
        .into_paginator()
        .page_size(1)
        .items()
        .send();
    let first = pages.next().await.unwrap().unwrap();
    assert_eq!(first.batch_segment_job_arn(), Some(job));
    assert!(pages.next().await.is_none());
}

/// Every line has the documented bytes, and its users are on the item's side.
fn check_segments(output: &str) {
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len() as u64, ITEMS);
    assert!(output.ends_with('\n'));
    let mut right = 0;
    for (item, line) in (0..ITEMS).zip(lines) {
        let head =
            format!("{{\"input\": {{\"itemId\": \"i{item}\"}}, \"output\": {{\"usersList\": [");
        let users = line
            .strip_prefix(&head)
            .and_then(|rest| rest.strip_suffix("]}, \"error\": null}"))
            .unwrap_or_else(|| panic!("not the documented form: {line}"));
        let users: Vec<u64> = users
            .split(',')
            .map(|id| id.trim_matches('"')[1..].parse().unwrap())
            .collect();
        assert_eq!(users.len(), 10);
        right += users.iter().filter(|user| *user % 2 == item % 2).count();
    }
    let total = ITEMS as usize * 10;
    assert!(
        right * 100 >= total * 95,
        "{right} of {total} are on their item's side"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn modeled_errors_are_delivered_as_their_classes() {
    let server = TestServer::start(Options::default()).unwrap();
    let p = personalize_client(&server, &server.key_pair().unwrap());
    let none = "arn:aws:personalize:us-east-1:000000000000:dataset-group/none";

    let missing = p
        .describe_dataset_group()
        .dataset_group_arn(none)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(missing.is_resource_not_found_exception(), "{missing:?}");
    assert!(missing.message().unwrap().contains(none));

    let invalid = p
        .create_schema()
        .name("x".repeat(64))
        .schema("{}")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(invalid.is_invalid_input_exception(), "{invalid:?}");

    let token = p
        .list_schemas()
        .next_token("nonsense")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(token.is_invalid_next_token_exception(), "{token:?}");

    p.create_dataset_group().name("one").send().await.unwrap();
    let taken = p
        .create_dataset_group()
        .name("one")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(taken.is_resource_already_exists_exception(), "{taken:?}");
}

/// The error code of a request to the control plane, and of one to S3.
async fn refusals(server: &TestServer, keys: &KeyPair) -> (String, String) {
    let control = personalize_client(server, keys)
        .list_recipes()
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let objects = s3_client(server, keys)
        .list_buckets()
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    (
        control.code().unwrap().to_owned(),
        objects.code().unwrap().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_old_dates_are_refused() {
    let server = TestServer::start(Options::default()).unwrap();
    let keys = server.key_pair().unwrap();
    let stranger = KeyPair {
        access_key_id: "AKIANOBODYKNOWSTHIS1".to_owned(),
        ..keys.clone()
    };
    assert_eq!(
        refusals(&server, &stranger).await,
        (
            "UnrecognizedClientException".to_owned(),
            "InvalidAccessKeyId".to_owned()
        )
    );
    let liar = KeyPair {
        secret_access_key: "not the secret".to_owned(),
        ..keys.clone()
    };
    assert_eq!(
        refusals(&server, &liar).await,
        (
            "InvalidSignatureException".to_owned(),
            "SignatureDoesNotMatch".to_owned()
        )
    );

    let long_ago = StaticTimeSource::new(UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    let late = personalize::Client::from_conf(
        personalize_config(&server, &keys)
            .time_source(long_ago)
            .retry_config(personalize::config::retry::RetryConfig::disabled())
            .build(),
    );
    let expired = late
        .list_recipes()
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(expired.code(), Some("InvalidSignatureException"));
    let message = expired.message().unwrap();
    assert!(message.starts_with("Signature expired"), "{message}");
}

#[test]
fn a_server_is_stopped_killed_and_started_again() {
    let mut server = TestServer::start(Options::default()).unwrap();
    let keys = server.key_pair().unwrap();
    assert!(
        server.stop().unwrap().unwrap().success(),
        "{}",
        server.log()
    );
    server.restart().unwrap();
    server.kill();
    server.restart().unwrap();
    let again = server.key_pair().unwrap();
    assert_eq!(keys.access_key_id, again.access_key_id);
    assert_eq!(keys.secret_access_key, again.secret_access_key);
}
