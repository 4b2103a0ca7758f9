//! Filters: what CreateFilter takes and refuses, and how long a filter lives.

use crate::support::*;
use kindred_catalog::records::{Dataset, Filter, SegmentJob, SolutionVersion, status};
use serde_json::{Value, json};

fn described() -> Server {
    let server = Server::world();
    server.ok("CreateDataset", dataset("users", "USERS"));
    server
}

fn expression(text: &str) -> Value {
    with(filter("f"), json!({"filterExpression": text}))
}

fn arn() -> Value {
    json!({"filterArn": format!("{ARN}filter/f")})
}

#[test]
fn a_filter_is_active_at_once_and_keeps_its_expression_byte_for_byte() {
    let server = described();
    let text = "exclude  userid\twhere users.age < $X | INCLUDE UserID WHERE Users.AGE != -0.50\n";
    let answer = server.ok("CreateFilter", expression(text));
    assert_eq!(answer, arn());
    let created = START_MS as f64 / 1000.0;
    let summary = json!({
        "name": "f", "filterArn": format!("{ARN}filter/f"), "status": "ACTIVE",
        "datasetGroupArn": format!("{ARN}dataset-group/g"),
        "creationDateTime": created, "lastUpdatedDateTime": created,
    });
    let whole = with(summary.clone(), json!({"filterExpression": text}));
    assert_eq!(server.ok("DescribeFilter", arn()), json!({"filter": whole}));
    assert_eq!(
        server.ok("ListFilters", json!({})),
        json!({"Filters": [summary]})
    );
    assert_eq!(server.ok("DeleteFilter", arn()), Value::Null);
    server.refused("ResourceNotFound", "DescribeFilter", arn());
    assert_eq!(server.ok("ListFilters", json!({})), json!({"Filters": []}));
    server.ok("CreateFilter", expression(text));
}

#[test]
fn expressions_are_held_against_the_datasets_of_the_group() {
    let server = Server::world();
    for (text, message) in [
        (
            "INCLUDE UserID WHERE Users.AGE > 3",
            "Invalid Expression: there is no Users dataset at position 22",
        ),
        (
            "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN (*)",
            "Invalid Expression: the Interactions dataset has no field EVENT_TYPE at position 35",
        ),
    ] {
        let found = server.refused("InvalidInput", "CreateFilter", expression(text));
        assert_eq!(found, format!("Could not create filter. {message}"));
    }
    server.ok("CreateDataset", dataset("users", "USERS"));
    server.ok(
        "CreateFilter",
        expression("INCLUDE UserID WHERE Users.AGE > 3"),
    );
    let message = server.refused(
        "InvalidInput",
        "CreateFilter",
        expression("INCLUDE UserID WHERE Users.AGES NOT IN ($A)"),
    );
    assert_eq!(
        message,
        "Could not create filter. Invalid Expression: Users has no field AGES, did you mean AGE? at position 28"
    );
    // Accepted, although no segment job can use it.
    server.ok("CreateDataset", dataset("items", "ITEMS"));
    let items =
        json!({"name": "items", "filterExpression": "EXCLUDE ItemID WHERE Items.GENRE IN ($G)"});
    server.ok("CreateFilter", with(filter("f"), items));
}

#[test]
fn an_expression_is_never_shown() {
    let server = described();
    let secret = "INCLUDE UserID WHERE Users.AGE IN (\"canary\")";
    let message = server.refused("InvalidInput", "CreateFilter", expression(secret));
    assert!(!message.contains("canary"), "{message}");
    let long = format!("{secret}{}", " ".repeat(2_500));
    for text in ["", &long] {
        let message = server.refused("InvalidInput", "CreateFilter", expression(text));
        assert!(
            message.contains("'****' at 'filterExpression'") && !message.contains("canary"),
            "{message}"
        );
    }
}

#[test]
fn a_filter_stays_while_an_unfinished_job_uses_it_and_goes_with_its_group() {
    let server = described();
    server.ok("CreateFilter", filter("f"));
    server.ok("CreateBatchSegmentJob", with(segment("j"), arn()));
    let job = format!("{ARN}batch-segment-job/j");
    for state in [status::CREATE_PENDING, status::CREATE_IN_PROGRESS] {
        server.edit::<SegmentJob>(&job, |job| job.status = state.into());
        let message = server.refused("ResourceInUse", "DeleteFilter", arn());
        assert_eq!(
            message,
            format!(
                "Filter {ARN}filter/f is used by {job}, which has status {state}. Wait until it is finished."
            )
        );
    }
    server.edit::<SegmentJob>(&job, |job| job.status = status::ACTIVE.into());
    server.ok("DeleteFilter", arn());
    server.ok("CreateFilter", filter("f"));
    for (operation, member, resource) in [
        ("DeleteDataset", "datasetArn", "dataset/g/USERS"),
        ("DeleteDataset", "datasetArn", "dataset/g/INTERACTIONS"),
        ("DeleteSolution", "solutionArn", "solution/s"),
        ("DescribeFilter", "filterArn", "filter/f"),
        ("DeleteDatasetGroup", "datasetGroupArn", "dataset-group/g"),
    ] {
        server.ok(operation, json!({member: format!("{ARN}{resource}")}));
    }
    server.refused("ResourceNotFound", "DescribeFilter", arn());
}

