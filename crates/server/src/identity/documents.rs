//! Policy documents on their way in and out: size, form, encoding. What they mean is `policy`'s.

use super::{Refusal, refusal};
use crate::policy::{Kind, Policy};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Bytes that are looked at before white space is told from the rest.
const DOCUMENT_BYTES_MAX: usize = 128 << 10;

/// Checks a document of at most `max` characters, white space not counted.
pub(super) fn check(text: &str, kind: Kind<'_>, max: usize) -> Result<(), Refusal> {
    let counted = || {
        text.chars()
            .filter(|letter| !letter.is_whitespace())
            .count()
    };
    if text.len() > DOCUMENT_BYTES_MAX || counted() > max {
        let message = format!("Cannot exceed quota for PolicySize: {max}");
        return Err(refusal(409, "LimitExceeded", message));
    }
    match Policy::parse(text, kind) {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(400, "MalformedPolicyDocument", error.to_string())),
    }
}

/// A document as IAM gives it back: percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}
