//! A report of a job as people read it.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Width of the names.
const NAME_COLUMN: usize = 20;
const MS_PER_DAY: i64 = 24 * 3600 * 1000;
/// Figures in the order in which they are of interest; others come behind them.
const ORDER: [&str; 20] = [
    "lines",
    "line_errors",
    "distinct_queries",
    "rows",
    "skipped_rows",
    "users",
    "items",
    "dimension",
    "k",
    "import_seconds",
    "train_seconds",
    "sweep_seconds",
    "plan_seconds",
    "score_seconds",
    "render_seconds",
    "wall_seconds",
    "output_bytes",
    "peak_memory_bytes",
    "tiles_total",
    "tiles_computed",
];

/// The report with the statistics' members among its own.
pub(super) fn flat(report: Value) -> Value {
    let Value::Object(mut report) = report else {
        return report;
    };
    if let Some(Value::Object(statistics)) = report.remove("statistics") {
        // The report's own members are none of the statistics'.
        report.extend(statistics);
    }
    Value::Object(report)
}

/// The report as lines of a name and a value.
pub(super) fn table(report: &Value) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(lines, "{name:<NAME_COLUMN$}{value}");
    };
    let text = |name: &str| report[name].as_str().unwrap_or_default();
    line(text("kind"), text("arn"));
    line("status", text("status"));
    if report["failure_reason"].is_string() {
        line("reason", text("failure_reason"));
    }
    for name in ["created", "updated"] {
        if let Some(seconds) = report[name].as_f64() {
            line(name, &date(seconds));
        }
    }
    if let Some(progress) = report["progress"].as_object() {
        line("step", &step(progress));
    }
    let figures = report["statistics"].as_object().into_iter().flatten();
    let mut figures: Vec<(&String, &Value)> = figures.collect();
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    figures.sort_by_key(|(name, _)| (place(name).unwrap_or(ORDER.len()), *name));
    for (name, value) in figures {
        if let Some(value) = figure(name, value) {
            line(&words(name), &value);
        }
    }
    lines
}

/// `score queries: 131,072 of 750,000 (17 %), 43 s left`.
fn step(progress: &Map<String, Value>) -> String {
    let number = |name: &str| progress.get(name).and_then(Value::as_u64).unwrap_or(0);
    let text = |name: &str| progress.get(name).and_then(Value::as_str).unwrap_or("");
    let (done, total) = (number("done"), number("total"));
    let percent = (100.0 * done as f64 / total.max(1) as f64).floor();
    let mut line = format!(
        "{}: {} of {} ({percent} %)",
        text("step"),
        grouped(done),
        grouped(total)
    );
    if let Some(left) = progress.get("eta_seconds").and_then(Value::as_f64) {
        let _ = write!(line, ", {} left", duration(left));
    }
    if !text("detail").is_empty() {
        let _ = write!(line, ", {}", text("detail"));
    }
    line
}

/// The name of a figure without its unit.
fn words(name: &str) -> String {
    let name = name.strip_suffix("_seconds").unwrap_or(name);
    let name = name.strip_suffix("_bytes").unwrap_or(name);
    name.replace('_', " ")
}

/// A figure with its unit, which the end of its name tells; nothing for what is no figure.
fn figure(name: &str, value: &Value) -> Option<String> {
    if let Some(texts) = value.as_array() {
        let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
        return (!texts.is_empty()).then(|| texts.join("; "));
    }
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let number = value.as_f64()?;
    Some(if name.ends_with("_seconds") {
        duration(number)
    } else if name.ends_with("_bytes") {
        size(number)
    } else {
        value.as_u64().map_or_else(|| value.to_string(), grouped)
    })
}

/// `0.31 s`, `12.5 s`, `3 min 20 s`, `2 h 05 min`.
fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole / 60 % 60)
    }
}

