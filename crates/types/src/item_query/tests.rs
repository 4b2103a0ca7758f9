use super::*;
use proptest::prelude::*;

fn text(column: &str, value: &str) -> Condition {
    Condition {
        column: column.into(),
        value: Value::Text(value.into()),
    }
}

fn number(column: &str, value: &str) -> Condition {
    Condition {
        column: column.into(),
        value: Value::Number(Number::parse(value).unwrap()),
    }
}

#[test]
fn the_examples_of_the_language() {
    let acme = || text("BRAND", "Acme");
    for (query, conditions) in [
        (r#"ITEMS.GENRES = "Comedy""#, vec![text("GENRES", "Comedy")]),
        (r#"ITEMS.genres = "Comedy""#, vec![text("genres", "Comedy")]),
        (r#"ITEMS.GENRES="Comedy""#, vec![text("GENRES", "Comedy")]),
        (r#"items.GENRES = "comedy""#, vec![text("GENRES", "comedy")]),
        (
            r#"ITEMS.GENRES = "Comedy" AND ITEMS.GENRES = "Action""#,
            vec![text("GENRES", "Comedy"), text("GENRES", "Action")],
        ),
        ("ITEMS.PRICE = 10", vec![number("PRICE", "10")]),
        (r#"ITEMS.PRICE = "10.0""#, vec![text("PRICE", "10.0")]),
        (
            r#"ITEMS.YEAR = 1999 AND ITEMS.GENRES = "Action""#,
            vec![number("YEAR", "1999"), text("GENRES", "Action")],
        ),
        (
            r#"ITEMS.BRAND = "Tea \"Leaf\"""#,
            vec![text("BRAND", "Tea \"Leaf\"")],
        ),
        (
            r#"ITEMS.BRAND = "Acme" AND ITEMS.YEAR = 2020"#,
            vec![acme(), number("YEAR", "2020")],
        ),
        (
            "\t ITEMS . BRAND\n=\r\n\"Acme\"and items.YEAR=-0.50 ",
            vec![acme(), number("YEAR", "-0.5")],
        ),
        (r#"ITEMS.B = "a\\b\n|ü""#, vec![text("B", r"a\bn|ü")]),
        (r#"ITEMS.B = """#, vec![text("B", "")]),
    ] {
        assert_eq!(parse(query), Ok(ItemQuery { conditions }), "{query}");
    }
}

#[test]
fn errors_say_what_was_expected_and_where() {
    let end = "expected AND or the end of the expression";
    let operator = "expected =, the only operator";
    for (query, detail, position) in [
        (
            r#"ITEMS.GENRES = "Comedy" OR ITEMS.GENRES = "Action""#,
            end,
            25,
        ),
        ("ITEMS.PRICE > 5", operator, 13),
        ("ITEMS.PRICE != 5", operator, 13),
        (r#"ITEMS.GENRES IN ("Comedy")"#, operator, 14),
        (r#"NOT ITEMS.GENRES = "Comedy""#, "expected ITEMS", 1),
        ("USERS.AGE = 3", "expected ITEMS", 1),
        ("", "expected ITEMS", 1),
        ("   ", "expected ITEMS", 4),
        ("ITEMS", "expected a point after ITEMS", 6),
        ("ITEMS.", "expected the name of a column", 7),
        ("ITEMS.1A = 3", "expected the name of a column", 7),
        ("ITEMS.A", operator, 8),
        (
            "ITEMS.A = ",
            "expected a string in double quotes or a number",
            11,
        ),
        (
            "ITEMS.A = 'x'",
            "expected a string in double quotes or a number",
            11,
        ),
        (
            "ITEMS.A = 1e3",
            "expected a string in double quotes or a number",
            11,
        ),
        (
            "ITEMS.A = 1.",
            "expected a string in double quotes or a number",
            11,
        ),
        ("ITEMS.Ä = 1", "expected the name of a column", 7),
        (r#"ITEMS.A = "日本"#, "expected a closing quote", 14),
        (r#"ITEMS.A = "x\"#, "expected a closing quote", 14),
        (r#"ITEMS.A = "日" ITEMS.B = 1"#, end, 15),
        ("ITEMS.A = 1 AND", "expected ITEMS", 16),
    ] {
        let error = parse(query).unwrap_err();
        assert_eq!(
            (error.detail.as_str(), error.position),
            (detail, position),
            "{query}"
        );
    }
    assert_eq!(
        parse("ITEMS.PRICE > 5").unwrap_err().to_string(),
        "expected =, the only operator at position 13"
    );
}

#[test]
fn limits_hold() {
    let many = |count: usize| vec!["ITEMS.A = 1"; count].join(" AND ");
    assert_eq!(parse(&many(CONDITIONS_MAX)).unwrap().conditions.len(), 100);
    let error = parse(&many(CONDITIONS_MAX + 1)).unwrap_err();
    assert_eq!(error.detail, "more than 100 conditions");
    let long = |length: usize| format!("ITEMS.A = \"{}\"", "ü".repeat(length));
    assert!(parse(&long(EXPRESSION_CHARACTERS_MAX - 12)).is_ok());
    let error = parse(&long(EXPRESSION_CHARACTERS_MAX - 11)).unwrap_err();
    assert_eq!(error.position, EXPRESSION_CHARACTERS_MAX + 1);
}

#[test]
fn numbers_have_one_form() {
    for (text, form) in [
        ("10", Some("10")),
        ("10.0", Some("10")),
        ("010.50", Some("10.5")),
        ("-0.0", Some("0")),
        ("0.1", Some("0.1")),
        ("-", None),
        (".5", None),
        ("5.", None),
        ("1.2.3", None),
        ("--1", None),
        ("+1", None),
        ("", None),
    ] {
        let found = Number::parse(text).map(|number| number.to_string());
        assert_eq!(found.as_deref(), form, "{text}");
    }
    assert_eq!(
        Number::parse("9223372036854775807").unwrap().as_i64(),
        Some(i64::MAX)
    );
    assert_eq!(Number::parse("9223372036854775808").unwrap().as_i64(), None);
    assert_eq!(Number::parse("1.5").unwrap().as_i64(), None);
    assert_eq!(Number::parse("-2.5").unwrap().as_f64(), -2.5);
}

proptest! {
    #[test]
    fn any_text_gives_a_query_or_a_place_in_it(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position));
        }
    }

    #[test]
    fn pieces_of_the_language_never_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["ITEMS", ".", "A", "=", "\"", "\\", "x", "1", "-", " ", "AND", "ü"]),
            0..24,
        )
    ) {
        let text = pieces.concat();
        if let Ok(query) = parse(&text) {
            prop_assert_eq!(parse(&query.to_string()), Ok(query));
        }
    }

    #[test]
    fn what_is_printed_reads_back(
        conditions in prop::collection::vec(
            ("[A-Za-z_][A-Za-z0-9_]{0,8}", "\\PC{0,12}", prop::option::of("-?[0-9]{1,20}(\\.[0-9]{1,6})?")),
            1..5,
        )
    ) {
        let conditions = conditions
            .into_iter()
            .map(|(column, words, digits)| match digits {
                Some(digits) => number(&column, &digits),
                None => text(&column, &words),
            })
            .collect();
        let query = ItemQuery { conditions };
        prop_assert_eq!(parse(&query.to_string()), Ok(query));
    }
}
