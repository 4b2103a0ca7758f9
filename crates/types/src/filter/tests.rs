//! The examples of the language's description, its refusals word for word, and properties.

mod examples;
mod properties;
mod refused;
mod values;

use super::*;
use crate::schema::{DatasetSchema, parse};

/// The schemas of the examples; Users also has a boolean, Items a text.
pub(super) struct Schemas {
    pub(super) users: DatasetSchema,
    pub(super) interactions: DatasetSchema,
    pub(super) items: DatasetSchema,
}

impl Schemas {
    pub(super) fn new() -> Self {
        Schemas {
            users: schema(
                "Users",
                r#"{"name": "USER_ID", "type": "string"},
                   {"name": "AGE", "type": ["null", "int"]},
                   {"name": "POINTS", "type": ["null", "long"]},
                   {"name": "COUNTRY", "type": ["null", "string"], "categorical": true},
                   {"name": "TIER", "type": ["null", "string"], "categorical": true},
                   {"name": "NOTE", "type": ["null", "string"]},
                   {"name": "SPEND", "type": ["null", "float"]},
                   {"name": "SCORE", "type": ["null", "double"]},
                   {"name": "MEMBER", "type": ["null", "boolean"]}"#,
            ),
            interactions: schema(
                "Interactions",
                r#"{"name": "USER_ID", "type": "string"}, {"name": "ITEM_ID", "type": "string"},
                   {"name": "TIMESTAMP", "type": "long"}, {"name": "EVENT_TYPE", "type": "string"},
                   {"name": "EVENT_VALUE", "type": ["null", "float"]}"#,
            ),
            items: schema(
                "Items",
                r#"{"name": "ITEM_ID", "type": "string"},
                   {"name": "GENRE", "type": ["null", "string"], "categorical": true},
                   {"name": "PRICE", "type": ["null", "float"]},
                   {"name": "STORY", "type": ["null", "string"], "textual": true}"#,
            ),
        }
    }

    pub(super) fn all(&self) -> FilterSchemas<'_> {
        FilterSchemas {
            users: Some(&self.users),
            interactions: Some(&self.interactions),
            items: Some(&self.items),
        }
    }

    pub(super) fn parse(&self, text: &str) -> Result<Filter, FilterError> {
        Filter::parse(text, &self.all())
    }
}

fn schema(name: &str, fields: &str) -> DatasetSchema {
    let text = format!(r#"{{"type": "record", "name": "{name}", "fields": [{fields}]}}"#);
    parse(&text, None).unwrap()
}

#[test]
fn a_filter_tells_its_parameters_and_fields() {
    let filter = Schemas::new()
        .parse(
            "EXCLUDE UserID WHERE Users.AGE < $MAX OR users.tier IN ($tier) | \
             INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ($E) | \
             EXCLUDE UserID WHERE Users.age > $MAX",
        )
        .unwrap();
    assert_eq!(filter.parameters(), ["MAX", "tier", "E"]);
    let fields: Vec<_> = filter.fields().into_iter().collect();
    assert_eq!(
        fields,
        [
            (Dataset::Users, "AGE"),
            (Dataset::Users, "TIER"),
            (Dataset::Interactions, "EVENT_TYPE")
        ]
    );
    assert!(filter.uses(Dataset::Interactions) && !filter.uses(Dataset::Items));
}

#[test]
fn filters_print_in_one_form() {
    let schemas = Schemas::new();
    for (written, printed) in [
        (
            "exclude\tuserid where users.country in(\"a\",\"b\")AND Users . AGE>=-0.50",
            r#"EXCLUDE UserID WHERE Users.COUNTRY IN ("a", "b") AND Users.AGE >= -0.5"#,
        ),
        (
            r#"INCLUDE UserID WHERE Users.NOTE NOT IN ("\*", "\$A", "$5", "a\\\"\'\n|ü")"#,
            r#"INCLUDE UserID WHERE Users.NOTE NOT IN ("\*", "\$A", "$5", "a\\\"'n|ü")"#,
        ),
        (
            r#"INCLUDE UserID WHERE Interactions.event_type IN ("*")|EXCLUDE UserID WHERE Users.AGE = "$A""#,
            "INCLUDE UserID WHERE Interactions.EVENT_TYPE IN (*) | EXCLUDE UserID WHERE Users.AGE = $A",
        ),
        (
            "include itemid where items.genre in (currentitem.genre) or items.price<currentitem.price \
             if currentuser.age>3 and currentuser.tier in ($t)",
            "INCLUDE ItemID WHERE Items.GENRE IN (CurrentItem.GENRE) OR Items.PRICE < CurrentItem.PRICE \
             IF CurrentUser.AGE > 3 AND CurrentUser.TIER IN ($t)",
        ),
    ] {
        let filter = schemas.parse(written).unwrap();
        assert_eq!(filter.to_string(), printed);
        assert_eq!(schemas.parse(printed).unwrap(), filter);
    }
}

#[test]
fn names_are_found_exactly_before_case_is_ignored() {
    // No schema that passed `schema::parse` has such names; one that did not must not mislead.
    let mut schemas = Schemas::new();
    let mut twin = schemas.users.fields[1].clone();
    twin.name = "Age".into();
    schemas.users.fields.push(twin);
    let field = |text| {
        let filter = schemas.parse(text)?;
        Ok(filter.expressions[0].any_of[0][0].field.name.clone())
    };
    assert_eq!(
        field("INCLUDE UserID WHERE Users.AGE > 1"),
        Ok("AGE".into())
    );
    assert_eq!(
        field("INCLUDE UserID WHERE Users.Age > 1"),
        Ok("Age".into())
    );
    let neither: Result<String, FilterError> = field("INCLUDE UserID WHERE Users.age > 1");
    assert_eq!(neither.unwrap_err().position, 28);
}
