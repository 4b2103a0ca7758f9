//! Quotas of the original service that only a job can check, when they are configured.
//!
//! They end the job with a sentence that names the number, before anything becomes visible. The quotas of creations are the server's.

use crate::JobQuotas;
use crate::failure::Failure;
use kindred_engine::data::source::{Source, open_unpacked};
use kindred_engine::model::AnyModel;
use kindred_types::schema::DatasetType;
use std::io::{ErrorKind, Read};

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 16;

/// Refuses an input file with more lines than the model's recipe may be asked. Blank lines do not
/// count, as they are not answered.
pub(crate) fn need_few_lines(
    sources: &[&dyn Source],
    model: &AnyModel,
    quotas: &JobQuotas,
) -> Result<(), Failure> {
    let limit = match model {
        AnyModel::Items(_) => quotas.lines_item_affinity,
        AnyModel::Attributes(_) => quotas.lines_item_attribute_affinity,
    };
    if limit == 0 {
        return Ok(());
    }
    for source in sources {
        let counted = open_unpacked(*source).and_then(|reader| has_more_lines(reader, limit));
        match counted {
            Ok(false) => {}
            Ok(true) => {
                return Err(Failure::Input(format!(
                    "Input file {} has more than {limit} lines.",
                    source.name()
                )));
            }
            // What cannot be unpacked is refused in other words when the lines are read.
            Err(error) if error.kind() == ErrorKind::InvalidData => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Refuses an import of more stored bytes than its mode may have.
pub(crate) fn need_few_bytes(
    sources: &[&dyn Source],
    incremental: bool,
    quotas: &JobQuotas,
) -> Result<(), Failure> {
    let (mode, limit) = if incremental {
        ("INCREMENTAL", quotas.incremental_import_bytes)
    } else {
        ("FULL", quotas.full_import_bytes)
    };
    let bytes = sources
        .iter()
        .fold(0u64, |sum, source| sum.saturating_add(source.size()));
    if limit > 0 && bytes > limit {
        return Err(Failure::Input(format!(
            "The data has {bytes} bytes, more than the {limit} of {mode} imports."
        )));
    }
    Ok(())
}

/// Refuses an import of too few interactions; 0 is no limit.
pub(crate) fn need_enough_rows(
    kind: DatasetType,
    rows: u64,
    quotas: &JobQuotas,
) -> Result<(), Failure> {
    let fewest = quotas.interactions_import_rows_min;
    if kind == DatasetType::Interactions && rows < fewest {
        return Err(Failure::Input(format!(
            "The data has {rows} rows, fewer than the {fewest} that an import needs."
        )));
    }
    Ok(())
}

/// Reads no more than it takes to know.
fn has_more_lines(mut reader: impl Read, limit: u64) -> std::io::Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    let (mut lines, mut blank) = (0u64, true);
    loop {
        let count = reader.read(&mut piece)?;
        if count == 0 {
            return Ok(false);
        }
        for byte in &piece[..count] {
            match byte {
                b'\n' => blank = true,
                byte if blank && !byte.is_ascii_whitespace() => {
                    blank = false;
                    lines += 1;
                    if lines > limit {
                        return Ok(true);
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_they_are_answered() {
        let check = |text: &str, lines: u64| {
            assert!(!has_more_lines(text.as_bytes(), lines).unwrap(), "{text:?}");
            if lines > 0 {
                assert!(
                    has_more_lines(text.as_bytes(), lines - 1).unwrap(),
                    "{text:?}"
                );
            }
        };
        check("", 0);
        check("\n \r\n\n", 0);
        check("a", 1);
        check("a\n", 1);
        check("a b\r\n\r\n  c \n\nd", 3);
        check(&"{}\n".repeat(100_000), 100_000);
    }

    #[test]
    fn no_more_is_read_than_it_takes_to_know() {
        let endless = std::io::repeat(b'x').take(10).chain(std::io::repeat(b'\n'));
        let lines = "a\nb\n".as_bytes().chain(endless);
        assert!(has_more_lines(lines, 2).unwrap());
    }
}
