use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::score::attribute_fixtures::{KAPPA, PI, generated};

/// log μ by the definition, in f64, item by item.
fn by_definition(model: &AttributeModel, form: &Form, values: &[u32], user: usize) -> f64 {
    let towers = model.model();
    let items = model.index().items_with_all(values);
    let (mut mass, mut events, mut recent, mut popularity) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for &item in &items {
        let item = item as usize;
        let product: f64 = towers
            .user_vector(user)
            .iter()
            .zip(towers.item_vector(item))
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum();
        let log_z = f64::from(towers.user_log_rate(user)) - f64::from(towers.user_offset(user));
        let constant = f64::from(towers.item_offset(item)) - (1.0 - PI).ln();
        let mut p = (product + constant - log_z).min(0.0).exp();
        let (users, counts, lately) = model.counts().of(item);
        if let Ok(place) = users.binary_search(&(user as u32)) {
            p = (p * KAPPA).min(1.0);
            events += f64::from(counts[place]);
            recent += f64::from(lately[place]);
        }
        mass += p;
        popularity += counts.iter().map(|&count| f64::from(count)).sum::<f64>();
    }
    let popularity = popularity.max(0.5) / model.events();
    let (all, lately) = model.user_totals(user);
    let share = (events + 20.0 * popularity) / (f64::from(all) + 20.0);
    let recent = (recent + 5.0 * popularity) / (f64::from(lately) + 5.0);
    let rate = f64::from(towers.user_log_rate(user));
    match *form {
        Form::Mix {
            share_weight,
            exponent,
            log_scale,
        } => {
            let p = share_weight * share + (1.0 - share_weight) * mass;
            rate + exponent * p.max(1e-12).ln() + log_scale
        }
        Form::LogLinear { weights } => {
            let features = [
                1.0,
                rate,
                share.ln(),
                mass.max(1e-12).ln(),
                recent.ln(),
                popularity.ln(),
            ];
            features.iter().zip(weights).map(|(a, b)| a * b).sum()
        }
    }
}

fn forms() -> [Form; 2] {
    [
        Form::Mix {
            share_weight: 0.5,
            exponent: 0.75,
            log_scale: 0.3,
        },
        Form::LogLinear {
            weights: [0.5, 1.1, 0.7, 0.4, 0.2, -0.1],
        },
    ]
}

#[test]
fn the_fused_pass_agrees_with_the_definition() {
    // More users than a block and more items than a tile, neither a multiple.
    let (users, items) = (BLOCK_USERS + 37, TILE_ITEMS + 90);
    let model = Arc::new(generated(users, items, 4, 3));
    let queries = [vec![0], vec![3], vec![1, 2], vec![0, 1, 2, 3]];
    for form in forms() {
        let scorer = AttributeScorer::new(model.clone(), None).with_form(form);
        let rankings = scorer.top_users(&queries, users, 2).unwrap();
        for (query, ranking) in queries.iter().zip(rankings) {
            assert_eq!(ranking.users.len(), users);
            let ordered = ranking.scores.windows(2).zip(ranking.users.windows(2));
            for (scores, users) in ordered {
                assert!(scores[0] > scores[1] || (scores[0] == scores[1] && users[0] < users[1]));
            }
            for (&user, &score) in ranking.users.iter().zip(&ranking.scores) {
                let expected = by_definition(&model, &form, query, user as usize);
                let error = (f64::from(score) - expected).abs();
                assert!(error < 2e-4, "{query:?} {user}: {score} {expected}");
            }
        }
    }
}

#[test]
fn threads_and_candidates_do_not_change_a_byte_of_the_scores() {
    let users = 3 * BLOCK_USERS + 5;
    let model = Arc::new(generated(users, 60, 5, 9));
    let queries: Vec<Vec<u32>> = (0..5).map(|v| vec![v]).chain([vec![0, 4]]).collect();
    let scorer = AttributeScorer::new(model.clone(), None).with_form(forms()[1]);
    let all = scorer.top_users(&queries, users, 1).unwrap();
    for threads in [2, 3, 8] {
        assert_eq!(scorer.top_users(&queries, users, threads).unwrap(), all);
    }
    let best = scorer.top_users(&queries, 10, 2).unwrap();
    for (best, all) in best.iter().zip(&all) {
        assert_eq!(best.users, all.users[..10]);
        assert_eq!(best.scores, all.scores[..10]);
    }
    let some: Vec<u32> = (0..users as u32)
        .filter(|user| user % 3 == 1)
        .rev()
        .collect();
    let scorer = AttributeScorer::new(model, Some(&some)).with_form(forms()[1]);
    assert_eq!(scorer.len(), some.len());
    for (found, all) in scorer
        .top_users(&queries, users, 2)
        .unwrap()
        .iter()
        .zip(&all)
    {
        let expected: Vec<u32> = all
            .users
            .iter()
            .copied()
            .filter(|user| user % 3 == 1)
            .collect();
        assert_eq!(found.users, expected);
    }
}