/// `512 B`, `14.2 GB`.
fn size(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" {
        format!("{value} B")
    } else if value < 10.0 {
        format!("{value:.2} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `50,000,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-27 16:20:03 UTC` of seconds since the epoch.
fn date(seconds: f64) -> String {
    let ms = (seconds * 1000.0) as i64;
    let (days, of_day) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY) / 1000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a number of days since 1970-01-01, by the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    // Eras of 400 years have 146,097 days; what is left is walked.
    let (mut year, mut left) = (
        1970 + 400 * days.div_euclid(146_097),
        days.rem_euclid(146_097),
    );
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let months = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 1;
    for days in months {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_running_job_shows_its_step_and_a_finished_one_its_figures() {
        let running = json!({
            "arn": "arn:aws:personalize:us-east-1:000000000000:batch-segment-job/j",
            "kind": "batch segment job", "status": "CREATE IN_PROGRESS",
            "created": 1_795_475_293.5, "updated": 1_795_475_294.0,
            "progress": {"step": "score queries", "done": 131_072, "total": 750_000, "detail": "",
                         "step_seconds": 9.1, "eta_seconds": 43.04},
        });
        assert_eq!(
            table(&running),
            "batch segment job   arn:aws:personalize:us-east-1:000000000000:batch-segment-job/j\n\
             status              CREATE IN_PROGRESS\n\
             created             2026-11-23 23:08:13 UTC\n\
             updated             2026-11-23 23:08:14 UTC\n\
             step                score queries: 131,072 of 750,000 (17 %), 43.0 s left\n"
        );
        let finished = json!({
            "arn": "a", "kind": "batch segment job", "status": "ACTIVE",
            "statistics": {"k": 25, "lines": 50_000_000, "output_bytes": 14_212_345_678u64,
                           "score_seconds": 231.4, "train_seconds": 0.5,
                           "peak_memory_bytes": 1_530_000_000u64, "warnings": ["one", "two"], "none": null},
        });
        assert_eq!(
            table(&finished),
            "batch segment job   a\n\
             status              ACTIVE\n\
             lines               50,000,000\n\
             k                   25\n\
             train               0.50 s\n\
             score               3 min 51 s\n\
             output              14.2 GB\n\
             peak memory         1.53 GB\n\
             warnings            one; two\n"
        );
        let failed = json!({"arn": "a", "kind": "dataset import job", "status": "CREATE FAILED",
                            "failure_reason": "no rows"});
        assert!(table(&failed).ends_with("CREATE FAILED\nreason              no rows\n"));
    }

    #[test]
    fn the_statistics_are_members_of_the_json() {
        let report = json!({"arn": "a", "status": "ACTIVE", "statistics": {"lines": 3, "k": 25}});
        let expected = json!({"arn": "a", "status": "ACTIVE", "lines": 3, "k": 25});
        assert_eq!(flat(report), expected);
        let running = json!({"arn": "a", "progress": {"done": 1}});
        assert_eq!(flat(running.clone()), running);
    }

    #[test]
    fn units_are_those_people_read() {
        let found = [0.314, 12.54, 99.99, 200.0, 3_599.6, 7_500.0].map(duration);
        let expected = [
            "0.31 s",
            "12.5 s",
            "100.0 s",
            "3 min 20 s",
            "1 h 00 min",
            "2 h 05 min",
        ];
        assert_eq!(found, expected);
        let found = [0.0, 999.0, 1_000.0, 999_600.0, 12_345_678.0].map(size);
        assert_eq!(found, ["0 B", "999 B", "1.00 kB", "1.00 MB", "12.3 MB"]);
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let found = [0.0, 951_782_399.0, 951_782_400.0, -1.0, 4_107_542_400.0].map(date);
        assert_eq!(
            found.map(|date| date[..10].to_owned()),
            [
                "1970-01-01",
                "2000-02-28",
                "2000-02-29",
                "1969-12-31",
                "2100-03-01"
            ]
        );
    }
}
