//! Measures sweeps of plain iALS: `ials PAIRS [d=149] [sweeps=4] [threads=1] [factors=FILE]`.
//!
//! PAIRS is little-endian: users, items, pairs as i64, then where each user's pairs start (users + 1
//! i64), then item numbers (i32). Each sweep is printed with the CPU seconds of the process, so a run
//! pinned to one core can be compared with another library's. `factors` gets users, items, d and the
//! length of a row as i64, then the f32 rows of users and items.

mod measuring;

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use kindred_engine::interactions::Interactions;
use kindred_engine::progress::Progress;
use kindred_engine::train::TrainOptions;
use kindred_engine::train::plain::{Factors, factors};
use measuring::{Watch, cpu_seconds, number, text};

type Failure = Box<dyn std::error::Error>;

/// Prints what each sweep cost.
struct Printed(Mutex<f64>);

impl Progress for Printed {
    fn report(&self, _step: &str, _done: u64, _total: u64, detail: &str) {
        let now = cpu_seconds();
        if let Ok(mut last) = self.0.lock() {
            println!("{detail}: {:.2} CPU s", now - *last);
            *last = now;
        }
    }
}

/// Every pair is an event, one second after the one before.
fn read(path: &Path) -> Result<Interactions, Failure> {
    let bytes = std::fs::read(path)?;
    let (head, rest) = bytes.split_at_checked(24).ok_or("the file is too short")?;
    let numbers = |bytes: &[u8]| -> Vec<usize> {
        let numbers = bytes.as_chunks::<8>().0.iter();
        numbers.map(|b| i64::from_le_bytes(*b) as usize).collect()
    };
    let [users, items, pairs] = numbers(head)[..] else {
        return Err("the file is too short".into());
    };
    let (starts, indices) = rest
        .split_at_checked(8 * (users + 1))
        .filter(|(_, indices)| indices.len() == 4 * pairs)
        .ok_or("the file has another length than its head says")?;
    let mut data = Interactions {
        users: (0..users).map(|user| format!("{user:09}")).collect(),
        items: (0..items).map(|item| format!("{item:09}")).collect(),
        user_starts: numbers(starts),
        ..Interactions::default()
    };
    let indices = indices.as_chunks::<4>().0.iter();
    data.event_items = indices.map(|b| u32::from_le_bytes(*b)).collect();
    data.event_times = (0..pairs as i64).collect();
    Ok(data)
}

fn write(path: &str, factors: &Factors) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    let rows = |values: &[f32]| values.len() / factors.stride;
    for number in [
        rows(&factors.users),
        rows(&factors.items),
        factors.dimension,
        factors.stride,
    ] {
        out.write_all(&(number as i64).to_le_bytes())?;
    }
    for value in factors.users.iter().chain(&factors.items) {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(out.flush()?)
}

#[allow(clippy::disallowed_methods)] // A program of its own: nobody hands it a clock.
fn main() -> Result<(), Failure> {
    let path = std::env::args()
        .nth(1)
        .ok_or("the first argument is PAIRS")?;
    let data = read(Path::new(&path))?;
    let options = TrainOptions {
        dimension: number("d", 149),
        threads: number("threads", 1),
        seed: number("seed", 1) as u64,
        ..TrainOptions::default()
    };
    let (users, items, pairs) = (data.users.len(), data.items.len(), data.len());
    println!(
        "{users} users, {items} items, {pairs} pairs, d {}",
        options.dimension
    );
    let printed = Printed(Mutex::new(cpu_seconds()));
    let watch = Watch::start();
    let found = factors(&data, &options, number("sweeps", 4), &printed, &watch)?;
    if let Some(path) = text("factors") {
        write(&path, &found)?;
    }
    Ok(())
}
