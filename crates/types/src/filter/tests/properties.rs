//! Random filters: printed and read again, and against an evaluator that shares no code with ours.

use super::Schemas;
use crate::filter::{
    Action, Cell, CompareOp, Condition, Dataset, Expression, Field, Filter, FilterRow,
    FilterValues, Number, Operand, Target, Test, Values,
};
use crate::schema::FieldType;
use proptest::prelude::*;
use std::collections::BTreeSet;

// Trees of every shape, with strings of any characters.

fn field(name: &str, kind: FieldType) -> Field {
    Field {
        name: name.into(),
        kind,
    }
}

fn parameter() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_]{1,50}"
}

fn number() -> impl Strategy<Value = Number> {
    "-?[0-9]{1,30}(\\.[0-9]{1,9})?".prop_map(|text| Number::parse(&text).unwrap())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[$*\\\\\"A-Za-z0-9_ |,]{0,6}",
        Just("*".to_owned()),
        Just("$NAME".to_owned()),
    ]
}

fn op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    prop::sample::select(vec![
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
    ])
}

fn list(items: bool, events: bool) -> BoxedStrategy<Test> {
    let strings = prop::collection::vec(any_text(), 1..4);
    let literal =
        (strings, any::<bool>()).prop_map(|(list, negated)| (Values::List(list), negated));
    let parameter = parameter().prop_map(|name| (Values::Parameter(name), false));
    let star = any::<bool>().prop_map(|negated| (Values::Star, negated));
    let genre = Values::CurrentItem(field("GENRE", FieldType::String));
    let other = any::<bool>().prop_map(move |negated| (genre.clone(), negated));
    let mut choices = vec![literal.boxed(), parameter.boxed()];
    if events {
        choices.push(star.boxed());
    }
    if items {
        choices.push(other.boxed());
    }
    prop::strategy::Union::new(choices)
        .prop_map(|(values, negated)| Test::In { values, negated })
        .boxed()
}

fn comparison(items: bool) -> BoxedStrategy<Test> {
    let price = Operand::CurrentItem(field("PRICE", FieldType::Float));
    let mut choices = vec![
        number().prop_map(Operand::Number).boxed(),
        parameter().prop_map(Operand::Parameter).boxed(),
    ];
    if items {
        choices.push(Just(price).boxed());
    }
    (op(), prop::strategy::Union::new(choices))
        .prop_map(|(op, number)| Test::Compare { op, number })
        .boxed()
}

fn conditions_of(dataset: Dataset, target: Target) -> BoxedStrategy<Condition> {
    let items = target == Target::Items;
    let (texts, numbers): (&[&str], &[(&str, FieldType)]) = match dataset {
        Dataset::Users | Dataset::CurrentUser => (
            &["USER_ID", "COUNTRY", "NOTE"],
            &[("AGE", FieldType::Int), ("SCORE", FieldType::Double)],
        ),
        Dataset::Items => (&["ITEM_ID", "GENRE"], &[("PRICE", FieldType::Float)]),
        _ => (&["EVENT_TYPE"], &[]),
    };
    let text = prop::sample::select(texts.to_vec())
        .prop_map(|name| field(name, FieldType::String))
        .prop_flat_map(move |field| (Just(field), list(items, dataset == Dataset::Interactions)));
    let mut choices = vec![text.boxed()];
    if !numbers.is_empty() {
        let numbers = prop::sample::select(numbers.to_vec())
            .prop_map(|(name, kind)| field(name, kind))
            .prop_flat_map(move |field| (Just(field), comparison(items)));
        choices.push(numbers.boxed());
    }
    prop::strategy::Union::new(choices)
        .prop_map(move |(field, test)| Condition {
            dataset,
            field,
            test,
        })
        .boxed()
}

