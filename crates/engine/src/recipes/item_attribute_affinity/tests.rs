use super::*;
use crate::attributes::head::Form;
use crate::data::attributes::ItemAttributes;
use crate::data::table::{Column, Values};
use crate::progress::Silent;
use crate::train::fixtures::two_tastes;
use kindred_types::schema::{Field, FieldType};
use kindred_types::time::Timestamp;

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// Two halves of users and items; the items say which half is theirs, and which quarter.
fn data() -> TrainingData {
    let interactions = two_tastes(240, 80, 6000, 5);
    let column = |name: &str, values: Vec<String>| Column {
        field: Field {
            name: name.into(),
            kind: FieldType::String,
            nullable: true,
            categorical: true,
            textual: false,
        },
        values: Values::Text(values.into_iter().map(|text| Some(text.into())).collect()),
    };
    let items = 0..interactions.items.len();
    let half = items
        .clone()
        .map(|item| ["left", "right"][item / 40].to_owned());
    let part = items.map(|item| format!("part{}", item / 8));
    TrainingData {
        attributes: ItemAttributes {
            columns: vec![
                column("HALF", half.collect()),
                column("PART", part.collect()),
            ],
        },
        interactions,
    }
}

fn options(threads: usize) -> TrainOptions {
    TrainOptions {
        dimension: 32,
        seed: 11,
        threads,
        ..TrainOptions::default()
    }
}

fn trained(data: &TrainingData, threads: usize) -> Trained {
    train(data, &options(threads), &Silent, &Still).unwrap()
}

#[test]
fn the_users_of_a_half_are_found_and_the_card_says_how() {
    let found = trained(&data(), 2);
    let metrics = &found.metrics;
    assert_eq!(
        (metrics.queries, metrics.queries_found, metrics.k),
        (12, 12, 2)
    );
    for baseline in &metrics.baselines {
        assert!(
            metrics.recall_at_1_percent > 1.2 * baseline.recall_at_1_percent,
            "{metrics:?}"
        );
    }
    let head = found.model.head().unwrap();
    assert_eq!(head.columns.len(), 2);
    assert_eq!(head.candidates.len(), 14);
    assert!(head.validation_queries >= 8);
    let figure = |wanted: fn(&Form) -> bool| {
        let fitting = head.candidates.iter().filter(|found| wanted(&found.form));
        fitting
            .map(|found| found.recall_at_1_percent)
            .fold(0.0, f64::max)
    };
    let lambda = figure(|form| matches!(form, Form::Mix { exponent: 0.0, .. }));
    assert!(figure(|_| true) > lambda, "{head:?}");
    assert!(figure(|form| matches!(form, Form::LogLinear { .. })) > lambda);
    assert_eq!(found.model.card().recipe, RECIPE_ITEM_ATTRIBUTE_AFFINITY);
    assert_eq!(found.model.card().metrics.as_ref(), Some(metrics));

    // Nearly all of the best users of a half belong to it.
    let index = found.model.index();
    let queries = [[0u32], [1]];
    assert_eq!(index.describe(1), ("HALF", "right".to_owned()));
    let model = Arc::new(found.model);
    let rankings = AttributeScorer::new(model, None)
        .top_users(&queries, 60, 2)
        .unwrap();
    let in_left = |users: &[u32]| users.iter().filter(|&&user| user < 120).count();
    let found = (in_left(&rankings[0].users), in_left(&rankings[1].users));
    assert!(found.0 > 55 && found.1 < 15, "{found:?}");
}

#[test]
fn the_form_that_serves_predicts_as_many_visits_as_there_were() {
    // The head is fitted on the last horizon, so its probabilities add up to the visits there.
    let data = data();
    let whole = Prefix::whole(&data.interactions);
    let index = AttributeIndex::new(&data.attributes).unwrap();
    let costs = Costs::new(&data.interactions, &options(2));
    let mut work = Work::new(&Silent, &Still, costs, 2, false);
    let before = whole.before(180 * 86_400);
    let earlier = item_affinity::fit(
        &before,
        &data.attributes,
        Question::NextHorizon,
        &options(2),
        &mut work,
    )
    .unwrap();
    let earlier = with_counts(earlier, &before, &index).unwrap();
    let users = before.known_users();
    let lessons = lessons(&index, &before, &whole);
    let visits: usize = lessons.iter().map(|lesson| lesson.actual.len()).sum();
    let taught = |value: &u32| {
        let items = index.items_with(*value);
        lessons.iter().any(|lesson| lesson.items == items)
    };
    let values = (0..index.len() as u32).filter(taught);
    let queries: Vec<[u32; 1]> = values.map(|value| [value]).collect();
    assert!(queries.len() > 8 && queries.len() == lessons.len());
    let (head, note) = attributes::fit(&earlier, &users, lessons);
    assert_eq!(note, None);
    let linear = head
        .candidates
        .iter()
        .map(|candidate| candidate.form)
        .find(|form| matches!(form, Form::LogLinear { .. }))
        .unwrap();
    for form in [head.form, linear] {
        let scorer = AttributeScorer::new(Arc::new(earlier.clone()), Some(&users)).with_form(form);
        let rankings = scorer.top_users(&queries, users.len(), 2).unwrap();
        let expected: f64 = rankings
            .iter()
            .flat_map(|ranking| &ranking.scores)
            .map(|&score| -libm::expm1(-libm::exp(f64::from(score))))
            .sum();
        let ratio = expected / visits as f64;
        assert!(
            (ratio - 1.0).abs() < 0.05,
            "{form:?}: {expected} of {visits}"
        );
    }
}

#[test]
fn the_same_model_for_any_number_of_threads() {
    let data = data();
    let first = trained(&data, 1);
    for threads in [2, 3, 8] {
        let other = trained(&data, threads);
        assert!(other.model == first.model, "{threads} threads");
    }
}

#[test]
fn little_data_gets_the_default_mixture_and_says_so() {
    let mut data = data();
    for time in &mut data.interactions.event_times {
        *time = 1_000_000;
    }
    let found = trained(&data, 2);
    assert_eq!(found.model.head().unwrap().form, Form::DEFAULT);
    let notes = found.model.card().notes.join("\n");
    assert!(notes.contains("scored by the default mixture"), "{notes}");
}

#[test]
fn items_without_a_usable_column_are_refused_in_words() {
    let mut data = data();
    for column in &mut data.attributes.columns {
        column.field.textual = true;
    }
    for columns in [data.attributes.columns.clone(), Vec::new()] {
        data.attributes.columns = columns;
        let error = train(&data, &options(1), &Silent, &Still).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("needs an Items dataset with at least one column")
        );
    }
}
