//! Every declared error of every operation, brought about once.
//!
//! The table is held against the declarations themselves: an error without a case fails the test
//! unless [`NEVER`] says why nothing here brings it about.

use crate::support::*;
use kindred_catalog::records::{Dataset, DatasetGroup, Generation, SegmentJob, Solution, status};
use kindred_server::config::Settings;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Declared, but nothing here brings it about.
const NEVER: &[(&str, &str, &str)] = &[
    ("CreateDataset", "LimitExceeded", "a group has one dataset of each type; there is no other quota"),
    ("UpdateSolution", "LimitExceeded", "an update adds nothing that is counted"),
    ("StopSolutionVersionCreation", "ResourceInUse", "a second stop is a success"),
    ("TagResource", "ResourceInUse", "tags can be changed in every state"),
    ("TagResource", "LimitExceeded", "too many tags have an error of their own"),
    ("UntagResource", "ResourceInUse", "tags can be changed in every state"),
    ("ListTagsForResource", "ResourceInUse", "tags can be read in every state"),
];

type Arrange = fn(&Server);

struct Case {
    operation: &'static str,
    error: &'static str,
    arrange: Arrange,
    input: Value,
}

fn nothing(_: &Server) {}

fn group_busy(server: &Server) {
    server.edit::<DatasetGroup>(&format!("{ARN}dataset-group/g"), |group| group.status = status::CREATE_PENDING.into());
}

fn dataset_busy(server: &Server) {
    server.edit::<Dataset>(&format!("{ARN}dataset/g/INTERACTIONS"), |dataset| dataset.status = "UPDATE IN_PROGRESS".into());
}

fn solution_busy(server: &Server) {
    server.edit::<Solution>(&format!("{ARN}solution/s"), |solution| solution.status = status::CREATE_PENDING.into());
}

fn version_busy(server: &Server) {
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::CREATE_IN_PROGRESS);
}

fn version_failed(server: &Server) {
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::CREATE_FAILED);
}

fn version_stopping(server: &Server) {
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::CREATE_STOPPING);
}

fn importing(server: &Server) {
    server.ok("CreateDatasetImportJob", import("i"));
}

fn segmenting(server: &Server) {
    server.ok("CreateBatchSegmentJob", segment("j"));
}

fn segment_running(server: &Server) {
    segmenting(server);
    server.edit::<SegmentJob>(&format!("{ARN}batch-segment-job/j"), |job| job.status = status::CREATE_IN_PROGRESS.into());
}

fn training(server: &Server) {
    server.ok("CreateSolutionVersion", version("s"));
}

fn items_importing(server: &Server) {
    server.ok("CreateDataset", dataset("items", "ITEMS"));
    let job = with(import("i"), json!({"datasetArn": format!("{ARN}dataset/g/ITEMS")}));
    server.ok("CreateDatasetImportJob", job);
}

