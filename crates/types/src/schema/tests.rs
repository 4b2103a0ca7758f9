use super::*;

const INTERACTION_FIELDS: &str = r#"{"name":"USER_ID","type":"string"},
    {"name":"ITEM_ID","type":["string"]},{"name":"TIMESTAMP","type":"long"}"#;

fn record(name: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"record","name":"{name}","namespace":"com.amazonaws.personalize.schema","fields":[{fields}],"version":"1.0"}}"#
    )
}

fn interactions(more: &str) -> Result<DatasetSchema, SchemaError> {
    parse(
        &record("Interactions", &format!("{INTERACTION_FIELDS}{more}")),
        None,
    )
}

fn refused(result: Result<DatasetSchema, SchemaError>, expected: &str) {
    let message = result.expect_err(expected).to_string();
    assert!(
        message.contains(expected),
        "{message:?} does not say {expected:?}"
    );
}

#[test]
fn every_type_form_is_read() {
    let schema = interactions(
        r#",{"name":"EVENT_VALUE","type":["float","null"]},
            {"name":"EVENT_TYPE","type":"string"},
            {"name":"PLACE","type":["null","string"],"categorical":true,"doc":"where","default":null},
            {"name":"N","type":"int"},{"name":"D","type":"double"},{"name":"B","type":"boolean"}"#,
    )
    .unwrap();
    assert_eq!(schema.kind, DatasetType::Interactions);
    assert_eq!(schema.fields.len(), 9);
    let place = schema.field("PLACE").unwrap();
    assert!(place.nullable && place.categorical && !place.textual);
    assert!(schema.field("EVENT_VALUE").unwrap().nullable);
    assert!(!schema.field("ITEM_ID").unwrap().nullable);
    assert_eq!(schema.field("B").unwrap().kind, FieldType::Boolean);
    assert_eq!(schema.metadata().count(), 4);
    assert_eq!(schema.required(), ["USER_ID", "ITEM_ID", "TIMESTAMP"]);
}

#[test]
fn version_namespace_and_case_of_the_name_are_free() {
    for text in [
        r#"{"type":"record","name":"USERS","fields":[{"name":"USER_ID","type":"string"},{"name":"A","type":"int"}],"version":1}"#,
        r#"{"type":"record","name":"users","namespace":"x","fields":[{"name":"USER_ID","type":"string"},{"name":"A","type":"int"}]}"#,
    ] {
        assert_eq!(parse(text, None).unwrap().kind, DatasetType::Users);
    }
}

