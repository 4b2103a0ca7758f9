//! Every declared error of every operation, brought about once.
//!
//! The table is held against the declarations themselves: an error without a case fails the test
//! unless [`NEVER`] says why nothing here brings it about.

use crate::error_cases::{Arrange, cases, nothing, segmenting};
use crate::support::*;
use kindred_catalog::records::{Dataset, Generation, SegmentJob, Solution, status};
use kindred_server::config::Settings;
use kindred_types::shapes::{OperationShape, operations};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Declared, but nothing here brings it about.
const NEVER: &[(&str, &str, &str)] = &[
    (
        "CreateDataset",
        "LimitExceeded",
        "a group has one dataset of each type; there is no other quota",
    ),
    (
        "UpdateSolution",
        "LimitExceeded",
        "an update adds nothing that is counted",
    ),
    (
        "StopSolutionVersionCreation",
        "ResourceInUse",
        "a second stop is a success",
    ),
    (
        "TagResource",
        "ResourceInUse",
        "tags can be changed in every state",
    ),
    (
        "TagResource",
        "LimitExceeded",
        "too many tags have an error of their own",
    ),
    (
        "UntagResource",
        "ResourceInUse",
        "tags can be changed in every state",
    ),
    (
        "ListTagsForResource",
        "ResourceInUse",
        "tags can be read in every state",
    ),
];

fn quotas_full(settings: &mut Settings) {
    settings.quotas.schemas = 3;
    settings.quotas.dataset_groups = 1;
    settings.quotas.solutions_per_group = 1;
    settings.quotas.pending_import_jobs = 1;
    settings.quotas.pending_solution_versions = 1;
    settings.quotas.pending_segment_jobs = 1;
    settings.quotas.filters_per_group = 1;
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
    assert!(
        missing.is_empty(),
        "declared, but no case here: {missing:?}"
    );
    // Two lists do not declare InvalidInput and answer it all the same, as the model's own
    // constraint on maxResults has to be answered somehow.
    let undeclared: Vec<_> = seen.difference(&declared).collect();
    let expected = ["ListDatasetGroups", "ListSchemas"]
        .map(|list| (list.to_owned(), "InvalidInput".to_owned()));
    assert_eq!(undeclared, expected.iter().collect::<Vec<_>>());
}

fn at_quota() -> Vec<(&'static str, Value)> {
    vec![
        (
            "CreateSchema",
            json!({"name": "new", "schema": interactions_schema()}),
        ),
        ("CreateDatasetGroup", json!({"name": "new"})),
        ("CreateSolution", solution("t")),
        (
            "CreateDatasetImportJob",
            with(
                import("other"),
                json!({"datasetArn": format!("{ARN}dataset/g/USERS")}),
            ),
        ),
        ("CreateSolutionVersion", version("s")),
        ("CreateBatchSegmentJob", segment("other")),
        ("CreateFilter", filter("other")),
    ]
}

fn importing_and_training_and_segmenting(server: &Server) {
    server.ok("CreateSolutionVersion", version("s"));
    segmenting(server);
    server.ok("CreateDataset", dataset("users", "USERS"));
    server.ok(
        "CreateDatasetImportJob",
        with(
            import("i"),
            json!({"datasetArn": format!("{ARN}dataset/g/USERS")}),
        ),
    );
    server.ok("CreateFilter", filter("f"));
}

#[test]
fn checks_come_in_the_documented_order() {
    // Everything is wrong at once; one thing after the other is put right.
    let server = Server::world_with(quotas_full);
    segmenting(&server);
    let version = format!("{ARN}solution/s/v1");
    server.status_of_version(&version, status::CREATE_IN_PROGRESS);
    let worst = with(
        segment("j"),
        json!({"solutionVersionArn": format!("{ARN}solution/s/none"), "tags": tags(51), "numResults": 25}),
    );
    server.refused(
        "InvalidInput",
        "CreateBatchSegmentJob",
        with(worst.clone(), json!({"jobName": "-"})),
    );
    server.refused("ResourceNotFound", "CreateBatchSegmentJob", worst.clone());
    let found = with(worst, json!({"solutionVersionArn": version}));
    server.refused("ResourceInUse", "CreateBatchSegmentJob", found.clone());
    server.status_of_version(&version, status::ACTIVE);
    server.refused(
        "ResourceAlreadyExists",
        "CreateBatchSegmentJob",
        found.clone(),
    );
    let renamed = with(found, json!({"jobName": "other"}));
    server.refused("TooManyTags", "CreateBatchSegmentJob", renamed.clone());
    let untagged = with(renamed, json!({"tags": []}));
    server.refused("LimitExceeded", "CreateBatchSegmentJob", untagged.clone());
    server.edit::<SegmentJob>(&format!("{ARN}batch-segment-job/j"), |job| {
        job.status = status::ACTIVE.into()
    });
    server.ok("CreateBatchSegmentJob", untagged);
}

