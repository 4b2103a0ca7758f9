//! Files of the data directory: as they are, or sealed with a customer's key.
//!
//! A [`Vault`] is how the files of one directory (a dataset generation, a model, the scratch files of
//! a job) are kept. Whoever writes or reads such files is handed one and never asks which kind it is.
//! A file of a sealed vault is bound to the vault's identity and its own name, so it opens nowhere
//! else; a plain file in a sealed vault is refused. A vault has one data key of the key service for
//! what it writes; each file derives its own from that.

use crate::Error;
use crate::keys::{Context, DataKey, KeyProblem, KeyService, Secret};
use crate::seal::{Broken, HEADER_BYTES_MAX, Header, Opener, Sealer};
use kindred_types::parts::Random;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What a file is called while it is written; it is bound to the name without it.
const STAGED: &str = ".new";
/// Sealed bytes collected before they go to the file, and content opened at once.
const BUFFER_BYTES: usize = 256 << 10;

/// How the files of one directory are kept.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    sealing: Option<Arc<Sealing>>,
}

#[derive(Debug)]
struct Sealing {
    keys: Arc<dyn KeyService>,
    random: Arc<dyn Random>,
    key: String,
    identity: String,
    /// What files are written with, once the first one is.
    writing: Mutex<Option<DataKey>>,
    /// What the file opened last was written with: as a rule so was the next one.
    opened: Mutex<Option<(Vec<u8>, Secret)>>,
}

impl Vault {
    /// Files as they are.
    pub fn plain() -> Self {
        Vault::default()
    }

    /// Files sealed with `key`. `identity` says which directory it is, for ever: it does not change
    /// when the directory is renamed.
    pub fn sealed(
        keys: Arc<dyn KeyService>,
        random: Arc<dyn Random>,
        key: &str,
        identity: &str,
    ) -> Self {
        Vault {
            sealing: Some(Arc::new(Sealing {
                keys,
                random,
                key: key.to_owned(),
                identity: identity.to_owned(),
                writing: Mutex::default(),
                opened: Mutex::default(),
            })),
        }
    }

    /// Whether files are sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealing.is_some()
    }

    /// Makes the file `path`, replacing what was there. A name that ends in `.new` is taken for the
    /// one without, which the file is to be renamed to.
    pub fn create(&self, path: &Path) -> io::Result<VaultFile> {
        let sealer = match &self.sealing {
            None => None,
            Some(sealing) => Some(sealing.sealer(&name(path)?)?),
        };
        Ok(VaultFile {
            file: File::create(path)?,
            sealer,
            buffer: Vec::new(),
        })
    }

    /// Opens the file `path` for reading.
    pub fn open(&self, path: &Path) -> io::Result<VaultReader> {
        let file = File::open(path)?;
        let stored = file.metadata()?.len();
        let opener = match &self.sealing {
            None => None,
            Some(sealing) => Some(sealing.opener(&file, stored, &name(path)?)?),
        };
        let bytes = opener.as_ref().map_or(stored, Opener::plain_bytes);
        let reader = VaultReader {
            file,
            opener,
            bytes,
            position: 0,
            buffer: Vec::new(),
            used: 0,
        };
        reader.check_end()?;
        Ok(reader)
    }

    /// Reads the whole file `path`.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let reader = self.open(path)?;
        let mut bytes = Vec::new();
        reader.read_range(0..reader.length(), &mut bytes)?;
        Ok(bytes)
    }
}

impl Sealing {
    fn context(&self) -> Context {
        Context::from([("kindred:files".to_owned(), self.identity.clone())])
    }