fn expression(target: Target) -> impl Strategy<Value = Expression> {
    let first = match target {
        Target::Users => Dataset::Users,
        Target::Items => Dataset::Items,
    };
    let dataset = prop::sample::select(vec![first, Dataset::Interactions]);
    let any_of = dataset.prop_flat_map(move |dataset| {
        let all_of = prop::collection::vec(conditions_of(dataset, target), 1..3);
        prop::collection::vec(all_of, 1..3)
    });
    let most = if target == Target::Items { 3 } else { 1 };
    let only_if = prop::collection::vec(conditions_of(Dataset::CurrentUser, target), 0..most);
    (any::<bool>(), any_of, only_if).prop_map(|(include, any_of, only_if)| Expression {
        action: if include {
            Action::Include
        } else {
            Action::Exclude
        },
        any_of,
        only_if,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    prop::sample::select(vec![Target::Users, Target::Items]).prop_flat_map(|target| {
        prop::collection::vec(expression(target), 1..3).prop_map(move |expressions| Filter {
            target,
            expressions,
        })
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(filter in filter()) {
        let printed = filter.to_string();
        // Random strings can pass the limit, which is not what this is about.
        prop_assume!(printed.chars().count() <= crate::filter::EXPRESSION_CHARACTERS_MAX);
        prop_assert_eq!(Schemas::new().parse(&printed), Ok(filter), "{}", printed);
    }

    #[test]
    fn any_text_gives_a_filter_or_a_place_in_it(
        text in any::<String>(),
        soup in "((INCLUDE|UserID|WHERE|Users|AGE|TIER|IN|NOT|AND|OR|IF|CurrentItem|[.,()|*=<>!$\"'\\\\ \n\0]|[0-9]|\"x\")[ ]?){0,40}",
        start in 0..40_usize,
    ) {
        let schemas = Schemas::new();
        let head: String = "INCLUDE UserID WHERE Users.AGE > 1 AND ".chars().take(start).collect();
        for text in [&text, &soup, &format!("{head}{soup}")] {
            if let Err(error) = schemas.parse(text) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.position), "{}", text);
                prop_assert!(!error.detail.is_empty());
            }
            let _ = FilterValues::parse(text);
            let values = FilterValues::from_pairs([("V", text.as_str())]);
            for parsed in ["Users.TIER IN ($V)", "Users.AGE > $V"] {
                let filter = schemas.parse(&format!("INCLUDE UserID WHERE {parsed}")).unwrap();
                let _ = filter.bind(&values);
            }
        }
    }
}

// The independent evaluator: a filter is a list of parts, a part knows how it is written and whom it
// selects. Written from the description of the language; nothing of the parser's types is used.

#[derive(Clone, Debug)]
struct Part {
    keep: bool,
    on_events: bool,
    or: Vec<Vec<Ask>>,
}

#[derive(Clone, Debug)]
enum Ask {
    Among {
        column: usize,
        wanted: Vec<String>,
        not: bool,
        named: bool,
    },
    Than {
        column: usize,
        sign: &'static str,
        hundredths: i64,
        named: bool,
    },
    Event {
        wanted: Vec<String>,
        not: bool,
    },
    AnyEvent {
        not: bool,
    },
}

#[derive(Clone, Debug)]
struct Person {
    described: bool,
    words: [Option<String>; 2],
    /// AGE (int), POINTS (long): whole; SPEND (float), SCORE (double): hundredths.
    whole: [Option<i64>; 2],
    real: [Option<i64>; 2],
    events: Vec<Option<String>>,
}

const WORD_COLUMNS: [&str; 2] = ["COUNTRY", "NOTE"];
const NUMBER_COLUMNS: [&str; 4] = ["AGE", "POINTS", "SPEND", "SCORE"];
const WORDS: [&str; 5] = ["a", "A", "b", "new york", "ö"];
const EVENTS: [&str; 5] = ["Buy", "buy", "BUY", "watch", "ÖL"];

impl Person {
    fn passes(&self, parts: &[Part]) -> bool {
        let selected = |part: &Part| {
            part.or
                .iter()
                .any(|and| and.iter().filter(|ask| !self.answers(ask)).count() == 0)
        };
        let included: Vec<&Part> = parts.iter().filter(|part| part.keep).collect();
        let excluded = parts.iter().filter(|part| !part.keep).any(selected);
        let chosen = included.is_empty() || included.into_iter().any(selected);
        chosen && !excluded
    }

    fn answers(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Among {
                column,
                wanted,
                not,
                ..
            } => {
                let cell = match &self.words[*column] {
                    Some(cell) if self.described => cell.as_str(),
                    _ => "",
                };
                let mut own: BTreeSet<&str> = cell.split('|').collect();
                own.remove("");
                let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
                own.is_disjoint(&wanted) == *not
            }
            Ask::Event { wanted, not } => {
                let lower = |text: &String| {
                    text.chars()
                        .flat_map(char::to_lowercase)
                        .collect::<String>()
                };
                let own: BTreeSet<String> = self.events.iter().flatten().map(lower).collect();
                let wanted: BTreeSet<String> = wanted.iter().map(lower).collect();
                own.is_disjoint(&wanted) == *not
            }
            Ask::AnyEvent { not } => self.events.is_empty() == *not,
            Ask::Than {
                column,
                sign,
                hundredths,
                ..
            } => {
                if !self.described {
                    return *sign == "!=";
                }
                // In hundredths both sides are whole numbers.
                let own = if *column < 2 {
                    self.whole[*column].map(|value| value * 100)
                } else {
                    self.real[*column - 2]
                };
                match (own, *sign) {
                    (None, sign) => sign == "!=",
                    (Some(own), "=") => own == *hundredths,
                    (Some(own), "!=") => own != *hundredths,
                    (Some(own), "<") => own < *hundredths,
                    (Some(own), "<=") => own <= *hundredths,
                    (Some(own), ">") => own > *hundredths,
                    (Some(own), _) => own >= *hundredths,
                }
            }
        }
    }
}

