//! Top-k against brute force.

use proptest::prelude::*;

use super::*;
use crate::model::{Card, History, Parts};

/// Every user scored in the order of the definition, all sorted.
pub(super) fn brute_force(
    model: &Model,
    item: usize,
    k: usize,
    candidates: Option<&[u32]>,
) -> Ranking {
    let query = model.item_vector(item);
    let (users, scores) = model.history().of(item);
    let mut all: Vec<(f64, u32)> = (0..model.users().len() as u32)
        .filter(|user| candidates.is_none_or(|candidates| candidates.contains(user)))
        .map(|user| match users.binary_search(&user) {
            Ok(place) => (f64::from(scores[place]) + 0.0, user),
            Err(_) => {
                let mut sums = [0.0f64; 4];
                for (j, (q, p)) in query
                    .iter()
                    .zip(model.user_vector(user as usize))
                    .enumerate()
                {
                    sums[j % 4] += f64::from(*q) * f64::from(*p);
                }
                let offset = f64::from(model.user_offset(user as usize));
                (
                    (sums[0] + sums[1]) + (sums[2] + sums[3]) + offset + 0.0,
                    user,
                )
            }
        })
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    Ranking {
        users: all.iter().map(|entry| entry.1).collect(),
        scores: all.iter().map(|entry| entry.0 as f32).collect(),
    }
}

fn check(model: &Arc<Model>, k: usize, candidates: Option<&[u32]>) {
    let items: Vec<u32> = (0..model.items().len() as u32).collect();
    let expected: Vec<Ranking> = items
        .iter()
        .map(|&item| brute_force(model, item as usize, k, candidates))
        .collect();
    for kernel in kernel::all() {
        let scorer = Scorer::with_kernel(model.clone(), candidates, kernel);
        for threads in [1, 3] {
            assert_eq!(
                scorer.top_users(&items, k, threads).unwrap(),
                expected,
                "{}",
                kernel.name
            );
        }
    }
}

#[test]
fn generated_models_of_several_shapes() {
    for (users, items, dimension) in [
        (1, 1, 1),
        (15, 7, 3),
        (16, 6, 8),
        (1000, 40, 9),
        (5000, 13, 33),
    ] {
        let model = Arc::new(Model::generated(users, items, dimension, users as u64));
        for k in [1, 2, 25, users, users + 7] {
            check(&model, k, None);
        }
        let some: Vec<u32> = (0..users as u32)
            .filter(|user| user % 3 == 0)
            .rev()
            .collect();
        check(&model, 5, Some(&some));
        check(&model, 5, Some(&[]));
    }
}

#[test]
fn a_query_leaves_the_scan_when_nothing_ahead_can_matter() {
    // One user towers above a hundred chunks of others; with a bound that never ended the scan this
    // would still be right, so the exit itself is looked at.
    let mut model = Model::generated(30_000, 3, 4, 1);
    let mut parts = parts_of(&model);
    parts.history = empty_history(3);
    for vector in parts.user_vectors.chunks_exact_mut(4) {
        vector.fill(0.01);
    }
    parts.user_vectors[4 * 17..4 * 18].fill(100.0);
    parts.item_vectors.fill(1.0);
    parts.user_offsets.fill(0.0);
    model = Model::new(parts).unwrap();
    let scorer = Scorer::new(Arc::new(model), None);
    let best = scorer.top_users(&[0], 1, 1).unwrap();
    assert_eq!((best[0].users[0], best[0].scores[0]), (17, 400.0));
    let tiles = scorer.tiles();
    assert_eq!(tiles.total, 30_000 / 16);
    assert!(tiles.computed <= 2 * kernel::PANELS as u64, "{tiles:?}");
}

#[test]
fn lists_of_many_users_begin_with_a_guess() {
    let model = Arc::new(Model::generated(9000, 7, 8, 5));
    for k in [256, 300, 2500, 5000, 8999] {
        check(&model, k, None);
    }
}

#[test]
fn a_guess_that_is_too_high_is_taken_back() {
    // All users are as promising; the only chunk that is looked at has all the good ones, too few.
    let (users, chunk) = (17 * 256, 8 * 256..9 * 256);
    let vectors = (0..users).flat_map(|user| [if chunk.contains(&user) { 1.0 } else { -1.0 }, 0.0]);
    let model = Model::from_vectors(2, vectors.collect(), vec![1.0, 0.0, 0.0, 1.0]).unwrap();
    check(&Arc::new(model), 300, None);
}

fn parts_of(model: &Model) -> Parts {
    let (n, m) = (model.users().len(), model.items().len());
    Parts {
        dimension: model.dimension(),
        users: model.users().to_vec(),
        items: model.items().to_vec(),
        user_vectors: (0..n)
            .flat_map(|user| model.user_vector(user).to_vec())
            .collect(),
        user_offsets: (0..n).map(|user| model.user_offset(user)).collect(),
        user_log_rates: vec![0.0; n],
        item_vectors: (0..m)
            .flat_map(|item| model.item_vector(item).to_vec())
            .collect(),
        item_offsets: vec![0.0; m],
        history: model.history().clone(),
        card: Card::default(),
    }
}

fn empty_history(items: usize) -> History {
    History {
        starts: vec![0; items + 1],
        ..History::default()
    }
}

fn values() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => (-4i8..=4).prop_map(f32::from),
        3 => -1.0f32..1.0,
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(1e-41),
        1 => Just(-1e-38),
        1 => -1e15f32..1e15,
    ]
}

pub(super) fn models() -> impl Strategy<Value = Model> {
    (1usize..70, 1usize..9, 1usize..20).prop_flat_map(|(n, m, d)| {
        let offset = prop_oneof![4 => values(), 1 => Just(3e38f32), 1 => Just(-3e38f32)];
        (
            prop::collection::vec(values(), n * d),
            prop::collection::vec(offset, n),
            prop::collection::vec(values(), m * d),
            prop::collection::vec(prop::option::weighted(0.2, values()), n * m),
        )
            .prop_map(move |(user_vectors, user_offsets, item_vectors, pairs)| {
                let mut history = empty_history(m);
                for item in 0..m {
                    for user in 0..n {
                        if let Some(score) = pairs[item * n + user] {
                            history.users.push(user as u32);
                            history.scores.push(score);
                        }
                    }
                    history.starts[item + 1] = history.users.len();
                }
                Model::new(Parts {
                    dimension: d,
                    users: (0..n).map(|user| format!("{user:03}")).collect(),
                    items: (0..m).map(|item| format!("{item:03}")).collect(),
                    user_vectors,
                    user_offsets,
                    user_log_rates: vec![0.0; n],
                    item_vectors,
                    item_offsets: vec![0.0; m],
                    history,
                    card: Card::default(),
                })
                .unwrap()
            })
    })
}

proptest! {
    #[test]
    fn any_model_gives_what_brute_force_gives(model in models(), k in 1usize..90) {
        check(&Arc::new(model), k, None);
    }
}
