//! Notes when the program was built: the service's own recipes carry that as their last change.
//!
//! `SOURCE_DATE_EPOCH` fixes it for builds that must come out the same twice.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=src");
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok();
    let seconds = fixed.and_then(|text| text.parse().ok()).unwrap_or_else(now);
    println!("cargo:rustc-env=KINDRED_BUILD_SECONDS={seconds}");
}

#[allow(clippy::disallowed_methods)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |elapsed| elapsed.as_secs())
}
