//! Buckets and their policies.
//!
//! A policy is kept as the text it came as; what it allows is decided elsewhere.

use super::EmbeddedStore;
use super::index::{RowSum, checked};
use crate::{Error, Location, names};
use kindred_types::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

/// Facts about a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its policy document, where it has one.
    pub policy: Option<String>,
}

impl EmbeddedStore {
    /// Makes a bucket. `false` if it was there already.
    pub fn create_bucket(&self, name: &str) -> Result<bool, Error> {
        names::check_bucket(name)?;
        let created = Timestamp(self.now());
        let bucket = BucketInfo {
            name: name.to_owned(),
            created,
            policy: None,
        };
        self.write(|transaction| {
            if find(transaction, name)?.is_some() {
                return Ok(false);
            }
            let count: i64 =
                transaction.query_row("SELECT count(*) FROM buckets", [], |row| row.get(0))?;
            if count as u64 >= names::BUCKETS_MAX {
                let what = "the number of buckets";
                return Err(Error::TooLarge {
                    what,
                    limit: names::BUCKETS_MAX,
                });
            }
            save(transaction, &bucket)?;
            Ok(true)
        })
    }

    /// Removes an empty bucket.
    pub fn delete_bucket(&self, name: &str) -> Result<(), Error> {
        self.write(|transaction| {
            require(transaction, name)?;
            let used: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)
                     OR EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1)",
                [name],
                |row| row.get(0),
            )?;
            if used {
                return Err(Error::BucketNotEmpty(name.to_owned()));
            }
            transaction.execute("DELETE FROM buckets WHERE name = ?1", [name])?;
            Ok(())
        })
    }

    /// Facts about one bucket.
    pub fn bucket(&self, name: &str) -> Result<BucketInfo, Error> {
        self.inner
            .index
            .read(|connection| require(connection, name))
    }

    /// All buckets, by name.
    pub fn buckets(&self) -> Result<Vec<BucketInfo>, Error> {
        self.inner.index.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT name, created, policy, sum FROM buckets ORDER BY name")?;
            let mut rows = statement.query([])?;
            let mut buckets = Vec::new();
            while let Some(row) = rows.next()? {
                buckets.push(bucket_of(row)?);
            }
            Ok(buckets)
        })
    }

    /// Sets or, with `None`, removes a bucket's policy.
    pub fn set_bucket_policy(&self, name: &str, policy: Option<&str>) -> Result<(), Error> {
        if policy.is_some_and(|policy| policy.len() > names::POLICY_BYTES_MAX) {
            let limit = names::POLICY_BYTES_MAX as u64;
            return Err(Error::TooLarge {
                what: "the bucket policy",
                limit,
            });
        }
        self.write(|transaction| {
            let mut bucket = require(transaction, name)?;
            bucket.policy = policy.map(str::to_owned);
            save(transaction, &bucket)
        })
    }
}

/// The bucket `name`, or [`Error::NoSuchBucket`].
pub(crate) fn require(connection: &Connection, name: &str) -> Result<BucketInfo, Error> {
    find(connection, name)?.ok_or_else(|| Error::NoSuchBucket(name.to_owned()))
}

fn find(connection: &Connection, name: &str) -> Result<Option<BucketInfo>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT name, created, policy, sum FROM buckets WHERE name = ?1")?;
    let found = statement
        .query_row([name], |row| Ok(bucket_of(row)))
        .optional()?;
    found.transpose()
}

fn save(connection: &Connection, bucket: &BucketInfo) -> Result<(), Error> {
    connection.execute(
        "INSERT OR REPLACE INTO buckets VALUES (?1, ?2, ?3, ?4)",
        rusqlite::params![bucket.name, bucket.created.0, bucket.policy, sum(bucket)],
    )?;
    Ok(())
}

fn bucket_of(row: &Row<'_>) -> Result<BucketInfo, Error> {
    let bucket = BucketInfo {
        name: row.get(0)?,
        created: Timestamp(row.get(1)?),
        policy: row.get(2)?,
    };
    checked(sum(&bucket), row.get(3)?, &Location::new(&bucket.name, ""))?;
    Ok(bucket)
}

fn sum(bucket: &BucketInfo) -> i64 {
    RowSum::new("buckets")
        .text(&bucket.name)
        .int(bucket.created.0)
        .optional(bucket.policy.as_deref())
        .value()
}
