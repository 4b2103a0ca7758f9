//! `kindred serve` and `kindred env`.

use crate::client::Credentials;
use crate::{CliError, ServeArgs};
use kindred_server::{Server, Settings};
use std::io::Write as _;
use std::path::Path;

/// Runs the service until SIGTERM or SIGINT.
pub(crate) fn run(args: ServeArgs) -> Result<(), CliError> {
    kindred_server::logs::start();
    let settings = read_settings(args)?;
    let server = Server::start(settings)?;
    let signals = server
        .take_signals()
        .map_err(|error| CliError::failed(format!("cannot wait for signals: {error}")))?;
    let mut out = std::io::stdout();
    // Whoever started us waits for this line; a closed pipe is their business.
    let _ = writeln!(out, "listening on http://{}", server.address());
    let _ = out.flush();
    server.wait_for(signals);
    server.stop();
    Ok(())
}

fn read_settings(args: ServeArgs) -> Result<Settings, CliError> {
    let mut flags = Vec::new();
    let mut flag = |key: &str, value: Option<String>| {
        flags.extend(value.map(|value| (key.to_owned(), value)));
    };
    flag(
        "data_dir",
        args.data_dir
            .map(|path| path.to_string_lossy().into_owned()),
    );
    flag("listen", args.listen);
    flag("auth", args.auth);
    for pair in args.set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(CliError::Usage(format!("--set {pair}: expected KEY=VALUE")));
        };
        flags.push((key.trim().to_owned(), value.to_owned()));
    }
    Settings::load(args.config.as_deref(), &flags)
        .map_err(|error| CliError::Usage(error.to_string()))
}

/// Prints the `export` lines for a shell.
pub(crate) fn print_env(data_dir: &Path) -> Result<(), CliError> {
    let credentials = Credentials::read(&data_dir.join("credentials"))?;
    let endpoint = kindred_server::Endpoint::read(data_dir);
    println!("export AWS_ENDPOINT_URL={}", endpoint.url);
    println!("export AWS_REGION={}", endpoint.region);
    println!("export AWS_DEFAULT_REGION={}", endpoint.region);
    println!("export AWS_ACCESS_KEY_ID={}", credentials.access_key);
    println!("export AWS_SECRET_ACCESS_KEY={}", credentials.secret);
    println!("export AWS_EC2_METADATA_DISABLED=true");
    Ok(())
}
