//! What CreateFilter refuses, with the sentences it answers.

use super::Schemas;
use crate::filter::FilterSchemas;

#[test]
fn the_refused_examples_have_their_own_sentences() {
    const FIELD: &str = "expected a field such as Users.NAME or Interactions.EVENT_TYPE";
    let numbers = "holds numbers, which IN does not take: use =, !=, <, <=, > or >=";
    let strings = "holds strings, which cannot be compared: use IN (...) or NOT IN (...)";
    let cases = [
        (
            1,
            "INCLUDE Users.AGE > 3",
            "expected UserID after INCLUDE".to_owned(),
            9,
        ),
        (
            2,
            "INCLUDE UserID Users.AGE > 3",
            "expected WHERE after UserID".to_owned(),
            16,
        ),
        (
            3,
            "SELECT UserID WHERE Users.AGE > 3",
            "expected INCLUDE or EXCLUDE".to_owned(),
            1,
        ),
        (
            4,
            r#"INCLUDE UserID WHERE Items.GENRE IN ("a")"#,
            "Items cannot be used in an expression about UserID: use Users or Interactions"
                .to_owned(),
            22,
        ),
        (
            5,
            "INCLUDE UserID WHERE Users.AGE IN (25)",
            format!("Users.AGE {numbers}"),
            32,
        ),
        (
            6,
            r#"INCLUDE UserID WHERE Users.COUNTRY = "Japan""#,
            format!("Users.COUNTRY {strings}"),
            36,
        ),
        (
            7,
            "INCLUDE UserID WHERE Users.NOPE > 1",
            "Users has no field NOPE, did you mean NOTE?".to_owned(),
            28,
        ),
        (
            9,
            "INCLUDE UserID WHERE Users.COUNTRY IN ($A, $B)",
            "a placeholder stands alone in its IN (...)".to_owned(),
            40,
        ),
        (
            10,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("Japan", $B)"#,
            "a placeholder stands alone in its IN (...)".to_owned(),
            49,
        ),
        (
            11,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("*")"#,
            "* can only be used with Interactions.EVENT_TYPE".to_owned(),
            40,
        ),
        (
            12,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("Japan") AND Interactions.EVENT_TYPE IN ("click")"#,
            "all conditions of one expression are about one dataset, here Users: write a second \
             expression after |"
                .to_owned(),
            53,
        ),
        (
            13,
            "INCLUDE UserID WHERE Interactions.EVENT_VALUE > 3",
            "EVENT_TYPE is the only field of Interactions that filters take".to_owned(),
            35,
        ),
        (
            14,
            "INCLUDE UserID WHERE Users.COUNTRY IN ()",
            "expected a string in double quotes, * or a placeholder such as $NAME".to_owned(),
            40,
        ),
        (
            15,
            r#"INCLUDE UserID WHERE Users.COUNTRY IN ("Japan""#,
            "expected , or ) after a value, but the expression ends".to_owned(),
            47,
        ),
        (
            16,
            "INCLUDE UserID WHERE (Users.AGE > 3)",
            format!("{FIELD}: conditions take no parentheses"),
            22,
        ),
        (
            17,
            "INCLUDE UserID WHERE Users.AGE > 3 |",
            "expected INCLUDE or EXCLUDE after |, but the expression ends".to_owned(),
            37,
        ),
        (
            18,
            r#"INCLUDE UserID WHERE Users.AGE > "3""#,
            "expected a number without quotes".to_owned(),
            34,
        ),
        (
            19,
            "INCLUDE UserID WHERE Users.COUNTRY IN (Japan)",
            "expected a string in double quotes".to_owned(),
            40,
        ),
        (
            20,
            "INCLUDE UserID WHERE Users.AGE BETWEEN 1 AND 3",
            "expected IN, NOT IN, =, !=, <, <=, > or >=".to_owned(),
            32,
        ),
        (
            21,
            "INCLUDE UserID WHERE Users.AGE > 18 IF CurrentUser.AGE > 3",
            "IF can only be used with ItemID".to_owned(),
            37,
        ),
        (
            22,
            r#"INCLUDE UserID WHERE Users.MEMBER IN ("True")"#,
            "Users.MEMBER is boolean: such fields cannot be used in filters".to_owned(),
            28,
        ),
        (
            22,
            r#"INCLUDE ItemID WHERE Items.STORY IN ("a")"#,
            "Items.STORY is textual: such fields cannot be used in filters".to_owned(),
            28,
        ),
        (
            23,
            "INCLUDE UserID WHERE Users.AGE > 3 | EXCLUDE ItemID WHERE Items.PRICE > 3",
            "UserID and ItemID cannot be used in one filter".to_owned(),
            46,
        ),
    ];
    let schemas = Schemas::new();
    for (number, text, detail, position) in cases {
        let error = schemas.parse(text).unwrap_err();
        assert_eq!(
            (&error.detail, error.position),
            (&detail, position),
            "example {number}"
        );
        assert_eq!(
            error.to_string(),
            format!("Could not create filter. Invalid Expression: {detail} at position {position}")
        );
    }
    let error = schemas
        .parse("INCLUDE UserID WHERE Users.COUNTRY NOT IN ($C)")
        .unwrap_err();
    assert_eq!(error.position, 44, "example 8");
    assert_eq!(
        error.to_string(),
        "Could not create filter. Invalid input symbol $C. Placeholders can only be used with IN and \
         with comparison operators, not with NOT IN: use IN with the opposite action."
    );
}

