//! Measures exact top-k on one core against the processor's multiply-add peak:
//! `scoring [model=DIR] [users=1000000] [d=149] [queries=1020] [k=25] [norms=flat|spread] [set=NAME] [rounds=3]`.
//!
//! Without a model, `flat` are Gaussian factors, where nothing can be left out; `spread` gives users
//! log-normal norms, as trained factors have them. The queries of a model are items spread over all.

mod measuring;

use std::sync::Arc;
use std::time::Instant;

use kindred_engine::model::Model;
use kindred_engine::score::Scorer;
use measuring::{number, peak, text};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn normal(random: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0
}

fn vectors(count: usize, dimension: usize, spread: bool, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut all = Vec::with_capacity(count * dimension);
    for _ in 0..count {
        let norm = if spread {
            (0.7 * normal(random)).exp()
        } else {
            1.0
        };
        for _ in 0..dimension {
            all.push((random.random::<f32>() - 0.5) * norm);
        }
    }
    all
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (queries, k) = (number("queries", 1020), number("k", 25));
    let model = match text("model") {
        Some(dir) => Model::open(dir.as_ref())?,
        None => {
            let (users, d) = (number("users", 1_000_000), number("d", 149));
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let user_vectors = vectors(
                users,
                d,
                text("norms").as_deref() == Some("spread"),
                &mut random,
            );
            Model::from_vectors(d, user_vectors, vectors(queries, d, false, &mut random))?
        }
    };
    let (users, all, d) = (model.users().len(), model.items().len(), model.dimension());
    let queries = queries.min(all);
    let items: Vec<u32> = (0..queries)
        .map(|query| (query * all / queries) as u32)
        .collect();
    let set = text("set").unwrap_or(Scorer::instruction_sets()[0].to_owned());
    let start = Instant::now();
    let scorer = Scorer::with_instruction_set(Arc::new(model), &set)?;
    println!(
        "{set}, {users} users, packed in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    for _ in 0..number("rounds", 3) {
        let peak = peak(1);
        let tiles = scorer.tiles();
        let start = Instant::now();
        for block in items.chunks(scorer.block_len(k)) {
            std::hint::black_box(scorer.top_users(block, k, 1)?);
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = 2.0 * (queries * users * d) as f64 / seconds / 1e9;
        let after = scorer.tiles();
        let share = (after.computed - tiles.computed) as f64 / (after.total - tiles.total) as f64;
        println!(
            "{:.0} queries/s, {rate:.1} GFLOP/s effective, {:.2} of the peak of {peak:.1}, {share:.3} of the tiles",
            queries as f64 / seconds,
            rate / peak
        );
    }
    Ok(())
}
