//! `kindred keys`: the key ring of a running server, over signed HTTP.

use crate::CliError;
use crate::client::Client;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Keys asked for at once.
const PAGE: u64 = 1000;

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
    /// The server's data directory, which has its endpoint and an access key.
    #[arg(long, global = true, default_value = "./kindred-data")]
    data_dir: PathBuf,
    /// The server's endpoint [default: the one noted in the data directory].
    #[arg(long, global = true)]
    endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print its ARN.
    Create {
        /// What the key is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Show all keys: ARN, state, description.
    List,
    /// Let a key be used again.
    Enable {
        /// ARN or id.
        key: String,
    },
    /// Stop all use of a key. What it encrypted cannot be read until it is enabled again.
    Disable {
        /// ARN or id.
        key: String,
    },
    /// Give a key new material for what is encrypted from now on; older data stays readable.
    Rotate {
        /// ARN or id.
        key: String,
    },
}

/// Runs one of the commands against the server.
pub(crate) fn run(args: KeysArgs) -> Result<(), CliError> {
    let client = Client::of(&args.data_dir, args.endpoint.as_deref())?;
    match args.command {
        KeysCommand::Create { description } => {
            let made = client.kms("CreateKey", &json!({"Description": description}))?;
            println!("{}", text(&made["KeyMetadata"]["Arn"]));
        }
        KeysCommand::List => list(&client)?,
        KeysCommand::Enable { key } => {
            client.kms("EnableKey", &json!({"KeyId": key}))?;
        }
        KeysCommand::Disable { key } => {
            client.kms("DisableKey", &json!({"KeyId": key}))?;
        }
        KeysCommand::Rotate { key } => {
            client.kms("RotateKeyOnDemand", &json!({"KeyId": key}))?;
        }
    }
    Ok(())
}

fn list(client: &Client) -> Result<(), CliError> {
    let mut marker = Value::Null;
    loop {
        let page = client.kms("ListKeys", &json!({"Limit": PAGE, "Marker": marker}))?;
        for key in page["Keys"].as_array().into_iter().flatten() {
            let described = client.kms("DescribeKey", &json!({"KeyId": key["KeyId"]}))?;
            let about = &described["KeyMetadata"];
            let (arn, state) = (text(&about["Arn"]), text(&about["KeyState"]));
            println!(
                "{}",
                format!("{arn}  {state:<8}  {}", text(&about["Description"])).trim_end()
            );
        }
        marker = page["NextMarker"].clone();
        if marker.is_null() {
            return Ok(());
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
