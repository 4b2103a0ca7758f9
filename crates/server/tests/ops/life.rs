//! Resources from creation to deletion, as their owner sees them.

use crate::support::*;
use kindred_catalog::WorkKind;
use kindred_catalog::records::{Dataset, ImportJob, SegmentJob, SolutionVersion, status};
use kindred_types::time::Timestamp;
use serde_json::json;
use std::sync::atomic::Ordering;

const CREATED: f64 = 1_700_000_000.123;

#[test]
fn a_schema_comes_back_byte_for_byte() {
    let server = Server::new();
    let text = format!("  {}\n", interactions_schema());
    let created = server.ok("CreateSchema", json!({"name": "s", "schema": text}));
    let arn = format!("{ARN}schema/s");
    assert_eq!(created, json!({"schemaArn": arn}));
    let described = server.ok("DescribeSchema", json!({"schemaArn": arn}));
    let expected = json!({"schema": {"name": "s", "schemaArn": arn, "schema": text,
        "creationDateTime": CREATED, "lastUpdatedDateTime": CREATED}});
    assert_eq!(described, expected);
    assert_eq!(
        server.ok("DeleteSchema", json!({"schemaArn": arn})),
        json!(null)
    );
    server.refused(
        "ResourceNotFound",
        "DescribeSchema",
        json!({"schemaArn": arn}),
    );
    server.ok("CreateSchema", json!({"name": "s", "schema": text}));
}

#[test]
fn a_domain_is_echoed_where_it_was_given() {
    let server = Server::new();
    let created = server.ok(
        "CreateDatasetGroup",
        json!({"name": "g", "domain": "ECOMMERCE"}),
    );
    let arn = format!("{ARN}dataset-group/g");
    assert_eq!(
        created,
        json!({"datasetGroupArn": arn, "domain": "ECOMMERCE"})
    );
    let described = server.ok("DescribeDatasetGroup", json!({"datasetGroupArn": arn}));
    let expected = json!({"datasetGroup": {"name": "g", "datasetGroupArn": arn, "status": "ACTIVE",
        "creationDateTime": CREATED, "lastUpdatedDateTime": CREATED, "domain": "ECOMMERCE"}});
    assert_eq!(described, expected);
    let plain = server.ok("CreateDatasetGroup", json!({"name": "plain"}));
    assert_eq!(
        plain,
        json!({"datasetGroupArn": format!("{ARN}dataset-group/plain")})
    );
}

#[test]
fn a_dataset_is_named_after_group_and_type() {
    let server = Server::world();
    let arn = format!("{ARN}dataset/g/ITEMS");
    let created = server.ok("CreateDataset", dataset("items", "items"));
    assert_eq!(created, json!({"datasetArn": arn}));
    let described = server.ok("DescribeDataset", json!({"datasetArn": arn}));
    let expected = json!({"dataset": {"name": "items", "datasetArn": arn,
        "datasetGroupArn": format!("{ARN}dataset-group/g"), "datasetType": "ITEMS",
        "schemaArn": format!("{ARN}schema/items"), "status": "ACTIVE",
        "creationDateTime": CREATED, "lastUpdatedDateTime": CREATED}});
    assert_eq!(described, expected);
}

#[test]
fn domain_schemas_and_groups_fit_by_content() {
    let server = Server::new();
    let group = format!("{ARN}dataset-group/shop");
    server.ok(
        "CreateDatasetGroup",
        json!({"name": "shop", "domain": "ECOMMERCE"}),
    );
    let dataset = |schema: &str| {
        json!({"name": schema, "schemaArn": format!("{ARN}schema/{schema}"),
            "datasetGroupArn": group, "datasetType": "Interactions"})
    };
    server.ok(
        "CreateSchema",
        json!({"name": "plain", "schema": interactions_schema()}),
    );
    server.ok(
        "CreateSchema",
        json!({"name": "events", "schema": events_schema()}),
    );
    let video = json!({"name": "video", "schema": events_schema(), "domain": "VIDEO_ON_DEMAND"});
    server.ok("CreateSchema", video);
    server.refused("InvalidInput", "CreateDataset", dataset("plain"));
    let message = server.refused("InvalidInput", "CreateDataset", dataset("video"));
    assert!(
        message.contains("VIDEO_ON_DEMAND") && message.contains("ECOMMERCE"),
        "{message}"
    );
    server.ok("CreateDataset", dataset("events"));
}