fn quotas_full(settings: &mut Settings) {
    settings.quotas.schemas = 3;
    settings.quotas.dataset_groups = 1;
    settings.quotas.solutions_per_group = 1;
    settings.quotas.pending_import_jobs = 1;
    settings.quotas.pending_solution_versions = 1;
    settings.quotas.pending_segment_jobs = 1;
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |operation, error, arrange: Arrange, input: Value| {
        cases.push(Case { operation, error, arrange, input });
    };
    let group = || json!({"datasetGroupArn": format!("{ARN}dataset-group/g")});
    let data = || json!({"datasetArn": format!("{ARN}dataset/g/INTERACTIONS")});
    let s = || json!({"solutionArn": format!("{ARN}solution/s")});
    let v1 = || json!({"solutionVersionArn": format!("{ARN}solution/s/v1")});
    let many = || json!({"tags": tags(51)});
    let schema = |name: &str| json!({"name": name, "schema": interactions_schema()});

    // What every operation has that takes an ARN: a malformed one, an unknown one, one of another
    // kind, one of another account.
    for (operation, member, own_kind, more) in [
        ("DescribeSchema", "schemaArn", "schema/nope", json!({})),
        ("DeleteSchema", "schemaArn", "schema/nope", json!({})),
        ("DescribeDatasetGroup", "datasetGroupArn", "dataset-group/nope", json!({})),
        ("DeleteDatasetGroup", "datasetGroupArn", "dataset-group/nope", json!({})),
        ("CreateDataset", "datasetGroupArn", "dataset-group/nope", dataset("users", "USERS")),
        ("CreateDataset", "schemaArn", "schema/nope", dataset("users", "USERS")),
        ("DescribeDataset", "datasetArn", "dataset/g/ITEMS", json!({})),
        ("DeleteDataset", "datasetArn", "dataset/g/ITEMS", json!({})),
        ("UpdateDataset", "datasetArn", "dataset/g/ITEMS", json!({"schemaArn": format!("{ARN}schema/items")})),
        ("UpdateDataset", "schemaArn", "schema/nope", data()),
        ("CreateDatasetImportJob", "datasetArn", "dataset/g/ITEMS", import("i")),
        ("DescribeDatasetImportJob", "datasetImportJobArn", "dataset-import-job/nope", json!({})),
        ("CreateSolution", "datasetGroupArn", "dataset-group/nope", solution("t")),
        ("CreateSolution", "recipeArn", "recipe/nope", solution("t")),
        ("DescribeSolution", "solutionArn", "solution/nope", json!({})),
        ("UpdateSolution", "solutionArn", "solution/nope", json!({"performAutoTraining": false})),
        ("DeleteSolution", "solutionArn", "solution/nope", json!({})),
        ("CreateSolutionVersion", "solutionArn", "solution/nope", json!({})),
        ("DescribeSolutionVersion", "solutionVersionArn", "solution/s/nope", json!({})),
        ("ListSolutionVersions", "solutionArn", "solution/nope", json!({})),
        ("StopSolutionVersionCreation", "solutionVersionArn", "solution/s/nope", json!({})),
        ("GetSolutionMetrics", "solutionVersionArn", "solution/s/nope", json!({})),
        ("CreateBatchSegmentJob", "solutionVersionArn", "solution/s/nope", segment("j")),
        ("DescribeBatchSegmentJob", "batchSegmentJobArn", "batch-segment-job/nope", json!({})),
        ("DescribeRecipe", "recipeArn", "recipe/nope", json!({})),
        ("DescribeAlgorithm", "algorithmArn", "algorithm/nope", json!({})),
        ("DescribeFeatureTransformation", "featureTransformationArn", "feature-transformation/nope", json!({})),
        ("TagResource", "resourceArn", "solution/nope", json!({"tags": []})),
        ("UntagResource", "resourceArn", "solution/nope", json!({"tagKeys": []})),
        ("ListTagsForResource", "resourceArn", "solution/nope", json!({})),
    ] {
        let elsewhere = "arn:aws:personalize:us-east-1:111111111111:";
        let unknown = [format!("{ARN}{own_kind}"), format!("{elsewhere}{own_kind}"), format!("{ARN}filter/g")];
        for arn in unknown {
            add(operation, "ResourceNotFound", nothing, with(more.clone(), json!({member: arn})));
        }
        if !operation.contains("Tag") {
            let other_kind = if member == "solutionVersionArn" { "solution/s" } else { "solution/s/v1" };
            let arn = format!("{ARN}{other_kind}");
            add(operation, "ResourceNotFound", nothing, with(more.clone(), json!({member: arn})));
        }
        add(operation, "InvalidInput", nothing, with(more, json!({member: "not an arn"})));
    }

    // Lists.
    for operation in ["ListDatasets", "ListSolutions"] {
        add(operation, "InvalidInput", nothing, json!({"datasetGroupArn": format!("{ARN}dataset-group/nope")}));
    }
    add("ListDatasetImportJobs", "InvalidInput", nothing, json!({"datasetArn": format!("{ARN}dataset/g/USERS")}));
    add("ListBatchSegmentJobs", "InvalidInput", nothing, json!({"solutionVersionArn": format!("{ARN}solution/s")}));
    for operation in [
        "ListSchemas", "ListDatasetGroups", "ListDatasets", "ListDatasetImportJobs", "ListSolutions",
        "ListSolutionVersions", "ListBatchSegmentJobs", "ListRecipes",
    ] {
        add(operation, "InvalidInput", nothing, json!({"maxResults": 0}));
        add(operation, "InvalidInput", nothing, json!({"maxResults": 101}));
        add(operation, "InvalidNextToken", nothing, json!({"nextToken": "bm90IG91cnM"}));
    }

    add("CreateSchema", "InvalidInput", nothing, json!({"name": "new", "schema": "{}"}));
    add("CreateSchema", "ResourceAlreadyExists", nothing, schema("items"));
    add("DeleteSchema", "ResourceInUse", nothing, json!({"schemaArn": format!("{ARN}schema/interactions")}));

    add("CreateDatasetGroup", "InvalidInput", nothing, json!({"name": "new", "roleArn": ROLE}));
    add("CreateDatasetGroup", "ResourceAlreadyExists", nothing, json!({"name": "g"}));
    add("CreateDatasetGroup", "TooManyTags", nothing, with(json!({"name": "new"}), many()));
    add("DeleteDatasetGroup", "ResourceInUse", nothing, group());

    add("CreateDataset", "InvalidInput", nothing, dataset("items", "USERS"));
    add("CreateDataset", "ResourceInUse", group_busy, dataset("items", "ITEMS"));
    add("CreateDataset", "ResourceAlreadyExists", nothing, dataset("interactions", "Interactions"));
    add("CreateDataset", "TooManyTags", nothing, with(dataset("items", "ITEMS"), many()));
    let same = with(data(), json!({"schemaArn": format!("{ARN}schema/interactions")}));
    add("UpdateDataset", "InvalidInput", nothing, same.clone());
    add("UpdateDataset", "ResourceInUse", importing, same.clone());
    add("UpdateDataset", "ResourceInUse", dataset_busy, same);
    let items = json!({"datasetArn": format!("{ARN}dataset/g/ITEMS"), "schemaArn": format!("{ARN}schema/items")});
    add("UpdateDataset", "ResourceInUse", items_importing, items);
    add("DeleteDataset", "ResourceInUse", importing, data());
    for busy in [version_busy, version_stopping, training] {
        add("DeleteDataset", "ResourceInUse", busy, data());
    }

    add("CreateDatasetImportJob", "InvalidInput", nothing, with(import("i"), json!({"dataSource": {}})));
    add("CreateDatasetImportJob", "ResourceInUse", dataset_busy, import("i"));
    add("CreateDatasetImportJob", "ResourceAlreadyExists", importing, import("i"));
    add("CreateDatasetImportJob", "TooManyTags", nothing, with(import("i"), many()));

    add("CreateSolution", "InvalidInput", nothing, with(solution("t"), json!({"performHPO": true})));
    add("CreateSolution", "ResourceInUse", group_busy, solution("t"));
    add("CreateSolution", "ResourceAlreadyExists", nothing, solution("s"));
    add("CreateSolution", "TooManyTags", nothing, with(solution("t"), many()));
    add("UpdateSolution", "InvalidInput", nothing, s());
    add("UpdateSolution", "ResourceInUse", solution_busy, with(s(), json!({"performAutoTraining": false})));
    for busy in [version_busy, version_stopping, training, segmenting, segment_running] {
        add("DeleteSolution", "ResourceInUse", busy, s());
    }

    add("CreateSolutionVersion", "InvalidInput", nothing, with(version("s"), json!({"trainingMode": "UPDATE"})));
    add("CreateSolutionVersion", "ResourceInUse", solution_busy, version("s"));
    add("CreateSolutionVersion", "ResourceInUse", importing, version("s"));
    add("CreateSolutionVersion", "ResourceAlreadyExists", nothing, with(version("s"), json!({"name": "v1"})));
    add("CreateSolutionVersion", "TooManyTags", nothing, with(version("s"), many()));
    add("StopSolutionVersionCreation", "InvalidInput", nothing, v1());
    add("GetSolutionMetrics", "ResourceInUse", version_busy, v1());
    add("GetSolutionMetrics", "InvalidInput", version_failed, v1());

    add("CreateBatchSegmentJob", "InvalidInput", version_failed, segment("j"));
    add("CreateBatchSegmentJob", "ResourceInUse", version_busy, segment("j"));
    add("CreateBatchSegmentJob", "ResourceInUse", version_stopping, segment("j"));
    add("CreateBatchSegmentJob", "ResourceAlreadyExists", segmenting, segment("j"));
    add("CreateBatchSegmentJob", "TooManyTags", nothing, with(segment("j"), many()));

    let tag = |more: Value| with(json!({"resourceArn": format!("{ARN}solution/s")}), more);
    add("TagResource", "TooManyTags", nothing, tag(many()));
    let keys: Vec<String> = (0..51).map(|n| n.to_string()).collect();
    add("UntagResource", "TooManyTagKeys", nothing, tag(json!({"tagKeys": keys})));
    cases
}

