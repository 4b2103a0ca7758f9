//! Tags: who can have them, how many, which.

use crate::support::*;
use kindred_catalog::records::SegmentJob;
use serde_json::{Value, json};

fn taggable() -> Server {
    let server = Server::world();
    server.ok("CreateDatasetImportJob", import("i"));
    server.ok("CreateBatchSegmentJob", segment("j"));
    server.ok("CreateDataset", dataset("users", "USERS"));
    server.ok("CreateFilter", filter("f"));
    server
}

fn listed(server: &Server, arn: &str) -> Value {
    server.ok("ListTagsForResource", json!({"resourceArn": arn}))["tags"].clone()
}

#[test]
fn every_taggable_kind_takes_shows_and_loses_tags() {
    let server = taggable();
    for resource in [
        "dataset-group/g",
        "dataset/g/INTERACTIONS",
        "dataset-import-job/i",
        "solution/s",
        "solution/s/v1",
        "batch-segment-job/j",
        "filter/f",
    ] {
        let arn = format!("{ARN}{resource}");
        assert_eq!(listed(&server, &arn), json!([]));
        let two = json!([{"tagKey": "b", "tagValue": "1"}, {"tagKey": "a", "tagValue": ""}]);
        assert_eq!(
            server.ok("TagResource", json!({"resourceArn": arn, "tags": two})),
            json!({})
        );
        let more = json!([{"tagKey": "b", "tagValue": "2"}]);
        server.ok("TagResource", json!({"resourceArn": arn, "tags": more}));
        let sorted = json!([{"tagKey": "a", "tagValue": ""}, {"tagKey": "b", "tagValue": "2"}]);
        assert_eq!(listed(&server, &arn), sorted);
        let gone = json!({"resourceArn": arn, "tagKeys": ["a", "not there"]});
        assert_eq!(server.ok("UntagResource", gone), json!({}));
        assert_eq!(
            listed(&server, &arn),
            json!([{"tagKey": "b", "tagValue": "2"}])
        );
    }
}

#[test]
fn tags_given_at_creation_are_kept_and_go_with_the_resource() {
    let server = Server::new();
    let group = json!({"name": "g", "tags": tags(50)});
    server.ok("CreateDatasetGroup", group);
    let arn = format!("{ARN}dataset-group/g");
    assert_eq!(listed(&server, &arn).as_array().unwrap().len(), 50);
    server.ok("DeleteDatasetGroup", json!({"datasetGroupArn": arn}));
    server.ok("CreateDatasetGroup", json!({"name": "g"}));
    assert_eq!(listed(&server, &arn), json!([]));
}

#[test]
fn more_than_fifty_are_refused_and_nothing_changes() {
    let server = taggable();
    let arn = format!("{ARN}solution/s");
    server.ok("TagResource", json!({"resourceArn": arn, "tags": tags(50)}));
    let one_more = json!({"resourceArn": arn, "tags": [{"tagKey": "other", "tagValue": ""}, {"tagKey": "key0", "tagValue": "new"}]});
    server.refused("TooManyTags", "TagResource", one_more);
    let after = listed(&server, &arn);
    assert_eq!(after.as_array().unwrap().len(), 50);
    assert_eq!(after[0], json!({"tagKey": "key0", "tagValue": "v"}));
    // A new value for a key that is there is no tag more.
    server.ok(
        "TagResource",
        json!({"resourceArn": arn, "tags": [{"tagKey": "key0", "tagValue": "new"}]}),
    );
    let keys: Vec<String> = (0..51).map(|n| format!("key{n}")).collect();
    server.refused(
        "TooManyTagKeys",
        "UntagResource",
        json!({"resourceArn": arn, "tagKeys": keys}),
    );
    assert_eq!(listed(&server, &arn).as_array().unwrap().len(), 50);
    server.ok(
        "UntagResource",
        json!({"resourceArn": arn, "tagKeys": keys[..50]}),
    );
    assert_eq!(listed(&server, &arn), json!([]));
}

#[test]
fn reserved_and_repeated_keys_are_refused_without_showing_them() {
    let server = taggable();
    let arn = format!("{ARN}solution/s");
    for (tags, words) in [
        (json!([{"tagKey": "aws:secret", "tagValue": ""}]), "aws:"),
        (json!([{"tagKey": "AWS:secret", "tagValue": ""}]), "aws:"),
        (json!([{"tagKey": "k", "tagValue": "aws:secret"}]), "aws:"),
        (
            json!([{"tagKey": "kindred:no-such-option", "tagValue": "true"}]),
            "kindred:",
        ),
        (
            json!([{"tagKey": "secret", "tagValue": "1"}, {"tagKey": "secret", "tagValue": "1"}]),
            "more than once",
        ),
    ] {
        let message = server.refused(
            "InvalidInput",
            "TagResource",
            json!({"resourceArn": arn, "tags": tags}),
        );
        assert!(
            message.contains(words) && !message.contains("secret"),
            "{message}"
        );
        let create = with(segment("again"), json!({"tags": tags}));
        server.refused("InvalidInput", "CreateBatchSegmentJob", create);
    }
    // Keys differ by case.
    let both = json!([{"tagKey": "k", "tagValue": ""}, {"tagKey": "K", "tagValue": ""}]);
    server.ok("TagResource", json!({"resourceArn": arn, "tags": both}));
}

