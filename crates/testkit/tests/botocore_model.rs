//! Our shapes against the service model that real clients carry.
//!
//! `botocore_facts.py` reads the model of an installed botocore (python from `KINDRED_PYTHON`, else
//! `python3`). Every operation we implement is compared member by member, and every other name of
//! the model must be one we know not to implement. All differences are printed. Without botocore,
//! or with one too old, the comparison fails in CI and is skipped with a line elsewhere.

use kindred_types::shapes;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// The oldest botocore whose model is ours. Older ones lack members that we have.
const OLDEST_VERSION: [u32; 3] = [1, 44, 5];
/// Exit status of the script when there is no botocore.
const NO_BOTOCORE: i32 = 3;

/// The model's operations, or why there is nothing to compare with.
fn model() -> Result<Map<String, Value>, String> {
    let python = std::env::var("KINDRED_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/botocore_facts.py");
    let output = match Command::new(&python).arg(script).output() {
        Ok(output) => output,
        Err(error) => return Err(format!("{python} cannot be started: {error}")),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NO_BOTOCORE) {
        return Err(format!("{python} has no botocore: {}", complaint.trim()));
    }
    assert!(output.status.success(), "{script}: {complaint}");
    let mut facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = facts["version"].as_str().unwrap().to_owned();
    if version_of(&version) < OLDEST_VERSION {
        return Err(format!("botocore {version} is too old"));
    }
    match facts["operations"].take() {
        Value::Object(operations) => Ok(operations),
        other => panic!("operations are {other}"),
    }
}

/// The numbers of `1.44.5`; a part that is no number counts as 0.
fn version_of(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

/// The model, or `None` where the comparison may be skipped.
fn model_unless_skipped() -> Option<Map<String, Value>> {
    match model() {
        Ok(operations) => Some(operations),
        Err(reason) if std::env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("CI compares with botocore, but {reason}")
        }
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn ours() -> Map<String, Value> {
    match shapes::describe() {
        Value::Object(operations) => operations,
        other => panic!("the description is {other}"),
    }
}

/// Every difference between our operations and the model's, one line each.
fn differences(
    ours: &Map<String, Value>,
    not_implemented: &[&str],
    model: &Map<String, Value>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, facts) in ours {
        match model.get(name) {
            Some(theirs) => compare(name, facts, theirs, &mut found),
            None => found.push(format!("{name}: implemented, but not in the model")),
        }
        if not_implemented.contains(&name.as_str()) {
            found.push(format!("{name}: both implemented and not implemented"));
        }
    }
    for name in not_implemented {
        if !model.contains_key(*name) {
            found.push(format!("{name}: not implemented, and not in the model"));
        }
    }
    for name in model.keys() {
        if !ours.contains_key(name) && !not_implemented.contains(&name.as_str()) {
            found.push(format!("{name}: in the model, unknown to us"));
        }
    }
    found
}

fn compare(place: &str, ours: &Value, model: &Value, found: &mut Vec<String>) {
    let (Value::Object(left), Value::Object(right)) = (ours, model) else {
        if ours != model {
            found.push(format!("{place}: ours {ours}, the model's {model}"));
        }
        return;
    };
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let place = format!("{place}.{key}");
        match (left.get(key), right.get(key)) {
            (Some(ours), Some(model)) => compare(&place, ours, model, found),
            (Some(_), None) => found.push(format!("{place}: ours only")),
            (None, _) => found.push(format!("{place}: the model's only")),
        }
    }
}

#[test]
fn every_shape_is_the_models() {
    let Some(model) = model_unless_skipped() else {
        return;
    };
    let found = differences(&ours(), shapes::NOT_IMPLEMENTED, &model);
    assert!(
        found.is_empty(),
        "{} differences from the installed model:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Our own facts as a model: no botocore needed to see that the comparison has eyes.
fn agreeing_model() -> Map<String, Value> {
    let mut model = ours();
    for name in shapes::NOT_IMPLEMENTED {
        model.insert((*name).to_owned(), json!({}));
    }
    model
}

#[test]
fn a_planted_difference_is_found_wherever_it_is() {
    let found = |plant: &dyn Fn(&mut Value)| {
        let mut model = Value::Object(agreeing_model());
        plant(&mut model);
        let Value::Object(model) = model else {
            panic!("the plant uprooted the model")
        };
        differences(&ours(), shapes::NOT_IMPLEMENTED, &model)
    };
    assert_eq!(found(&|_| ()), Vec::<String>::new());

    let request = "/CreateSchema/input/members";
    let config = "/CreateSolution/input/members/solutionConfig/shape/members";
    let set = |pointer: String, value: Value| {
        found(&move |model: &mut Value| *model.pointer_mut(&pointer).unwrap() = value.clone())
    };
    assert_eq!(
        set(format!("{request}/name/shape/max"), json!(64)),
        ["CreateSchema.input.members.name.shape.max: ours 63, the model's 64"]
    );
    assert_eq!(
        set(format!("{request}/domain/required"), json!(true)),
        ["CreateSchema.input.members.domain.required: ours false, the model's true"]
    );
    assert_eq!(
        set(
            format!("{config}/trainingDataConfig/shape/members/excludedDatasetColumns/shape/value/element/pattern"),
            json!("x")
        )
        .len(),
        1
    );
    assert_eq!(
        set(
            format!(
                "{config}/optimizationObjective/shape/members/objectiveSensitivity/shape/one_of/3"
            ),
            json!("NONE")
        )
        .len(),
        1
    );
    assert_eq!(
        set(
            "/TagResource/input/members/tags/shape/element/members/tagKey/shape/sensitive".into(),
            json!(false)
        )
        .len(),
        1
    );
    assert_eq!(
        set("/DeleteSchema/output".into(), json!({"name": "X"})),
        [r#"DeleteSchema.output: ours null, the model's {"name":"X"}"#]
    );
    assert_eq!(set("/ListSchemas/errors".into(), json!([])).len(), 1);

    let members = |model: &mut Value, change: &dyn Fn(&mut Map<String, Value>)| {
        change(model.pointer_mut(request).unwrap().as_object_mut().unwrap());
    };
    assert_eq!(
        found(&|model| members(model, &|all| drop(all.remove("schema")))),
        ["CreateSchema.input.members.schema: ours only"]
    );
    assert_eq!(
        found(&|model| members(model, &|all| drop(all.insert("new".into(), json!({}))))),
        ["CreateSchema.input.members.new: the model's only"]
    );
    let operations = |model: &mut Value, change: &dyn Fn(&mut Map<String, Value>)| {
        change(model.as_object_mut().unwrap());
    };
    assert_eq!(
        found(&|model| operations(model, &|all| drop(all.remove("TagResource")))),
        ["TagResource: implemented, but not in the model"]
    );
    assert_eq!(
        found(&|model| operations(model, &|all| drop(all.remove("CreateCampaign")))),
        ["CreateCampaign: not implemented, and not in the model"]
    );
    assert_eq!(
        found(&|model| operations(model, &|all| drop(all.insert("New".into(), json!({}))))),
        ["New: in the model, unknown to us"]
    );
}

#[test]
fn versions_compare_as_numbers() {
    assert!(version_of("1.44.10") > version_of("1.44.5"));
    assert!(version_of("1.9.99") < OLDEST_VERSION);
    assert_eq!(version_of("2.0.0rc1"), [2, 0, 0]);
}