#[test]
fn every_other_slip_is_told_where_it_is() {
    const LITERAL: &str = "expected a number or a placeholder such as $NAME";
    const FIELD: &str = "expected a field such as Users.NAME or Interactions.EVENT_TYPE";
    let schemas = Schemas::new();
    let check = |text: &str, detail: &str, position: usize| {
        let error = schemas.parse(text).unwrap_err();
        assert_eq!(
            (error.detail.as_str(), error.position),
            (detail, position),
            "{text}"
        );
    };
    check(
        "",
        "expected INCLUDE or EXCLUDE, but the expression ends",
        1,
    );
    check(
        "INCLUDE ActionID WHERE Actions.A > 1",
        "ActionID is not supported: expected UserID",
        9,
    );
    let end = format!("{FIELD}, but the expression ends");
    check("INCLUDE UserID WHERE ", &end, 22);

    let user = |condition: &str, detail: &str, position: usize| {
        let text = format!("INCLUDE UserID WHERE {condition}");
        let error = schemas.parse(&text).unwrap_err();
        // Positions are counted from the condition here.
        let found = (error.detail.as_str(), error.position - 21);
        assert_eq!(found, (detail, position), "{condition}");
    };
    user("User.AGE > 1", &format!("{FIELD}: did you mean Users?"), 1);
    user("Shops.AGE > 1", FIELD, 1);
    user(
        "NOT Users.AGE > 1",
        "expected a field: NOT stands after it, before IN",
        1,
    );
    user(
        "Users AGE > 1",
        "expected a point between the dataset and its field",
        7,
    );
    user("Users.1 > 1", "expected the name of a field", 7);
    user(
        "Users.AGEE > 1",
        "Users has no field AGEE, did you mean AGE?",
        7,
    );
    user(
        "Users.CUONTRY IN (\"a\")",
        "Users has no field CUONTRY, did you mean COUNTRY?",
        7,
    );
    user("Users.SHOE_SIZE > 1", "Users has no field SHOE_SIZE", 7);
    user(
        "Users.AGE",
        "expected IN, NOT IN, =, !=, <, <=, > or >=, but the expression ends",
        10,
    );
    user("Users.AGE NOT LIKE 3", "expected IN after NOT", 15);
    user("Users.TIER IN \"a\"", "expected ( after IN", 15);
    user(
        "Users.TIER IN ('a')",
        "expected a string in double quotes, * or a placeholder such as $NAME: strings are written in double quotes",
        16,
    );
    user(
        "Users.TIER IN (\"a)",
        "the string has no closing double quote",
        16,
    );
    user(
        "Users.TIER IN (\"ü\\\"",
        "the string has no closing double quote",
        16,
    );
    user(
        "Users.TIER IN (\"a\" \"b\")",
        "expected , or ) after a value",
        20,
    );
    user(
        "Users.TIER IN (\"a\",)",
        "expected a string in double quotes, * or a placeholder such as $NAME",
        20,
    );
    user(
        "Users.TIER IN (3)",
        "expected a string in double quotes",
        16,
    );
    user(
        "Users.TIER IN ($)",
        "expected the name of a placeholder after $",
        17,
    );
    user(
        "Users.TIER IN (\"ü\", *)",
        "* can only be used with Interactions.EVENT_TYPE",
        21,
    );
    user(
        "Interactions.EVENT_TYPE IN (\"ü\", *)",
        "* stands alone in its IN (...)",
        34,
    );
    user(
        "Interactions.EVENT_TYPE = 3",
        "Interactions.EVENT_TYPE holds strings, which cannot be compared: use IN (...) or NOT IN (...)",
        25,
    );
    user(
        "Interactions.EVENTS IN (\"a\")",
        "EVENT_TYPE is the only field of Interactions that filters take",
        14,
    );
    user(
        "Users.AGE > ",
        &format!("{LITERAL}, but the expression ends"),
        13,
    );
    user(
        "Users.AGE == 3",
        "expected a number or a placeholder such as $NAME",
        12,
    );
    user("Users.AGE > *", LITERAL, 13);
    user("Users.AGE > ten", LITERAL, 13);
    user(
        "Users.AGE > 25years",
        "expected a number such as 25 or -0.5",
        13,
    );
    user("Users.AGE > 1.", "expected a number such as 25 or -0.5", 13);
    user(
        "Users.AGE > - 1",
        "expected a number such as 25 or -0.5",
        13,
    );
    user(
        "Users.AGE > 1e3",
        "expected a number such as 25 or -0.5",
        13,
    );
    user(
        "Users.AGE > CurrentItem.PRICE",
        "CurrentItem can only be used with ItemID",
        13,
    );
    user(
        "Users.AGE > 1 Users.AGE < 3",
        "expected AND, OR, | or the end of the expression",
        15,
    );
    user(
        "Users.AGE > 1 XOR",
        "expected AND, OR, | or the end of the expression",
        15,
    );
    user(
        "Users.AGE > 1 AND",
        &format!("{FIELD}, but the expression ends"),
        18,
    );
    user(
        "Users.AGE > 1 || EXCLUDE",
        "expected INCLUDE or EXCLUDE after |",
        16,
    );
    user(
        "Users.AGE > 1 \0",
        "expected AND, OR, | or the end of the expression",
        15,
    );
    let long = format!("Users.AGE > ${}", "A".repeat(51));
    user(
        &long,
        "the name of a placeholder has at most 50 characters, this one has more",
        13,
    );

    let item = |condition: &str, detail: &str, position: usize| {
        let text = format!("INCLUDE ItemID WHERE {condition}");
        let error = schemas.parse(&text).unwrap_err();
        let found = (error.detail.as_str(), error.position - 21);
        assert_eq!(found, (detail, position), "{condition}");
    };
    item(
        "Users.AGE > 3",
        "Users cannot be used in an expression about ItemID: use Items or Interactions",
        1,
    );
    item(
        "Items.PRICE > 3 IF Users.AGE > 3",
        "expected CurrentUser after IF",
        20,
    );
    item(
        "Items.PRICE > 3 IF CurrentUser.AGE > 3 OR CurrentUser.AGE < 1",
        "expected AND, | or the end of the expression",
        40,
    );
    item(
        "Items.PRICE > 3 IF CurrentUser.AGE > 3 IF CurrentUser.AGE < 1",
        "IF can be used once, at the end",
        40,
    );
    item(
        "Items.PRICE > CurrentItem.GENRE",
        "CurrentItem.GENRE does not hold numbers",
        15,
    );
    item(
        "Items.GENRE IN (CurrentItem.PRICE)",
        "CurrentItem.PRICE does not hold strings",
        17,
    );
}