#[test]
fn an_update_widens_items_at_once() {
    let server = Server::world();
    server.ok("CreateDataset", dataset("items", "Items"));
    let arn = format!("{ARN}dataset/g/ITEMS");
    let wider = items_schema(&[json!({"name": "PRICE", "type": ["null", "float"]})]);
    server.ok("CreateSchema", json!({"name": "wider", "schema": wider}));
    server.later(5_000);
    let update = json!({"datasetArn": arn, "schemaArn": format!("{ARN}schema/wider")});
    assert_eq!(
        server.ok("UpdateDataset", update),
        json!({"datasetArn": arn})
    );
    let dataset = &server.ok("DescribeDataset", json!({"datasetArn": arn}))["dataset"];
    assert_eq!(dataset["schemaArn"], json!(format!("{ARN}schema/wider")));
    assert_eq!(dataset["creationDateTime"], json!(CREATED));
    assert_eq!(dataset["lastUpdatedDateTime"], json!(CREATED + 5.0));
    let latest = json!({"schemaArn": format!("{ARN}schema/wider"), "status": "ACTIVE",
        "creationDateTime": CREATED + 5.0, "lastUpdatedDateTime": CREATED + 5.0});
    assert_eq!(dataset["latestDatasetUpdate"], latest);
    // The schema before is free to go now, the new one is in use.
    server.ok(
        "DeleteSchema",
        json!({"schemaArn": format!("{ARN}schema/items")}),
    );
    server.refused(
        "ResourceInUse",
        "DeleteSchema",
        json!({"schemaArn": format!("{ARN}schema/wider")}),
    );
    // Back to a narrower one is not possible.
    server.ok(
        "CreateSchema",
        json!({"name": "narrow", "schema": items_schema(&[])}),
    );
    let back = json!({"datasetArn": arn, "schemaArn": format!("{ARN}schema/narrow")});
    server.refused("InvalidInput", "UpdateDataset", back);
}

#[test]
fn an_import_job_is_queued_behind_its_dataset() {
    let server = Server::world();
    let arn = format!("{ARN}dataset-import-job/i");
    let woken = server.woken.load(Ordering::SeqCst);
    let created = server.ok("CreateDatasetImportJob", import("i"));
    assert_eq!(created, json!({"datasetImportJobArn": arn}));
    assert_eq!(server.woken.load(Ordering::SeqCst), woken + 1);
    let described = server.ok(
        "DescribeDatasetImportJob",
        json!({"datasetImportJobArn": arn}),
    );
    let expected = json!({"datasetImportJob": {"jobName": "i", "datasetImportJobArn": arn,
        "datasetArn": format!("{ARN}dataset/g/INTERACTIONS"),
        "dataSource": {"dataLocation": "s3://data/interactions.csv"}, "roleArn": ROLE,
        "status": "CREATE PENDING", "importMode": "FULL",
        "creationDateTime": CREATED, "lastUpdatedDateTime": CREATED}});
    assert_eq!(described, expected);
    server.ok(
        "CreateDatasetImportJob",
        with(import("j"), json!({"importMode": "INCREMENTAL"})),
    );
    let claim = server
        .ctx
        .catalog
        .write(|tx| tx.claim(1_000))
        .unwrap()
        .unwrap();
    assert_eq!((claim.arn, claim.kind), (arn, WorkKind::Import));
    assert_eq!(
        server.ctx.catalog.write(|tx| tx.claim(1_000)).unwrap(),
        None,
        "one at a time"
    );
}

#[test]
fn a_failed_import_says_why() {
    let server = Server::world();
    server.ok("CreateDatasetImportJob", import("i"));
    let arn = format!("{ARN}dataset-import-job/i");
    server.edit::<ImportJob>(&arn, |job| {
        job.status = status::CREATE_FAILED.into();
        job.failure_reason = Some("no data".into());
    });
    let described = server.ok(
        "DescribeDatasetImportJob",
        json!({"datasetImportJobArn": arn}),
    );
    assert_eq!(
        described["datasetImportJob"]["failureReason"],
        json!("no data")
    );
    let listed = server.ok("ListDatasetImportJobs", json!({}));
    assert_eq!(
        listed["datasetImportJobs"][0]["failureReason"],
        json!("no data")
    );
}