#[test]
fn a_new_segment_job_may_ask_for_scores_by_tag() {
    let scores = |server: &Server, name: &str| {
        let job: SegmentJob = server
            .ctx
            .catalog
            .read(|tx| tx.need(&format!("{ARN}batch-segment-job/{name}")))
            .unwrap();
        job.scores
    };
    for configured in [false, true] {
        let server = Server::world_with(|settings| settings.segment.scores = configured);
        server.ok("CreateBatchSegmentJob", segment("plain"));
        assert_eq!(scores(&server, "plain"), configured);
        for asked in [false, true] {
            let tags = json!([{"tagKey": "kindred:scores", "tagValue": asked.to_string()}]);
            let name = format!("asked-{asked}");
            let request = with(segment(&name), json!({"tags": tags}));
            server.ok("CreateBatchSegmentJob", request);
            assert_eq!(scores(&server, &name), asked);
            let arn = format!("{ARN}batch-segment-job/{name}");
            assert_eq!(listed(&server, &arn), tags);
        }
        for wrong in ["", "True", "yes", "1"] {
            let tags = json!([{"tagKey": "kindred:scores", "tagValue": wrong}]);
            let request = with(segment("wrong"), json!({"tags": tags}));
            assert_eq!(
                server.refused("InvalidInput", "CreateBatchSegmentJob", request),
                "The value of tag kindred:scores must be true or false."
            );
        }
        // Nowhere else, since it would have no effect there.
        let tags = json!([{"tagKey": "kindred:scores", "tagValue": "true"}]);
        let arn = format!("{ARN}batch-segment-job/plain");
        let late = json!({"resourceArn": arn, "tags": tags});
        let message = server.refused("InvalidInput", "TagResource", late);
        assert!(message.ends_with(
            "Those are kindred:scores and kindred:exclude-interacted, for CreateBatchSegmentJob."
        ));
        let group = json!({"name": "other", "tags": tags});
        server.refused("InvalidInput", "CreateDatasetGroup", group);
        let other_case = json!([{"tagKey": "Kindred:scores", "tagValue": "true"}]);
        let request = with(segment("wrong"), json!({"tags": other_case}));
        server.refused("InvalidInput", "CreateBatchSegmentJob", request);
    }
}

#[test]
fn a_tag_of_a_segment_job_says_whose_interactions_leave_them_out() {
    let server = Server::world();
    let tagged = |name: &str, rule: &str| {
        let tags = json!([{"tagKey": "kindred:exclude-interacted", "tagValue": rule}]);
        with(segment(name), json!({"tags": tags}))
    };
    for (number, (rule, stored)) in [
        ("true", Some("true")),
        ("purchase 30d", Some("purchase,30d")),
        ("TRUE 7d", Some("true,7d")),
        ("false", None),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("asked-{number}");
        server.ok("CreateBatchSegmentJob", tagged(&name, rule));
        let arn = format!("{ARN}batch-segment-job/{name}");
        let job: SegmentJob = server.ctx.catalog.read(|tx| tx.need(&arn)).unwrap();
        let found = job.exclude_interacted.map(|rule| rule.to_string());
        assert_eq!(found.as_deref(), stored);
    }
    for wrong in ["", "true 30", "click 0d"] {
        assert_eq!(
            server.refused(
                "InvalidInput",
                "CreateBatchSegmentJob",
                tagged("wrong", wrong)
            ),
            "The value of tag kindred:exclude-interacted is not valid: expected true or an event type, optionally followed by a blank and days from 1 to 36500, such as true 30d or purchase 90d."
        );
    }
}

#[test]
fn schemas_and_recipes_cannot_be_tagged() {
    let server = taggable();
    let schema = format!("{ARN}schema/items");
    for arn in [schema.as_str(), RECIPE] {
        for (operation, more) in [
            ("TagResource", json!({"tags": []})),
            ("UntagResource", json!({"tagKeys": []})),
            ("ListTagsForResource", json!({})),
        ] {
            let message = server.refused(
                "InvalidInput",
                operation,
                with(json!({"resourceArn": arn}), more),
            );
            assert_eq!(message, format!("Resource {arn} cannot be tagged."));
        }
    }
    let with_tags = json!({"name": "x", "schema": interactions_schema(), "tags": tags(51)});
    server.ok("CreateSchema", with_tags);
}
