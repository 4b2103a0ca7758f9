//! The `kindred` program: serve, demo, segment, evaluate and the small commands beside them.
//!
//! Exit code 0 for success, 1 for a failed job or server, 2 for wrong usage; errors are one
//! sentence on standard error that names the place.

mod access;
mod client;
mod demo;
mod evaluate;
mod inputs;
mod jobs;
mod keys;
mod output;
mod sample;
mod segment;
mod serve;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Finds the users who are most likely to want an item: batch user segmentation on the wire
/// protocol of Amazon Personalize.
#[derive(Debug, Parser)]
#[command(name = "kindred", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole job on a bundled sample of real data.
    Demo {
        /// Data directory; a fresh temporary one if not given. It is kept.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Run the service.
    Serve(ServeArgs),
    /// Rank users for items without a server: CSV files in, segments out.
    Segment(Box<segment::SegmentArgs>),
    /// Measure how good the segments would have been: train on the past, compare with who came then.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Access keys with rights of their own: make, list, rotate, switch off.
    Access(access::AccessArgs),
    /// How far the jobs of a running server are, and what they did.
    Jobs(jobs::JobsArgs),
    /// Manage the keys that encrypt: customer keys, `kmsKeyArn` in requests.
    Keys(keys::KeysArgs),
    /// Print the `export` lines that point any AWS client at a server of this machine.
    Env {
        /// The server's data directory.
        #[arg(long, default_value = "./kindred-data")]
        data_dir: PathBuf,
    },
    /// Show the configuration.
    Config {
        /// Print every key with its default and documentation.
        #[arg(long, required = true)]
        defaults: bool,
    },
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where everything is kept [default: ./kindred-data].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7070].
    #[arg(long)]
    listen: Option<String>,
    /// Configuration file [default: kindred.toml in the current directory, if there is one].
    #[arg(long)]
    config: Option<PathBuf>,
    /// Who may call: `static` keys, `trust` any signature, or `off` [default: static].
    #[arg(long)]
    auth: Option<String>,
    /// Any other key of the configuration, as `key=value`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// How a command ends without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Wrong usage: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The job or server failed: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        CliError::Failed(text.into())
    }
}

impl From<client::ClientError> for CliError {
    fn from(error: client::ClientError) -> Self {
        CliError::Failed(error.to_string())
    }
}

impl From<kindred_server::StartError> for CliError {
    fn from(error: kindred_server::StartError) -> Self {
        CliError::Failed(error.to_string())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Demo { dir } => demo::run(dir),
        Command::Serve(args) => serve::run(args),
        Command::Segment(args) => segment::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Access(args) => access::run(&args),
        Command::Jobs(args) => jobs::run(args),
        Command::Keys(args) => keys::run(args),
        Command::Env { data_dir } => serve::print_env(&data_dir),
        Command::Config { defaults: _ } => {
            print!("{}", kindred_server::config::defaults_documented());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kindred: {error}");
            match error {
                CliError::Usage(_) => ExitCode::from(2),
                CliError::Failed(_) => ExitCode::from(1),
            }
        }
    }
}
