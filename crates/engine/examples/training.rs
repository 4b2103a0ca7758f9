//! Measures a whole training, CSV to model:
//! `training INTERACTIONS [model=ials|lookback|auto] [d=149] [threads=2] [final=1] [train=1] [scratch=DIR]`.
//!
//! Every report of progress is printed with what it took since the last one: CPU seconds of the process,
//! wall seconds, and the most memory so far. With `train=0` nothing is trained after the import.

mod measuring;

use std::path::Path;
use std::sync::Mutex;

use kindred_engine::data::attributes::TrainingData;
use kindred_engine::data::csv;
use kindred_engine::data::dataset::{Generation, Mode};
use kindred_engine::data::import::{ImportOptions, import};
use kindred_engine::data::snapshot::{SnapshotLimits, TrainingFilter, load_interactions};
use kindred_engine::data::source::{FileSource, Source, open_unpacked};
use kindred_engine::progress::Progress;
use kindred_engine::recipes::item_affinity::{ModelChoice, TrainOptions, train};
use kindred_types::parts::Clock;
use kindred_types::schema::{self, DatasetType};
use measuring::{Watch, cpu_seconds, number, peak_mib, text};

type Failure = Box<dyn std::error::Error>;

/// Prints what each step cost.
struct Printed {
    watch: Watch,
    last: Mutex<(f64, f64)>,
}

impl Printed {
    fn line(&self, name: &str) {
        let (cpu, wall) = (cpu_seconds(), self.watch.monotonic_ms() as f64 / 1000.0);
        if let Ok(mut last) = self.last.lock() {
            println!(
                "{:8.2} CPU s {:8.2} s {:7.0} MiB  {name}",
                cpu - last.0,
                wall - last.1,
                peak_mib()
            );
            *last = (cpu, wall);
        }
    }
}

impl Progress for Printed {
    fn report(&self, step: &str, done: u64, total: u64, detail: &str) {
        // Imports and reads report often.
        if step == "train" {
            self.line(&format!("{step} {done}/{total} {detail}"));
        }
    }
}

/// Imports the file with an inferred schema.
fn imported(file: &str, dir: &Path, progress: &dyn Progress) -> Result<Generation, Failure> {
    let source = FileSource::new(Path::new(file))?;
    let mut records = csv::Reader::new(open_unpacked(&source)?);
    let mut rows: Vec<Vec<String>> = Vec::new();
    while let Some(record) = records.next_record()? {
        let fields = (0..).map_while(|column| record.get(column));
        rows.push(
            fields
                .map(|f| String::from_utf8_lossy(f).into_owned())
                .collect(),
        );
        if rows.len() > 1000 {
            break;
        }
    }
    let header = rows.remove(0);
    let schema = schema::infer(DatasetType::Interactions, &header, &rows)?;
    let generation = Generation {
        dir: dir.join("interactions"),
        vault: Default::default(),
        mode: Mode::Full,
    };
    let sources = [&source as &dyn Source];
    let options = ImportOptions::default();
    import(&schema, file, &sources, &options, &generation.dir, progress)?;
    Ok(generation)
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Failure> {
    let file = std::env::args()
        .nth(1)
        .ok_or("the first argument is a CSV file")?;
    let options = TrainOptions {
        dimension: number("d", 149),
        threads: number("threads", 2),
        seed: 42,
        final_fit: number("final", 1) == 1,
        model: match text("model").as_deref() {
            Some("lookback") => ModelChoice::Lookback,
            Some("auto") => ModelChoice::Auto,
            _ => ModelChoice::Ials,
        },
        ..TrainOptions::default()
    };
    let printed = Printed {
        watch: Watch::start(),
        last: Mutex::new((cpu_seconds(), 0.0)),
    };
    let dir = tempfile::tempdir_in(text("scratch").unwrap_or_else(|| ".".into()))?;
    let generation = imported(&file, dir.path(), &printed)?;
    printed.line("import");
    if number("train", 1) == 0 {
        return Ok(());
    }
    let (interactions, facts) = load_interactions(
        &[generation],
        &TrainingFilter::default(),
        &SnapshotLimits::default(),
        &printed,
    )?;
    printed.line(&format!("read: {facts:?}"));
    let data = TrainingData::bare(interactions);
    let trained = train(&data, &options, &printed, &printed.watch)?;
    printed.line(&format!("{:?}", trained.timings));
    println!("{:?}", trained.metrics);
    println!("{:?}", trained.model.card().choices);
    Ok(())
}
