//! The sample that travels with the program, and words for what is in it.
//!
//! Origin, licence and selection: `sample/README.md`.

use crate::CliError;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::Read;

/// File names and contents, as they are uploaded.
pub(crate) const FILES: &[(&str, &[u8])] = &[
    (
        "interactions.csv.gz",
        include_bytes!("../sample/interactions.csv.gz"),
    ),
    ("items.csv.gz", include_bytes!("../sample/items.csv.gz")),
    ("users.csv.gz", include_bytes!("../sample/users.csv.gz")),
];

/// Dataset type, file name and Avro schema of each file.
pub(crate) fn schemas() -> [(&'static str, &'static str, Value); 3] {
    let text = |name: &str| json!({"name": name, "type": ["null", "string"], "categorical": true});
    let plain = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let record = |name: &str, fields: Vec<Value>| {
        json!({"type": "record", "name": name, "namespace": "com.amazonaws.personalize.schema",
               "fields": fields, "version": "1.0"})
    };
    let with_id = |id: &str, columns: &[&str]| {
        let mut fields = vec![plain(id, "string")];
        fields.extend(columns.iter().map(|column| text(column)));
        fields
    };
    let items = [
        "DEPARTMENT",
        "BRAND",
        "CATEGORY",
        "PRODUCT_TYPE",
        "PACKAGE_SIZE",
    ];
    let users = [
        "AGE",
        "INCOME",
        "HOME_OWNERSHIP",
        "MARITAL_STATUS",
        "HOUSEHOLD_SIZE",
        "KIDS",
    ];
    [
        (
            "INTERACTIONS",
            "interactions.csv.gz",
            record(
                "Interactions",
                vec![
                    plain("USER_ID", "string"),
                    plain("ITEM_ID", "string"),
                    plain("TIMESTAMP", "long"),
                    plain("EVENT_TYPE", "string"),
                    json!({"name": "EVENT_VALUE", "type": ["null", "float"]}),
                ],
            ),
        ),
        (
            "ITEMS",
            "items.csv.gz",
            record("Items", with_id("ITEM_ID", &items)),
        ),
        (
            "USERS",
            "users.csv.gz",
            record("Users", with_id("USER_ID", &users)),
        ),
    ]
}

/// How often and when a household bought a product.
#[derive(Clone, Copy, Default)]
struct Purchases {
    times: u32,
    last: i64,
}

/// The sample in memory, for telling about it.
pub(crate) struct Sample {
    /// Number of interactions.
    pub(crate) purchases: usize,
    /// Columns of each product by id.
    pub(crate) items: HashMap<String, Vec<String>>,
    /// Columns of each household by id.
    pub(crate) users: HashMap<String, Vec<String>>,
    bought: HashMap<(String, String), Purchases>,
    popularity: HashMap<String, u32>,
    end: i64,
}

impl Sample {
    /// Reads the bundled files.
    pub(crate) fn load() -> Result<Self, CliError> {
        let mut sample = Sample {
            purchases: 0,
            items: table(FILES[1].1)?,
            users: table(FILES[2].1)?,
            bought: HashMap::new(),
            popularity: HashMap::new(),
            end: 0,
        };
        for row in rows(FILES[0].1)? {
            let [user, item, time, ..] = row.as_slice() else {
                continue;
            };
            let time: i64 = time.parse().unwrap_or_default();
            let purchases = sample
                .bought
                .entry((user.clone(), item.clone()))
                .or_default();
            purchases.times += 1;
            purchases.last = purchases.last.max(time);
            *sample.popularity.entry(item.clone()).or_default() += 1;
            sample.end = sample.end.max(time);
            sample.purchases += 1;
        }
        Ok(sample)
    }

    /// The ids of the most bought products, most bought first, ties by id.
    pub(crate) fn most_bought(&self, count: usize) -> Vec<String> {
        let mut items: Vec<(&String, u32)> = self
            .popularity
            .iter()
            .map(|(item, times)| (item, *times))
            .collect();
        items.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        items
            .into_iter()
            .take(count)
            .map(|(item, _)| item.clone())
            .collect()
    }