impl FilterRow for Person {
    fn text(&self, field: &str) -> Option<&str> {
        let column = WORD_COLUMNS.iter().position(|name| *name == field).unwrap();
        self.words[column].as_deref().filter(|_| self.described)
    }

    fn number(&self, field: &str) -> Option<Cell> {
        let column = NUMBER_COLUMNS
            .iter()
            .position(|name| *name == field)
            .unwrap();
        let cell = match column {
            0 | 1 => self.whole[column].map(Cell::Whole),
            // As an import reads the column: from the decimal text.
            2 => {
                self.real[0].map(|value| Cell::Real(decimal(value).parse::<f32>().unwrap().into()))
            }
            _ => self.real[1].map(|value| Cell::Real(decimal(value).parse().unwrap())),
        };
        cell.filter(|_| self.described)
    }

    fn has_interactions(&self) -> bool {
        !self.events.is_empty()
    }

    fn event_types(&self) -> Vec<&str> {
        self.events.iter().flatten().map(String::as_str).collect()
    }
}

fn decimal(hundredths: i64) -> String {
    let minus = if hundredths < 0 { "-" } else { "" };
    let digits = hundredths.abs();
    format!("{minus}{}.{:02}", digits / 100, digits % 100)
}

fn sometimes<S: Strategy + 'static>(strategy: S) -> impl Strategy<Value = Option<S::Value>>
where
    S::Value: Clone,
{
    prop::option::weighted(0.7, strategy)
}

fn person() -> impl Strategy<Value = Person> {
    let cell = || {
        let words = prop::sample::select([WORDS.to_vec(), vec![""]].concat());
        sometimes(prop::collection::vec(words, 0..4).prop_map(|words| words.join("|")))
    };
    let events = sometimes(prop::sample::select(EVENTS.map(str::to_owned).to_vec()));
    (
        prop::bool::weighted(0.85),
        [cell(), cell()],
        [sometimes(-3..4_i64), sometimes(-3..4_i64)],
        [sometimes(-250..250_i64), sometimes(-250..250_i64)],
        prop::collection::vec(events, 0..3),
    )
        .prop_map(|(described, words, whole, real, events)| Person {
            described,
            words,
            whole,
            real,
            events,
        })
}