#[test]
fn every_declared_error_comes_about() {
    let shared = Server::world();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for case in cases() {
        if case.arrange as usize == nothing as Arrange as usize {
            shared.refused(case.error, case.operation, case.input);
        } else {
            let own = Server::world();
            (case.arrange)(&own);
            own.refused(case.error, case.operation, case.input);
        }
        seen.insert((case.operation.to_owned(), case.error.to_owned()));
    }
    for (operation, input) in at_quota() {
        let server = Server::world_with(quotas_full);
        importing_and_training_and_segmenting(&server);
        let message = server.refused("LimitExceeded", operation, input);
        assert!(message.starts_with("More than "), "{message}");
        seen.insert((operation.to_owned(), "LimitExceeded".to_owned()));
    }
    for (operation, error, _) in NEVER {
        let new = seen.insert(((*operation).to_owned(), (*error).to_owned()));
        assert!(new, "{operation} {error} does come about");
    }
    let declared = declared();
    assert!(declared.len() > 100, "{declared:?}");
    let missing: Vec<_> = declared.difference(&seen).collect();
    assert!(missing.is_empty(), "declared, but no case here: {missing:?}");
    // Two lists do not declare InvalidInput and answer it all the same, as the model's own
    // constraint on maxResults has to be answered somehow.
    let undeclared: Vec<_> = seen.difference(&declared).collect();
    let expected = ["ListDatasetGroups", "ListSchemas"].map(|list| (list.to_owned(), "InvalidInput".to_owned()));
    assert_eq!(undeclared, expected.iter().collect::<Vec<_>>());
}

