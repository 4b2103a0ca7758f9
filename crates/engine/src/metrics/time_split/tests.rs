//! Every figure by hand on a toy case; on generated data any number of threads gives the same.

use super::*;
use crate::data::attributes::ItemAttributes;
use crate::data::table::{Column, Values};
use crate::interactions::Interactions;
use crate::train::fixtures::{interactions, two_tastes};
use kindred_types::schema::{Field, FieldType};
use std::sync::Arc;

const DAY: i64 = 86_400;

/// Ranks by a table: for each item all users, best first, with log expected events 0, −1, −2, …
struct Table(Vec<Vec<u32>>);

impl Ranks for Table {
    fn block_len(&self, _: usize) -> usize {
        2
    }

    fn top(&self, queries: &[&[u32]], k: usize) -> Vec<Ranking> {
        let ranking = |users: &Vec<u32>| Ranking {
            users: users.iter().copied().take(k).collect(),
            scores: (0..users.len().min(k))
                .map(|place| -(place as f32))
                .collect(),
        };
        // A set is answered as its first item.
        queries
            .iter()
            .map(|items| ranking(&self.0[items[0] as usize]))
            .collect()
    }

    fn log_constant(&self, _: &[u32]) -> f64 {
        1.0
    }

    fn query_cost(&self) -> usize {
        1
    }

    fn horizon_seconds(&self) -> Option<i64> {
        Some(5 * DAY)
    }
}

/// Five users (K = 1, 20 % = 1) before day 100, and what they did in the ten days after.
const TOY: [(&str, &str, i64); 16] = [
    ("a", "x", 10),
    ("a", "x", 20),
    ("a", "y", 30),
    ("b", "x", 95),
    ("b", "y", 96),
    ("c", "y", 40),
    ("d", "z", 50),
    ("e", "z", 99),
    // After.
    ("a", "x", 101),
    ("b", "x", 102),
    ("b", "x", 103),
    ("d", "x", 104),
    ("c", "y", 109),
    ("c", "z", 100),
    ("e", "y", 110),
    ("f", "z", 105),
];

fn toy() -> Cut {
    let rows: Vec<(&str, &str, i64)> = TOY.iter().map(|&(u, i, t)| (u, i, t * DAY)).collect();
    let data = TrainingData::bare(interactions(&rows));
    Cut::new(&data, 100 * DAY, 10 * DAY)
}

fn run(ranks: &dyn Ranks, cut: &Cut, protocol: &Protocol, threads: usize) -> Evaluation {
    time_split(ranks, cut, protocol, threads).unwrap()
}

fn by_name<'e>(found: &'e Evaluation, name: &str) -> &'e Figures {
    let named = found.baselines.iter().find(|named| named.name == name);
    &named.unwrap().figures
}

fn near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-12,
        "{found} is not {expected}"
    );
}

#[test]
fn every_figure_of_the_toy_case() {
    let cut = toy();
    let (a, b, c, d, e) = (0, 1, 2, 3, 4);
    // x: a, b and d came, d for the first time. y: c came. z: c came for the first time.
    let ranks = Table(vec![
        vec![a, b, d, e, c],
        vec![b, a, c, d, e],
        vec![c, d, e, a, b],
    ]);
    let found = run(&ranks, &cut, &Protocol::default(), 1);
    assert_eq!((found.population, found.k), (5, 1));
    assert_eq!((found.queries, found.queries_asked), (3, 3));
    assert_eq!((found.split, found.horizon_seconds), (100 * DAY, 10 * DAY));
    near(found.model.hits_at_1_percent, 2.0 / 3.0);
    near(
        found.model.recall_at_1_percent,
        (1.0 / 3.0 + 0.0 + 1.0) / 3.0,
    );
    near(found.model.coverage, 3.0 / 5.0);
    // x without a and b: d, right. z without d and e: c, right. y has no first time.
    near(found.first_time_recall, 1.0);
    assert_eq!(found.first_time_queries, 2);

    // Most active: a (3 events), then b (2). Most recent: e, then b.
    let active = by_name(&found, "most_active");
    near(active.recall_at_1_percent, 1.0 / 9.0);
    near(active.coverage, 0.2);
    near(active.first_time_recall, 0.0);
    let recent = by_name(&found, "most_recent");
    near(recent.recall_at_1_percent, 0.0);
    near(recent.first_time_recall, 0.0);
    // Own history of x: b (share about a half, two recent events) before a; y: b's share is a half
    // times 3, c's 1 times 1; z: e (1 recent) before d.
    let own = by_name(&found, "own_history");
    near(own.recall_at_1_percent, 1.0 / 9.0);
    near(own.coverage, 2.0 / 5.0);
    // Lists of a, b and c: nothing shared; one of three is the most active user.
    near(found.overlap, 0.0);
    near(found.overlap_most_active, 1.0 / 3.0);
}

