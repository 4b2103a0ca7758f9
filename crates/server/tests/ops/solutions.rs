//! Solution settings, recipes, and what is known by name only.

use crate::support::*;
use kindred_catalog::records::{ImportJob, SolutionVersion, status};
use serde_json::{Value, json};

const ATTRIBUTES: &str = "arn:aws:personalize:::recipe/aws-item-attribute-affinity";

/// A group whose Interactions schema has EVENT_TYPE and EVENT_VALUE, with an Items dataset.
fn shop() -> Server {
    let server = Server::new();
    server.ok(
        "CreateSchema",
        json!({"name": "events", "schema": events_schema()}),
    );
    server.ok(
        "CreateSchema",
        json!({"name": "items", "schema": items_schema(&[])}),
    );
    server.ok("CreateDatasetGroup", json!({"name": "g"}));
    server.ok("CreateDataset", dataset("events", "INTERACTIONS"));
    server.ok("CreateDataset", dataset("items", "ITEMS"));
    server
}

fn configured(config: Value) -> Value {
    with(solution("s"), json!({"solutionConfig": config}))
}

#[test]
fn a_plain_solution_is_described_in_full() {
    let server = shop();
    let arn = format!("{ARN}solution/s");
    assert_eq!(
        server.ok("CreateSolution", solution("s")),
        json!({"solutionArn": arn})
    );
    let described = server.ok("DescribeSolution", json!({"solutionArn": arn}));
    let at = 1_700_000_000.123;
    let mut expected = json!({"solution": {"name": "s", "solutionArn": arn, "performHPO": false,
        "performAutoML": false, "performAutoTraining": false, "recipeArn": RECIPE,
        "datasetGroupArn": format!("{ARN}dataset-group/g"), "status": "ACTIVE",
        "creationDateTime": at, "lastUpdatedDateTime": at}});
    assert_eq!(described, expected);
    server.ok(
        "CreateSolutionVersion",
        with(version("s"), json!({"name": "one"})),
    );
    server.later(1);
    server.ok(
        "CreateSolutionVersion",
        with(version("s"), json!({"name": "two"})),
    );
    server.edit::<SolutionVersion>(&format!("{ARN}solution/s/two"), |version| {
        version.status = status::CREATE_FAILED.into();
        version.failure_reason = Some("too little data".into());
    });
    expected["solution"]["latestSolutionVersion"] = json!({"solutionVersionArn": format!("{ARN}solution/s/two"),
        "status": "CREATE FAILED", "failureReason": "too little data", "trainingMode": "FULL",
        "trainingType": "MANUAL", "creationDateTime": 1_700_000_000.124, "lastUpdatedDateTime": 1_700_000_000.124});
    assert_eq!(
        server.ok("DescribeSolution", json!({"solutionArn": arn})),
        expected
    );
}

#[test]
fn honoured_settings_are_kept_and_handed_to_the_version() {
    for (n, (event_type, config)) in [
        (Some("Purchase"), json!({"eventValueThreshold": "0.5", "algorithmHyperParameters": {"hidden_dimension": "32"}})),
        (None, json!({"algorithmHyperParameters": {"hidden_dimension": "256"}})),
        (None, json!({"eventsConfig": {"eventParametersList": [
            {"eventType": "view"}, {"eventType": "buy", "eventValueThreshold": 1.5, "weight": 1.0},
            {"eventType": "wish", "weight": 0.25}, {"eventType": "close", "weight": 0.0}]}})),
        (None, json!({"trainingDataConfig": {"excludedDatasetColumns": {"ITEMS": ["GENRE"]}}})),
        (None, json!({"trainingDataConfig": {"includedDatasetColumns": {"Items": ["GENRE"], "Interactions": ["EVENT_TYPE"]}}})),
    ].into_iter().enumerate() {
        let server = shop();
        let mut request = configured(config.clone());
        if let Some(event_type) = event_type {
            request["eventType"] = json!(event_type);
        }
        server.ok("CreateSolution", request);
        let solution = &server.ok("DescribeSolution", json!({"solutionArn": format!("{ARN}solution/s")}))["solution"];
        assert_eq!(solution["solutionConfig"], config, "{n}");
        assert_eq!(solution.get("eventType"), event_type.map(|t| json!(t)).as_ref());
        let arn = server.ok("CreateSolutionVersion", version("s"))["solutionVersionArn"].clone();
        let version = &server.ok("DescribeSolutionVersion", json!({"solutionVersionArn": arn}))["solutionVersion"];
        assert_eq!(version["solutionConfig"], config, "{n}");
        assert_eq!(version.get("eventType"), event_type.map(|t| json!(t)).as_ref());
    }
}

