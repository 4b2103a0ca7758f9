//! Access keys: who may sign requests, and how strictly signatures are taken.
//!
//! The keys lie in one file in the AWS shared-credentials format, readable by its owner alone; the
//! first start makes it with one random pair. A file that others may read is refused, since a
//! secret that others may have read is none. Secrets never appear in a message or in debug output.

use kindred_types::parts::Random;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Largest credentials file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
const ACCESS_KEY_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How requests prove who sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Every request is signed with a known key.
    #[default]
    Static,
    /// Every request names a key; the signature is not checked. For tests.
    Trust,
    /// Unsigned requests are taken too.
    Off,
}

/// Knows the secrets of access keys.
pub trait KeyTable: Send + Sync + fmt::Debug {
    /// The secret of an access key, if there is such a key.
    fn secret_for(&self, access_key: &str) -> Option<String>;
}

/// Why the credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk said no.
    #[error("credentials file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("credentials file {path} is open to others (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not in the shared-credentials format, or holds no complete key.
    #[error("credentials file {path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        problem: String,
    },
}

/// The keys of a credentials file.
#[derive(Clone)]
pub struct CredentialsFile {
    profiles: BTreeMap<String, KeyPair>,
}

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
}

impl CredentialsFile {
    /// Reads the keys at `path`; where there is no file, makes one with a random key as profile
    /// `default`, on disk before this returns.
    pub fn open_or_create(path: &Path, random: &dyn Random) -> Result<Self, Error> {
        match Self::open(path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let pair = KeyPair::random(random);
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            pair.access_key, pair.secret_key
        );
        write_private(path, text.as_bytes())
            .map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        Ok(CredentialsFile { profiles: BTreeMap::from([("default".to_owned(), pair)]) })
    }

    /// Reads the keys at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_path_buf(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        // Asked of the open file, so that nobody can swap it between the check and the read.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Exposed { path: path.to_path_buf(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        let profiles = parse(&text)
            .map_err(|problem| Error::Malformed { path: path.to_path_buf(), problem })?;
        Ok(CredentialsFile { profiles })
    }

    /// The pair of profile `default`, or else of the first profile by name.
    pub fn default_pair(&self) -> Option<&KeyPair> {
        self.profiles.get("default").or_else(|| self.profiles.values().next())
    }
}

impl KeyTable for CredentialsFile {
    fn secret_for(&self, access_key: &str) -> Option<String> {
        let pair = self.profiles.values().find(|pair| pair.access_key == access_key)?;
        Some(pair.secret_key.clone())
    }
}

impl KeyPair {
    /// A new pair, in the form that AWS gives its own: 20 and 40 characters.
    pub fn random(random: &dyn Random) -> Self {
        let mut raw = [0u8; 56];
        random.fill(&mut raw);
        let letter = |letters: &[u8], byte: &u8| char::from(letters[*byte as usize % letters.len()]);
        let (id, secret) = raw.split_at(16);
        KeyPair {
            access_key: "AKIA"
                .chars()
                .chain(id.iter().map(|byte| letter(ACCESS_KEY_LETTERS, byte)))
                .collect(),
            secret_key: secret.iter().map(|byte| letter(SECRET_LETTERS, byte)).collect(),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl fmt::Debug for CredentialsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsFile").field("profiles", &self.profiles.len()).finish()
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    // A file left from an interrupted start may have another mode.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    std::fs::File::open(directory)?.sync_all()
}

fn parse(text: &str) -> Result<BTreeMap<String, KeyPair>, String> {
    let mut sections: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    let mut current: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = Some(name.trim().to_owned());
            continue;
        }
        // The line itself stays out of the message: it may hold a secret.
        let problem = |what: &str| format!("line {}: {what}", number + 1);
        let (name, value) =
            line.split_once('=').ok_or_else(|| problem("expected `name = value`"))?;
        let profile = current.clone().ok_or_else(|| problem("expected `[profile]` first"))?;
        let entry = sections.entry(profile).or_default();
        match name.trim() {
            "aws_access_key_id" => entry.0 = Some(value.trim().to_owned()),
            "aws_secret_access_key" => entry.1 = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut profiles = BTreeMap::new();
    for (profile, pair) in sections {
        match pair {
            (Some(access_key), Some(secret_key))
                if !access_key.is_empty() && !secret_key.is_empty() =>
            {
                profiles.insert(profile, KeyPair { access_key, secret_key });
            }
            (None, None) => {}
            _ => return Err(format!("profile {profile} has only half of a key")),
        }
    }
    if profiles.is_empty() { Err("it holds no key".to_owned()) } else { Ok(profiles) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(7u8..).for_each(|(byte, value)| *byte = value.wrapping_mul(31));
        }
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_later_ones_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let made = CredentialsFile::open_or_create(&path, &Counting).unwrap();
        let pair = made.default_pair().unwrap().clone();
        assert!(pair.access_key.starts_with("AKIA") && pair.access_key.len() == 20);
        assert_eq!(pair.secret_key.len(), 40);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let read = CredentialsFile::open_or_create(&path, &Counting).unwrap();
        assert_eq!(read.secret_for(&pair.access_key), Some(pair.secret_key.clone()));
        assert_eq!(read.secret_for("AKIAOTHER"), None);
        assert!(!format!("{made:?} {pair:?}").contains(&pair.secret_key));
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        CredentialsFile::open_or_create(&path, &Counting).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(CredentialsFile::open(&path), Err(Error::Exposed { .. })));
        }
    }

    #[test]
    fn several_profiles_comments_and_mistakes() {
        let good = "# keys\n[default]\naws_access_key_id=A\naws_secret_access_key = S=/+\n\n[ two ]\n\
                    aws_secret_access_key= T\naws_access_key_id =B\nregion = us-east-1\n";
        let profiles = parse(good).unwrap();
        assert_eq!(profiles["default"].secret_key, "S=/+");
        assert_eq!(profiles["two"].access_key, "B");
        for (text, expected) in [
            ("", "no key"),
            ("aws_access_key_id = A", "line 1"),
            ("[default]\nnonsense", "line 2"),
            ("[default]\naws_access_key_id = A", "half"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
