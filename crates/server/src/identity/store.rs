//! Roles, policies, users, their access keys and sessions on disk.
//!
//! One small SQLite database in WAL mode with `synchronous=FULL`; a record is one JSON value with a
//! CRC32C, checked on every read. An answer is given after the commit. After a commit that failed
//! for another reason than a full disk nothing more is written until a restart.

use super::{Refusal, refusal};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

const FORMAT: i64 = 1;
const TABLE: &str = "
    CREATE TABLE records (
        kind TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, value TEXT NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (kind, name)
    ) WITHOUT ROWID;
";

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) arn: String,
    /// Milliseconds since the epoch.
    pub(super) created: i64,
    pub(super) description: Option<String>,
    pub(super) max_session_seconds: u32,
    pub(super) trust: String,
    #[serde(flatten)]
    pub(super) grants: Grants,
    pub(super) tags: BTreeMap<String, String>,
}

/// What gives a role or a user its rights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grants {
    /// Policies of its own, by name.
    pub(super) inline: BTreeMap<String, String>,
    /// ARNs of attached policies.
    pub(super) attached: Vec<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) arn: String,
    /// Milliseconds since the epoch.
    pub(super) created: i64,
    #[serde(flatten)]
    pub(super) grants: Grants,
    pub(super) tags: BTreeMap<String, String>,
}

/// An access key of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccessKey {
    pub(super) id: String,
    pub(super) secret: String,
    /// The user's name.
    pub(super) user: String,
    pub(super) active: bool,
    /// Milliseconds since the epoch.
    pub(super) created: i64,
}

/// A key that acts as a role until it expires.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Its access key id.
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: String,
    /// Name and id of the role.
    pub(super) role: String,
    pub(super) role_id: String,
    /// What the caller named it.
    pub(super) name: String,
    /// Milliseconds since the epoch.
    pub(super) created: i64,
    /// Milliseconds since the epoch.
    pub(super) expires: i64,
}

/// A policy that somebody made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) arn: String,
    /// Milliseconds since the epoch.
    pub(super) created: i64,
    pub(super) description: Option<String>,
    pub(super) document: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// Why the identity database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The disk said no.
    #[error("identity database {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than its owner can read it, and secrets are in it.
    #[error("{path} can be read by others: run chmod 600 {path}")]
    Readable {
        /// The file.
        path: PathBuf,
    },
    /// The database said no.
    #[error("identity database: {0}")]
    Database(#[from] rusqlite::Error),
    /// It was written by a newer version.
    #[error("identity database {path} has format {format}, this version knows {FORMAT}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i64,
    },
    /// A first record could not be written.
    #[error("identity database: a record could not be encoded")]
    Encoding,
}

#[derive(Debug)]
pub(super) struct IdentityStore {
    connection: Mutex<Connection>,
    broken: AtomicBool,
    changes: AtomicU64,
}

/// All records, within one transaction.
pub(super) struct Records<'t>(&'t Transaction<'t>);

/// A failure that is ours; the client is told no more than that.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("record {0} does not match its checksum")]
    Damaged(String),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Encoding(#[from] serde_json::Error),
    #[error("a commit failed earlier; restart to recover")]
    Broken,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        tracing::error!(error = %failure, "the identity database failed");
        refusal(
            500,
            "ServiceFailure",
            "The request processing has failed because of an unknown error",
        )
    }
}

impl IdentityStore {
    /// Opens the database; a new one gets the role `first`.
    pub(super) fn open(path: &Path, first: &Role) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            path: path.to_path_buf(),
            source,
        };
        // SQLite gives its side files the mode of the database, so that is made first, private.
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let mode = std::fs::metadata(path)
            .map_err(failed)?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(OpenError::Readable {
                path: path.to_path_buf(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if format > FORMAT {
            return Err(OpenError::Newer {
                path: path.to_path_buf(),
                format,
            });
        }
        connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if format == 0 {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLE)?;
            Records(&transaction)
                .put_role(first)
                .map_err(|_| OpenError::Encoding)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()?;
        }
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = std::fs::File::open(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        directory.sync_all().map_err(failed)?;
        Ok(IdentityStore {
            connection: Mutex::new(connection),
            broken: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        })
    }

    /// Runs `work` on the records without keeping any change.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Records<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction().map_err(Failure::from)?;
        work(&Records(&transaction))
    }

    /// Runs `work` on the records and commits what it changed. A refusal changes nothing.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Records<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Failure::Broken.into());
        }
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::from)?;
        let value = work(&Records(&transaction))?;
        transaction.commit().map_err(|error| {
            if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) {
                self.broken.store(true, Ordering::SeqCst);
            }
            Failure::from(error)
        })?;
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(value)
    }

    /// Counts the commits since the start, for whoever keeps something that was read.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

