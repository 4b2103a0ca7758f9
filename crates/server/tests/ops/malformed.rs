//! Requests that are refused, with the exact words.

use crate::support::*;
use serde_json::{Value, json};

const NAME: &str = "Member must satisfy regular expression pattern: ^[a-zA-Z0-9][a-zA-Z0-9\\-_]*";

fn one(violation: &str) -> String {
    format!("1 validation error detected: {violation}")
}

fn configured(config: Value) -> Value {
    with(solution("t"), json!({"solutionConfig": config}))
}

fn events(list: Value) -> Value {
    configured(json!({"eventsConfig": {"eventParametersList": list}}))
}

fn columns(config: Value) -> Value {
    configured(json!({"trainingDataConfig": config}))
}

fn io(input: &str, output: &str) -> Value {
    with(
        segment("j"),
        json!({
            "jobInput": {"s3DataSource": {"path": input}},
            "jobOutput": {"s3DataDestination": {"path": output}},
        }),
    )
}

/// Operation, input, message.
fn table() -> Vec<(&'static str, Value, String)> {
    let mut rows = Vec::new();
    let mut add =
        |operation, input, message: &str| rows.push((operation, input, message.to_owned()));
    let key = "arn:aws:kms:us-east-1:000000000000:key/k";

    // The model's own constraints.
    add(
        "CreateDatasetGroup",
        json!({}),
        &one("Value null at 'name' failed to satisfy constraint: Member must not be null"),
    );
    add(
        "CreateDatasetGroup",
        json!({"name": "-a"}),
        &one(&format!(
            "Value '-a' at 'name' failed to satisfy constraint: {NAME}"
        )),
    );
    add(
        "CreateDatasetGroup",
        json!({"name": "g2", "domain": "BOOKS"}),
        &one(
            "Value 'BOOKS' at 'domain' failed to satisfy constraint: Member must satisfy enum value set: [ECOMMERCE, VIDEO_ON_DEMAND]",
        ),
    );
    add(
        "ListSchemas",
        json!({"maxResults": 0}),
        &one(
            "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
    );
    add(
        "ListSchemas",
        json!({"maxResults": 101}),
        &one(
            "Value '101' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 100",
        ),
    );

    // Schemas.
    // The words after the colon are the schema language's; here only that they arrive.

    // Dataset groups.
    add(
        "CreateDatasetGroup",
        json!({"name": "g2", "roleArn": ROLE}),
        "roleArn is only allowed together with kmsKeyArn. Leave roleArn out.",
    );
    add(
        "CreateDatasetGroup",
        json!({"name": "g2", "kmsKeyArn": key}),
        "kmsKeyArn requires roleArn. Give both, or leave kmsKeyArn out.",
    );
    add(
        "CreateDatasetGroup",
        json!({"name": "g2", "kmsKeyArn": key, "roleArn": ROLE}),
        &format!("The key {key} of kmsKeyArn cannot be used: the key does not exist."),
    );

    // Datasets.
    add(
        "CreateDataset",
        dataset("items", "Actions"),
        "Dataset type Actions is not supported by this server. Use Interactions, Items or Users.",
    );
    add(
        "CreateDataset",
        dataset("items", "Action_Interactions"),
        "Dataset type Action_Interactions is not supported by this server. Use Interactions, Items or Users.",
    );
    add(
        "CreateDataset",
        dataset("items", "Things"),
        "Dataset type Things is unknown. Use Interactions, Items or Users.",
    );
    add(
        "CreateDataset",
        dataset("items", "Users"),
        &format!("Schema {ARN}schema/items is for Items datasets, the dataset is of type Users."),
    );
    add(
        "UpdateDataset",
        json!({"datasetArn": format!("{ARN}dataset/g/INTERACTIONS"), "schemaArn": format!("{ARN}schema/items")}),
        &format!(
            "Dataset {ARN}dataset/g/INTERACTIONS is an Interactions dataset, whose schema cannot be replaced. Only Items and Users datasets can be updated."
        ),
    );

    // Imports.
    for path in [
        "http://data/x.csv",
        "s3://data",
        "s3://data/",
        "s3://Data/x.csv",
    ] {
        add(
            "CreateDatasetImportJob",
            with(import("i"), json!({"dataSource": {"dataLocation": path}})),
            &format!(
                "Invalid Data location. dataSource.dataLocation must be s3://bucket/key or s3://bucket/prefix/, got {path}."
            ),
        );
    }
    add(
        "CreateDatasetImportJob",
        with(import("i"), json!({"dataSource": {}})),
        "Invalid Data location. dataSource.dataLocation must be s3://bucket/key or s3://bucket/prefix/, got none.",
    );
    add(
        "CreateDatasetImportJob",
        with(import("i"), json!({"publishAttributionMetricsToS3": true})),
        "publishAttributionMetricsToS3 needs a metric attribution, which this server does not support. Leave it out or set it to false.",
    );

    // Solutions.
    add(
        "CreateSolution",
        json!({"name": "t", "datasetGroupArn": format!("{ARN}dataset-group/g")}),
        "recipeArn is required when performAutoML is not true.",
    );
    add(
        "CreateSolution",
        with(solution("t"), json!({"performAutoML": true})),
        "performAutoML: AutoML does not choose user segmentation recipes. Leave it out and give a recipeArn.",
    );
    add(
        "CreateSolution",
        with(solution("t"), json!({"performHPO": true})),
        "performHPO: user segmentation recipes do not support hyperparameter optimization. Leave it out.",
    );
    add(
        "CreateSolution",
        with(solution("t"), json!({"performIncrementalUpdate": true})),
        "performIncrementalUpdate is not supported by user segmentation recipes. Leave it out.",
    );
    add(
        "CreateSolution",
        with(solution("t"), json!({"performAutoTraining": true})),
        "performAutoTraining: automatic training is not supported by this server yet. Leave it out and create solution versions yourself.",
    );
    add(
        "CreateSolution",
        with(
            solution("t"),
            json!({"recipeArn": "arn:aws:personalize:::recipe/aws-user-personalization"}),
        ),
        &format!(
            "Recipe arn:aws:personalize:::recipe/aws-user-personalization is not supported: this server trains user segmentation only. Use {RECIPE} or arn:aws:personalize:::recipe/aws-item-attribute-affinity."
        ),
    );
    add(
        "CreateSolution",
        with(solution("t"), json!({"eventType": ""})),
        "eventType must not be empty. Leave it out to train on all event types.",
    );
    for value in ["31", "257", "149.0", "+64", "", "many", "99999999999"] {
        add(
            "CreateSolution",
            configured(json!({"algorithmHyperParameters": {"hidden_dimension": value}})),
            &format!(
                "solutionConfig.algorithmHyperParameters: hidden_dimension must be an integer from 32 to 256, got {value}."
            ),
        );
    }
    add(
        "CreateSolution",
        configured(json!({"algorithmHyperParameters": {"bptt": "32"}})),
        "solutionConfig.algorithmHyperParameters: unknown hyperparameter bptt. Only hidden_dimension can be set.",
    );
    add(
        "CreateSolution",
        configured(json!({"featureTransformationParameters": {"a": "b"}})),
        "solutionConfig.featureTransformationParameters: user segmentation recipes have none. Leave it out.",
    );
    add(
        "CreateSolution",
        configured(json!({"hpoConfig": {"hpoResourceConfig": {"maxNumberOfTrainingJobs": "2"}}})),
        "solutionConfig.hpoConfig: user segmentation recipes do not support hyperparameter optimization. Leave it out.",
    );
    add(
        "CreateSolution",
        configured(json!({"autoMLConfig": {}})),
        "solutionConfig.autoMLConfig: AutoML does not choose user segmentation recipes. Leave it out.",
    );
    add(
        "CreateSolution",
        configured(json!({"optimizationObjective": {"objectiveSensitivity": "LOW"}})),
        "solutionConfig.optimizationObjective is not supported by user segmentation recipes. Leave it out.",
    );
    add(
        "CreateSolution",
        configured(json!({"autoTrainingConfig": {"schedulingExpression": "rate(7 days)"}})),
        "solutionConfig.autoTrainingConfig: automatic training is not supported by this server yet. Leave it out and create solution versions yourself.",
    );
    for threshold in ["", "x", "inf", "NaN", "1,5", "1e999"] {
        add(
            "CreateSolution",
            configured(json!({"eventValueThreshold": threshold})),
            &format!(
                "solutionConfig.eventValueThreshold must be a decimal number, got {threshold}."
            ),
        );
    }
    add(
        "CreateSolution",
        events(json!([{"weight": 1.0}])),
        "eventsConfig: every entry needs an eventType.",
    );
    add(
        "CreateSolution",
        events(json!([{"eventType": "buy"}, {"eventType": "Buy"}])),
        "eventsConfig names event type Buy more than once; event types are compared ignoring case.",
    );
    add(
        "CreateSolution",
        events(json!([{"eventType": "buy", "weight": 0.0}, {"eventType": "view", "weight": 0}])),
        "eventsConfig: at least one event type needs a weight above 0.",
    );
    add(
        "CreateSolution",
        with(
            events(json!([{"eventType": "buy"}])),
            json!({"eventType": "buy"}),
        ),
        "eventsConfig cannot be combined with eventType or eventValueThreshold. Use one of them.",
    );
    add(
        "CreateSolution",
        columns(
            json!({"excludedDatasetColumns": {"Items": ["A"]}, "includedDatasetColumns": {"Items": ["B"]}}),
        ),
        "trainingDataConfig: use excludedDatasetColumns or includedDatasetColumns, not both.",
    );
    add(
        "CreateSolution",
        columns(json!({"excludedDatasetColumns": {"Interactions": ["TIMESTAMP"]}})),
        "trainingDataConfig.excludedDatasetColumns: TIMESTAMP is needed for training and cannot be excluded.",
    );
    add(
        "CreateSolution",
        columns(json!({"excludedDatasetColumns": {"Interactions": ["DEVICE"]}})),
        "trainingDataConfig.excludedDatasetColumns: the schema of the group's Interactions dataset has no field DEVICE.",
    );
    add(
        "CreateSolution",
        columns(json!({"includedDatasetColumns": {"ITEMS": [], "items": []}})),
        "trainingDataConfig.includedDatasetColumns names the Items dataset more than once.",
    );
    add(
        "CreateSolution",
        columns(json!({"includedDatasetColumns": {"Things": []}})),
        "Dataset type Things is unknown. Use Interactions, Items or Users.",
    );

    // Versions.
    for mode in ["UPDATE", "AUTOTRAIN"] {
        add(
            "CreateSolutionVersion",
            with(version("s"), json!({"trainingMode": mode})),
            &format!(
                "trainingMode {mode} is not supported by user segmentation recipes. Use FULL."
            ),
        );
    }
    add(
        "StopSolutionVersionCreation",
        json!({"solutionVersionArn": format!("{ARN}solution/s/v1")}),
        &format!(
            "Solution version {ARN}solution/s/v1 has status ACTIVE; only CREATE PENDING and CREATE IN_PROGRESS can be stopped."
        ),
    );

    // Segment jobs.
    for asked in [0, -1, 5_000_001] {
        add(
            "CreateBatchSegmentJob",
            with(segment("j"), json!({"numResults": asked})),
            &format!("numResults must be between 1 and 5000000, got {asked}."),
        );
    }
    add(
        "CreateBatchSegmentJob",
        io("https://demo/q.json", "s3://demo/out/"),
        "Invalid S3 input path: https://demo/q.json. It must be s3://bucket/key or s3://bucket/prefix/.",
    );
    add(
        "CreateBatchSegmentJob",
        io("s3://demo/q.json", "s3://no_bucket/out/"),
        "Invalid S3 output path: s3://no_bucket/out/. It must be s3://bucket/folder/.",
    );
    add(
        "CreateBatchSegmentJob",
        io("s3://demo/in/", "s3://demo/in/out"),
        "The output folder s3://demo/in/out/ lies inside the input s3://demo/in/. Choose another jobOutput path, or name a single input object.",
    );
    // Tags.
    let tag = |tags: Value| json!({"resourceArn": format!("{ARN}solution/s"), "tags": tags});
    add(
        "TagResource",
        tag(json!([{"tagKey": "aws:x", "tagValue": ""}])),
        "Tag keys and values must not begin with aws:, which is reserved.",
    );
    add(
        "TagResource",
        tag(json!([{"tagKey": "a", "tagValue": ""}, {"tagKey": "a", "tagValue": ""}])),
        "The request names a tag key more than once. Give each key one value.",
    );
    add(
        "ListTagsForResource",
        json!({"resourceArn": format!("{ARN}schema/items")}),
        &format!("Resource {ARN}schema/items cannot be tagged."),
    );

    // Filters of lists.
    add(
        "ListDatasets",
        json!({"datasetGroupArn": format!("{ARN}dataset-group/x")}),
        &format!(
            "datasetGroupArn {ARN}dataset-group/x does not exist. Name an existing resource, or leave datasetGroupArn out to list all."
        ),
    );
    rows
}

#[test]
fn malformed_requests_are_answered_in_these_words() {
    let server = Server::world();
    let table = table();
    assert!(table.len() >= 30);
    for (operation, input, message) in table {
        let found = server.refused("InvalidInput", operation, input.clone());
        assert_eq!(found, message, "{operation} {input}");
    }
    let last = server.ok("ListSolutions", json!({}));
    assert_eq!(
        last["solutions"].as_array().unwrap().len(),
        1,
        "nothing was created on the way"
    );
}

#[test]
fn a_bad_schema_is_answered_with_the_rule_it_breaks() {
    let server = Server::new();
    let no_time = interactions_schema().replace("TIMESTAMP", "MOMENT");
    for (text, words) in [("{", ""), ("[]", ""), (no_time.as_str(), "TIMESTAMP")] {
        let message = server.refused(
            "InvalidInput",
            "CreateSchema",
            json!({"name": "s", "schema": text}),
        );
        assert!(
            message.starts_with("The schema is not valid: ") && message.contains(words),
            "{message}"
        );
        assert!(message.ends_with('.'), "{message}");
    }
}

#[test]
fn refusals_other_than_bad_input_name_the_resource() {
    let server = Server::world();
    for (name, operation, input, message) in [
        (
            "ResourceNotFound",
            "DescribeSchema",
            json!({"schemaArn": format!("{ARN}schema/x")}),
            format!("Resource {ARN}schema/x does not exist."),
        ),
        (
            "ResourceAlreadyExists",
            "CreateDatasetGroup",
            json!({"name": "g"}),
            format!("Another resource with Arn {ARN}dataset-group/g already exists."),
        ),
        (
            "ResourceInUse",
            "DeleteSchema",
            json!({"schemaArn": format!("{ARN}schema/interactions")}),
            format!(
                "Schema {ARN}schema/interactions is used by dataset {ARN}dataset/g/INTERACTIONS. Delete the dataset first."
            ),
        ),
        (
            "ResourceInUse",
            "DeleteDatasetGroup",
            json!({"datasetGroupArn": format!("{ARN}dataset-group/g")}),
            format!(
                "Dataset group {ARN}dataset-group/g still has 1 datasets and 1 solutions. Delete them first."
            ),
        ),
        (
            "TooManyTags",
            "CreateDatasetGroup",
            json!({"name": "x", "tags": tags(51)}),
            "The resource would have 51 tags; at most 50 are allowed.".to_owned(),
        ),
        (
            "InvalidNextToken",
            "ListSchemas",
            json!({"nextToken": "x"}),
            "nextToken was not issued by ListSchemas for these arguments; start again without it."
                .to_owned(),
        ),
    ] {
        assert_eq!(server.refused(name, operation, input), message);
    }
}