#[test]
fn columns_are_checked_when_the_datasets_are_there() {
    let server = Server::new();
    server.ok(
        "CreateSchema",
        json!({"name": "interactions", "schema": interactions_schema()}),
    );
    server.ok("CreateDatasetGroup", json!({"name": "g"}));
    // Nothing to check against yet.
    server.ok(
        "CreateSolution",
        with(solution("early"), json!({"eventType": "view"})),
    );
    let named = json!({"solutionConfig": {"trainingDataConfig": {"excludedDatasetColumns": {"ITEMS": ["X"]}}}});
    server.ok("CreateSolution", with(solution("columns"), named));
    server.ok("CreateDataset", dataset("interactions", "INTERACTIONS"));
    let message = "The solution chooses events by EVENT_TYPE, but the schema of the group's Interactions dataset has no EVENT_TYPE field.";
    assert_eq!(
        server.refused("InvalidInput", "CreateSolutionVersion", version("early")),
        message
    );
    let late = with(solution("late"), json!({"eventType": "view"}));
    assert_eq!(
        server.refused("InvalidInput", "CreateSolution", late),
        message
    );
    let threshold = configured(json!({"eventValueThreshold": "1"}));
    assert!(
        server
            .refused("InvalidInput", "CreateSolution", threshold)
            .contains("EVENT_VALUE")
    );
    let message = server.refused("InvalidInput", "CreateSolutionVersion", version("columns"));
    assert_eq!(
        message,
        format!(
            "trainingDataConfig names columns of the Items dataset, which dataset group {ARN}dataset-group/g does not have."
        )
    );
}

#[test]
fn columns_that_choose_events_cannot_be_left_out() {
    let server = shop();
    let by_type = json!({"eventsConfig": {"eventParametersList": [{"eventType": "buy"}]}});
    let by_value = json!({"eventValueThreshold": "2"});
    let choice = |member: &str, columns: Value| json!({"trainingDataConfig": {member: {"Interactions": columns}}});
    let (excluded, included) = ("excludedDatasetColumns", "includedDatasetColumns");
    for (asked, column, member, columns) in [
        (&by_type, "EVENT_TYPE", excluded, json!(["EVENT_TYPE"])),
        (&by_type, "EVENT_TYPE", included, json!(["EVENT_VALUE"])),
        (
            &by_value,
            "EVENT_VALUE",
            excluded,
            json!(["EVENT_TYPE", "EVENT_VALUE"]),
        ),
        (&by_value, "EVENT_VALUE", included, json!([])),
    ] {
        let config = with(asked.clone(), choice(member, columns));
        assert_eq!(
            server.refused("InvalidInput", "CreateSolution", configured(config)),
            format!(
                "The solution chooses events by {column}, but trainingDataConfig.{member} leaves {column} out of the Interactions dataset."
            )
        );
    }
    // What chooses nothing may go, and another dataset has columns of its own.
    let others = json!({"trainingDataConfig": {included: {"Interactions": ["EVENT_TYPE"], "ITEMS": ["GENRE"]}}});
    server.ok("CreateSolution", configured(with(by_type.clone(), others)));
    let request = with(
        solution("plain"),
        json!({"solutionConfig": choice(excluded, json!(["EVENT_TYPE", "EVENT_VALUE"]))}),
    );
    server.ok("CreateSolution", request);
    // An update cannot bring the conflict in either.
    let update =
        json!({"solutionArn": format!("{ARN}solution/plain"), "solutionUpdateConfig": by_type});
    let message = server.refused("InvalidInput", "UpdateSolution", update);
    assert!(message.contains("leaves EVENT_TYPE out"), "{message}");
}

#[test]
fn no_version_is_trained_while_items_are_being_imported() {
    let server = shop();
    server.ok("CreateSolution", solution("s"));
    let items = json!({"datasetArn": format!("{ARN}dataset/g/ITEMS")});
    server.ok("CreateDatasetImportJob", with(import("items"), items));
    let message = server.refused("ResourceInUse", "CreateSolutionVersion", version("s"));
    assert!(
        message.contains("dataset/g/ITEMS is being imported"),
        "{message}"
    );
    server.edit::<ImportJob>(&format!("{ARN}dataset-import-job/items"), |job| {
        job.status = status::ACTIVE.into();
    });
    server.ok("CreateSolutionVersion", version("s"));
}

