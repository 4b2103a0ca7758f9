//! The file of a key ring: one sealed document that appears whole.
//!
//! Magic, a nonce, then the document under AES-256-GCM with the master key; the magic is bound to
//! it. So the file tells nothing without the master key, and any flipped bit is noticed.

use super::Secret;
use crate::Error;
use kindred_types::parts::Random;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

/// What every such file starts with; the last byte is the version of the form.
const MAGIC: &[u8; 9] = b"KINDKEYS\x01";
/// The largest ring of [`super::KEYS_MAX`] keys is far below this.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Reads and opens the document at `path`; `None` where there is no file.
pub(super) fn read(path: &Path, master: &Secret) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed = |source: io::Error| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let unreadable = || {
        Error::Invalid(format!(
            "the key ring {} cannot be opened: it was sealed with another master key, or it is damaged",
            path.display()
        ))
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(unreadable)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(unreadable)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
    let mut document = Zeroizing::new(sealed.to_vec());
    let length = key(master)
        .open_in_place(nonce, Aad::from(MAGIC), &mut document)
        .map_err(|_| unreadable())?
        .len();
    document.truncate(length);
    Ok(Some(document))
}

/// Seals `document` and puts it at `path`, durably and in one move.
pub(super) fn write(
    path: &Path,
    master: &Secret,
    document: &[u8],
    random: &dyn Random,
) -> Result<(), Error> {
    let mut nonce = [0; NONCE_LEN];
    // A random nonce per writing: the ring is written by hand-made changes, a few times a year.
    random.fill(&mut nonce);
    let mut sealed = document.to_vec();
    key(master)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(MAGIC),
            &mut sealed,
        )
        .map_err(|_| Error::Invalid("the key ring is too large to be sealed".into()))?;
    write_private(path, &[MAGIC, &nonce[..], &sealed].concat()).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that only its owner can read; it appears whole.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staged = path.with_file_name(name);
    // A left-over of a crash may have any mode, so it goes first.
    match std::fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// AES-256-GCM with a key of ours.
pub(super) fn key(secret: &Secret) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, secret.bytes());
    LessSafeKey::new(key.expect("a secret has the length of the algorithm's keys"))
}
