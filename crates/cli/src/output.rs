//! The output file of a job without a server: written beside its place, past the page cache, and renamed into
//! it when it is complete.
//!
//! Answers can be many times the memory of the machine and nobody reads them back at once. Through the page
//! cache they would be copied once more, take what memory others had there, and wait for a write-back that is
//! slower than the disk. File systems that cannot do without (tmpfs, some network ones) get plain writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kindred_engine::segment::pipeline::Sink;

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 2 << 20;
/// Addresses and lengths of direct writes are multiples of it; no disk asks for more.
const ALIGNMENT: usize = 4096;

/// The output file.
pub(crate) struct FileSink {
    file: File,
    /// Whether `file` goes past the page cache.
    direct: bool,
    buffer: Aligned,
    /// Bytes of the buffer that wait to be written.
    waiting: usize,
    /// Bytes of the file.
    written: u64,
    part: PathBuf,
    target: PathBuf,
}

impl FileSink {
    pub(crate) fn new(target: &Path) -> io::Result<Self> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let part = target.with_file_name(name);
        // Made first without, so that what is wrong with the place is said as usual.
        let plain = File::create(&part)?;
        let flag = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(flag)
            .open(&part);
        Ok(FileSink {
            direct: direct.is_ok(),
            file: direct.unwrap_or(plain),
            buffer: Aligned::new(BUFFER_BYTES),
            waiting: 0,
            written: 0,
            part,
            target: target.to_owned(),
        })
    }

    /// Writes what waits; through the page cache what does not fill the buffer.
    fn write_out(&mut self) -> io::Result<()> {
        if self.direct {
            let done = match self.waiting {
                BUFFER_BYTES => self.file.write_all_at(self.buffer.bytes(), self.written),
                _ => Err(io::ErrorKind::InvalidInput.into()),
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.go_plain()?;
                }
                done => return self.wrote(done),
            }
        }
        let waiting = &self.buffer.bytes()[..self.waiting];
        let done = self.file.write_all_at(waiting, self.written);
        self.wrote(done)
    }

    /// Through the page cache from now on.
    fn go_plain(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().write(true).open(&self.part)?;
        self.direct = false;
        Ok(())
    }

    fn wrote(&mut self, done: io::Result<()>) -> io::Result<()> {
        done?;
        self.written += self.waiting as u64;
        self.waiting = 0;
        Ok(())
    }
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting == BUFFER_BYTES {
            self.write_out()?;
        }
        let room = &mut self.buffer.bytes_mut()[self.waiting..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.waiting += taken;
        Ok(taken)
    }

    /// Nothing: what does not fill the buffer is written at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for FileSink {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write_out()?;
        self.file.sync_all()?;
        std::fs::rename(&self.part, &self.target)
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // Gone after a success; after a failure nothing half-done stays.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Bytes at an address that direct writes take.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Aligned {
        let bytes = vec![0; length + ALIGNMENT];
        Aligned {
            start: bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT),
            bytes,
            length,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_file_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("answers");
        for length in [
            0,
            1,
            4095,
            4096,
            BUFFER_BYTES - 1,
            BUFFER_BYTES,
            2 * BUFFER_BYTES,
            5 * BUFFER_BYTES + 777,
        ] {
            let content: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
            for direct in [true, false] {
                let mut sink = Box::new(FileSink::new(&target).unwrap());
                if !direct {
                    sink.go_plain().unwrap();
                }
                for piece in content.chunks(300_007) {
                    sink.write_all(piece).unwrap();
                }
                sink.finish().unwrap();
                assert!(std::fs::read(&target).unwrap() == content, "{length}");
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_was_not_finished_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = FileSink::new(&folder.path().join("answers")).unwrap();
        sink.write_all(b"half").unwrap();
        drop(sink);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