#[test]
fn an_incremental_import_needs_a_full_one_before() {
    let server = Server::world();
    let arn = format!("{ARN}dataset/g/INTERACTIONS");
    let incremental = with(import("i"), json!({"importMode": "INCREMENTAL"}));
    server.edit::<Dataset>(&arn, |dataset| dataset.generations.clear());
    let message = server.refused(
        "InvalidInput",
        "CreateDatasetImportJob",
        incremental.clone(),
    );
    assert_eq!(
        message,
        format!(
            "Dataset {arn} has no data from a FULL import yet. Import with importMode FULL first."
        )
    );
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
        format!(
            "Dataset group {ARN}dataset-group/bare has no Interactions dataset, which aws-item-affinity needs. Create one and import data first."
        )
    );
}

#[test]
fn training_by_attributes_needs_an_items_column_to_go_by() {
    let server = Server::world();
    server.edit::<Solution>(&format!("{ARN}solution/s"), |solution| {
        solution.recipe_arn = RECIPE.replace("aws-item-affinity", "aws-item-attribute-affinity");
    });
    let message = |what: &str| {
        format!(
            "Dataset group {ARN}dataset-group/g has no {what}, which aws-item-attribute-affinity needs. Create one and import data first."
        )
    };
    let refused = || server.refused("InvalidInput", "CreateSolutionVersion", version("s"));
    assert_eq!(refused(), message("Items dataset"));
    let text = items_schema(&[]).replace("categorical", "textual");
    server.ok("CreateSchema", json!({"name": "text", "schema": text}));
    server.ok("CreateDataset", dataset("text", "ITEMS"));
    assert_eq!(
        refused(),
        message("Items dataset with a column that is not textual")
    );
    let wider = text.replace("]", r#",{"name":"PRICE","type":["null","float"]}]"#);
    server.ok("CreateSchema", json!({"name": "wider", "schema": wider}));
    let update = json!({"datasetArn": format!("{ARN}dataset/g/ITEMS"), "schemaArn": format!("{ARN}schema/wider")});
    server.ok("UpdateDataset", update);
    server.ok("CreateSolutionVersion", version("s"));
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

fn declared() -> BTreeSet<(String, String)> {
    let of = |operation: &'static OperationShape| {
        let errors = operation.errors.iter();
        errors.map(|error| (operation.name.to_owned(), (*error).to_owned()))
    };
    operations().flat_map(of).collect()
}

#[test]
fn textual_columns_of_items_have_a_quota() {
    let column = |name: &str| json!({"name": name, "type": ["null", "string"], "textual": true});
    let schema = |name: &str, more: &[&str]| {
        let mut fields = vec![json!({"name": "ITEM_ID", "type": "string"})];
        fields.extend(more.iter().map(|name| column(name)));
        let text = json!({"type": "record", "name": "Items", "fields": fields});
        json!({"name": name, "schema": text.to_string()})
    };
    let server = Server::with(|settings| settings.quotas.items_textual_columns = 1);
    server.ok("CreateSchema", schema("one", &["TITLE"]));
    let message = server.refused(
        "LimitExceeded",
        "CreateSchema",
        schema("two", &["TITLE", "TEXT"]),
    );
    assert_eq!(message, "More than 1 textual columns in a schema.");
    Server::new().ok("CreateSchema", schema("two", &["TITLE", "TEXT"]));
}
