//! Access keys: who may call.
//!
//! The first start makes one and writes `<data-dir>/credentials` in the AWS shared-credentials
//! format, readable by its owner only; every profile of that file is a key of the operator. A file
//! that others can read is refused. Users and their keys are `identity`'s.

use kindred_types::parts::{Random, random_hex};
use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;
use subtle::ConstantTimeEq as _;

/// Most profiles that a credentials file may hold.
const PROFILES_MAX: usize = 10_000;
/// Letters of an access key id after its prefix: capitals and digits, as in base 32.
const KEY_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Access key ids of users start so.
const KEY_PREFIX: &str = "AKIA";

/// How requests are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Signatures are checked against known keys.
    Static,
    /// Any access key, signatures are not checked.
    Trust,
    /// Unsigned requests too.
    Off,
}

/// Where secrets of access keys come from.
pub trait KeyTable: Send + Sync + Debug {
    /// The secret of an access key, if it is known.
    fn secret_for(&self, access_key: &str) -> Option<String>;

    /// What a key of a session needs beside its secret. Other keys need nothing, and a token that
    /// comes with one of them is not looked at.
    fn session(&self, _access_key: &str) -> Option<SessionFacts> {
        None
    }

    /// Whether `token` is what the key needs at the time `now_ms`.
    ///
    /// # Errors
    /// When the key belongs to a session and the token is not its, or the session has ended.
    fn check_token(
        &self,
        access_key: &str,
        token: Option<&str>,
        now_ms: i64,
    ) -> Result<(), TokenProblem> {
        let Some(session) = self.session(access_key) else {
            return Ok(());
        };
        let token = token.unwrap_or_default().as_bytes();
        if !bool::from(session.token.as_bytes().ct_eq(token)) {
            return Err(TokenProblem::Wrong);
        }
        if session.expires_ms <= now_ms {
            return Err(TokenProblem::Expired);
        }
        Ok(())
    }
}

/// The token that goes with a session's key, and how long.
#[derive(Clone)]
pub struct SessionFacts {
    /// Sent as `X-Amz-Security-Token`.
    pub token: String,
    /// Milliseconds since the epoch.
    pub expires_ms: i64,
}

/// Why a token does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// Missing, or another's.
    Wrong,
    /// The session has ended.
    Expired,
}

/// What is wrong with a credentials file.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read it.
    #[error("{path} can be read by others: run chmod 600 {path}")]
    Readable {
        /// The file.
        path: PathBuf,
    },
    /// It holds no key, or half of one.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The keys of a credentials file, read again whenever the file changes: keys are added, replaced
/// and removed without a restart. A change that makes no sense is reported and counts for nothing.
pub struct FileKeys {
    path: PathBuf,
    state: RwLock<FileState>,
}

#[derive(Clone)]
struct FileState {
    secrets: HashMap<String, String>,
    stamp: Stamp,
}

/// By what a changed file is noticed: it was written, or another took its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Debug for FileKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "FileKeys({} keys)", state.secrets.len())
    }
}

impl KeyTable for FileKeys {
    fn secret_for(&self, access_key: &str) -> Option<String> {
        self.refresh();
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.secrets.get(access_key).cloned()
    }
}

