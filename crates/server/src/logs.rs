//! Logs on standard error.
//!
//! `KINDRED_LOG` takes the usual filter directives. The S3 protocol layer stays at warnings
//! whatever is asked for: at debug level it would print signatures it expected.

use tracing_subscriber::EnvFilter;

const DEFAULT: &str = "info";
const ALWAYS: &str = "s3s=warn";

/// Starts logging for the whole process; a second call does nothing.
pub fn start() {
    let asked = std::env::var("KINDRED_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(format!("{asked},{ALWAYS}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{DEFAULT},{ALWAYS}")));
    // Fails only when logging was started before, by a test for example.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