#[test]
fn an_update_is_noted_and_changes_later_versions() {
    let server = shop();
    server.ok("CreateSolution", solution("s"));
    let arn = format!("{ARN}solution/s");
    let before = server.ok("CreateSolutionVersion", version("s"))["solutionVersionArn"].clone();
    server.later(1_000);
    let events = json!({"eventParametersList": [{"eventType": "buy"}]});
    let update = json!({"solutionArn": arn, "performAutoTraining": false, "solutionUpdateConfig": {"eventsConfig": events}});
    assert_eq!(
        server.ok("UpdateSolution", update),
        json!({"solutionArn": arn})
    );
    let solution = &server.ok("DescribeSolution", json!({"solutionArn": arn}))["solution"];
    let at = 1_700_000_001.123;
    assert_eq!(solution["solutionConfig"], json!({"eventsConfig": events}));
    assert_eq!(solution["lastUpdatedDateTime"], json!(at));
    let latest = json!({"solutionUpdateConfig": {"eventsConfig": events}, "status": "ACTIVE",
        "performAutoTraining": false, "creationDateTime": at, "lastUpdatedDateTime": at});
    assert_eq!(solution["latestSolutionUpdate"], latest);
    let config = |arn: &Value| {
        let described = server.ok(
            "DescribeSolutionVersion",
            json!({"solutionVersionArn": arn}),
        );
        described["solutionVersion"].get("solutionConfig").cloned()
    };
    assert_eq!(config(&before), None);
    let after = server.ok("CreateSolutionVersion", version("s"))["solutionVersionArn"].clone();
    assert_eq!(config(&after), Some(json!({"eventsConfig": events})));
}

#[test]
fn updates_are_held_to_the_same_rules() {
    let server = shop();
    server.ok(
        "CreateSolution",
        with(solution("s"), json!({"eventType": "buy"})),
    );
    let arn = format!("{ARN}solution/s");
    for (update, words) in [
        (json!({}), "The request changes nothing."),
        (
            json!({"solutionUpdateConfig": {}}),
            "The request changes nothing.",
        ),
        (
            json!({"performAutoTraining": true}),
            "performAutoTraining: automatic training is not supported by this server yet.",
        ),
        (
            json!({"performIncrementalUpdate": true}),
            "performIncrementalUpdate is not supported",
        ),
        (
            json!({"solutionUpdateConfig": {"autoTrainingConfig": {"schedulingExpression": "rate(7 days)"}}}),
            "solutionUpdateConfig.autoTrainingConfig: automatic training",
        ),
        (
            json!({"solutionUpdateConfig": {"eventsConfig": {"eventParametersList": [{"eventType": "view"}]}}}),
            "eventsConfig cannot be combined",
        ),
    ] {
        let message = server.refused(
            "InvalidInput",
            "UpdateSolution",
            with(json!({"solutionArn": arn}), update),
        );
        assert!(message.starts_with(words), "{message}");
    }
    let untouched = &server.ok("DescribeSolution", json!({"solutionArn": arn}))["solution"];
    assert_eq!(untouched.get("latestSolutionUpdate"), None);
}

#[test]
fn automatic_training_by_default_is_refused_too() {
    let server = Server::with(|settings| settings.auto_training_default = true);
    server.ok("CreateDatasetGroup", json!({"name": "g"}));
    let message = server.refused("InvalidInput", "CreateSolution", solution("s"));
    assert!(
        message.starts_with("performAutoTraining: automatic training"),
        "{message}"
    );
    server.ok(
        "CreateSolution",
        with(solution("s"), json!({"performAutoTraining": false})),
    );
}

