//! Measures the ways to answer queries with candidates of their own, on one core, to choose between
//! them: `among [users=200000] [d=149] [k=25]`. Each line has a share of the users, a number of queries
//! of the same candidates, and milliseconds a query: as the scorer chooses, and each way by itself.

mod measuring;

use std::sync::Arc;
use std::time::Instant;

use kindred_engine::model::Model;
use kindred_engine::score::{Scorer, UserGroup};
use kindred_engine::selection::UserSet;
use measuring::number;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn vectors(count: usize, dimension: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut all = Vec::with_capacity(count * dimension);
    for _ in 0..count {
        let norm = (1.4 * random.random::<f32>()).exp();
        for _ in 0..dimension {
            all.push((random.random::<f32>() - 0.5) * norm);
        }
    }
    all
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (users, d, k) = (number("users", 200_000), number("d", 149), number("k", 25));
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let user_vectors = vectors(users, d, &mut random);
    let item_vectors = vectors(600, d, &mut random);
    let model = Arc::new(Model::from_vectors(d, user_vectors, item_vectors)?);
    let scorer = Scorer::new(model, None);
    println!(
        "{:>8} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "share", "queries", "chosen", "one", "pack", "mask"
    );
    for share in [0.001, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0] {
        for queries in [1, 2, 6, 12, 60, 300] {
            // Groups enough for tiles to be shared, each with users of its own.
            let groups = (60 / queries).max(1);
            let items: Vec<u32> = (0..queries as u32).collect();
            let asked: Vec<UserGroup<'_>> = (0..groups)
                .map(|_| {
                    let kept = (0..users as u32).filter(|_| random.random::<f64>() < share);
                    UserGroup {
                        users: Some(kept.collect::<UserSet>()),
                        items: &items,
                    }
                })
                .collect();
            print!("{share:>8} {queries:>8}");
            for way in [None, Some(0), Some(1), Some(2)] {
                let mut best = f64::INFINITY;
                for _ in 0..2 {
                    let start = Instant::now();
                    std::hint::black_box(scorer.top_users_in_way(&asked, k, way)?);
                    best = best.min(start.elapsed().as_secs_f64());
                }
                print!(" {:>9.3}", 1e3 * best / (groups * queries) as f64);
            }
            println!();
        }
    }
    Ok(())
}
