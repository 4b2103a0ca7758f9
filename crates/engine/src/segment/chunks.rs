//! Sources cut into stretches of lines, for many hands.
//!
//! [`Chunks`] is asked by all workers. A source that gives ranges is cut at fixed places and read by
//! those who ask, side by side: a line belongs to the stretch that it starts in. Any other, a compressed
//! one for example, is read by whoever asks next, up to the end of a line. Either way the lines are those
//! of the source, in the order of the stretches' numbers, wherever it is cut. At most one stretch a
//! worker is in memory, and of a line that is too long no more than shows it.

use super::lines::{Lines, TOO_LONG_BYTES};
use super::pipeline::SegmentError;
use crate::data::source::{Source, open_unpacked};
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

/// Bytes behind a stretch that are read at once: as a rule its last line ends there.
const AHEAD_BYTES: usize = 4 << 10;
/// Fewest bytes that are asked of a stream.
const STREAM_BYTES_MIN: usize = 512;

/// What is left to read of the sources of a pass.
pub(crate) struct Chunks<'a> {
    sources: &'a [&'a dyn Source],
    chunk_bytes: usize,
    next: Mutex<Next>,
}

/// Which stretch one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Counts the stretches of all sources.
    pub(crate) number: u64,
    /// The source.
    pub(crate) source: usize,
    /// Stored bytes of the source up to the end of the stretch, as far as it is known.
    pub(crate) bytes_done: u64,
    /// It is the source's last one.
    pub(crate) last: bool,
}

/// A stretch in memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    from: usize,
    end: usize,
    at_start: bool,
}

impl Chunk {
    pub(crate) fn lines(&self) -> Lines<'_> {
        Lines::new(&self.bytes, self.from, self.end, self.at_start)
    }

    /// Its memory, to be used again.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

#[derive(Default)]
struct Next {
    number: u64,
    source: usize,
    /// Where the next stretch of a source with ranges starts.
    at: u64,
    stream: Option<Stream>,
}

/// What is to be done for a stretch once others may ask.
enum Task {
    Range {
        reader: Box<dyn Read + Send>,
        start: u64,
        end: u64,
    },
    Streamed(Chunk),
}

/// A task, and the memory to do it in.
type Taken = (Task, Vec<u8>);

impl<'a> Chunks<'a> {
    /// Stretches of about `chunk_bytes` bytes; every source has at least one.
    pub(crate) fn new(sources: &'a [&'a dyn Source], chunk_bytes: usize) -> Self {
        Chunks {
            sources,
            chunk_bytes: chunk_bytes.max(1),
            next: Mutex::default(),
        }
    }

    /// The next stretch, read into `buffer`; nothing when there are no more. After an error the source
    /// has no more.
    pub(crate) fn next(&self, buffer: Vec<u8>) -> Option<(Place, Result<Chunk, SegmentError>)> {
        let (place, task) = self.task(buffer)?;
        let source = self.sources[place.source];
        let loaded = task.and_then(|(task, buffer)| match task {
            Task::Streamed(chunk) => Ok(chunk),
            Task::Range { reader, start, end } => load(source, reader, start..end, buffer),
        });
        Some((place, loaded.map_err(|error| unreadable(source, error))))
    }

    /// Takes the next stretch off the list.
    fn task(&self, buffer: Vec<u8>) -> Option<(Place, io::Result<Taken>)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let source = *self.sources.get(next.source)?;
        let (task, last) = match next.cut(source, self.chunk_bytes, buffer) {
            Ok((task, buffer, last)) => (Ok((task, buffer)), last),
            Err(error) => (Err(error), true),
        };
        let place = Place {
            number: next.number,
            source: next.source,
            bytes_done: if last { source.size() } else { next.at },
            last,
        };
        next.number += 1;
        if last {
            next.source += 1;
            next.at = 0;
            next.stream = None;
        }
        Some((place, task))
    }
}

