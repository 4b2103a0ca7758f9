//! Listing a bucket in byte order, with prefix, delimiter and pages.
//!
//! A common prefix costs one query, not one per key under it: the listing jumps to the first key
//! behind it.

use super::index::ObjectRow;
use super::objects::{ObjectInfo, info_of};
use super::{EmbeddedStore, buckets};
use crate::Error;
use rusqlite::Connection;

/// What to list.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery<'a> {
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Roll keys up to the first of these behind the prefix.
    pub delimiter: Option<&'a str>,
    /// Only what comes after this key; if it is a common prefix of this listing, what comes after
    /// everything under it.
    pub after: Option<&'a str>,
    /// At most so many keys and common prefixes together.
    pub max: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Keys that were not rolled up.
    pub objects: Vec<ObjectInfo>,
    /// Rolled-up keys, each prefix once.
    pub common_prefixes: Vec<String>,
    /// Whether there is more.
    pub truncated: bool,
    /// The last key or common prefix of this page, to go on after; only where there is more.
    pub next: Option<String>,
}

impl EmbeddedStore {
    /// Lists a page of a bucket.
    pub fn list_objects(&self, bucket: &str, query: &ListQuery<'_>) -> Result<Listing, Error> {
        self.inner.index.read(|connection| {
            // One read transaction, so that a page is one moment of the bucket.
            let transaction = connection.unchecked_transaction()?;
            buckets::require(&transaction, bucket)?;
            list(&transaction, bucket, query)
        })
    }
}

fn list(connection: &Connection, bucket: &str, query: &ListQuery<'_>) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    if query.max == 0 {
        return Ok(listing);
    }
    let mut from = first_key(query);
    let end = successor(query.prefix.as_bytes());
    let mut last = None;
    loop {
        let room = query.max - listing.objects.len() - listing.common_prefixes.len();
        // Without a delimiter one query fills the page and looks one further.
        let batch = if query.delimiter.is_some() {
            256.min(room + 1)
        } else {
            room + 1
        };
        let rows = rows_from(connection, bucket, &from, end.as_deref(), batch)?;
        let exhausted = rows.len() < batch;
        let mut jumped = false;
        for row in rows {
            if listing.objects.len() + listing.common_prefixes.len() == query.max {
                listing.truncated = true;
                listing.next = last;
                return Ok(listing);
            }
            let key = row.location.key.clone();
            if let Some(common) = common_prefix(&key, query) {
                last = Some(common.to_owned());
                listing.common_prefixes.push(common.to_owned());
                match successor(common.as_bytes()) {
                    Some(next) => from = next,
                    None => return Ok(listing),
                }
                jumped = true;
                break;
            }
            from = just_after(key.as_bytes());
            last = Some(key);
            listing.objects.push(info_of(row)?);
        }
        if exhausted && !jumped {
            return Ok(listing);
        }
    }
}

fn rows_from(
    connection: &Connection,
    bucket: &str,
    from: &[u8],
    end: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<ObjectRow>, Error> {
    let columns = ObjectRow::COLUMNS;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {columns} FROM objects
         WHERE bucket = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) ORDER BY key LIMIT ?4"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(rusqlite::params![bucket, from, end, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ObjectRow::read(row)?);
    }
    Ok(found)
}

fn first_key(query: &ListQuery<'_>) -> Vec<u8> {
    let prefix = query.prefix.as_bytes().to_vec();
    let Some(after) = query.after else {
        return prefix;
    };
    let rolled_up = common_prefix(after, query).is_some_and(|common| common == after);
    let behind = if rolled_up {
        successor(after.as_bytes())
    } else {
        None
    };
    behind
        .unwrap_or_else(|| just_after(after.as_bytes()))
        .max(prefix)
}

fn common_prefix<'k>(key: &'k str, query: &ListQuery<'_>) -> Option<&'k str> {
    let delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key.strip_prefix(query.prefix)?.find(delimiter)?;
    Some(&key[..query.prefix.len() + at + delimiter.len()])
}

fn just_after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// The first byte string behind everything that starts with `prefix`; none if nothing is.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if last < 0xff {
            next.push(last + 1);
            return Some(next);
        }
    }
    None
}