fn at_quota() -> Vec<(&'static str, Value)> {
    vec![
        ("CreateSchema", json!({"name": "new", "schema": interactions_schema()})),
        ("CreateDatasetGroup", json!({"name": "new"})),
        ("CreateSolution", solution("t")),
        ("CreateDatasetImportJob", with(import("other"), json!({"datasetArn": format!("{ARN}dataset/g/USERS")}))),
        ("CreateSolutionVersion", version("s")),
        ("CreateBatchSegmentJob", segment("other")),
    ]
}

fn importing_and_training_and_segmenting(server: &Server) {
    server.ok("CreateSolutionVersion", version("s"));
    segmenting(server);
    server.ok("CreateDataset", dataset("users", "USERS"));
    server.ok("CreateDatasetImportJob", with(import("i"), json!({"datasetArn": format!("{ARN}dataset/g/USERS")})));
}

#[test]
fn checks_come_in_the_documented_order() {
    // Everything is wrong at once; one thing after the other is put right.
    let server = Server::world_with(quotas_full);
    segmenting(&server);
    let version = format!("{ARN}solution/s/v1");
    server.status_of_version(&version, status::CREATE_IN_PROGRESS);
    let worst = with(segment("j"), json!({"solutionVersionArn": format!("{ARN}solution/s/none"), "tags": tags(51), "numResults": 25}));
    server.refused("InvalidInput", "CreateBatchSegmentJob", with(worst.clone(), json!({"jobName": "-"})));
    server.refused("ResourceNotFound", "CreateBatchSegmentJob", worst.clone());
    let found = with(worst, json!({"solutionVersionArn": version}));
    server.refused("ResourceInUse", "CreateBatchSegmentJob", found.clone());
    server.status_of_version(&version, status::ACTIVE);
    server.refused("ResourceAlreadyExists", "CreateBatchSegmentJob", found.clone());
    let renamed = with(found, json!({"jobName": "other"}));
    server.refused("TooManyTags", "CreateBatchSegmentJob", renamed.clone());
    let untagged = with(renamed, json!({"tags": []}));
    server.refused("LimitExceeded", "CreateBatchSegmentJob", untagged.clone());
    server.edit::<SegmentJob>(&format!("{ARN}batch-segment-job/j"), |job| job.status = status::ACTIVE.into());
    server.ok("CreateBatchSegmentJob", untagged);
}