impl Records<'_> {
    pub(super) fn role(&self, name: &str) -> Result<Option<Role>, Refusal> {
        Ok(self.get("role", name)?)
    }

    pub(super) fn put_role(&self, role: &Role) -> Result<(), Refusal> {
        Ok(self.put("role", &role.name, role)?)
    }

    pub(super) fn delete_role(&self, name: &str) -> Result<(), Refusal> {
        Ok(self.delete("role", name)?)
    }

    pub(super) fn roles(&self) -> Result<Vec<Role>, Refusal> {
        Ok(self.all("role")?)
    }

    /// A policy by its name; names are unique whatever the path.
    pub(super) fn policy(&self, name: &str) -> Result<Option<Policy>, Refusal> {
        Ok(self.get("policy", name)?)
    }

    pub(super) fn put_policy(&self, policy: &Policy) -> Result<(), Refusal> {
        Ok(self.put("policy", &policy.name, policy)?)
    }

    pub(super) fn delete_policy(&self, name: &str) -> Result<(), Refusal> {
        Ok(self.delete("policy", name)?)
    }

    pub(super) fn policies(&self) -> Result<Vec<Policy>, Refusal> {
        Ok(self.all("policy")?)
    }

    pub(super) fn user(&self, name: &str) -> Result<Option<User>, Refusal> {
        Ok(self.get("user", name)?)
    }

    pub(super) fn put_user(&self, user: &User) -> Result<(), Refusal> {
        Ok(self.put("user", &user.name, user)?)
    }

    pub(super) fn delete_user(&self, name: &str) -> Result<(), Refusal> {
        Ok(self.delete("user", name)?)
    }

    pub(super) fn users(&self) -> Result<Vec<User>, Refusal> {
        Ok(self.all("user")?)
    }

    /// The access key with exactly this id.
    pub(super) fn access_key(&self, id: &str) -> Result<Option<AccessKey>, Refusal> {
        let found: Option<AccessKey> = self.get("access-key", id)?;
        Ok(found.filter(|key| key.id == id))
    }

    pub(super) fn put_access_key(&self, key: &AccessKey) -> Result<(), Refusal> {
        Ok(self.put("access-key", &key.id, key)?)
    }

    pub(super) fn delete_access_key(&self, id: &str) -> Result<(), Refusal> {
        Ok(self.delete("access-key", id)?)
    }

    pub(super) fn access_keys(&self) -> Result<Vec<AccessKey>, Refusal> {
        Ok(self.all("access-key")?)
    }

    /// The session whose access key has exactly this id.
    pub(super) fn session(&self, id: &str) -> Result<Option<Session>, Refusal> {
        let found: Option<Session> = self.get("session", id)?;
        Ok(found.filter(|session| session.id == id))
    }

    pub(super) fn put_session(&self, session: &Session) -> Result<(), Refusal> {
        Ok(self.put("session", &session.id, session)?)
    }

    pub(super) fn delete_session(&self, id: &str) -> Result<(), Refusal> {
        Ok(self.delete("session", id)?)
    }

    pub(super) fn sessions(&self) -> Result<Vec<Session>, Refusal> {
        Ok(self.all("session")?)
    }

    fn get<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Result<Option<T>, Failure> {
        let found: Option<(String, String, i64)> = self
            .0
            .prepare_cached("SELECT name, value, sum FROM records WHERE kind = ?1 AND name = ?2")?
            .query_row([kind, name], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        found
            .map(|(name, value, sum)| decode(kind, &name, &value, sum))
            .transpose()
    }

    fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, Failure> {
        let mut statement = self
            .0
            .prepare_cached("SELECT name, value, sum FROM records WHERE kind = ?1")?;
        let mut rows = statement.query([kind])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
            found.push(decode(kind, &name, &value, row.get(2)?)?);
        }
        Ok(found)
    }

    fn put<T: Serialize>(&self, kind: &str, name: &str, record: &T) -> Result<(), Failure> {
        let value = serde_json::to_string(record)?;
        self.0
            .prepare_cached("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4)")?
            .execute(rusqlite::params![
                kind,
                name,
                value,
                sum(kind, name, &value)
            ])?;
        Ok(())
    }

    fn delete(&self, kind: &str, name: &str) -> Result<(), Failure> {
        self.0
            .prepare_cached("DELETE FROM records WHERE kind = ?1 AND name = ?2")?
            .execute([kind, name])?;
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(
    kind: &str,
    name: &str,
    value: &str,
    stored: i64,
) -> Result<T, Failure> {
    if sum(kind, name, value) != stored {
        return Err(Failure::Damaged(format!("{kind} {name}")));
    }
    Ok(serde_json::from_str(value)?)
}

fn sum(kind: &str, name: &str, value: &str) -> i64 {
    let parts = [kind, name, value];
    i64::from(parts.iter().fold(0, |sum, part| {
        let length = (part.len() as u64).to_le_bytes();
        crc32c::crc32c_append(crc32c::crc32c_append(sum, &length), part.as_bytes())
    }))
}