#[test]
fn lift_and_calibration_of_the_toy_case() {
    let ranks = Table(vec![
        vec![0, 1, 3, 4, 2],
        vec![1, 0, 2, 3, 4],
        vec![2, 3, 4, 0, 1],
    ]);
    let found = run(&ranks, &toy(), &Protocol::default(), 1);
    let sizes: Vec<(f64, usize)> = found.lift.iter().map(|at| (at.percent, at.users)).collect();
    assert_eq!(
        sizes,
        [(0.5, 1), (1.0, 1), (2.0, 1), (5.0, 1), (10.0, 1), (20.0, 1)]
    );
    for point in &found.lift {
        near(point.recall, 4.0 / 9.0);
        near(point.lift, 4.0 / 9.0 * 5.0);
    }
    // The first place of three lists: e expected events in five days, twice as many in ten.
    let calibration = &found.calibration;
    let probability = 1.0 - (-2.0 * 1.0f64.exp()).exp();
    near(calibration.rate_scale, 2.0);
    near(calibration.predicted_total, 3.0 * probability);
    assert_eq!(calibration.happened_total, 2);
    assert_eq!(calibration.bins.iter().map(|bin| bin.pairs).sum::<u64>(), 3);
}

#[test]
fn first_times_only_leave_out_who_was_there_before() {
    let ranks = Table(vec![
        vec![0, 1, 2, 3, 4],
        vec![1, 0, 2, 3, 4],
        vec![2, 3, 4, 0, 1],
    ]);
    let protocol = Protocol {
        first_time_only: true,
        ..Protocol::default()
    };
    let found = run(&ranks, &toy(), &protocol, 1);
    assert_eq!((found.queries, found.queries_asked), (2, 3));
    // x: c is listed, d came. z: c is listed and came.
    near(found.model.recall_at_1_percent, 0.5);
    assert_eq!(
        found.model.first_time_recall,
        found.model.recall_at_1_percent
    );
    // The list of x starts without a and b, that of z without d and e.
    near(by_name(&found, "most_active").recall_at_1_percent, 0.0);
    near(found.overlap, 1.0);
    near(found.lift[5].recall, 0.5);
    assert_eq!(found.calibration.happened_total, 1);
}

#[test]
fn queries_can_be_named_and_can_be_sets() {
    let ranks = Table(vec![
        vec![0, 1, 3, 4, 2],
        vec![1, 0, 2, 3, 4],
        vec![2, 3, 4, 0, 1],
    ]);
    let mut queries = Queries::of_items([2]);
    queries.push(&[0, 1]);
    let protocol = Protocol {
        queries: Some(queries),
        ..Protocol::default()
    };
    let found = run(&ranks, &toy(), &protocol, 1);
    // z: c came. x or y: a, b, c, d came and a is listed; d alone is new, and listed after a, b, c.
    assert_eq!((found.queries, found.first_time_queries), (2, 2));
    near(found.model.recall_at_1_percent, (1.0 + 0.25) / 2.0);
    near(found.first_time_recall, 1.0);
}

#[test]
fn items_without_a_past_are_measured_by_themselves() {
    let mut rows: Vec<(&str, &str, i64)> = TOY.to_vec();
    rows.extend(["a", "b", "c", "d", "e"].map(|user| (user, "w", 105)));
    rows.extend(["a", "b", "c", "d"].map(|user| (user, "v", 105)));
    rows.extend(["b", "c", "d", "e", "f"].map(|user| (user, "u", 105)));
    let rows: Vec<(&str, &str, i64)> = rows.iter().map(|&(u, i, t)| (u, i, t * DAY)).collect();
    let data = interactions(&rows);
    assert_eq!(data.items, ["u", "v", "w", "x", "y", "z"]);
    let column = Column {
        field: Field {
            name: "SIZE".into(),
            kind: FieldType::Long,
            nullable: true,
            categorical: false,
            textual: false,
        },
        values: Values::Long(vec![Some(1); 6]),
    };
    let data = TrainingData {
        interactions: data,
        attributes: ItemAttributes {
            columns: vec![column],
        },
    };
    let cut = Cut::new(&data, 100 * DAY, 10 * DAY);
    let list = vec![3, 1, 2, 0, 4];
    let found = run(&Table(vec![list; 6]), &cut, &Protocol::default(), 1);
    // Only w has five users of the population; they are no query otherwise, not even if named.
    assert_eq!((found.queries, found.queries_asked), (3, 3));
    let named = Protocol {
        queries: Some(Queries::of_items([2, 3])),
        ..Protocol::default()
    };
    let found_named = run(&Table(vec![vec![3, 1, 2, 0, 4]; 6]), &cut, &named, 1);
    assert_eq!((found_named.queries, found_named.queries_asked), (1, 1));
    assert_eq!(found_named.cold_items, found.cold_items);
    let cold = found.cold_items.unwrap();
    assert_eq!(cold.queries, 1);
    near(cold.model.figures.recall_at_1_percent, 0.2);
    assert_eq!(cold.model.recall_interval, [0.2, 0.2]);
    assert_eq!(cold.model.gain_interval, [0.0, 0.0]);
    assert_eq!(cold.baselines[1].name, "most_active");
    near(cold.baselines[1].figures.hits_at_1_percent, 1.0);
    assert_eq!(
        run(&Table(vec![vec![0]; 3]), &toy(), &Protocol::default(), 1).cold_items,
        None
    );
}

