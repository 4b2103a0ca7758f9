//! Lists: order, pages, filters, tokens.

use crate::support::*;
use kindred_catalog::records::{Dataset, status};
use serde_json::{Value, json};

/// Five of everything that is listed, each a millisecond after the other.
fn crowd() -> Server {
    let server = Server::new();
    let schema = |name: &str| json!({"name": name, "schema": events_schema()});
    server.ok("CreateSchema", schema("interactions"));
    server.ok("CreateDatasetGroup", json!({"name": "g"}));
    server.ok("CreateDataset", dataset("interactions", "INTERACTIONS"));
    server.ok("CreateSolution", solution("s"));
    server.ok(
        "CreateSolutionVersion",
        with(version("s"), json!({"name": "v1"})),
    );
    server.status_of_version(&format!("{ARN}solution/s/v1"), status::ACTIVE);
    for n in 1..5 {
        server.later(1);
        let group = format!("{ARN}dataset-group/g{n}");
        server.ok("CreateSchema", schema(&format!("s{n}")));
        server.ok("CreateDatasetGroup", json!({"name": format!("g{n}")}));
        server.ok(
            "CreateDataset",
            with(
                dataset("interactions", "INTERACTIONS"),
                json!({"datasetGroupArn": group}),
            ),
        );
        server.ok("CreateSolution", solution(&format!("s{n}")));
        server.ok("CreateSolutionVersion", version("s"));
    }
    for n in 0..5 {
        server.later(1);
        let bought =
            json!({"filterExpression": "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ($E)"});
        server.ok("CreateFilter", with(filter(&format!("f{n}")), bought));
        server.ok("CreateDatasetImportJob", import(&format!("i{n}")));
        server.ok("CreateBatchSegmentJob", segment(&format!("j{n}")));
    }
    server
}

/// A list's filter argument: its name, and a value that every entry passes.
type Filter = Option<(&'static str, String)>;

/// Operation, list member, filter argument.
fn lists() -> Vec<(&'static str, &'static str, Filter)> {
    let group = format!("{ARN}dataset-group/g");
    vec![
        ("ListSchemas", "schemas", None),
        ("ListDatasetGroups", "datasetGroups", None),
        ("ListDatasets", "datasets", None),
        (
            "ListDatasetImportJobs",
            "datasetImportJobs",
            Some(("datasetArn", format!("{ARN}dataset/g/INTERACTIONS"))),
        ),
        (
            "ListSolutions",
            "solutions",
            Some(("datasetGroupArn", group)),
        ),
        (
            "ListSolutionVersions",
            "solutionVersions",
            Some(("solutionArn", format!("{ARN}solution/s"))),
        ),
        (
            "ListBatchSegmentJobs",
            "batchSegmentJobs",
            Some(("solutionVersionArn", format!("{ARN}solution/s/v1"))),
        ),
        (
            "ListFilters",
            "Filters",
            Some(("datasetGroupArn", format!("{ARN}dataset-group/g"))),
        ),
    ]
}

fn pages(server: &Server, operation: &str, member: &str, arguments: Value) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut input = arguments;
    loop {
        let output = server.ok(operation, input.clone());
        let others: Vec<&String> = output
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != member)
            .collect();
        assert!(
            others.is_empty() || others == ["nextToken"],
            "{operation}: {others:?}"
        );
        pages.push(output[member].as_array().unwrap().clone());
        match output.get("nextToken") {
            None => return pages,
            Some(token) => input["nextToken"] = token.clone(),
        }
    }
}

fn created(entry: &Value) -> f64 {
    entry["creationDateTime"].as_f64().unwrap()
}

#[test]
fn five_by_two_are_two_two_one_newest_first() {
    let server = crowd();
    for (operation, member, filter) in lists() {
        for filter in [None, filter] {
            let mut arguments = json!({"maxResults": 2});
            if let Some((name, arn)) = &filter {
                arguments[*name] = json!(arn);
            }
            let pages = pages(&server, operation, member, arguments);
            let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
            assert_eq!(sizes, [2, 2, 1], "{operation} {filter:?}");
            let all = pages.concat();
            assert!(
                all.is_sorted_by(|a, b| created(a) > created(b)),
                "{operation}: {all:?}"
            );
        }
    }
}

#[test]
fn a_page_that_is_exactly_full_is_the_last() {
    let server = crowd();
    for (operation, member, _) in lists() {
        let output = server.ok(operation, json!({"maxResults": 5}));
        assert_eq!(output[member].as_array().unwrap().len(), 5, "{operation}");
        assert_eq!(output.get("nextToken"), None, "{operation}");
        assert_eq!(server.ok(operation, json!({}))[member], output[member]);
    }
}