impl FileKeys {
    /// Reads the file at `path`, making it with one fresh key when it is not there.
    pub fn open(path: &Path, random: &dyn Random) -> Result<Self, KeysError> {
        if !path.exists() {
            write_new(path, random).map_err(|source| KeysError::Io {
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(FileKeys {
            path: path.to_owned(),
            state: RwLock::new(read_file(path)?),
        })
    }

    /// Reads the file again if it is another than the one that was read.
    fn refresh(&self) {
        let Ok(stamp) = stamp(&self.path) else {
            // Gone for a moment while it is replaced, or for good: the keys stay.
            return;
        };
        let known = self
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .stamp;
        if stamp == known {
            return;
        }
        let fresh = read_file(&self.path);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(fresh) => {
                tracing::info!(
                    keys = fresh.secrets.len(),
                    "the credentials file was read again"
                );
                *state = fresh;
            }
            Err(error) => {
                tracing::error!(%error, "the credentials file is not usable; its old keys stay");
                state.stamp = stamp;
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    Ok(Stamp {
        modified: metadata.modified().ok(),
        bytes: metadata.len(),
        inode: metadata.ino(),
    })
}

/// The keys of a file that only its owner can read.
fn read_file(path: &Path) -> Result<FileState, KeysError> {
    let io = |source| KeysError::Io {
        path: path.to_owned(),
        source,
    };
    // Before the content: a change in between only costs another read.
    let stamp = stamp(path).map_err(io)?;
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeysError::Readable {
            path: path.to_owned(),
        });
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let secrets = read(&text).map_err(|reason| KeysError::Content {
        path: path.to_owned(),
        reason,
    })?;
    Ok(FileState { secrets, stamp })
}

/// Writes a file with one new key in the profile `default`; it appears whole.
fn write_new(path: &Path, random: &dyn Random) -> io::Result<()> {
    let mut drawn = [0u8; 16];
    random.fill(&mut drawn);
    let letters: String = drawn
        .iter()
        .map(|byte| KEY_LETTERS[usize::from(byte % 32)] as char)
        .collect();
    let text = format!(
        "[default]\naws_access_key_id = {KEY_PREFIX}{letters}\naws_secret_access_key = {}\n",
        random_hex(random, 20)
    );
    let staged = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn read(text: &str) -> Result<HashMap<String, String>, String> {
    let mut secrets = HashMap::new();
    let mut waiting: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let place = format!("line {}", index + 1);
        if line.starts_with('[') {
            if waiting.is_some() {
                return Err(format!(
                    "{place}: the profile before has no aws_secret_access_key"
                ));
            }
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        match (name.trim(), value.trim()) {
            ("aws_access_key_id", key) => waiting = Some(key.to_owned()),
            ("aws_secret_access_key", secret) => {
                let Some(key) = waiting.take() else {
                    return Err(format!("{place}: aws_access_key_id has to come first"));
                };
                secrets.insert(key, secret.to_owned());
            }
            _ => {}
        }
        if secrets.len() > PROFILES_MAX {
            return Err(format!("more than {PROFILES_MAX} profiles"));
        }
    }
    if waiting.is_some() {
        return Err("the last profile has no aws_secret_access_key".to_owned());
    }
    if secrets.is_empty() {
        return Err("no access key".to_owned());
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Sevens;

    impl Random for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_later_ones_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let keys = FileKeys::open(&path, &Sevens).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(keys.secret_for("AKIAHHHHHHHHHHHHHHHH").unwrap().len(), 40);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        FileKeys::open(&path, &Sevens).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert!(!format!("{keys:?}").contains("AKIA"));
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_broken_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let keys = FileKeys::open(&path, &Sevens).unwrap();
        let old = "AKIAHHHHHHHHHHHHHHHH";
        let replace = |text: &str| {
            let staged = dir.path().join("staged");
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            options
                .open(&staged)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            std::fs::rename(staged, &path).unwrap();
        };
        replace("[a]\naws_access_key_id=K1\naws_secret_access_key=s1\n");
        assert_eq!(keys.secret_for("K1").as_deref(), Some("s1"));
        assert_eq!(keys.secret_for(old), None);
        replace("[a]\naws_access_key_id=K2\n");
        assert_eq!(keys.secret_for("K1").as_deref(), Some("s1"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(keys.secret_for("K1").as_deref(), Some("s1"));
        replace("[a]\naws_access_key_id=K2\naws_secret_access_key=s2\n");
        assert_eq!(keys.secret_for("K1"), None);
        assert_eq!(keys.secret_for("K2").as_deref(), Some("s2"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        FileKeys::open(&path, &Sevens).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            FileKeys::open(&path, &Sevens),
            Err(KeysError::Readable { .. })
        ));
    }

    #[test]
    fn profiles_are_read_and_half_ones_refused() {
        let two = "[a]\naws_access_key_id=K1\naws_secret_access_key = s1\n[b]\naws_access_key_id = K2\naws_secret_access_key=s2\n";
        let secrets = read(two).unwrap();
        assert_eq!(secrets["K1"], "s1");
        assert_eq!(secrets["K2"], "s2");
        for bad in [
            "",
            "[a]\naws_access_key_id=K1\n",
            "[a]\naws_secret_access_key=s1\n",
            "[a]\naws_access_key_id=K\n[b]\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
