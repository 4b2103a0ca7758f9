//! The tags of a resource.

use crate::{Error, Result, Tx};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

impl Tx<'_> {
    /// The tags of `arn`, by key.
    pub fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>> {
        let row: Option<(Vec<u8>, u32)> = self
            .inner
            .prepare_cached("SELECT body, crc FROM tag_set WHERE arn = ?1")?
            .query_row([arn], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((body, crc)) = row else {
            return Ok(BTreeMap::new());
        };
        if checksum(arn, &body) != crc {
            return Err(Error::Damaged(arn.to_owned()));
        }
        serde_json::from_slice(&body).map_err(|source| Error::Format {
            arn: arn.to_owned(),
            source,
        })
    }

    /// Replaces all tags of `arn`.
    pub fn set_tags(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        if tags.is_empty() {
            self.inner
                .prepare_cached("DELETE FROM tag_set WHERE arn = ?1")?
                .execute([arn])?;
            return Ok(());
        }
        let body = serde_json::to_vec(tags).map_err(|source| Error::Format {
            arn: arn.to_owned(),
            source,
        })?;
        let crc = checksum(arn, &body);
        self.inner
            .prepare_cached("INSERT OR REPLACE INTO tag_set (arn, body, crc) VALUES (?1, ?2, ?3)")?
            .execute(params![arn, body, crc])?;
        Ok(())
    }
}

fn checksum(arn: &str, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(arn.as_bytes()), body)
}
