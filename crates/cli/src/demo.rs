//! `kindred demo`: the whole job on real data, as any client would do it.
//!
//! Starts a server over a directory of its own, loads the bundled sample through the S3 and
//! Personalize APIs, trains both recipes, runs a batch segment job with each and tells in words who is
//! in the segments.
//! What people read goes to standard output, progress to standard error.

use crate::CliError;
use crate::client::{Client, ClientError, Credentials};
use crate::sample::{self, Sample};
use indicatif::{ProgressBar, ProgressStyle};
use kindred_server::{Server, Settings, parts};
use kindred_types::parts::{Clock, random_hex};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const BUCKET: &str = "grocery";
/// Products whose segments are shown, most bought first.
const SHOWN_PRODUCTS: usize = 3;
/// The same of the job with a filter.
const SHOWN_FILTERED: usize = 1;
/// Categories asked for in the second job, and those of them whose segments are shown.
const CATEGORIES: usize = 50;
const SHOWN_CATEGORIES: usize = 2;
/// Who the third job is about, as a filter and in words.
const FILTER: &str = r#"INCLUDE UserID WHERE Users.KIDS IN ("1", "2", "3+")"#;
const FILTERED: &str = "households with children that never bought it";
/// Leaves out who bought the product already.
const EXCLUDE_INTERACTED: &str = "kindred:exclude-interacted";
/// The recipes, by name.
const ITEM_AFFINITY: &str = "aws-item-affinity";
const ITEM_ATTRIBUTE_AFFINITY: &str = "aws-item-attribute-affinity";
/// Households shown of each segment.
const SHOWN_HOUSEHOLDS: usize = 5;
/// Products asked for in the job.
const QUERIES: usize = 200;
/// How often a status is looked up while waiting.
const POLL: Duration = Duration::from_millis(100);

/// Runs the demo; `dir` defaults to a fresh temporary directory that is kept.
pub(crate) fn run(dir: Option<PathBuf>) -> Result<(), CliError> {
    let clock: Arc<dyn Clock> = Arc::new(parts::SystemClock::default());
    let random = parts::SystemRandom;
    let dir = match dir {
        Some(dir) => dir,
        None => std::env::temp_dir().join(format!("kindred-demo-{}", random_hex(&random, 4))),
    };
    let mut settings = Settings::default();
    settings.data_dir = dir.clone();
    settings.listen = "127.0.0.1:0".to_owned();
    let region = settings.region.clone();
    let server = Server::start(settings)?;
    let endpoint = format!("http://{}", server.address());
    let credentials = Credentials::read(&dir.join("credentials"))?;
    let demo = Demo {
        client: Client::new(&endpoint, &region, credentials, clock.clone())?,
        clock,
        sample: Sample::load()?,
        tag: random_hex(&random, 3),
        dir: dir.clone(),
    };
    demo.introduce(&endpoint);
    let told = demo.tell();
    server.stop();
    told?;
    say_what_next(&dir);
    Ok(())
}

struct Demo {
    client: Client,
    clock: Arc<dyn Clock>,
    sample: Sample,
    /// Makes resource names unique, so that the demo can run twice on one directory.
    tag: String,
    dir: PathBuf,
}

impl Demo {
    fn introduce(&self, endpoint: &str) {
        println!("Kindred finds the users who are most likely to want an item.\n");
        println!(
            "The sample: a year of groceries, {} purchases of {} products by {} households.",
            thousands(self.sample.purchases),
            thousands(self.sample.items.len()),
            thousands(self.sample.users.len()),
        );
        println!("The server: {endpoint}, data in {}\n", self.dir.display());
    }

    fn tell(&self) -> Result<(), CliError> {
        let start = self.clock.monotonic_ms();
        self.upload()?;
        let group = self.import()?;
        let version = self.train(&group, ITEM_AFFINITY, "affinity")?;
        let products: Vec<Value> = self
            .sample
            .most_bought(QUERIES)
            .iter()
            .map(|item| json!({"itemId": item}))
            .collect();
        let segments = self.segment(&version, "products", &products, None)?;
        let filter = self.create(
            "CreateFilter",
            json!({"name": format!("with-children-{}", self.tag), "datasetGroupArn": group,
                   "filterExpression": FILTER}),
            "filterArn",
        )?;
        let new_to_them = self.segment(&version, "new-to-them", &products, Some(&filter))?;
        let by_attributes = self.train(&group, ITEM_ATTRIBUTE_AFFINITY, "attributes")?;
        let categories = self.sample.categories(CATEGORIES);
        let queries: Vec<Value> = categories.iter().map(|name| by_category(name)).collect();
        let shoppers = self.segment(&by_attributes, "categories", &queries, None)?;
        println!(
            "\nAll of it took {:.1} seconds.\n",
            self.seconds_since(start)
        );
        self.show_metrics(&version)?;
        println!("Who is most likely to buy ...");
        self.show_segments(&segments, SHOWN_PRODUCTS);
        println!("Of the {FILTERED} ({FILTER}),\nwho is most likely to buy ...");
        self.show_segments(&new_to_them, SHOWN_FILTERED);
        for (category, segment) in categories.iter().zip(&shoppers).take(SHOWN_CATEGORIES) {
            self.show_shoppers(category, segment);
        }
        Ok(())
    }