fn trained(data: &Interactions, time: i64) -> (crate::score::Scorer, Cut) {
    let cut = Cut::new(&TrainingData::bare(data.clone()), time, 20 * DAY);
    let options = TrainOptions {
        dimension: 32,
        seed: 7,
        threads: 2,
        ..TrainOptions::default()
    };
    let silent = crate::progress::Silent;
    let model = delivered_item_model(&cut.training, &options, &silent, &Still).unwrap();
    (crate::score::Scorer::new(Arc::new(model), None), cut)
}

/// No time passes.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> kindred_types::time::Timestamp {
        kindred_types::time::Timestamp(0)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

#[test]
fn generated_data_beats_the_baselines_with_any_number_of_threads() {
    let data = two_tastes(400, 60, 12_000, 9);
    let (scorer, cut) = trained(&data, 170 * DAY);
    let found = run(&scorer, &cut, &Protocol::default(), 1);
    assert_eq!(found.k, found.population.div_ceil(100));
    assert!(found.queries > 40 && found.queries <= 60);
    for name in ["random", "most_active", "most_recent"] {
        let baseline = by_name(&found, name);
        assert!(
            found.model.recall_at_1_percent > baseline.recall_at_1_percent,
            "{found:?}"
        );
        assert!(baseline.coverage > 0.0 && baseline.coverage <= 1.0);
    }
    // Larger lists find more, and less per place.
    for pair in found.lift.windows(2) {
        assert!(
            pair[0].recall <= pair[1].recall && pair[1].lift > 1.0,
            "{pair:?}"
        );
    }
    near(found.lift[1].recall, found.model.recall_at_1_percent);
    // Random lists have a lift of 1: recall is the share of the population.
    let share = found.k as f64 / found.population as f64;
    let by_chance = by_name(&found, "random").recall_at_1_percent;
    assert!(
        (by_chance - share).abs() < 3.0 * share,
        "{by_chance} {share}"
    );
    let (predicted, happened) = (
        found.calibration.predicted_total,
        found.calibration.happened_total as f64,
    );
    assert!(
        predicted / happened > 0.5 && predicted / happened < 2.0,
        "{found:?}"
    );

    for threads in [2, 8] {
        assert_eq!(run(&scorer, &cut, &Protocol::default(), threads), found);
    }
    let protocol = Protocol {
        first_time_only: true,
        ..Protocol::default()
    };
    let first = run(&scorer, &cut, &protocol, 2);
    assert_eq!(first.model.recall_at_1_percent, first.first_time_recall);
    assert_eq!(first.first_time_recall, found.first_time_recall);
    assert_eq!(first.queries, found.first_time_queries);
}

#[test]
fn nothing_that_came_later_reaches_the_model() {
    let data = two_tastes(120, 40, 3_000, 5);
    let (scorer, cut) = trained(&data, 150 * DAY);
    // Another future: the same users come for other items.
    let mut other = data.clone();
    for event in 0..other.len() {
        if other.event_times[event] >= 150 * DAY {
            other.event_items[event] = (other.event_items[event] + 7) % 40;
        }
    }
    let (again, other_cut) = trained(&other, 150 * DAY);
    assert_eq!(scorer.model(), again.model());
    assert_eq!(cut.training, other_cut.training);
    let (found, others) = (
        run(&scorer, &cut, &Protocol::default(), 1),
        run(&again, &other_cut, &Protocol::default(), 1),
    );
    assert_ne!(found.model, others.model);
}
