//! The queries that `kindred evaluate` is asked for, from a file of JSON Lines.

use crate::CliError;
use crate::inputs::{open_file, place};
use kindred_engine::data::source::open_unpacked;
use kindred_types::item_query::{self, ItemQuery};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// Largest file of queries.
const QUERIES_BYTES_MAX: u64 = 1 << 30;

/// What the lines of `--queries` ask for, each once.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Item ids.
    pub(super) items: BTreeSet<String>,
    /// Queries for attributes.
    pub(super) attributes: Vec<ItemQuery>,
}

impl Asked {
    /// Reads JSON Lines; blank ones are passed over.
    pub(super) fn read(path: &Path) -> Result<Asked, CliError> {
        let source = open_file(path)?;
        let reader = open_unpacked(&source)
            .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        let mut content = String::new();
        reader
            .take(QUERIES_BYTES_MAX + 1)
            .read_to_string(&mut content)
            .map_err(|error| place(path, &error))?;
        if content.len() as u64 > QUERIES_BYTES_MAX {
            let text = format!("--queries {}: larger than 1 GiB", path.display());
            return Err(CliError::Usage(text));
        }
        let mut asked = Asked::default();
        let mut printed = BTreeSet::new();
        for (number, line) in content.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            asked.add(line, &mut printed).map_err(|reason| {
                let place = path.display();
                CliError::Usage(format!("--queries {place}, line {}: {reason}", number + 1))
            })?;
        }
        Ok(asked)
    }

    /// Takes a line; `printed` has the attribute queries so far in their one printed form.
    fn add(&mut self, line: &str, printed: &mut BTreeSet<String>) -> Result<(), String> {
        let query: Value =
            serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
        match (&query["itemId"], &query["itemAttributes"]) {
            (Value::String(id), _) => {
                self.items.insert(id.clone());
            }
            (Value::Number(id), _) if id.is_i64() || id.is_u64() => {
                self.items.insert(id.to_string());
            }
            (Value::Null, Value::String(text)) => {
                let query = item_query::parse(text).map_err(|error| error.to_string())?;
                if printed.insert(query.to_string()) {
                    self.attributes.push(query);
                }
            }
            _ => {
                let text = "expected {\"itemId\": \"...\"} or {\"itemAttributes\": \"...\"}";
                return Err(text.into());
            }
        }
        Ok(())
    }
}
