//! Queries with candidates of their own against brute force, in every way to answer them.

use std::sync::Arc;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};

use super::*;
use crate::model::Model;
use crate::score::tests::{brute_force, models};

const WAYS: [Option<Way>; 4] = [None, Some(Way::OneByOne), Some(Way::Pack), Some(Way::Mask)];

/// A group as brute force reads it.
type Asked = (Option<Vec<u32>>, Vec<u32>);

fn expected(
    model: &Model,
    groups: &[Asked],
    candidates: Option<&[u32]>,
    interacted: Option<&Interacted>,
    k: usize,
) -> Vec<Ranking> {
    let all: Vec<u32> = (0..model.users().len() as u32).collect();
    let base: Vec<u32> = candidates.unwrap_or(&all).to_vec();
    let mut rankings = Vec::new();
    for (users, items) in groups {
        for &item in items {
            let mut left = base.clone();
            left.retain(|user| users.as_ref().is_none_or(|users| users.contains(user)));
            left.retain(|user| interacted.is_none_or(|out| !out.of(item).contains(user)));
            rankings.push(brute_force(model, item as usize, k, Some(&left)));
        }
    }
    rankings
}

fn check(
    model: &Arc<Model>,
    groups: &[Asked],
    candidates: Option<&[u32]>,
    interacted: Option<&Interacted>,
    k: usize,
) {
    let expected = expected(model, groups, candidates, interacted, k);
    let groups: Vec<Group<'_>> = groups
        .iter()
        .map(|(users, items)| Group {
            users: users.as_ref().map(|users| users.iter().copied().collect()),
            items,
        })
        .collect();
    let scorer = Scorer::new(model.clone(), candidates);
    for way in WAYS {
        for threads in [1, 3] {
            let found = scorer.top_users_by(&groups, interacted, k, threads, way);
            assert_eq!(found.unwrap(), expected, "{way:?} {threads}");
        }
    }
}

/// Every share-th user.
fn some(users: usize, share: usize, from: usize) -> Option<Vec<u32>> {
    Some((from as u32..users as u32).step_by(share).collect())
}

fn pairs(users: usize, items: usize, seed: u64) -> Interacted {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut pairs = Vec::new();
    for item in 0..items as u32 {
        for user in 0..users as u32 {
            if random.random_range(0..7) == 0 {
                pairs.push((item, user));
            }
        }
    }
    Interacted::of_pairs(items, &pairs)
}

#[test]
fn groups_of_several_shapes() {
    for (users, items, dimension) in [(1, 1, 1), (40, 7, 5), (3000, 20, 9)] {
        let model = Arc::new(Model::generated(users, items, dimension, users as u64));
        let every: Vec<u32> = (0..items as u32).collect();
        let few: Vec<u32> = every.iter().copied().step_by(3).collect();
        let groups = [
            (some(users, 2, 0), every.clone()),
            (Some(vec![]), few.clone()),
            (some(users, 100, 1), few.clone()),
            (None, every.clone()),
            (Some(vec![users as u32 - 1]), every.clone()),
            (some(users, 1, 0), few),
            (some(users, 3, 0), vec![]),
        ];
        let interacted = pairs(users, items, 5);
        for k in [1, 4, users + 1] {
            check(&model, &groups, None, None, k);
            check(&model, &groups, None, Some(&interacted), k);
            let candidates = some(users, 3, 0);
            check(&model, &groups, candidates.as_deref(), Some(&interacted), k);
            check(&model, &groups, Some(&[]), Some(&interacted), k);
        }
    }
}

#[test]
fn a_pack_too_large_to_share_the_memory_is_right_too() {
    let users = 20_000;
    let dimension = PACK_BYTES_BESIDE / (4 * users) + 20;
    let model = Arc::new(Model::generated(users, 3, dimension, 9));
    let groups = [
        (some(users, 50, 0), vec![0, 2]),
        (Some((0..users as u32 - 5).collect()), vec![0, 1, 2]),
    ];
    check(&model, &groups, None, None, 30);
}

proptest! {
    #[test]
    fn any_model_and_any_candidates_give_what_brute_force_gives(
        (model, sets, out, k) in models().prop_flat_map(|model| {
            let (n, m) = (model.users().len() as u32, model.items().len() as u32);
            let set = prop::option::of(prop::collection::vec(0..n, 0..n as usize + 1));
            let sets = prop::collection::vec((set, prop::collection::vec(0..m, 0..4)), 0..6);
            let out = prop::option::of(prop::collection::vec((0..m, 0..n), 0..100));
            (Just(model), sets, out, 1usize..90)
        })
    ) {
        let out = out.map(|pairs| Interacted::of_pairs(model.items().len(), &pairs));
        check(&Arc::new(model), &sets, None, out.as_ref(), k);
    }
}
