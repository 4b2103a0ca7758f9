//! Where bytes come from: objects in buckets, files, memory.
//!
//! The engine reads a [`Source`] from its beginning as often as it needs. Compressed ones are
//! unpacked here, with a limit on how much a small object may become.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// How many times its size a compressed source may become.
pub const EXPANSION_RATIO_MAX: u64 = 500;
/// What a compressed source may always become, whatever its size.
pub const EXPANSION_BYTES_FREE: u64 = 64 << 20;

/// Something that can be read from its beginning, again and again, with the same bytes.
pub trait Source: Sync {
    /// What people call it, for example `s3://bucket/key`; it occurs in sentences for users.
    fn name(&self) -> &str;

    /// Its stored size in bytes.
    fn size(&self) -> u64;

    /// Whether it has to be unpacked. As a rule its name decides.
    fn gzip(&self) -> bool {
        self.name().ends_with(".gz")
    }

    /// The stored bytes from the beginning.
    fn open(&self) -> io::Result<Box<dyn Read + Send>>;

    /// The stored bytes in `range`, clipped to the end; nothing where what is before them would have
    /// to be read, too. A source always gives ranges or never.
    fn open_range(&self, range: Range<u64>) -> io::Result<Option<Box<dyn Read + Send>>> {
        let _ = range;
        Ok(None)
    }
}

/// The bytes of `source`, unpacked if need be.
///
/// Data that cannot be unpacked, or becomes too large, gives errors of kind `InvalidData`.
pub fn open_unpacked(source: &dyn Source) -> io::Result<Box<dyn Read + Send>> {
    let stored = source.open()?;
    if !source.gzip() {
        return Ok(stored);
    }
    let limit = source
        .size()
        .saturating_mul(EXPANSION_RATIO_MAX)
        .max(EXPANSION_BYTES_FREE);
    Ok(Box::new(Unpacked {
        inner: MultiGzDecoder::new(stored),
        left: limit,
    }))
}

/// A file on this machine.
#[derive(Debug, Clone)]
pub struct FileSource {
    path: PathBuf,
    name: String,
    size: u64,
}

impl FileSource {
    /// The file at `path`, which must exist.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(FileSource {
            path: path.to_owned(),
            name: path.display().to_string(),
            size: std::fs::metadata(path)?.len(),
        })
    }
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(&self.path)?))
    }

    fn open_range(&self, range: Range<u64>) -> io::Result<Option<Box<dyn Read + Send>>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let bytes = range.end.saturating_sub(range.start);
        Ok(Some(Box::new(file.take(bytes))))
    }
}

/// Bytes in memory, for what is small or bundled with the program.
#[derive(Debug, Clone)]
pub struct MemorySource {
    name: String,
    bytes: bytes::Bytes,
}

impl MemorySource {
    /// `bytes` under the name `name`.
    pub fn new(name: impl Into<String>, bytes: impl Into<bytes::Bytes>) -> Self {
        MemorySource {
            name: name.into(),
            bytes: bytes.into(),
        }
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.bytes.clone())))
    }

    fn open_range(&self, range: Range<u64>) -> io::Result<Option<Box<dyn Read + Send>>> {
        let place =
            |at: u64| usize::try_from(at).map_or(self.bytes.len(), |at| at.min(self.bytes.len()));
        let (start, end) = (place(range.start), place(range.end));
        let bytes = self.bytes.slice(start..end.max(start));
        Ok(Some(Box::new(io::Cursor::new(bytes))))
    }
}

struct Unpacked<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self
            .inner
            .read(buffer)
            .map_err(|error| match error.kind() {
                // The decoder tells of bad data by these kinds; others come from the store below.
                io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                    io::Error::new(io::ErrorKind::InvalidData, error)
                }
                _ => error,
            })?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("unpacked data exceeds {EXPANSION_RATIO_MAX} times its stored size"),
            )
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(name: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        open_unpacked(&MemorySource::new(name, bytes))?.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn gzip_members_are_joined_and_plain_bytes_stay() {
        let mut two = packed(b"one\n");
        two.extend(packed(b"two\n"));
        assert_eq!(read("a.csv.gz", two.clone()).unwrap(), b"one\ntwo\n");
        assert_eq!(read("a.csv", two.clone()).unwrap(), two);
    }

    #[test]
    fn ranges_are_clipped_to_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "0123456789").unwrap();
        let file = FileSource::new(&path).unwrap();
        let memory = MemorySource::new("a", "0123456789");
        for source in [&file as &dyn Source, &memory] {
            for (range, expected) in [
                (0..3, "012"),
                (4..10, "456789"),
                (8..99, "89"),
                (10..12, ""),
                (50..60, ""),
            ] {
                let mut text = String::new();
                let mut reader = source.open_range(range).unwrap().unwrap();
                reader.read_to_string(&mut text).unwrap();
                assert_eq!(text, expected);
            }
        }
    }

    #[test]
    fn bad_and_exploding_data_is_told_apart_from_a_failing_store() {
        let half = packed(b"some text that is cut");
        for bytes in [half[..half.len() - 3].to_vec(), b"not packed".to_vec()] {
            let error = read("a.gz", bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let bomb = packed(&vec![0u8; (EXPANSION_BYTES_FREE + 1) as usize]);
        let error = read("a.gz", bomb).unwrap_err();
        assert!(error.to_string().contains("500 times"), "{error}");
    }
}