#[test]
fn records_of_the_wrong_shape_are_refused() {
    for (text, expected) in [
        ("", "not valid JSON"),
        ("[]", "must be a JSON object"),
        (r#"{"type":"enum"}"#, "type must be \"record\""),
        (r#"{"type":"record","fields":[]}"#, "must have a name"),
        (
            r#"{"type":"record","name":"Actions","fields":[]}"#,
            "not \"Actions\"",
        ),
        (
            r#"{"type":"record","name":"Items","fields":[]}"#,
            "non-empty list",
        ),
        (
            r#"{"type":"record","name":"Items","fields":{}}"#,
            "non-empty list",
        ),
        (
            r#"{"type":"record","name":"Items","namespace":1,"fields":[1]}"#,
            "namespace",
        ),
        (
            r#"{"type":"record","name":"Items","version":[],"fields":[1]}"#,
            "version",
        ),
        (
            r#"{"type":"record","name":"Items","fields":[1]}"#,
            "field number 1 is not an object",
        ),
        (
            r#"{"type":"record","name":"Items","fields":[{"type":"int"}]}"#,
            "field number 1 has no name",
        ),
        (
            r#"{"type":"record","name":"Items","fields":[{"name":"A"}]}"#,
            "field A has no type",
        ),
        (
            r#"{"type":"record","name":"Items","fields":[{"name":"A","type":"int"},]}"#,
            "not valid JSON",
        ),
    ] {
        refused(parse(text, None), expected);
    }
    refused(
        parse(&" ".repeat(SCHEMA_CHARACTERS_MAX + 1), None),
        "at most 20000",
    );
}

#[test]
fn fields_of_the_wrong_shape_are_refused() {
    for (field, expected) in [
        (
            r#"{"name":"A","type":{"type":"string"}}"#,
            "field A must have type",
        ),
        (
            r#"{"name":"A","type":["string","int"]}"#,
            "field A must have type",
        ),
        (
            r#"{"name":"A","type":["null","string","int"]}"#,
            "field A must have type",
        ),
        (
            r#"{"name":"A","type":["null","null"]}"#,
            "field A must have type",
        ),
        (r#"{"name":"A","type":"bytes"}"#, "field A must have type"),
        (r#"{"name":"A","type":[]}"#, "field A must have type"),
        (r#"{"name":"1A","type":"int"}"#, "field name \"1A\""),
        (r#"{"name":"","type":"int"}"#, "field name \"\""),
        (r#"{"name":"Ä","type":"int"}"#, "must match"),
        (r#"{"name":"userid","type":"int"}"#, "USER_ID and userid"),
        (
            r#"{"name":"A","type":"int","categorical":true}"#,
            "field A is int",
        ),
        (
            r#"{"name":"A","type":"string","categorical":"yes"}"#,
            "true or false",
        ),
        (
            r#"{"name":"A","type":"string","categorical":true,"textual":true}"#,
            "both",
        ),
        (
            r#"{"name":"A","type":"string","textual":true}"#,
            "only Items",
        ),
        (
            r#"{"name":"EVENT_TYPE","type":"string","categorical":true}"#,
            "EVENT_TYPE cannot be categorical",
        ),
        (
            r#"{"name":"EVENT_VALUE","type":"string"}"#,
            "EVENT_VALUE must be of type float",
        ),
        (
            r#"{"name":"IMPRESSION","type":"int"}"#,
            "IMPRESSION must be of type string",
        ),
    ] {
        refused(interactions(&format!(",{field}")), expected);
    }
    let long = "A".repeat(FIELD_NAME_CHARACTERS_MAX + 1);
    refused(
        interactions(&format!(r#",{{"name":"{long}","type":"int"}}"#)),
        "at most 150",
    );
    assert!(interactions(&format!(r#",{{"name":"{}","type":"int"}}"#, &long[1..])).is_ok());
}

#[test]
fn required_fields_are_required_and_never_null() {
    for (name, fields, expected) in [
        (
            "Interactions",
            r#"{"name":"USER_ID","type":"string"}"#,
            "ITEM_ID is required",
        ),
        (
            "Interactions",
            r#"{"name":"USER_ID","type":["null","string"]}"#,
            "USER_ID cannot be null",
        ),
        (
            "Interactions",
            r#"{"name":"USER_ID","type":"int"}"#,
            "USER_ID must be of type string",
        ),
        (
            "Items",
            r#"{"name":"ITEM_ID","type":"string"}"#,
            "at least one metadata field",
        ),
        (
            "Items",
            r#"{"name":"ITEM_ID","type":"string"},{"name":"CREATION_TIMESTAMP","type":"long"}"#,
            "metadata",
        ),
        (
            "Items",
            r#"{"name":"ITEM_ID","type":"string"},{"name":"CREATION_TIMESTAMP","type":"int"}"#,
            "type long",
        ),
        (
            "Users",
            r#"{"name":"user_id","type":"string"},{"name":"A","type":"int"}"#,
            "USER_ID is required",
        ),
    ] {
        refused(parse(&record(name, fields), None), expected);
    }
}

#[test]
fn domains_ask_for_more() {
    let shop = |fields: &str| {
        let fields = format!(r#"{{"name":"ITEM_ID","type":"string"}},{fields}"#);
        parse(&record("Items", &fields), Some(Domain::Ecommerce))
    };
    let price = r#"{"name":"PRICE","type":"float"}"#;
    let category = r#"{"name":"CATEGORY_L1","type":["string"],"categorical":true}"#;
    assert!(shop(&format!("{price},{category}")).is_ok());
    refused(
        shop(category),
        "PRICE is required in ECOMMERCE Items schemas",
    );
    refused(
        shop(&format!(
            r#"{price},{{"name":"CATEGORY_L1","type":"string"}}"#
        )),
        "CATEGORY_L1 must be categorical",
    );
    refused(
        shop(&format!(
            r#"{price},{category},{{"name":"PRODUCT_DESCRIPTION","type":"string"}}"#
        )),
        "PRODUCT_DESCRIPTION must be textual",
    );
    let video = record(
        "Items",
        r#"{"name":"ITEM_ID","type":"string"},{"name":"GENRES","type":["null","string"],"categorical":true}"#,
    );
    assert!(parse(&video, None).is_ok());
    refused(
        parse(&video, Some(Domain::VideoOnDemand)),
        "CREATION_TIMESTAMP is required",
    );
    refused(
        parse(
            &record("Interactions", INTERACTION_FIELDS),
            Some(Domain::Ecommerce),
        ),
        "EVENT_TYPE is required",
    );
}

#[test]
fn updates_only_add_nullable_fields() {
    let items = |fields: &str| {
        let fields = format!(r#"{{"name":"ITEM_ID","type":"string"}},{fields}"#);
        parse(&record("Items", &fields), None).unwrap()
    };
    let old = items(r#"{"name":"A","type":"int"}"#);
    assert!(old.can_update_to(&old).is_ok());
    assert!(
        old.can_update_to(&items(
            r#"{"name":"B","type":["null","int"]},{"name":"A","type":"int"}"#
        ))
        .is_ok()
    );
    for (fields, expected) in [
        (
            r#"{"name":"B","type":["null","int"]}"#,
            "field A is missing",
        ),
        (r#"{"name":"A","type":"long"}"#, "field A must keep"),
        (r#"{"name":"A","type":["null","int"]}"#, "field A must keep"),
        (
            r#"{"name":"A","type":"int"},{"name":"B","type":"int"}"#,
            "new field B must allow null",
        ),
    ] {
        refused(
            old.can_update_to(&items(fields)).map(|()| old.clone()),
            expected,
        );
    }
    let events = interactions("").unwrap();
    refused(
        events.can_update_to(&events).map(|()| events.clone()),
        "Interactions dataset cannot be replaced",
    );
    refused(
        old.can_update_to(&events).map(|()| old.clone()),
        "the new schema is for Interactions",
    );
}

#[test]
fn a_header_is_enough_for_a_schema() {
    let words = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let schema = infer(
        DatasetType::Interactions,
        &words("user_id,ITEM_ID,TIMESTAMP,EVENT_VALUE,PRICE,PLACE,bad name,EMPTY"),
        &[
            words("a,1,5,,3,x,1,"),
            words("b,2,6,1,4.5,7,2,"),
            words("b,2,6,1,,y,2,"),
        ],
    )
    .unwrap();
    let kinds: Vec<_> = schema
        .fields
        .iter()
        .map(|field| {
            (
                field.name.as_str(),
                field.kind,
                field.nullable,
                field.categorical,
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("USER_ID", FieldType::String, false, false),
            ("ITEM_ID", FieldType::String, false, false),
            ("TIMESTAMP", FieldType::Long, false, false),
            ("EVENT_VALUE", FieldType::Float, true, false),
            ("PRICE", FieldType::Double, true, false),
            ("PLACE", FieldType::String, true, true),
            ("EMPTY", FieldType::String, true, true),
        ]
    );
    refused(
        infer(DatasetType::Interactions, &words("USER_ID,TIMESTAMP"), &[]),
        "ITEM_ID is required",
    );
}