#[test]
fn both_recipes_are_described_and_one_can_be_trained() {
    let server = shop();
    for (name, created) in [
        ("item-affinity", 1_626_307_200),
        ("item-attribute-affinity", 1_629_849_600),
    ] {
        let arn = format!("arn:aws:personalize:::recipe/aws-{name}");
        let recipe = &server.ok("DescribeRecipe", json!({"recipeArn": arn}))["recipe"];
        assert_eq!(recipe["recipeType"], json!("USER_SEGMENTATION"));
        assert_eq!(recipe["creationDateTime"], json!(created));
        assert_eq!(recipe["status"], json!("ACTIVE"));
        assert!(recipe["lastUpdatedDateTime"].as_f64().unwrap() > 1_700_000_000.0);
        let input = json!({"algorithmArn": recipe["algorithmArn"]});
        let algorithm = &server.ok("DescribeAlgorithm", input)["algorithm"];
        assert_eq!(
            algorithm["defaultHyperParameters"],
            json!({"hidden_dimension": "149"})
        );
        let range = json!([{"name": "hidden_dimension", "minValue": 32, "maxValue": 256, "isTunable": false}]);
        assert_eq!(
            algorithm["defaultHyperParameterRanges"],
            json!({"integerHyperParameterRanges": range})
        );
        assert_eq!(algorithm.get("algorithmImage"), None);
        let input = json!({"featureTransformationArn": recipe["featureTransformationArn"]});
        let features = &server.ok("DescribeFeatureTransformation", input)["featureTransformation"];
        assert_eq!(
            (&features["name"], &features["defaultParameters"]),
            (&json!(name), &json!({}))
        );
    }
}

#[test]
fn both_recipes_make_solutions_and_others_are_refused_with_their_names() {
    let server = shop();
    let request = with(solution("s"), json!({"recipeArn": ATTRIBUTES}));
    server.ok("CreateSolution", request);
    let arn = format!("{ARN}solution/s");
    let described = server.ok("DescribeSolution", json!({"solutionArn": arn}));
    assert_eq!(described["solution"]["recipeArn"], ATTRIBUTES);
    server.ok("CreateSolutionVersion", version("s"));
    let other = RECIPE.replace("aws-item-affinity", "aws-sims");
    let request = with(solution("t"), json!({"recipeArn": other}));
    assert_eq!(
        server.refused("InvalidInput", "CreateSolution", request),
        format!(
            "Recipe {other} is not supported: this server trains user segmentation only. Use {RECIPE} or {ATTRIBUTES}."
        )
    );
}

#[test]
fn what_is_known_by_name_only_says_so() {
    let server = Server::new();
    for (operation, member) in [
        ("ListCampaigns", "campaigns"),
        ("ListRecommenders", "recommenders"),
        ("ListBatchInferenceJobs", "batchInferenceJobs"),
        ("ListMetricAttributions", "metricAttributions"),
        ("ListEventTrackers", "eventTrackers"),
    ] {
        assert_eq!(
            server.ok(operation, json!({"maxResults": 5})),
            json!({member: []})
        );
        server.refused("InvalidNextToken", operation, json!({"nextToken": "x"}));
    }
    for (operation, member, kind) in [
        ("DescribeCampaign", "campaignArn", "campaign"),
        ("DeleteCampaign", "campaignArn", "campaign"),
        ("DescribeRecommender", "recommenderArn", "recommender"),
        ("DeleteRecommender", "recommenderArn", "recommender"),
        (
            "DescribeBatchInferenceJob",
            "batchInferenceJobArn",
            "batch-inference-job",
        ),
        (
            "DescribeMetricAttribution",
            "metricAttributionArn",
            "metric-attribution",
        ),
        (
            "DeleteMetricAttribution",
            "metricAttributionArn",
            "metric-attribution",
        ),
    ] {
        let arn = format!("{ARN}{kind}/x");
        let message = server.refused("ResourceNotFound", operation, json!({member: arn}));
        assert_eq!(message, format!("Resource {arn} does not exist."));
        server.refused("InvalidInput", operation, json!({}));
    }
    for operation in [
        "CreateCampaign",
        "UpdateCampaign",
        "CreateRecommender",
        "UpdateRecommender",
        "StartRecommender",
        "StopRecommender",
        "CreateBatchInferenceJob",
        "CreateMetricAttribution",
        "UpdateMetricAttribution",
        "ListMetricAttributionMetrics",
        "CreateEventTracker",
        "CreateDataDeletionJob",
        "CreateDatasetExportJob",
    ] {
        let message = server.refused("InvalidInput", operation, json!({}));
        assert_eq!(
            message,
            format!("Operation {operation} is not supported by this server.")
        );
    }
    assert_eq!(
        server.call("MakeCoffee", json!({})).unwrap_err().0,
        "UnknownOperationException"
    );
}
