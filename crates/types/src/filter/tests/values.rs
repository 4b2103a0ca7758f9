//! Values of input lines, and what they are compared with.

use super::Schemas;
use crate::filter::{BindError, BoundTest, Cell, CompareOp, Comparison, FilterValues, Number};
use crate::schema::FieldType;

fn error(json: &str) -> String {
    FilterValues::parse(json).unwrap_err().to_string()
}

#[test]
fn values_are_an_object_of_strings() {
    let values = FilterValues::parse(r#"{"T": "\"a\",\"b\"", "AGE": 30, "X_1": -0.50, "e": ""}"#);
    let expected = [
        ("T", r#""a","b""#),
        ("AGE", "30"),
        ("X_1", "-0.50"),
        ("e", ""),
    ];
    assert_eq!(values, Ok(FilterValues::from_pairs(expected)));
    let object =
        "User error: filterValues must be a JSON object with one string for each parameter";
    for json in ["[]", "3", "null", "\"a\"", "{", ""] {
        assert_eq!(error(json), object, "{json}");
    }
    for json in [
        r#"{"T": true}"#,
        r#"{"T": null}"#,
        r#"{"T": ["a"]}"#,
        r#"{"T": "\ud800"}"#,
    ] {
        assert_eq!(
            error(json),
            "User error: Filter parameter T is not a string"
        );
    }
}

#[test]
fn values_have_limits() {
    let many = |count| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""P{n}": "1""#)).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(FilterValues::parse(&many(25)).is_ok());
    assert_eq!(
        error(&many(26)),
        "User error: filterValues has more than 25 values"
    );
    let value = |characters| format!(r#"{{"T": "{}"}}"#, "ü".repeat(characters));
    assert!(FilterValues::parse(&value(1_000)).is_ok());
    assert_eq!(
        error(&value(1_001)),
        "User error: Filter parameter T has more than 1000 characters"
    );
    let named = |name: &str| format!(r#"{{"{name}": "1"}}"#);
    assert!(FilterValues::parse(&named(&"A".repeat(50))).is_ok());
    for name in ["", "$T", "a b", &"A".repeat(51)] {
        let shown: String = name.chars().take(50).collect();
        assert_eq!(
            error(&named(name)),
            format!(
                "User error: Filter parameter {shown} is not a name of letters, digits and \
                 underscores with at most 50 characters"
            )
        );
    }
}

/// The test that `condition` becomes when its parameter V has this value.
fn bound(condition: &str, value: &str) -> Result<BoundTest, BindError> {
    let text = format!("INCLUDE UserID WHERE {condition}");
    let filter = Schemas::new().parse(&text).unwrap();
    let bound = filter.bind(&FilterValues::from_pairs([("V", value)]))?;
    Ok(bound.expressions[0].any_of[0][0].test.clone())
}

#[test]
fn values_are_read_as_what_they_stand_for() {
    let list = |values: &[&str]| {
        Ok(BoundTest::In {
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            negated: false,
        })
    };
    let tier = |value| bound("Users.TIER IN ($V)", value);
    assert_eq!(tier(r#" "b" ,"a","b" "#), list(&["a", "b"]));
    assert_eq!(tier(r#""a\"\\,", "*", "$X""#), list(&["$X", "*", "a\"\\,"]));
    assert_eq!(tier(r#""""#), list(&[""]));
    assert_eq!(
        bound("Interactions.EVENT_TYPE IN ($V)", r#""BUY","Ä","buy""#),
        list(&["buy", "ä"])
    );
    for value in [
        "",
        "a",
        "'a'",
        "\"a",
        "\"a\",",
        ",\"a\"",
        "\"a\" \"b\"",
        "\"United States\"\"",
        "3",
    ] {
        assert_eq!(tier(value), Err(BindError::NotList("V".into())), "{value}");
    }
    let age = |value| bound("Users.AGE > $V", value);
    for (value, number) in [
        ("30", "30"),
        ("\"30\"", "30"),
        (" -0.50 ", "-0.5"),
        ("007", "7"),
    ] {
        let op = CompareOp::Greater;
        let number = Number::parse(number).unwrap();
        assert_eq!(age(value), Ok(BoundTest::Compare { op, number }), "{value}");
    }
    for value in [
        "", "x", "\"30", "1e3", "+1", "1.", "NaN", "1 2", "\"\"", "- 1",
    ] {
        assert_eq!(age(value), Err(BindError::NotNumber("V".into())), "{value}");
    }
}

#[test]
fn one_value_serves_all_and_others_do_not_matter() {
    let schemas = Schemas::new();
    let bind = |text, values: &[(&str, &str)]| {
        let filter = schemas.parse(text).unwrap();
        filter.bind(&FilterValues::from_pairs(values.iter().copied()))
    };
    let text = "INCLUDE UserID WHERE Users.AGE > $A | EXCLUDE UserID WHERE Users.SPEND > $A";
    let literal = "INCLUDE UserID WHERE Users.AGE > 3 | EXCLUDE UserID WHERE Users.SPEND > 3.0";
    assert_eq!(bind(text, &[("A", "3"), ("B", "x")]), bind(literal, &[]));
    assert_eq!(
        bind(text, &[("a", "3")]),
        Err(BindError::Missing("A".into()))
    );
    // A wrong value is an error also where a missing one is not.
    let exclude = "EXCLUDE UserID WHERE Users.AGE > $A";
    assert!(bind(exclude, &[]).unwrap().expressions.is_empty());
    assert_eq!(
        bind(exclude, &[("A", "x")]),
        Err(BindError::NotNumber("A".into()))
    );
    let items = "INCLUDE ItemID WHERE Items.PRICE > 3";
    assert_eq!(bind(items, &[]), Err(BindError::NotUsers));
}

#[test]
fn numbers_are_compared_as_the_column_holds_them() {
    use CompareOp::*;
    fn holds(cell: Option<Cell>, kind: FieldType, op: CompareOp, number: &str) -> bool {
        let number = Number::parse(number).unwrap();
        Comparison::new(kind, op, &number).holds(cell)
    }
    fn long(value: i64, op: CompareOp, number: &str) -> bool {
        holds(Some(Cell::Whole(value)), FieldType::Long, op, number)
    }
    fn real(value: f64, kind: FieldType, op: CompareOp, number: &str) -> bool {
        holds(Some(Cell::Real(value)), kind, op, number)
    }
    // 2^53 + 1 is no double.
    assert!(long(9_007_199_254_740_993, Equal, "9007199254740993"));
    assert!(long(9_007_199_254_740_993, Greater, "9007199254740992"));
    assert!(long(i64::MAX, Less, "9223372036854775808"));
    assert!(long(i64::MIN, Greater, &format!("-1{}", "0".repeat(60))));
    assert!(long(3, Equal, "3.000") && long(3, Less, "3.5") && !long(3, Equal, "3.5"));
    let tenth = f64::from(10.1_f32);
    assert!(real(tenth, FieldType::Float, Equal, "10.1"));
    assert!(!real(tenth, FieldType::Double, Equal, "10.1"));
    assert!(real(10.1, FieldType::Double, LessOrEqual, "10.1"));
    assert!(real(
        f64::from(f32::MAX),
        FieldType::Float,
        Less,
        &"9".repeat(40)
    ));
    assert!(real(-0.0, FieldType::Double, Equal, "0"));
    for (op, without) in [
        (Equal, false),
        (NotEqual, true),
        (Less, false),
        (LessOrEqual, false),
        (Greater, false),
        (GreaterOrEqual, false),
    ] {
        assert_eq!(holds(None, FieldType::Int, op, "0"), without);
    }
}
