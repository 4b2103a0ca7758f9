//! The master key, which seals the key ring, and the places it may come from.
//!
//! It is 32 bytes, written as 64 hexadecimal digits or as base64. A file that others than its owner
//! can read is refused: a key that everybody can read protects nothing.

use super::{KEY_BYTES, Secret, file};
use crate::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kindred_types::parts::Random;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A master key in its longest form and some blanks.
const TEXT_BYTES_MAX: u64 = 1024;

/// Where the master key of a ring comes from.
#[derive(Clone, Debug)]
pub enum MasterKey {
    /// It was handed in.
    Given(Secret),
    /// It lies in this file, which is made with the first key of the ring.
    Own(PathBuf),
}

impl MasterKey {
    /// Reads a master key from a file that must be there.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        match read(path)? {
            Some(secret) => Ok(MasterKey::Given(secret)),
            None => Err(Error::Invalid(format!(
                "the master key file {} does not exist",
                path.display()
            ))),
        }
    }

    /// Reads a master key from text; `place` says where the text comes from.
    pub fn from_text(text: &str, place: &str) -> Result<Self, Error> {
        parse(text).map(MasterKey::Given).ok_or_else(|| {
            Error::Invalid(format!(
                "{place}: expected a master key of {KEY_BYTES} bytes as 64 hexadecimal digits or as base64"
            ))
        })
    }

    /// The key, if there is one by now.
    pub(super) fn find(&self) -> Result<Option<Secret>, Error> {
        match self {
            MasterKey::Given(secret) => Ok(Some(secret.clone())),
            MasterKey::Own(path) => read(path),
        }
    }

    /// The key, made where it is not there yet.
    pub(super) fn find_or_make(&self, random: &dyn Random) -> Result<Secret, Error> {
        if let Some(secret) = self.find()? {
            return Ok(secret);
        }
        let MasterKey::Own(path) = self else {
            return Err(Error::Invalid("there is no master key".into()));
        };
        let secret = Secret::draw(random);
        let text = Zeroizing::new(format!("{}\n", hex::encode(secret.bytes())));
        file::write_private(path, text.as_bytes()).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        tracing::warn!(
            path = %path.display(),
            "made a master key beside the data it protects; keep it elsewhere where copies of the data directory must not be readable"
        );
        Ok(secret)
    }
}

fn read(path: &Path) -> Result<Option<Secret>, Error> {
    let failed = |source: io::Error| Error::Io {
        path: path.to_owned(),
        source,
    };
    let handle = match std::fs::File::open(path) {
        Ok(handle) => handle,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = handle.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::Invalid(format!(
            "the master key file {path} can be read by others: run chmod 600 {path}",
            path = path.display()
        )));
    }
    let mut text = Zeroizing::new(String::new());
    handle
        .take(TEXT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    match MasterKey::from_text(&text, &path.display().to_string())? {
        MasterKey::Given(secret) => Ok(Some(secret)),
        MasterKey::Own(_) => Ok(None),
    }
}

fn parse(text: &str) -> Option<Secret> {
    let text = text.trim();
    let bytes = if text.len() == 2 * KEY_BYTES {
        hex::decode(text).ok()
    } else {
        STANDARD.decode(text).ok()
    };
    Secret::from_slice(&Zeroizing::new(bytes?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_others_are_refused() {
        let hexadecimal = "00".repeat(31) + "ff";
        let mut bytes = [0; KEY_BYTES];
        bytes[31] = 255;
        for text in [hexadecimal.clone() + "\n", STANDARD.encode(bytes)] {
            assert_eq!(parse(&text).unwrap().bytes(), &bytes, "{text}");
        }
        for text in [
            "",
            "00",
            &hexadecimal[2..],
            &("g".to_owned() + &hexadecimal[1..]),
        ] {
            let error = MasterKey::from_text(text, "KINDRED_MASTER_KEY").unwrap_err();
            assert!(
                error.to_string().starts_with("KINDRED_MASTER_KEY: "),
                "{error}"
            );
        }
    }
}
