//! The table of valid expressions, with the users that each keeps.

use super::Schemas;
use crate::filter::{BindError, Cell, FilterRow, FilterValues};

struct User {
    id: &'static str,
    row: Option<Row>,
    events: &'static [&'static str],
}

struct Row {
    age: Option<i64>,
    country: Option<&'static str>,
    tier: Option<&'static str>,
    spend: Option<f32>,
}

impl FilterRow for User {
    fn text(&self, field: &str) -> Option<&str> {
        let row = self.row.as_ref()?;
        match field {
            "USER_ID" => Some(self.id),
            "COUNTRY" => row.country,
            "TIER" => row.tier,
            _ => panic!("{field} is not in the table"),
        }
    }

    fn number(&self, field: &str) -> Option<Cell> {
        let row = self.row.as_ref()?;
        match field {
            "AGE" => row.age.map(Cell::Whole),
            "SPEND" => row.spend.map(|spend| Cell::Real(spend.into())),
            _ => panic!("{field} is not in the table"),
        }
    }

    fn has_interactions(&self) -> bool {
        !self.events.is_empty()
    }

    fn event_types(&self) -> Vec<&str> {
        self.events.to_vec()
    }
}

fn users() -> [User; 6] {
    let row = |age, country, tier, spend| {
        Some(Row {
            age,
            country,
            tier,
            spend,
        })
    };
    let user = |id, row, events| User { id, row, events };
    [
        user(
            "u1",
            row(Some(25), Some("Japan"), Some("gold|beta"), Some(10.5)),
            &["click", "purchase"],
        ),
        user(
            "u2",
            row(Some(17), Some("England"), Some("silver"), None),
            &["Click"],
        ),
        user(
            "u3",
            row(Some(40), Some("Japan"), None, Some(0.0)),
            &["rating"],
        ),
        user(
            "u4",
            row(None, Some("United States"), Some("gold"), Some(99.0)),
            &["purchase", "click"],
        ),
        user(
            "u5",
            row(Some(63), None, Some("bronze"), Some(20.0)),
            &["watch"],
        ),
        user("u6", None, &["click"]),
    ]
}

fn kept(text: &str, values: &[(&str, &str)]) -> Result<String, BindError> {
    let filter = Schemas::new().parse(text).unwrap();
    let bound = filter.bind(&FilterValues::from_pairs(values.iter().copied()))?;
    let ids: Vec<_> = users()
        .iter()
        .filter(|user| bound.keeps(*user))
        .map(|user| user.id)
        .collect();
    Ok(ids.join(" "))
}