    fn upload(&self) -> Result<(), CliError> {
        let start = self.clock.monotonic_ms();
        match self.client.create_bucket(BUCKET) {
            Err(ClientError::Service { code, .. }) if code.starts_with("BucketAlready") => {}
            other => other?,
        }
        for (name, bytes) in sample::FILES {
            self.client
                .put_object(BUCKET, &format!("data/{name}"), (*bytes).into())?;
        }
        self.done(
            "upload",
            start,
            &format!("3 CSV files into s3://{BUCKET}/data/"),
        );
        Ok(())
    }

    fn import(&self) -> Result<String, CliError> {
        let start = self.clock.monotonic_ms();
        let name = format!("grocery-{}", self.tag);
        let group = self.create(
            "CreateDatasetGroup",
            json!({"name": name}),
            "datasetGroupArn",
        )?;
        for (kind, file, schema) in sample::schemas() {
            let lower = kind.to_lowercase();
            let schema_arn = self.create(
                "CreateSchema",
                json!({"name": format!("{lower}-{}", self.tag), "schema": schema.to_string()}),
                "schemaArn",
            )?;
            let dataset = self.create(
                "CreateDataset",
                json!({"name": lower, "datasetType": kind, "schemaArn": schema_arn,
                       "datasetGroupArn": group}),
                "datasetArn",
            )?;
            let job = self.create(
                "CreateDatasetImportJob",
                json!({"jobName": format!("{lower}-{}", self.tag), "datasetArn": dataset,
                       "dataSource": {"dataLocation": format!("s3://{BUCKET}/data/{file}")},
                       "roleArn": ROLE}),
                "datasetImportJobArn",
            )?;
            self.wait(
                "import",
                "DescribeDatasetImportJob",
                "datasetImportJob",
                &job,
            )?;
        }
        self.done(
            "import",
            start,
            "interactions, items and users, every row checked",
        );
        Ok(group)
    }

    fn train(&self, group: &str, recipe: &str, short: &str) -> Result<String, CliError> {
        let start = self.clock.monotonic_ms();
        let solution = self.create(
            "CreateSolution",
            json!({"name": format!("{short}-{}", self.tag), "datasetGroupArn": group,
                   "recipeArn": format!("arn:aws:personalize:::recipe/{recipe}"),
                   "performAutoTraining": false}),
            "solutionArn",
        )?;
        let version = self.create(
            "CreateSolutionVersion",
            json!({"solutionArn": solution}),
            "solutionVersionArn",
        )?;
        self.wait(
            "train",
            "DescribeSolutionVersion",
            "solutionVersion",
            &version,
        )?;
        self.done(
            "train",
            start,
            &format!("{recipe}, validated on held-out purchases, then on all"),
        );
        Ok(version)
    }

