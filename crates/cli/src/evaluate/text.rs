//! An evaluation in words and columns, for somebody who plans campaigns.

use super::{DAY, Report};
use kindred_engine::metrics::{ColdItems, Evaluation, Figures, LiftPoint};
use std::fmt::Write;
use time::{OffsetDateTime, macros::format_description};

/// Width of the first column.
const LABEL: usize = 26;

/// Everything, with a line break at the end.
pub(super) fn table(report: &Report) -> String {
    let found = &report.evaluation;
    let mut out = String::new();
    head(&mut out, report);
    rankings(&mut out, found);
    lift(&mut out, found);
    calibration(&mut out, found);
    overlap(&mut out, found);
    if let Some(cold) = &found.cold_items {
        cold_items(&mut out, cold, found.k);
    }
    for note in &report.notes {
        line(&mut out, &format!("Note: {note}."));
    }
    out
}

/// A moment as a person writes it.
pub(super) fn time(seconds: i64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(form).ok())
        .unwrap_or_else(|| format!("second {seconds}"))
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn head(out: &mut String, report: &Report) {
    let found = &report.evaluation;
    line(
        out,
        &format!(
            "{}: who came in the {:.1} days from {}, told from what happened before",
            report.recipe,
            found.horizon_seconds as f64 / DAY as f64,
            time(found.split)
        ),
    );
    let people = if found.first_time_only {
        "somebody new"
    } else {
        "somebody"
    };
    let mut text = format!(
        "{} users; {} items asked, {people} came for {}",
        count(found.population as u64),
        count(found.queries_asked as u64),
        count(found.queries as u64)
    );
    if report.queries_unknown > 0 {
        let _ = write!(
            text,
            "; {} more are unknown",
            count(report.queries_unknown as u64)
        );
    }
    line(out, &format!("{text}."));
    let towers = &report.card.towers;
    line(
        out,
        &format!(
            "A segment names {} users, 1 % of all. Vectors: {towers}.\n",
            count(found.k as u64)
        ),
    );
}

fn rankings(out: &mut String, found: &Evaluation) {
    row(
        out,
        "",
        [
            "of them came",
            "share found",
            "new ones found",
            "users named",
        ],
    );
    figures(out, "Kindred", &found.model);
    for baseline in found.baselines.iter().rev() {
        figures(out, &words(&baseline.name), &baseline.figures);
    }
    let new = if found.first_time_only {
        ""
    } else {
        ", new ones: who never had the item before"
    };
    line(
        out,
        &format!("(share found: of all users who came, averaged over the items{new})\n"),
    );
}

fn words(name: &str) -> String {
    match name {
        "random" => "random users".into(),
        "most_active" => "most active users".into(),
        "most_recent" => "most recent users".into(),
        "own_history" => "who had it before".into(),
        other => other.replace('_', " "),
    }
}

fn figures(out: &mut String, label: &str, figures: &Figures) {
    let cells = [
        format!("{:.2}", figures.hits_at_1_percent),
        percent(figures.recall_at_1_percent),
        percent(figures.first_time_recall),
        percent(figures.coverage),
    ];
    row(out, label, cells.each_ref().map(String::as_str));
}

fn row<const N: usize>(out: &mut String, label: &str, cells: [&str; N]) {
    let mut text = format!("{label:LABEL$}");
    for cell in cells {
        let _ = write!(text, "{cell:>16}");
    }
    line(out, text.trim_end());
}

fn lift(out: &mut String, found: &Evaluation) {
    line(out, "How far does a larger segment reach?");
    row(
        out,
        "users in the segment",
        ["share found", "than by chance"],
    );
    for LiftPoint {
        percent: size,
        users,
        recall,
        lift,
    } in &found.lift
    {
        row(
            out,
            &format!("{size:>5} %  {:>12}", count(*users as u64)),
            [&percent(*recall), &format!("{lift:.1} times")],
        );
    }
    out.push('\n');
}

fn calibration(out: &mut String, found: &Evaluation) {
    let calibration = &found.calibration;
    if calibration.bins.is_empty() {
        return;
    }
    line(
        out,
        "Do the probabilities come true? (the best 20 % of the users for each item, in groups of equal size)",
    );
    row(out, "pairs of user and item", ["predicted", "happened"]);
    for bin in &calibration.bins {
        row(
            out,
            &format!("{:>22}", count(bin.pairs)),
            [&fine(bin.predicted), &fine(bin.happened)],
        );
    }
    row(
        out,
        "in all",
        [
            &count(calibration.predicted_total.round() as u64),
            &count(calibration.happened_total),
        ],
    );
    if (calibration.rate_scale - 1.0).abs() > 1e-9 {
        line(
            out,
            &format!(
                "(the model speaks of another period; its expected numbers are taken {:.2} times)",
                calibration.rate_scale
            ),
        );
    }
    out.push('\n');
}

fn overlap(out: &mut String, found: &Evaluation) {
    line(
        out,
        &format!(
            "Two segments have {} of their users in common; {} of a segment are among the most active 1 %.",
            percent(found.overlap),
            percent(found.overlap_most_active)
        ),
    );
}

fn cold_items(out: &mut String, cold: &ColdItems, k: usize) {
    line(
        out,
        &format!(
            "\nItems nobody had before the split, known by their attributes: {} (segments of {})",
            count(cold.queries as u64),
            count(k as u64)
        ),
    );
    row(out, "", ["of them came", "share found"]);
    let model = &cold.model.figures;
    let both = |figures: &Figures| {
        [
            format!("{:.2}", figures.hits_at_1_percent),
            percent(figures.recall_at_1_percent),
        ]
    };
    row(out, "Kindred", both(model).each_ref().map(String::as_str));
    for baseline in cold.baselines.iter().rev() {
        let cells = both(&baseline.figures);
        row(
            out,
            &words(&baseline.name),
            cells.each_ref().map(String::as_str),
        );
    }
    let [low, high] = cold.model.recall_interval.map(percent);
    let [behind, ahead] = cold
        .model
        .gain_interval
        .map(|gain| format!("{:+.1}", gain * 100.0));
    line(
        out,
        &format!(
            "With 95 % confidence Kindred finds {low} to {high}; against the most active users {behind} to {ahead} points."
        ),
    );
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A share that may be tiny.
fn fine(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

/// 1234567 as 1,234,567.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_read_well() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(time(1_512_086_400), "2017-12-01 00:00 UTC");
        assert_eq!(time(i64::MAX), "second 9223372036854775807");
    }
}