#[test]
fn the_examples_keep_the_users_of_the_table() {
    const ALL: &str = "u1 u2 u3 u4 u5 u6";
    type Case<'a> = (u32, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (
            1,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("Japan")"#,
            &[],
            "u1 u3",
        ),
        (
            2,
            r#"EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan")"#,
            &[],
            "u2 u4 u5 u6",
        ),
        (
            3,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("Japan", "England")"#,
            &[],
            "u1 u2 u3",
        ),
        (
            4,
            r#"INCLUDE UserID WHERE Users.TIER IN ("gold")"#,
            &[],
            "u1 u4",
        ),
        (
            5,
            r#"INCLUDE UserID WHERE Users.TIER NOT IN ("gold")"#,
            &[],
            "u2 u3 u5 u6",
        ),
        (
            6,
            r#"EXCLUDE UserID WHERE Users.TIER NOT IN ("gold")"#,
            &[],
            "u1 u4",
        ),
        (7, "INCLUDE UserID WHERE Users.AGE >= 25", &[], "u1 u3 u5"),
        (8, "INCLUDE UserID WHERE Users.AGE < 25", &[], "u2"),
        (
            9,
            "EXCLUDE UserID WHERE Users.AGE < 18",
            &[],
            "u1 u3 u4 u5 u6",
        ),
        (
            10,
            "INCLUDE UserID WHERE Users.AGE != 25",
            &[],
            "u2 u3 u4 u5 u6",
        ),
        (11, "INCLUDE UserID WHERE Users.SPEND = 0", &[], "u3"),
        (
            12,
            "INCLUDE UserID WHERE Users.SPEND > -1",
            &[],
            "u1 u3 u4 u5",
        ),
        (
            13,
            r#"INCLUDE UserID WHERE Users.AGE > 18 AND Users.COUNTRY IN ("Japan")"#,
            &[],
            "u1 u3",
        ),
        (
            14,
            r#"INCLUDE UserID WHERE Users.AGE < 18 OR Users.TIER IN ("gold") AND Users.SPEND > 50"#,
            &[],
            "u2 u4",
        ),
        (
            15,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click")"#,
            &[],
            "u1 u2 u4 u6",
        ),
        (
            16,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("CLICK", "rating")"#,
            &[],
            "u1 u2 u3 u4 u6",
        ),
        (
            17,
            r#"EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("purchase")"#,
            &[],
            "u2 u3 u5 u6",
        ),
        (
            18,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE NOT IN ("purchase")"#,
            &[],
            "u2 u3 u5 u6",
        ),
        (
            19,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("*")"#,
            &[],
            ALL,
        ),
        (
            20,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click, rating")"#,
            &[],
            "",
        ),
        (
            21,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click") AND Interactions.EVENT_TYPE IN ("purchase")"#,
            &[],
            "u1 u4",
        ),
        (
            22,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("Japan") | INCLUDE UserID WHERE Users.AGE > 60"#,
            &[],
            "u1 u3 u5",
        ),
        (
            23,
            r#"EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan") | EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("watch")"#,
            &[],
            "u2 u4 u6",
        ),
        (
            24,
            r#"INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click") | EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan")"#,
            &[],
            "u2 u4 u6",
        ),
        (
            25,
            r#"EXCLUDE UserID WHERE Users.COUNTRY IN ("Japan") | INCLUDE UserID WHERE Interactions.EVENT_TYPE IN ("click")"#,
            &[],
            "u2 u4 u6",
        ),
        (
            26,
            "INCLUDE UserID WHERE Users.TIER IN ($T)",
            &[("T", r#""gold","bronze""#)],
            "u1 u4 u5",
        ),
        (
            27,
            "EXCLUDE UserID WHERE Users.AGE < $AGE",
            &[("AGE", "30")],
            "u3 u4 u5 u6",
        ),
        (28, "EXCLUDE UserID WHERE Users.AGE < $AGE", &[], ALL),
        (
            29,
            "INCLUDE UserID WHERE Users.COUNTRY IN ($C)",
            &[("C", r#""United States""#)],
            "u4",
        ),
        (
            30,
            "EXCLUDE UserID WHERE Users.COUNTRY IN ($C) | EXCLUDE UserID WHERE Users.AGE > 60",
            &[],
            "u1 u2 u3 u4 u6",
        ),
        (
            31,
            r#"exclude userid where users.country in ("England", "Japan")"#,
            &[],
            "u4 u5 u6",
        ),
        (
            32,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("japan")"#,
            &[],
            "",
        ),
        (
            33,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("$C")"#,
            &[("C", r#""Japan""#)],
            "u1 u3",
        ),
    ];
    for (number, text, values, expected) in cases {
        assert_eq!(
            kept(text, values).as_deref(),
            Ok(*expected),
            "example {number}"
        );
    }
    let country = "INCLUDE UserID WHERE Users.COUNTRY IN ($C)";
    for (number, values, message) in [
        (34, &[][..], "User error: Filter parameter C has no value"),
        (
            35,
            &[("C", "Japan")],
            "User error: Filter parameter C is not a list of strings in double quotes, separated by commas",
        ),
    ] {
        let error = kept(country, values).unwrap_err();
        assert_eq!(error.to_string(), message, "example {number}");
    }
}

#[test]
fn a_user_id_is_one_value_and_known_from_its_row() {
    let ids = |text| kept(text, &[]).unwrap();
    assert_eq!(
        ids(r#"INCLUDE UserID WHERE Users.USER_ID IN ("u2", "u6")"#),
        "u2"
    );
    assert_eq!(
        ids(r#"EXCLUDE UserID WHERE Users.USER_ID IN ("u2", "u6")"#),
        "u1 u3 u4 u5 u6"
    );
}

#[test]
fn a_star_means_any_interaction_and_its_absence() {
    let ids = |text, values: &[(&str, &str)]| kept(text, values).unwrap();
    let none = "INCLUDE UserID WHERE Interactions.EVENT_TYPE NOT IN (*)";
    assert_eq!(ids(none, &[]), "");
    let given = "EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN ($E)";
    assert_eq!(ids(given, &[("E", " \"*\" ")]), "");
    assert_eq!(ids(given, &[("E", r#""CLICK", "WATCH""#)]), "u3");
}