    /// The first `count` segments whose products are of different departments.
    pub(crate) fn varied<'s>(&self, segments: &'s [Value], count: usize) -> Vec<&'s Value> {
        let mut departments = HashSet::new();
        segments
            .iter()
            .filter(|segment| {
                let item = segment["input"]["itemId"].as_str().unwrap_or_default();
                departments.insert(self.column(item, 0))
            })
            .take(count)
            .collect()
    }

    /// The categories with the most purchases, most first, ties by name.
    pub(crate) fn categories(&self, count: usize) -> Vec<String> {
        let mut times: HashMap<&str, u32> = HashMap::new();
        for (item, purchases) in &self.popularity {
            *times.entry(self.column(item, 2)).or_default() += purchases;
        }
        times.remove("");
        let mut categories: Vec<(&str, u32)> = times.into_iter().collect();
        categories.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let names = categories.into_iter().map(|(name, _)| name.to_owned());
        names.take(count).collect()
    }

    fn column(&self, item: &str, column: usize) -> &str {
        self.items
            .get(item)
            .and_then(|row| row.get(column))
            .map_or("", String::as_str)
    }

    /// A product in words: category, type, size, brand and id.
    pub(crate) fn item_text(&self, item: &str) -> String {
        let part = |column: usize| self.column(item, column).to_lowercase();
        let mut text = part(2);
        for more in [part(3), part(4)] {
            if !more.is_empty() && more != text {
                text = format!("{text}, {more}");
            }
        }
        format!("{text} ({} brand, product {item})", part(1))
    }

    /// A household in words: who they are, and what they did with this product.
    pub(crate) fn household_text(&self, user: &str, item: &str) -> String {
        let did = match self.bought.get(&(user.to_owned(), item.to_owned())) {
            Some(purchases) => {
                let days = (self.end - purchases.last) / 86_400;
                let times = if purchases.times == 1 {
                    "once"
                } else {
                    "times"
                };
                let count = if purchases.times == 1 {
                    String::new()
                } else {
                    format!("{} ", purchases.times)
                };
                format!("bought it {count}{times}, last {days} days before the end of the data")
            }
            None => "never bought it so far".to_owned(),
        };
        format!("{}, {did}", self.person_text(user))
    }

    /// A household in words, and how often it bought products of this category.
    pub(crate) fn shopper_text(&self, user: &str, category: &str) -> String {
        let times: u32 = self
            .bought
            .iter()
            .filter(|((who, item), _)| who == user && self.column(item, 2) == category)
            .map(|(_, purchases)| purchases.times)
            .sum();
        format!(
            "{}, bought such products {times} times",
            self.person_text(user)
        )
    }

    fn person_text(&self, user: &str) -> String {
        let row = self.users.get(user);
        let part = |column: usize| {
            row.and_then(|row| row.get(column))
                .filter(|text| !text.is_empty())
        };
        let mut words = vec![format!("household {user:<5}")];
        words.extend(part(0).map(|age| format!("age {age}")));
        words.extend(part(1).map(|income| format!("income {income}")));
        words.extend(part(4).map(|size| format!("{size} at home")));
        words.join(", ")
    }
}

/// Rows by their first column.
fn table(gzip: &[u8]) -> Result<HashMap<String, Vec<String>>, CliError> {
    Ok(rows(gzip)?
        .into_iter()
        .filter_map(|mut row| {
            let rest = row.split_off(1);
            row.pop().map(|id| (id, rest))
        })
        .collect())
}

/// The rows below the header. The sample holds no quoted fields, which its script checks.
fn rows(gzip: &[u8]) -> Result<Vec<Vec<String>>, CliError> {
    let mut text = String::new();
    GzDecoder::new(gzip)
        .read_to_string(&mut text)
        .map_err(|error| CliError::failed(format!("the bundled sample is damaged: {error}")))?;
    Ok(text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_complete_and_small() {
        let sample = Sample::load().unwrap();
        let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 5 << 20, "{bytes} bytes");
        let repeats = sample
            .bought
            .values()
            .filter(|purchases| purchases.times > 1)
            .count();
        assert!(repeats > 10_000, "{repeats} repeated pairs");
        for item in sample.most_bought(200) {
            assert!(
                !sample.column(&item, 2).is_empty(),
                "product {item} has no text"
            );
        }
        let quoted = FILES.iter().any(|(_, bytes)| {
            let mut text = String::new();
            GzDecoder::new(*bytes).read_to_string(&mut text).unwrap();
            text.contains('"')
        });
        assert!(!quoted, "a quoted field");
    }
}