#[test]
fn a_segment_job_echoes_what_was_given() {
    let server = Server::world();
    let arn = format!("{ARN}batch-segment-job/j");
    let created = server.ok("CreateBatchSegmentJob", segment("j"));
    assert_eq!(created, json!({"batchSegmentJobArn": arn}));
    let described = server.ok(
        "DescribeBatchSegmentJob",
        json!({"batchSegmentJobArn": arn}),
    );
    let expected = json!({"batchSegmentJob": {"jobName": "j", "batchSegmentJobArn": arn,
        "solutionVersionArn": format!("{ARN}solution/s/v1"), "numResults": 25,
        "jobInput": {"s3DataSource": {"path": "s3://demo/in/q.json"}},
        "jobOutput": {"s3DataDestination": {"path": "s3://demo/out/"}}, "roleArn": ROLE,
        "status": "CREATE PENDING", "creationDateTime": CREATED, "lastUpdatedDateTime": CREATED}});
    assert_eq!(described, expected);
    let claim = server
        .ctx
        .catalog
        .write(|tx| tx.claim(1_000))
        .unwrap()
        .unwrap();
    assert_eq!((claim.arn, claim.kind), (arn, WorkKind::Segment));
    for num_results in [1, 5_000_000] {
        let name = format!("n{num_results}");
        server.ok(
            "CreateBatchSegmentJob",
            with(segment(&name), json!({"numResults": num_results})),
        );
    }
}

#[test]
fn jobs_keep_their_names_until_the_group_goes() {
    let server = Server::world();
    let version = format!("{ARN}solution/s/v1");
    let job = format!("{ARN}batch-segment-job/j");
    server.ok("CreateBatchSegmentJob", segment("j"));
    server.edit::<SegmentJob>(&job, |job| job.status = status::ACTIVE.into());
    server.ok(
        "DeleteSolution",
        json!({"solutionArn": format!("{ARN}solution/s")}),
    );
    server.refused(
        "ResourceNotFound",
        "DescribeSolutionVersion",
        json!({"solutionVersionArn": version}),
    );
    server.ok(
        "DescribeBatchSegmentJob",
        json!({"batchSegmentJobArn": job}),
    );
    server.ok(
        "DeleteDataset",
        json!({"datasetArn": format!("{ARN}dataset/g/INTERACTIONS")}),
    );
    server.ok(
        "DeleteDatasetGroup",
        json!({"datasetGroupArn": format!("{ARN}dataset-group/g")}),
    );
    server.refused(
        "ResourceNotFound",
        "DescribeBatchSegmentJob",
        json!({"batchSegmentJobArn": job}),
    );
}

#[test]
fn deleting_a_dataset_takes_its_jobs_and_leaves_versions_usable() {
    let server = Server::world();
    server.ok("CreateDatasetImportJob", import("i"));
    let job = format!("{ARN}dataset-import-job/i");
    let arn = format!("{ARN}dataset/g/INTERACTIONS");
    server.refused("ResourceInUse", "DeleteDataset", json!({"datasetArn": arn}));
    server.edit::<ImportJob>(&job, |job| job.status = status::ACTIVE.into());
    server.ok("DeleteDataset", json!({"datasetArn": arn}));
    server.refused(
        "ResourceNotFound",
        "DescribeDataset",
        json!({"datasetArn": arn}),
    );
    server.refused(
        "ResourceNotFound",
        "DescribeDatasetImportJob",
        json!({"datasetImportJobArn": job}),
    );
    server.ok("CreateBatchSegmentJob", segment("j"));
}

#[test]
fn a_version_without_a_name_gets_eight_hex_digits() {
    let server = Server::world();
    let created = server.ok("CreateSolutionVersion", version("s"));
    let arn = created["solutionVersionArn"].as_str().unwrap();
    let id = arn.strip_prefix(&format!("{ARN}solution/s/")).unwrap();
    assert!(
        id.len() == 8
            && id
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    );
    let described = server.ok(
        "DescribeSolutionVersion",
        json!({"solutionVersionArn": arn}),
    );
    let expected = json!({"solutionVersion": {"name": format!("s/{id}"), "solutionVersionArn": arn,
        "solutionArn": format!("{ARN}solution/s"), "performHPO": false, "performAutoML": false,
        "recipeArn": RECIPE, "datasetGroupArn": format!("{ARN}dataset-group/g"),
        "trainingMode": "FULL", "trainingType": "MANUAL", "status": "CREATE PENDING",
        "creationDateTime": CREATED, "lastUpdatedDateTime": CREATED}});
    assert_eq!(described, expected);
    server.edit::<SolutionVersion>(arn, |version| version.training_hours = Some(0.003));
    let described = server.ok(
        "DescribeSolutionVersion",
        json!({"solutionVersionArn": arn}),
    );
    assert_eq!(described["solutionVersion"]["trainingHours"], json!(0.003));
}

