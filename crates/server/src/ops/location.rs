//! Which S3 paths a request may name.
//!
//! Only the spelling is judged here: nothing in S3 is touched before a job runs, so whether a
//! bucket or an object exists shows later, in the job's failure reason.

use crate::error::Exception;
use kindred_store::Location;

/// Reads `s3://bucket/key`; the bucket must be a possible name and the key may be empty.
pub(crate) fn parse(path: &str) -> Option<Location> {
    let location = Location::parse(path)?;
    let printable = !location.key.chars().any(char::is_control);
    (is_bucket_name(&location.bucket) && printable).then_some(location)
}

/// Where an import reads: an object or a prefix, never a whole bucket.
pub(crate) fn import_source(path: Option<&str>) -> Result<Location, Exception> {
    let usable = path
        .and_then(parse)
        .filter(|location| !location.key.is_empty());
    usable.ok_or_else(|| {
        let given = path.unwrap_or("none");
        Exception::invalid_input(format!(
            "Invalid Data location. dataSource.dataLocation must be s3://bucket/key or s3://bucket/prefix/, got {given}."
        ))
    })
}

/// Where a segment job reads: an object, a folder or a bare prefix.
pub(crate) fn segment_input(path: &str) -> Result<Location, Exception> {
    parse(path).ok_or_else(|| {
        Exception::invalid_input(format!(
            "Invalid S3 input path: {path}. It must be s3://bucket/key or s3://bucket/prefix/."
        ))
    })
}

/// Where a segment job writes: a folder. A missing `/` at the end is added.
pub(crate) fn segment_output(path: &str) -> Result<Location, Exception> {
    let mut location = parse(path).ok_or_else(|| {
        Exception::invalid_input(format!(
            "Invalid S3 output path: {path}. It must be s3://bucket/folder/."
        ))
    })?;
    if !location.key.is_empty() && !location.key.ends_with('/') {
        location.key.push('/');
    }
    Ok(location)
}

/// Refuses an output folder that the input path, read as a prefix, would take in.
///
/// A single input object next to its output passes: `in/q.json` is no prefix of `in/`.
pub(crate) fn keep_output_apart(input: &Location, output: &Location) -> Result<(), Exception> {
    if input.bucket == output.bucket && output.key.starts_with(&input.key) {
        return Err(Exception::invalid_input(format!(
            "The output folder {output} lies inside the input {input}. Choose another jobOutput path, or name a single input object."
        )));
    }
    Ok(())
}

/// Whether the bucket's name has legal letters. One that is too short cannot exist, which shows when
/// the job runs, like any other bucket that is not there.
fn is_bucket_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| legal(*b))
        && edge(bytes.first())
        && edge(bytes.last())
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_judged_by_spelling() {
        let good = [
            "s3://abc/k",
            "s3://abc/",
            "s3://a.b-c/x//y",
            "s3://abc",
            "s3://abc/ä",
        ];
        let bad = [
            "http://abc/k",
            "https://abc/k",
            "s3://",
            "s3:///k",
            "s3://ABC/k",
            "s3://a_bc/k",
            "s3://-abc/k",
            "s3://abc./k",
            "s3://a..b/k",
            "s3://abc/a\nb",
            "S3://abc/k",
        ];
        for path in good {
            assert!(parse(path).is_some(), "{path}");
        }
        for path in bad {
            assert!(parse(path).is_none(), "{path}");
        }
        assert!(parse(&format!("s3://{}/k", "a".repeat(64))).is_none());
        assert!(import_source(Some("s3://abc/")).is_err());
        assert!(import_source(None).is_err());
    }

    #[test]
    fn output_stays_out_of_the_input_prefix() {
        let check = |input: &str, output: &str| {
            keep_output_apart(
                &segment_input(input).unwrap(),
                &segment_output(output).unwrap(),
            )
            .is_ok()
        };
        assert!(check("s3://abc/in/q.json", "s3://abc/in/"));
        assert!(check("s3://abc/in/q.json", "s3://abc/in"));
        assert!(check("s3://abc/in/", "s3://abc/out/"));
        assert!(check("s3://abc/in/", "s3://other/in/"));
        assert!(!check("s3://abc/in/", "s3://abc/in/"));
        assert!(!check("s3://abc/in/", "s3://abc/in"));
        assert!(!check("s3://abc/in/", "s3://abc/in/deeper/"));
        assert!(!check("s3://abc/in", "s3://abc/input2/"));
        assert!(!check("s3://abc/in/q.json", "s3://abc/in/q.json"));
        assert!(!check("s3://abc/", "s3://abc/out/"));
    }
}