#[test]
fn equal_times_are_ordered_by_arn() {
    let server = Server::new();
    for name in ["b", "d", "a", "e", "c"] {
        server.ok("CreateDatasetGroup", json!({"name": name}));
    }
    let pages = pages(
        &server,
        "ListDatasetGroups",
        "datasetGroups",
        json!({"maxResults": 2}),
    );
    let names: Vec<&str> = pages
        .iter()
        .flatten()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[test]
fn pages_stay_right_while_resources_come_and_go() {
    let server = Server::new();
    for name in ["a", "b", "c", "d", "e"] {
        server.later(1);
        server.ok("CreateDatasetGroup", json!({"name": name}));
    }
    let first = server.ok("ListDatasetGroups", json!({"maxResults": 2}));
    // The entry the token stands on goes, one behind it too, and a new one comes.
    for name in ["d", "b"] {
        server.ok(
            "DeleteDatasetGroup",
            json!({"datasetGroupArn": format!("{ARN}dataset-group/{name}")}),
        );
    }
    server.later(1);
    server.ok("CreateDatasetGroup", json!({"name": "new"}));
    let rest = server.ok(
        "ListDatasetGroups",
        json!({"nextToken": first["nextToken"]}),
    );
    let names: Vec<&str> = rest["datasetGroups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["c", "a"]);
}

#[test]
fn a_token_is_good_for_its_own_list_only() {
    let server = crowd();
    let mut tokens = Vec::new();
    for (operation, _, filter) in lists() {
        for filter in [None, filter.clone()] {
            let mut arguments = json!({});
            if let Some((name, arn)) = &filter {
                arguments[*name] = json!(arn);
            }
            let first = server.ok(operation, with(arguments.clone(), json!({"maxResults": 1})));
            tokens.push((operation, arguments, first["nextToken"].clone()));
            if filter.is_none()
                && lists()
                    .iter()
                    .any(|(other, _, f)| *other == operation && f.is_none())
            {
                break;
            }
        }
    }
    assert_eq!(tokens.len(), 13);
    for (operation, arguments, _) in &tokens {
        for (other, other_arguments, token) in &tokens {
            let input = with(arguments.clone(), json!({"nextToken": token}));
            let own = operation == other && arguments == other_arguments;
            match server.call(operation, input) {
                Ok(_) => assert!(
                    own,
                    "{operation} took the token of {other} {other_arguments}"
                ),
                Err((name, message)) => {
                    assert!(!own, "{operation} refused its own token: {message}");
                    assert_eq!(name, "InvalidNextTokenException");
                }
            }
        }
        for forged in ["", "x", "%%%", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let input = with(arguments.clone(), json!({"nextToken": forged}));
            server.refused("InvalidNextToken", operation, input);
        }
    }
}

#[test]
fn lists_show_only_what_is_under_the_parent() {
    let server = crowd();
    server.ok("CreateDatasetGroup", json!({"name": "empty"}));
    server.ok("CreateSolution", solution("alone"));
    let empty = json!({"datasetGroupArn": format!("{ARN}dataset-group/empty")});
    assert_eq!(
        server.ok("ListDatasets", empty.clone()),
        json!({"datasets": []})
    );
    assert_eq!(server.ok("ListSolutions", empty), json!({"solutions": []}));
    let alone = json!({"solutionArn": format!("{ARN}solution/alone")});
    assert_eq!(
        server.ok("ListSolutionVersions", alone),
        json!({"solutionVersions": []})
    );
    let one = server.ok(
        "ListDatasets",
        json!({"datasetGroupArn": format!("{ARN}dataset-group/g3")}),
    );
    let arn = format!("{ARN}dataset/g3/INTERACTIONS");
    let at = created(&one["datasets"][0]);
    let summary = json!({"name": "interactions", "datasetArn": arn, "datasetType": "INTERACTIONS",
        "status": "ACTIVE", "creationDateTime": at, "lastUpdatedDateTime": at});
    assert_eq!(one, json!({"datasets": [summary]}));
    server.edit::<Dataset>(&arn, |dataset| dataset.status = "DELETE PENDING".into());
    let one = server.ok(
        "ListDatasets",
        json!({"datasetGroupArn": format!("{ARN}dataset-group/g3")}),
    );
    assert_eq!(one["datasets"][0]["status"], json!("DELETE PENDING"));
}

#[test]
fn recipes_are_listed_by_name() {
    let server = Server::new();
    let pages = pages(
        &server,
        "ListRecipes",
        "recipes",
        json!({"maxResults": 1, "recipeProvider": "SERVICE"}),
    );
    let names: Vec<&str> = pages
        .iter()
        .flatten()
        .map(|recipe| recipe["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["aws-item-affinity", "aws-item-attribute-affinity"]);
    for domain in ["ECOMMERCE", "VIDEO_ON_DEMAND"] {
        assert_eq!(
            server.ok("ListRecipes", json!({"domain": domain})),
            json!({"recipes": []})
        );
    }
    let first = server.ok("ListRecipes", json!({"maxResults": 1}));
    let other = json!({"recipeProvider": "SERVICE", "nextToken": first["nextToken"]});
    server.refused("InvalidNextToken", "ListRecipes", other);
}