#[test]
fn metrics_are_shown_once_trained() {
    let server = Server::world();
    let arn = format!("{ARN}solution/s/v1");
    let metrics = server.ok("GetSolutionMetrics", json!({"solutionVersionArn": arn}));
    assert_eq!(
        metrics,
        json!({"solutionVersionArn": arn, "metrics": {"coverage": 0.6835}})
    );
    for (state, refusal) in [
        (status::CREATE_PENDING, "ResourceInUse"),
        (status::CREATE_IN_PROGRESS, "ResourceInUse"),
        (status::CREATE_STOPPING, "ResourceInUse"),
        (status::CREATE_FAILED, "InvalidInput"),
        (status::CREATE_STOPPED, "InvalidInput"),
    ] {
        server.status_of_version(&arn, state);
        server.refused(
            refusal,
            "GetSolutionMetrics",
            json!({"solutionVersionArn": arn}),
        );
        server.refused(refusal, "CreateBatchSegmentJob", segment("j"));
    }
}

#[test]
fn a_pending_training_stops_at_once_a_running_one_when_it_can() {
    let server = Server::world();
    let state = |arn: &str| {
        let described = server.ok(
            "DescribeSolutionVersion",
            json!({"solutionVersionArn": arn}),
        );
        described["solutionVersion"]["status"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let stop = |arn: &str| {
        server.ok(
            "StopSolutionVersionCreation",
            json!({"solutionVersionArn": arn}),
        )
    };
    let create = || {
        let created = server.ok("CreateSolutionVersion", version("s"));
        created["solutionVersionArn"].as_str().unwrap().to_owned()
    };
    let pending = create();
    assert_eq!(stop(&pending), json!(null));
    assert_eq!(state(&pending), "CREATE STOPPED");
    assert_eq!(
        server.ctx.catalog.write(|tx| tx.claim(1_000)).unwrap(),
        None
    );
    server.refused(
        "InvalidInput",
        "StopSolutionVersionCreation",
        json!({"solutionVersionArn": pending}),
    );

    // Taken by a runner that has not said so yet: it must be asked, not robbed.
    let taken = create();
    server
        .ctx
        .catalog
        .write(|tx| tx.claim(1_000))
        .unwrap()
        .unwrap();
    stop(&taken);
    assert_eq!(state(&taken), "CREATE STOPPING");
    assert!(
        server
            .ctx
            .catalog
            .read(|tx| tx.work_state(&taken))
            .unwrap()
            .unwrap()
            .stop
    );
    stop(&taken);
    assert_eq!(state(&taken), "CREATE STOPPING");

    let running = create();
    server.status_of_version(&running, status::CREATE_IN_PROGRESS);
    stop(&running);
    assert_eq!(state(&running), "CREATE STOPPING");
    for ended in [status::ACTIVE, status::CREATE_FAILED] {
        server.status_of_version(&running, ended);
        server.refused(
            "InvalidInput",
            "StopSolutionVersionCreation",
            json!({"solutionVersionArn": running}),
        );
    }
}

#[test]
fn a_call_that_fails_leaves_no_trace() {
    let server = Server::world();
    let bad_tags = with(segment("j"), json!({"tags": tags(51)}));
    server.refused("TooManyTags", "CreateBatchSegmentJob", bad_tags);
    let found = server.call(
        "DescribeBatchSegmentJob",
        json!({"batchSegmentJobArn": format!("{ARN}batch-segment-job/j")}),
    );
    assert_eq!(found.unwrap_err().0, "ResourceNotFoundException");
    assert_eq!(
        server.ctx.catalog.write(|tx| tx.claim(1_000)).unwrap(),
        None
    );
}

#[test]
fn states_change_the_update_time_never_the_creation_time() {
    let server = Server::world();
    server.edit::<Dataset>(&format!("{ARN}dataset/g/INTERACTIONS"), |dataset| {
        dataset.updated = Timestamp(START_MS + 1_000);
    });
    let described = server.ok(
        "DescribeDataset",
        json!({"datasetArn": format!("{ARN}dataset/g/INTERACTIONS")}),
    );
    assert_eq!(described["dataset"]["creationDateTime"], json!(CREATED));
    assert_eq!(
        described["dataset"]["lastUpdatedDateTime"],
        json!(CREATED + 1.0)
    );
}