impl Next {
    /// The next stretch of the source, what is left of `buffer`, and whether it is the last.
    fn cut(
        &mut self,
        source: &dyn Source,
        chunk_bytes: usize,
        mut buffer: Vec<u8>,
    ) -> io::Result<(Task, Vec<u8>, bool)> {
        if self.stream.is_none() && !source.gzip() {
            let (start, size) = (self.at, source.size());
            let end = size.min(start + chunk_bytes as u64);
            // One byte before it tells whether a line starts with it.
            let range = start.saturating_sub(1)..size.min(end + AHEAD_BYTES as u64);
            if let Some(reader) = source.open_range(range)? {
                self.at = end;
                return Ok((Task::Range { reader, start, end }, buffer, end == size));
            }
        }
        let at_start = self.stream.is_none();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(Stream::new(open_unpacked(source)?)),
        };
        let last = stream.fill(&mut buffer, chunk_bytes)?;
        let chunk = Chunk {
            from: 0,
            end: buffer.len(),
            at_start,
            bytes: buffer,
        };
        Ok((Task::Streamed(chunk), Vec::new(), last))
    }
}

/// Reads the lines that start in `stretch`; the reader starts one byte before it.
fn load(
    source: &dyn Source,
    mut reader: Box<dyn Read + Send>,
    stretch: std::ops::Range<u64>,
    mut bytes: Vec<u8>,
) -> io::Result<Chunk> {
    let before = usize::from(stretch.start > 0);
    let length = (stretch.end - stretch.start) as usize;
    bytes.clear();
    bytes.reserve_exact(before + length + AHEAD_BYTES);
    reader.read_to_end(&mut bytes)?;
    let end = before + length;
    let open = end > 0 && bytes.len() > end && memchr::memchr(b'\n', &bytes[end - 1..]).is_none();
    if open {
        let loaded = stretch.start - before as u64 + bytes.len() as u64;
        let ends = source.size().min(stretch.end + TOO_LONG_BYTES as u64);
        if let Some(mut more) = source.open_range(loaded..ends.max(loaded))? {
            more.read_to_end(&mut bytes)?;
        }
    }
    let from = match stretch.start {
        0 => 0,
        _ => memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |newline| newline + 1),
    };
    Ok(Chunk {
        bytes,
        from,
        end,
        at_start: stretch.start == 0,
    })
}

/// A source that is read from start to end.
struct Stream {
    reader: Box<dyn Read + Send>,
    /// The beginning of a line whose end was not read yet.
    carry: Vec<u8>,
    /// The rest of the line is left out.
    skipping: bool,
}

impl Stream {
    fn new(reader: Box<dyn Read + Send>) -> Self {
        Stream {
            reader,
            carry: Vec::new(),
            skipping: false,
        }
    }

    /// Fills `buffer` with whole lines, about `chunk_bytes` of them; says whether they are the last.
    fn fill(&mut self, buffer: &mut Vec<u8>, chunk_bytes: usize) -> io::Result<bool> {
        buffer.clear();
        buffer.append(&mut self.carry);
        loop {
            let had = buffer.len();
            let wanted = chunk_bytes.saturating_sub(had).max(STREAM_BYTES_MIN);
            buffer.resize(had + wanted, 0);
            let count = match self.reader.read(&mut buffer[had..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    buffer.truncate(had);
                    continue;
                }
                read => read?,
            };
            buffer.truncate(had + count);
            if count == 0 {
                return Ok(true);
            }
            if self.skipping {
                let newline = memchr::memchr(b'\n', &buffer[had..]);
                buffer.drain(had..had + newline.unwrap_or(count));
                self.skipping = newline.is_none();
            }
            if buffer.len() >= chunk_bytes.min(TOO_LONG_BYTES) && self.cut(buffer, chunk_bytes) {
                return Ok(false);
            }
        }
    }

    /// Leaves whole lines in the buffer if there are enough, and no more than the beginning of a line
    /// that is too long.
    fn cut(&mut self, buffer: &mut Vec<u8>, chunk_bytes: usize) -> bool {
        let lines = memchr::memrchr(b'\n', buffer).map_or(0, |newline| newline + 1);
        if buffer.len() - lines > TOO_LONG_BYTES {
            buffer.truncate(lines + TOO_LONG_BYTES);
            self.skipping = true;
        }
        let enough = lines > 0 && buffer.len() >= chunk_bytes;
        if enough {
            self.carry.extend_from_slice(&buffer[lines..]);
            buffer.truncate(lines);
        }
        enough
    }
}

fn unreadable(source: &dyn Source, error: io::Error) -> SegmentError {
    let name = source.name().to_owned();
    // Gzip data that cannot be unpacked is the user's to mend; a store's error is not.
    if error.kind() == io::ErrorKind::InvalidData {
        SegmentError::Input(format!("Input {name} cannot be unpacked: {error}."))
    } else {
        SegmentError::Read {
            name,
            source: error,
        }
    }
}

#[cfg(test)]
mod tests;