    /// Runs a job over queries and gives its output lines; with a filter, who had the item already
    /// is left out, too.
    fn segment(
        &self,
        version: &str,
        name: &str,
        queries: &[Value],
        filter: Option<&str>,
    ) -> Result<Vec<Value>, CliError> {
        let start = self.clock.monotonic_ms();
        let lines: String = queries.iter().map(|query| format!("{query}\n")).collect();
        let input = format!("queries/{name}.json");
        self.client.put_object(BUCKET, &input, lines.into())?;
        let mut request = json!({
            "jobName": format!("{name}-{}", self.tag), "solutionVersionArn": version,
            "numResults": 25, "roleArn": ROLE,
            "jobInput": {"s3DataSource": {"path": format!("s3://{BUCKET}/{input}")}},
            "jobOutput": {"s3DataDestination": {"path": format!("s3://{BUCKET}/segments/")}}});
        if let Some(filter) = filter {
            request["filterArn"] = filter.into();
            request["tags"] = json!([{"tagKey": EXCLUDE_INTERACTED, "tagValue": "true"}]);
        }
        let job = self.create("CreateBatchSegmentJob", request, "batchSegmentJobArn")?;
        self.wait(
            "segment",
            "DescribeBatchSegmentJob",
            "batchSegmentJob",
            &job,
        )?;
        let output = self
            .client
            .get_object(BUCKET, &format!("segments/{name}.json.out"))?;
        self.done(
            "segment",
            start,
            &match filter {
                None => format!("{} {name}, the best 25 households for each", queries.len()),
                Some(_) => format!("{} products, the best 25 {FILTERED}", queries.len()),
            },
        );
        String::from_utf8_lossy(&output)
            .lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|error| CliError::failed(error.to_string()))
            })
            .collect()
    }

    fn show_metrics(&self, version: &str) -> Result<(), CliError> {
        let answer = self.client.personalize(
            "GetSolutionMetrics",
            &json!({"solutionVersionArn": version}),
        )?;
        let metrics = &answer["metrics"];
        println!("How good are the segments?");
        println!(
            "  Each household's newest 20 % of purchases were kept aside; for every product, the top"
        );
        println!(
            "  1 % of the households were predicted from the rest and compared with who really bought.\n"
        );
        println!("  {:<34}{:>8}{:>16}", "", "hits", "recall at 1 %");
        let row = |name: &str, hits: &Value, recall: &Value| {
            if let (Some(hits), Some(recall)) = (hits.as_f64(), recall.as_f64()) {
                println!("  {name:<34}{hits:>8.3}{:>15.1}%", recall * 100.0);
            }
        };
        row(
            "Kindred",
            &metrics["hits_at_1_percent"],
            &metrics["recall_at_1_percent"],
        );
        let card = read_card(&self.dir).unwrap_or_default();
        for baseline in card["metrics"]["baselines"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = baseline["name"].as_str().unwrap_or_default();
            row(
                &format!("baseline: {}", name.replace('_', " ")),
                &baseline["hits_at_1_percent"],
                &baseline["recall_at_1_percent"],
            );
        }
        println!();
        Ok(())
    }

    fn show_segments(&self, segments: &[Value], products: usize) {
        for segment in self.sample.varied(segments, products) {
            let item = segment["input"]["itemId"].as_str().unwrap_or_default();
            println!("\n  {}?", self.sample.item_text(item));
            let users = segment["output"]["usersList"].as_array();
            for (rank, user) in users
                .into_iter()
                .flatten()
                .take(SHOWN_HOUSEHOLDS)
                .enumerate()
            {
                let user = user.as_str().unwrap_or_default();
                println!(
                    "    {}. {}",
                    rank + 1,
                    self.sample.household_text(user, item)
                );
            }
        }
        println!();
    }

    fn show_shoppers(&self, category: &str, segment: &Value) {
        println!("Who is most likely to buy {}?\n", category.to_lowercase());
        let users = segment["output"]["usersList"].as_array();
        for (rank, user) in (1..=SHOWN_HOUSEHOLDS).zip(users.into_iter().flatten()) {
            let user = user.as_str().unwrap_or_default();
            println!("    {rank}. {}", self.sample.shopper_text(user, category));
        }
        println!();
    }

    fn create(&self, operation: &str, input: Value, member: &str) -> Result<String, CliError> {
        let answer = self.client.personalize(operation, &input)?;
        answer[member]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| CliError::failed(format!("{operation} gave no {member}")))
    }

    /// Waits until a job is ACTIVE, or fails with its reason.
    fn wait(&self, step: &str, operation: &str, member: &str, arn: &str) -> Result<(), CliError> {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(POLL);
        loop {
            let answer = self
                .client
                .personalize(operation, &json!({(format!("{member}Arn")): arn}))?;
            let record = &answer[member];
            match record["status"].as_str().unwrap_or_default() {
                "ACTIVE" => break,
                "CREATE FAILED" => {
                    bar.finish_and_clear();
                    let reason = record["failureReason"]
                        .as_str()
                        .unwrap_or("no reason given");
                    return Err(CliError::failed(format!("{step}: {reason}")));
                }
                status => bar.set_message(format!("{step}: {}", status.to_lowercase())),
            }
            std::thread::sleep(POLL);
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn done(&self, step: &str, start: u64, what: &str) {
        println!("  {step:<8} {:>5.1} s  {what}", self.seconds_since(start));
    }

    fn seconds_since(&self, start: u64) -> f64 {
        self.clock.monotonic_ms().saturating_sub(start) as f64 / 1000.0
    }
}

/// The role that exists from the first start.
const ROLE: &str = "arn:aws:iam::000000000000:role/kindred";

/// A query for all products of a category.
fn by_category(name: &str) -> Value {
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    json!({"itemAttributes": format!("ITEMS.CATEGORY = \"{quoted}\"")})
}

/// The card of the newest model for items in the data directory.
fn read_card(dir: &Path) -> Option<Value> {
    let models = std::fs::read_dir(dir.join("models")).ok()?.flatten();
    let cards = models.filter_map(|entry| {
        let made = entry.metadata().and_then(|meta| meta.modified()).ok();
        let text = std::fs::read(entry.path().join("card.json")).ok()?;
        Some((made, serde_json::from_slice::<Value>(&text).ok()?))
    });
    cards
        .filter(|(_, card)| card["recipe"] == ITEM_AFFINITY)
        .max_by_key(|(made, _)| *made)
        .map(|(_, card)| card)
}

fn say_what_next(dir: &Path) {
    let dir = dir.display();
    println!("What to try next:");
    println!("  kindred serve --data-dir {dir}            serve this data again");
    println!(
        "  eval \"$(kindred env --data-dir {dir})\"    point boto3 or the AWS CLI at it, then"
    );
    println!("  aws personalize list-batch-segment-jobs");
    println!("  aws s3 cp s3://{BUCKET}/segments/products.json.out - | head -3");
    println!("\nThe data directory {dir} is kept; remove it when you are done.");
}

/// A count with thousands separators.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
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
    fn counts_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_469_307), "1,469,307");
    }
}