#[test]
fn candidates_of_a_query_and_users_left_out_do_not_change_a_byte_of_the_scores() {
    let users = 3 * BLOCK_USERS + 5;
    let model = Arc::new(generated(users, 60, 5, 9));
    let scorer = AttributeScorer::new(model.clone(), None).with_form(forms()[1]);
    let of_share =
        |share: u32| -> UserSet { (0..users as u32).filter(|user| user % share == 1).collect() };
    let (first, second) = ([vec![0], vec![1, 2]], [vec![3]]);
    let third = [vec![0], vec![4], vec![2]];
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut pairs = Vec::new();
    for item in 0..60 {
        pairs.extend((0..5).map(|_| (item, random.random_range(0..users as u32))));
    }
    let interacted = Interacted::of_pairs(60, &pairs);
    // Small sets are ranked apart, overlapping large ones together.
    for shares in [[Some(90), Some(70), Some(50)], [Some(2), None, Some(2)]] {
        let set = |number: usize| shares[number].map(of_share);
        let groups =
            [(0, &first[..]), (1, &second[..]), (2, &third[..])].map(|(number, queries)| {
                AttributeGroup {
                    users: set(number),
                    queries,
                }
            });
        for interacted in [None, Some(&interacted)] {
            for (k, threads) in [(users, 1), (users, 3), (9, 2)] {
                let found = scorer
                    .top_users_among(&groups, interacted, k, threads)
                    .unwrap();
                let mut found = found.into_iter();
                for group in &groups {
                    for query in group.queries {
                        let out = interacted
                            .map(|out| out.of_any(&model.index().items_with_all(query)))
                            .unwrap_or_default();
                        let all = scorer.top_users(&[query], users, 1).unwrap();
                        let all = all[0].users.iter().zip(&all[0].scores);
                        let expected: Vec<(u32, f32)> = all
                            .map(|(&user, &score)| (user, score))
                            .filter(|(user, _)| {
                                group.users.as_ref().is_none_or(|set| set.contains(*user))
                                    && !out.contains(*user)
                            })
                            .take(k)
                            .collect();
                        let found = found.next().unwrap();
                        let found: Vec<(u32, f32)> =
                            found.users.into_iter().zip(found.scores).collect();
                        assert_eq!(found, expected);
                    }
                }
            }
        }
    }
}

#[test]
fn a_probability_above_one_stays_one_and_no_users_are_no_trouble() {
    let mut model = generated(5, 8, 1, 4);
    let offsets = model.model().users().len();
    let raised = vec![200.0f32; offsets];
    model = AttributeModel::new(
        model.model().clone().with_user_offsets(raised),
        model.index().clone(),
        model.counts().clone(),
    )
    .unwrap();
    let scorer = AttributeScorer::new(Arc::new(model), None).with_form(Form::Mix {
        share_weight: 0.0,
        exponent: 1.0,
        log_scale: 0.0,
    });
    let found = scorer.top_users(&[vec![0]], 5, 1).unwrap();
    assert!(
        found[0]
            .scores
            .iter()
            .all(|score| score.is_finite() && *score <= 8f32.ln() + 1e-5)
    );
    let nobody = AttributeScorer::new(scorer.model().clone(), Some(&[]));
    assert!(nobody.is_empty());
    assert_eq!(
        nobody.top_users(&[vec![0]], 5, 1).unwrap(),
        [Ranking::default()]
    );
}

#[test]
fn a_place_is_found_from_any_guess() {
    for length in [0usize, 1, 2, 7, 40] {
        let users: Vec<u32> = (0..length as u32).map(|place| 3 * place + 5).collect();
        for first in 0..130 {
            let expected = users.partition_point(|&user| user < first);
            for guess in 0..length + 2 {
                assert_eq!(start_of(first, &users, guess), expected);
            }
        }
    }
}