#[test]
fn a_job_takes_a_filter_of_its_group_about_users_and_shows_it() {
    let server = described();
    server.ok("CreateFilter", filter("f"));
    let with_filter = |name: &str, filter: &str| {
        let arn = format!("{ARN}filter/{filter}");
        with(segment(name), json!({"filterArn": arn}))
    };
    server.ok("CreateBatchSegmentJob", with_filter("j", "f"));
    let job = json!({"batchSegmentJobArn": format!("{ARN}batch-segment-job/j")});
    let shown = server.ok("DescribeBatchSegmentJob", job);
    assert_eq!(
        shown["batchSegmentJob"]["filterArn"],
        format!("{ARN}filter/f")
    );
    let refused = |filter: &str| {
        server.refused(
            "InvalidInput",
            "CreateBatchSegmentJob",
            with_filter("k", filter),
        )
    };

    server.ok("CreateDataset", dataset("items", "ITEMS"));
    let items = json!({"filterExpression": "EXCLUDE ItemID WHERE Items.GENRE IN ($G)"});
    server.ok("CreateFilter", with(filter("items"), items));
    assert_eq!(
        refused("items"),
        format!(
            "Filter {ARN}filter/items is about ItemID. Batch segment jobs take filters about UserID."
        )
    );

    let events = json!({"name": "events", "schema": events_schema()});
    server.ok("CreateSchema", events);
    server.ok("CreateDatasetGroup", json!({"name": "other"}));
    let group = json!({"datasetGroupArn": format!("{ARN}dataset-group/other")});
    let other = with(dataset("events", "INTERACTIONS"), group.clone());
    server.ok("CreateDataset", other);
    let bought = json!({"filterExpression": "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN (*)"});
    let elsewhere = with(with(filter("elsewhere"), group), bought);
    server.ok("CreateFilter", elsewhere);
    assert_eq!(
        refused("elsewhere"),
        format!(
            "Filter {ARN}filter/elsewhere belongs to dataset group {ARN}dataset-group/other, solution version {ARN}solution/s/v1 to {ARN}dataset-group/g. Use a filter of the same dataset group."
        )
    );

    // By attributes, the same filter would do but for its condition.
    server.edit::<Filter>(&format!("{ARN}filter/elsewhere"), |filter| {
        filter.group_arn = format!("{ARN}dataset-group/g")
    });
    server.edit::<Dataset>(&format!("{ARN}dataset/g/INTERACTIONS"), |dataset| {
        dataset.schema_arn = format!("{ARN}schema/events")
    });
    server.ok("CreateBatchSegmentJob", with_filter("bought", "elsewhere"));
    server.edit::<SolutionVersion>(&format!("{ARN}solution/s/v1"), |version| {
        version.recipe_arn = RECIPE.replace("aws-item-affinity", "aws-item-attribute-affinity");
    });
    assert_eq!(
        refused("elsewhere"),
        format!(
            "Filter {ARN}filter/elsewhere has conditions on Interactions, which cannot be used with aws-item-attribute-affinity. Use a filter with conditions on Users only."
        )
    );
    server.ok("CreateBatchSegmentJob", with_filter("by-attributes", "f"));

    let users = json!({"datasetArn": format!("{ARN}dataset/g/USERS")});
    server.ok("DeleteDataset", users);
    assert_eq!(
        refused("f"),
        format!(
            "Filter {ARN}filter/f does not fit the datasets of its group any more: there is no Users dataset at position 22."
        )
    );
}

#[test]
fn quotas_count_filters_and_fields() {
    let server = Server::world_with(|settings| {
        settings.quotas.filters_per_group = 3;
        settings.quotas.fields_per_filter = 2;
        settings.quotas.filter_fields_per_group = 3;
    });
    let columns = ["AGE", "A", "B", "C"];
    let mut fields = vec![json!({"name": "USER_ID", "type": "string"})];
    fields.extend(columns.map(|name| json!({"name": name, "type": ["null", "int"]})));
    let schema = json!({"type": "record", "name": "Users", "version": "1.0",
        "fields": fields});
    server.ok(
        "CreateSchema",
        json!({"name": "wide", "schema": schema.to_string()}),
    );
    server.ok("CreateDataset", dataset("wide", "USERS"));
    let about = |name: &str, columns: &[&str]| {
        let tests: Vec<_> = columns
            .iter()
            .map(|column| format!("Users.{column} > 1"))
            .collect();
        let text = format!("INCLUDE UserID WHERE {}", tests.join(" OR "));
        with(filter(name), json!({"filterExpression": text}))
    };
    let full = |input: Value| server.refused("LimitExceeded", "CreateFilter", input);
    assert_eq!(
        full(about("f", &["A", "B", "C"])),
        "More than 2 fields in the filter."
    );
    server.ok("CreateFilter", about("one", &["A", "b", "a"]));
    server.ok("CreateFilter", about("two", &["B", "C"]));
    assert_eq!(
        full(about("f", &["AGE"])),
        "More than 3 fields in the filters of the dataset group."
    );
    server.ok("CreateFilter", about("three", &["C"]));
    assert_eq!(
        full(about("f", &["C"])),
        "More than 3 filters in the dataset group."
    );
    server.edit::<Filter>(&format!("{ARN}filter/one"), |filter| {
        filter.group_arn = "other".into()
    });
    server.ok("CreateFilter", about("f", &["AGE"]));
}