fn ask(on_events: bool) -> BoxedStrategy<Ask> {
    let wanted = |from: [&'static str; 5]| {
        prop::collection::vec(prop::sample::select(from.map(str::to_owned).to_vec()), 1..4)
    };
    if on_events {
        return prop_oneof![
            3 => (wanted(EVENTS), any::<bool>()).prop_map(|(wanted, not)| Ask::Event { wanted, not }),
            1 => any::<bool>().prop_map(|not| Ask::AnyEvent { not }),
        ]
        .boxed();
    }
    let signs = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let hundredths = prop_oneof![(-3..4_i64).prop_map(|whole| whole * 100), -250..250_i64];
    prop_oneof![
        (0..2_usize, wanted(WORDS), any::<bool>(), any::<bool>()).prop_map(
            |(column, wanted, not, named)| {
                Ask::Among {
                    column,
                    wanted,
                    not,
                    named: named && !not,
                }
            }
        ),
        (0..4_usize, signs, hundredths, any::<bool>()).prop_map(
            |(column, sign, hundredths, named)| {
                Ask::Than {
                    column,
                    sign,
                    hundredths,
                    named,
                }
            }
        ),
    ]
    .boxed()
}

fn part() -> impl Strategy<Value = Part> {
    (any::<bool>(), any::<bool>())
        .prop_flat_map(|(keep, on_events)| {
            let and = prop::collection::vec(ask(on_events), 1..4);
            (
                Just(keep),
                Just(on_events),
                prop::collection::vec(and, 1..4),
            )
        })
        .prop_map(|(keep, on_events, or)| Part {
            keep,
            on_events,
            or,
        })
}

/// The text of the filter, and what its parameters stand for.
fn written(parts: &[Part]) -> (String, Vec<(String, String)>) {
    let mut values = Vec::new();
    let quoted = |wanted: &[String]| {
        let each: Vec<_> = wanted.iter().map(|word| format!("\"{word}\"")).collect();
        each.join(",")
    };
    let mut right = |named: bool, literal: String| {
        if !named {
            return literal;
        }
        let name = format!("P{}", values.len());
        values.push((name.clone(), literal));
        format!("${name}")
    };
    let mut texts = Vec::new();
    for part in parts {
        let dataset = if part.on_events {
            "Interactions"
        } else {
            "Users"
        };
        let mut or = Vec::new();
        for conditions in &part.or {
            let mut and = Vec::new();
            for ask in conditions {
                let test = match ask {
                    Ask::Among {
                        column,
                        wanted,
                        not,
                        named,
                    } => {
                        let not = if *not { "NOT " } else { "" };
                        let list = right(*named, quoted(wanted));
                        format!("{} {not}IN ({list})", WORD_COLUMNS[*column])
                    }
                    Ask::Event { wanted, not } => {
                        let not = if *not { "not " } else { "" };
                        format!("EVENT_TYPE {not}in({})", quoted(wanted))
                    }
                    Ask::AnyEvent { not } => {
                        let not = if *not { "NOT " } else { "" };
                        format!("EVENT_TYPE {not}IN (\"*\")")
                    }
                    Ask::Than {
                        column,
                        sign,
                        hundredths,
                        named,
                    } => {
                        let number = right(*named, decimal(*hundredths));
                        format!("{}{sign}{number}", NUMBER_COLUMNS[*column])
                    }
                };
                and.push(format!("{dataset}.{test}"));
            }
            or.push(and.join(" AND "));
        }
        let action = if part.keep { "INCLUDE" } else { "EXCLUDE" };
        texts.push(format!("{action} UserID WHERE {}", or.join(" OR ")));
    }
    (texts.join("|"), values)
}

proptest! {
    #[test]
    fn filters_keep_whom_an_independent_evaluator_keeps(
        parts in prop::collection::vec(part(), 1..4),
        people in prop::collection::vec(person(), 1..20),
    ) {
        let (text, values) = written(&parts);
        prop_assume!(text.chars().count() <= crate::filter::EXPRESSION_CHARACTERS_MAX);
        let filter = Schemas::new().parse(&text);
        prop_assert!(filter.is_ok(), "{:?}: {}", filter, text);
        // More values than a line may have are of no matter to the binding.
        let bound = filter.unwrap().bind(&FilterValues::from_pairs(values)).unwrap();
        for person in &people {
            prop_assert_eq!(bound.keeps(person), person.passes(&parts), "{}: {:?}", text, person);
        }
    }
}