#[test]
fn an_incremental_import_needs_a_full_one_before() {
    let server = Server::world();
    let arn = format!("{ARN}dataset/g/INTERACTIONS");
    let incremental = with(import("i"), json!({"importMode": "INCREMENTAL"}));
    server.edit::<Dataset>(&arn, |dataset| dataset.generations.clear());
    let message = server.refused("InvalidInput", "CreateDatasetImportJob", incremental.clone());
    assert_eq!(message, format!("Dataset {arn} has no data from a FULL import yet. Import with importMode FULL first."));
    server.edit::<Dataset>(&arn, |dataset| {
        dataset.generations.push(Generation {
            id: "g".into(),
            mode: "FULL".into(),
            rows: 1,
            job_arn: String::new(),
            schema_arn: String::new(),
            committed: dataset.created,
        });
    });
    server.ok("CreateDatasetImportJob", incremental);
}

#[test]
fn training_needs_interactions() {
    let server = Server::world();
    server.ok("CreateDatasetGroup", json!({"name": "bare"}));
    let on_bare = json!({"datasetGroupArn": format!("{ARN}dataset-group/bare")});
    server.ok("CreateSolution", with(solution("t"), on_bare));
    let message = server.refused("InvalidInput", "CreateSolutionVersion", version("t"));
    assert_eq!(
        message,
        format!("Dataset group {ARN}dataset-group/bare has no Interactions dataset, which aws-item-affinity needs. Create one and import data first.")
    );
}

#[test]
fn unfinished_states_block_and_finished_ones_do_not() {
    let server = Server::world();
    segmenting(&server);
    let job = format!("{ARN}batch-segment-job/j");
    let version = format!("{ARN}solution/s/v1");
    let delete = json!({"solutionArn": format!("{ARN}solution/s")});
    for state in [status::CREATE_PENDING, status::CREATE_IN_PROGRESS] {
        server.edit::<SegmentJob>(&job, |job| job.status = state.into());
        server.refused("ResourceInUse", "DeleteSolution", delete.clone());
    }
    server.edit::<SegmentJob>(&job, |job| job.status = status::CREATE_FAILED.into());
    server.status_of_version(&version, status::CREATE_STOPPED);
    server.ok("DeleteSolution", delete);
}
