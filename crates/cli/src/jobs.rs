//! `kindred jobs`: how far the jobs of a running server are and what they did, over signed HTTP.

mod text;

use crate::CliError;
use crate::client::Client;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Jobs asked for at once.
const PAGE: u64 = 100;

/// The lists that jobs are in: operation, member of the answer, member with the ARN.
const LISTS: [[&str; 3]; 3] = [
    [
        "ListDatasetImportJobs",
        "datasetImportJobs",
        "datasetImportJobArn",
    ],
    [
        "ListSolutionVersions",
        "solutionVersions",
        "solutionVersionArn",
    ],
    [
        "ListBatchSegmentJobs",
        "batchSegmentJobs",
        "batchSegmentJobArn",
    ],
];

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
    /// The server's data directory, which has its endpoint and an access key.
    #[arg(long, global = true, default_value = "./kindred-data")]
    data_dir: PathBuf,
    /// The server's endpoint [default: the one noted in the data directory].
    #[arg(long, global = true)]
    endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Show all dataset import jobs, solution versions and batch segment jobs: status and ARN.
    List,
    /// Show how far a job is and, of a finished one, its statistics.
    Show {
        /// ARN of a dataset import job, a solution version or a batch segment job.
        arn: String,
        /// One JSON object: the statistics, as `--stats` of `kindred segment` writes them, beside `arn`,
        /// `kind`, `status`, `created`, `updated`, and `progress` or `failure_reason`.
        #[arg(long)]
        json: bool,
    },
}

/// Runs one of the commands against the server.
pub(crate) fn run(args: JobsArgs) -> Result<(), CliError> {
    let client = Client::of(&args.data_dir, args.endpoint.as_deref())?;
    match args.command {
        JobsCommand::List => list(&client),
        JobsCommand::Show { arn, json } => {
            let report = client.job(&arn)?;
            if json {
                println!("{}", text::flat(report));
            } else {
                print!("{}", text::table(&report));
            }
            Ok(())
        }
    }
}

fn list(client: &Client) -> Result<(), CliError> {
    for [operation, jobs, arn] in LISTS {
        let mut next = Value::Null;
        loop {
            let mut input = json!({"maxResults": PAGE});
            if !next.is_null() {
                input["nextToken"] = next;
            }
            let page = client.personalize(operation, &input)?;
            for job in page[jobs].as_array().into_iter().flatten() {
                let status = job["status"].as_str().unwrap_or_default();
                let arn = job[arn].as_str().unwrap_or_default();
                println!("{status:<18}  {arn}");
            }
            next = page["nextToken"].clone();
            if next.is_null() {
                break;
            }
        }
    }
    Ok(())
}
