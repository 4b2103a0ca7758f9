//! Request bodies against their shapes: what is refused, how, and in which words.

use kindred_types::check::{Refusal, decode};
use kindred_types::shapes::*;
use serde_json::{Value, json};

const ARN: &str = "arn:aws:personalize:us-east-1:000000000000:dataset-group/g";

#[track_caller]
fn refused<T: Described>(body: &Value) -> String {
    match decode(T::SHAPE, body.to_string().as_bytes()) {
        Err(Refusal::Constraints(message)) => message,
        other => panic!("{body}: {other:?}"),
    }
}

#[track_caller]
fn unreadable<T: Described>(body: &str) -> String {
    match decode(T::SHAPE, body.as_bytes()) {
        Err(Refusal::Serialization(message)) => message,
        other => panic!("{body:.100}: {other:?}"),
    }
}

#[track_caller]
fn one<T: Described>(body: &Value, violation: &str) {
    assert_eq!(
        refused::<T>(body),
        format!("1 validation error detected: {violation}")
    );
}

fn solution(config: Value) -> Value {
    json!({"name": "s", "datasetGroupArn": ARN, "solutionConfig": config})
}

#[test]
fn what_passes_becomes_the_struct() {
    let body = solution(json!({
        "eventsConfig": {"eventParametersList": [{"eventType": "buy", "eventValueThreshold": 2, "weight": 0.5}]},
        "trainingDataConfig": {"excludedDatasetColumns": {"Items": ["PRICE"]}},
    }));
    let value = decode(CreateSolutionRequest::SHAPE, body.to_string().as_bytes()).unwrap();
    let request: CreateSolutionRequest = serde_json::from_value(value).unwrap();
    let config = request.solution_config.unwrap();
    let events = config.events_config.unwrap().event_parameters_list.unwrap();
    assert_eq!(events[0].event_value_threshold, Some(2.0));
    let columns = config.training_data_config.unwrap();
    assert_eq!(
        columns.excluded_dataset_columns.unwrap()["Items"],
        ["PRICE"]
    );
}

#[test]
fn bytes_that_are_no_object_and_members_of_the_wrong_type_are_unreadable() {
    for body in [
        "{",
        "nonsense",
        "{}x",
        "[]",
        "\"\"",
        "1",
        "null",
        "\u{feff}{}",
        "{\"name\":\"\\ud800\"}",
    ] {
        unreadable::<CreateSchemaRequest>(body);
    }
    // An unknown member is ignored, but not read into the ground.
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    unreadable::<CreateSchemaRequest>(&deep);
    for number in [
        "\"25\"",
        "25.0",
        "1e3",
        "2147483648",
        "-2147483649",
        "99999999999999999999",
        "true",
        "[1]",
        "{}",
    ] {
        unreadable::<ListSchemasRequest>(&format!("{{\"maxResults\":{number}}}"));
    }
    for flag in ["\"true\"", "1", "0"] {
        unreadable::<CreateSolutionRequest>(&format!("{{\"performHPO\":{flag}}}"));
    }
    for tags in ["{}", "[1]", "\"\""] {
        unreadable::<CreateDatasetGroupRequest>(&format!("{{\"tags\":{tags}}}"));
    }
    // Types come before constraints, wherever they are.
    unreadable::<CreateSchemaRequest>(r#"{"name":"-","schema":1}"#);
}

#[test]
fn nested_violations_say_where_they_are() {
    one::<CreateSolutionRequest>(
        &solution(json!({"eventsConfig": {"eventParametersList": [{}, {"weight": 1.5}]}})),
        "Value '1.5' at 'solutionConfig.eventsConfig.eventParametersList.2.member.weight' failed to satisfy constraint: Member must have value less than or equal to 1",
    );
    one::<CreateSolutionRequest>(
        &solution(json!({"trainingDataConfig": {"excludedDatasetColumns": {"Items": ["1A"]}}})),
        r"Value '1A' at 'solutionConfig.trainingDataConfig.excludedDatasetColumns.Items.1.member' failed to satisfy constraint: Member must satisfy regular expression pattern: [A-Za-z_][A-Za-z\d_]*",
    );
    one::<CreateDatasetGroupRequest>(
        &json!({"name": "g", "tags": [{"tagKey": "k"}]}),
        "Value null at 'tags.1.member.tagValue' failed to satisfy constraint: Member must not be null",
    );
}

#[test]
fn violations_come_in_the_order_of_the_model() {
    assert_eq!(
        refused::<CreateSchemaRequest>(&json!({"domain": "x", "name": ""})),
        "4 validation errors detected: \
         Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1; \
         Value '' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9][a-zA-Z0-9\\-_]*; \
         Value null at 'schema' failed to satisfy constraint: Member must not be null; \
         Value 'x' at 'domain' failed to satisfy constraint: Member must satisfy enum value set: [ECOMMERCE, VIDEO_ON_DEMAND]"
    );
}

#[test]
fn a_message_stays_short_however_much_is_wrong() {
    let tags = vec![json!({}); 10_000];
    let message = refused::<CreateDatasetGroupRequest>(&json!({"name": "g", "tags": tags}));
    assert!(message.starts_with("20001 validation errors detected: "));
    let long = refused::<CreateDatasetGroupRequest>(&json!({"name": "x".repeat(100_000)}));
    assert!(message.len() < 10_000 && long.len() < 10_000);
}

#[test]
fn lengths_count_characters_and_patterns_match_the_whole_value() {
    let accepted = |shape: &'static Shape, body: Value| {
        decode(shape, body.to_string().as_bytes()).unwrap();
    };
    let tag = |key: &str| json!({"resourceArn": ARN, "tags": [{"tagKey": key, "tagValue": ""}]});
    accepted(TagResourceRequest::SHAPE, tag(&"ä".repeat(128)));
    refused::<TagResourceRequest>(&tag(&"ä".repeat(129)));
    for name in ["a\n", "a b", "_a", "ä", "a/../b"] {
        refused::<CreateDatasetGroupRequest>(&json!({"name": name}));
    }
    refused::<ListSchemasRequest>(&json!({"nextToken": "é"}));
    // The digits of an account are ASCII digits.
    let role =
        |account: &str| json!({"name": "g", "roleArn": format!("arn:aws:iam::{account}:role/r")});
    accepted(CreateDatasetGroupRequest::SHAPE, role("123456789012"));
    refused::<CreateDatasetGroupRequest>(&role("١٢٣٤٥٦٧٨٩٠١٢"));
}

#[test]
fn sensitive_values_are_never_repeated() {
    let secret = "secret!";
    let tags = json!({"resourceArn": ARN, "tags": vec![json!({"tagKey": secret, "tagValue": secret}); 201]});
    let keys = json!({"resourceArn": ARN, "tagKeys": [secret]});
    for message in [
        refused::<TagResourceRequest>(&tags),
        refused::<UntagResourceRequest>(&keys),
    ] {
        assert!(
            message.contains("'****'") && !message.contains("secret"),
            "{message}"
        );
    }
}