    fn sealer(&self, name: &str) -> io::Result<Sealer> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let data_key = match &mut *writing {
            Some(data_key) => data_key,
            none => {
                let made = self.keys.generate_data_key(&self.key, &self.context());
                none.insert(made.map_err(io::Error::other)?)
            }
        };
        Sealer::new(data_key, &self.identity_of(name), &*self.random).map_err(broken)
    }

    fn opener(&self, file: &File, stored: u64, name: &str) -> io::Result<Opener> {
        let mut head = vec![0; HEADER_BYTES_MAX.min(usize::try_from(stored).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut head, 0)?;
        let header = Header::parse(&head).map_err(broken)?;
        let secret = self.secret(&header)?;
        Opener::new(&header, &secret, &self.identity_of(name), stored).map_err(broken)
    }

    fn secret(&self, header: &Header) -> io::Result<Secret> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((wrapped, secret)) = &*opened
            && *wrapped == header.wrapped
        {
            return Ok(secret.clone());
        }
        // The vault's key, not the one that the file names: a file says nothing about trust.
        let secret = self
            .keys
            .decrypt(&self.key, &header.wrapped, &self.context())
            .map_err(|error| match error {
                // The key is there and works: the file is not one of this directory.
                Error::Key {
                    problem: KeyProblem::Ciphertext,
                    ..
                } => broken(Broken),
                other => io::Error::other(other),
            })?;
        *opened = Some((header.wrapped.clone(), secret.clone()));
        Ok(secret)
    }

    fn identity_of(&self, name: &str) -> String {
        format!("{}/{name}", self.identity)
    }
}

fn name(path: &Path) -> io::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    Ok(name.strip_suffix(STAGED).unwrap_or(name).to_owned())
}

fn broken(error: Broken) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A file that is written from start to end.
#[derive(Debug)]
pub struct VaultFile {
    file: File,
    sealer: Option<Sealer>,
    buffer: Vec<u8>,
}

impl VaultFile {
    /// Writes what is left and makes the file durable.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(sealer) = self.sealer.take() {
            sealer.finish(&mut self.buffer);
            self.file.write_all(&self.buffer)?;
        }
        self.file.sync_all()
    }
}

impl Write for VaultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(sealer) = &mut self.sealer else {
            return self.file.write(bytes);
        };
        sealer.push(bytes, &mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What is not sealed yet cannot be flushed; `finish` does it all.
        self.file.flush()
    }
}

/// A file that is read, from start to end or by ranges.
#[derive(Debug)]
pub struct VaultReader {
    file: File,
    opener: Option<Opener>,
    bytes: u64,
    position: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl VaultReader {
    /// Bytes of content.
    pub fn length(&self) -> u64 {
        self.bytes
    }

    /// Appends the content `range`, which lies within the file, to `out`.
    pub fn read_range(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        match &self.opener {
            None => self.fetch(range, out),
            Some(opener) => opener
                .read(range, out, |stored, out| Ok(self.fetch(stored, out)?))
                .map_err(Unreadable::into_io),
        }
    }

    fn fetch(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        out.resize(start + length, 0);
        self.file.read_exact_at(&mut out[start..], range.start)
    }

    /// A file that was cut at the end of a chunk has no last one.
    fn check_end(&self) -> io::Result<()> {
        match &self.opener {
            None => Ok(()),
            Some(opener) => opener
                .check_end(|stored, out| Ok(self.fetch(stored, out)?))
                .map_err(Unreadable::into_io),
        }
    }
}

impl Read for VaultReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.opener.is_none() {
            let count = self.file.read_at(target, self.position)?;
            self.position += count as u64;
            return Ok(count);
        }
        if self.used == self.buffer.len() && self.position < self.bytes {
            let end = self.bytes.min(self.position + BUFFER_BYTES as u64);
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            self.used = 0;
            self.read_range(self.position..end, &mut buffer)?;
            self.buffer = buffer;
            self.position = end;
        }
        let ready = &self.buffer[self.used..];
        let count = ready.len().min(target.len());
        target[..count].copy_from_slice(&ready[..count]);
        self.used += count;
        Ok(count)
    }
}

/// Why a range could not be read.
enum Unreadable {
    Broken(Broken),
    Io(io::Error),
}

impl Unreadable {
    fn into_io(self) -> io::Error {
        match self {
            Unreadable::Broken(error) => broken(error),
            Unreadable::Io(error) => error,
        }
    }
}

impl From<Broken> for Unreadable {
    fn from(error: Broken) -> Self {
        Unreadable::Broken(error)
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Unreadable::Io(error)
    }
}
