//! Measures the passes over the lines of a job, in CPU seconds:
//! `lines [lines=10000000] [items=750000] [users=1000] [k=25] [threads=1] [memory_mib=1024] [dir=.]`.
//!
//! Lines ask for random items of a small model, so that scoring is little of it. Input, rankings and
//! output are files in a directory of their own below `dir`, which is removed at the end. Prints the
//! CPU seconds of each step (user and system), lines a second of CPU, and the peak of resident memory.

mod measuring;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use kindred_engine::data::source::FileSource;
use kindred_engine::model::Model;
use kindred_engine::progress::Progress;
use kindred_engine::score::Scorer;
use kindred_engine::segment::pipeline::{self, SegmentOptions, Sink};
use kindred_engine::selection::Selection;
use kindred_types::parts::Clock;
use measuring::{Watch, cpu_seconds, number, peak_mib, text};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Length of the vectors; little, as scoring is not what is measured.
const DIMENSION: usize = 8;

/// Notes the CPU seconds at which each step was first heard of.
#[derive(Default)]
struct Steps(Mutex<Vec<(String, f64)>>);

impl Progress for Steps {
    fn report(&self, step: &str, _: u64, _: u64, _: &str) {
        if let Ok(mut steps) = self.0.lock()
            && steps.last().is_none_or(|(last, _)| last != step)
        {
            steps.push((step.to_owned(), cpu_seconds()));
        }
    }
}

struct FileSink(File);

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for FileSink {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn write_input(path: &Path, lines: usize, items: usize, random: &mut ChaCha8Rng) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for _ in 0..lines {
        let item = random.random_range(0..items);
        writeln!(file, "{{\"itemId\": \"{item:010}\"}}")?;
    }
    file.flush()
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (lines, items) = (number("lines", 10_000_000), number("items", 750_000));
    let dir = text("dir").unwrap_or_else(|| ".".into());
    let dir = Path::new(&dir).join(format!("lines-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let input = dir.join("queries.json");
    write_input(&input, lines, items, &mut random)?;
    let mut vectors = |count: usize| -> Vec<f32> {
        let values = (0..count * DIMENSION).map(|_| random.random::<f32>() - 0.5);
        values.collect()
    };
    let (user_vectors, item_vectors) = (vectors(number("users", 1000)), vectors(items));
    let model = Arc::new(Model::from_vectors(DIMENSION, user_vectors, item_vectors)?);
    let scorer = Scorer::new(model, None);
    let options = SegmentOptions {
        k: number("k", 25),
        max_records: 0,
        documented_format: false,
        scores: false,
        memory_bytes: number("memory_mib", 1024) << 20,
        block_bytes: 64 << 20,
        threads: number("threads", 1),
        scratch_dir: dir.join("blocks"),
        scratch_vault: Default::default(),
    };
    let source = FileSource::new(&input)?;
    let output = dir.join("segments.json");
    let mut sinks =
        |_: usize| -> io::Result<Box<dyn Sink>> { Ok(Box::new(FileSink(File::create(&output)?))) };
    let (steps, before, before_mib) = (Steps::default(), cpu_seconds(), peak_mib());
    let clock = Watch::start();
    let done = pipeline::run(
        &scorer,
        &Selection::default(),
        &[&source],
        &mut sinks,
        &options,
        &steps,
        &clock,
    )?;
    let steps = steps.0.into_inner().map_err(|_| "a step broke")?;
    let (mut from, mut ends): (f64, Vec<f64>) = (before, Vec::new());
    ends.extend(steps.iter().skip(1).map(|(_, start)| *start));
    ends.push(cpu_seconds());
    for ((step, _), end) in steps.iter().zip(ends) {
        let (seconds, wall) = (end - from, clock.monotonic_ms() as f64 / 1000.0);
        let rate = lines as f64 / seconds / 1e6;
        println!(
            "{step}: {seconds:.2} s of CPU, {rate:.2} M lines a second; wall {wall:.1} s in all"
        );
        from = end;
    }
    println!(
        "plan {:.1} s, score {:.1} s, render {:.1} s of wall; {} distinct, {} MB written; peak {:.0} MiB, {before_mib:.0} before",
        done.plan_seconds,
        done.score_seconds,
        done.render_seconds,
        done.distinct_queries,
        done.output_bytes / 1_000_000,
        peak_mib(),
    );
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
