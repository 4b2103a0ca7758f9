//! The arguments of `kindred evaluate`, and the names they know.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Arguments of `kindred evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// CSV file of interactions (USER_ID, ITEM_ID, TIMESTAMP, ...); `.gz` is expanded.
    #[arg(long, value_name = "FILE")]
    pub(super) interactions: PathBuf,
    /// CSV file of items.
    #[arg(long, value_name = "FILE")]
    pub(super) items: Option<PathBuf>,
    /// Avro schema of the interactions; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    pub(super) interactions_schema: Option<PathBuf>,
    /// Avro schema of the items; inferred from the header if not given.
    #[arg(long, value_name = "FILE")]
    pub(super) items_schema: Option<PathBuf>,
    /// How users are ranked [default: every recipe the files are enough for].
    #[arg(long, value_enum)]
    pub(super) recipe: Option<Recipe>,
    /// The moment that separates what the model sees from what it has to predict: epoch seconds or
    /// YYYY-MM-DD (UTC) [default: one horizon before the end of the data].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) split: Option<i64>,
    /// Days after the split that count [default: 30, but at most a tenth of the data's span].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(super) horizon_days: Option<u32>,
    /// Leave out users who had the item before: for things that nobody takes twice.
    #[arg(long)]
    pub(super) first_time_only: bool,
    /// Ask for these only: JSON Lines, one `{"itemId": "..."}` or `{"itemAttributes": "..."}` a line
    /// [default: every item; every value of every column].
    #[arg(long, value_name = "FILE")]
    pub(super) queries: Option<PathBuf>,
    /// Which towers may serve [default: `training.model` of the configuration].
    #[arg(long, value_enum)]
    pub(super) model: Option<Towers>,
    /// Leave a part of the model out, to see what it earns; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) without: Vec<Part>,
    /// Length of the model's vectors.
    #[arg(long, default_value_t = 149, value_parser = clap::value_parser!(u64).range(32..=256))]
    pub(super) hidden_dimension: u64,
    /// Threads; 0 for all cores. The figures do not depend on it.
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    /// Configuration file; its `training.*` and `import.*` keys apply.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print one JSON object per recipe instead of a table.
    #[arg(long)]
    pub(super) json: bool,
}

/// The recipes that can be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Recipe {
    /// Users who are likely to want this very item.
    ItemAffinity,
    /// Users who are likely to want any item with these attributes; needs --items.
    ItemAttributeAffinity,
}

impl Recipe {
    pub(super) fn name(self) -> &'static str {
        match self {
            Recipe::ItemAffinity => "item-affinity",
            Recipe::ItemAttributeAffinity => "item-attribute-affinity",
        }
    }

    /// What is asked, in words.
    pub(super) fn asked(self) -> &'static str {
        match self {
            Recipe::ItemAffinity => "items",
            Recipe::ItemAttributeAffinity => "attributes",
        }
    }

    /// The member of a line of queries that it answers.
    pub(super) fn member(self) -> &'static str {
        match self {
            Recipe::ItemAffinity => "itemId",
            Recipe::ItemAttributeAffinity => "itemAttributes",
        }
    }
}

/// Names of [`ModelChoice`].
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Towers {
    /// Whichever validation prefers.
    Auto,
    /// Trained by looking back.
    Lookback,
    /// Implicit alternating least squares.
    Ials,
}

/// Names of the parts of [`Without`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// Every user is as active as any other.
    Intensity,
    /// Training on the next event instead of on later ones.
    Lookback,
    /// Known items weigh like unknown ones.
    Kappa,
    /// No own history of the item.
    OwnHistory,
}

/// Epoch seconds, or midnight UTC of a day.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    let form = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(text, form)
        .map(|date| date.midnight().assume_utc().unix_timestamp())
        .map_err(|_| format!("{text}: expected epoch seconds or YYYY-MM-DD"))
}