#[test]
fn datasets_that_are_not_there_are_named() {
    let schemas = Schemas::new();
    let only_users = FilterSchemas {
        users: Some(&schemas.users),
        ..FilterSchemas::default()
    };
    let text =
        "INCLUDE UserID WHERE Users.AGE > 3 | EXCLUDE UserID WHERE Interactions.EVENT_TYPE IN (*)";
    let error = crate::filter::Filter::parse(text, &only_users).unwrap_err();
    assert_eq!(error.detail, "there is no Interactions dataset");
    assert_eq!(error.position, 59);
}

#[test]
fn long_texts_end_in_an_error_at_the_limit() {
    let schemas = Schemas::new();
    let padded = |characters: usize| {
        let text = "INCLUDE UserID WHERE Users.NOTE IN (\"";
        let end = "\")";
        let filling = "ü".repeat(characters - text.len() - end.len());
        format!("{text}{filling}{end}")
    };
    assert!(schemas.parse(&padded(2_500)).is_ok());
    let error = schemas.parse(&padded(2_501)).unwrap_err();
    assert_eq!(
        (error.detail.as_str(), error.position),
        ("more than 2500 characters", 2_501)
    );
    for text in [
        "(".repeat(2_500),
        "\0".repeat(2_500),
        "NOT ".repeat(600),
        "\"".repeat(2_499),
    ] {
        schemas.parse(&text).unwrap_err();
        schemas
            .parse(&format!("INCLUDE UserID WHERE {text}"))
            .unwrap_err();
    }
}
