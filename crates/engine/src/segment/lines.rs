//! Lines of a source, one at a time, in bounded memory.
//!
//! LF or CRLF, the last line may lack either, a byte order mark at the start is skipped, blank
//! lines are left out. Of a line that is too long only the beginning is kept.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line that is parsed, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;
const BUFFER_BYTES: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Splits a reader into lines.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    at_start: bool,
}

/// A line without its end and outer white space; never blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The line, or its first [`LINE_BYTES_MAX`] bytes.
    pub(crate) bytes: &'a [u8],
    /// Whether it was longer than that.
    pub(crate) too_long: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        Lines {
            reader,
            line: Vec::new(),
            at_start: true,
        }
    }

    /// The next line that is not blank.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let Some(too_long) = self.read_line()? else {
                return Ok(None);
            };
            if std::mem::take(&mut self.at_start) && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if too_long || !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line {
                    bytes: self.line.trim_ascii(),
                    too_long,
                }));
            }
        }
    }

    /// Fills `line`; gives whether the line was too long, or nothing at the end.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(any.then(|| too_long || self.is_too_long()));
            }
            any = true;
            let end = memchr::memchr(b'\n', buffer);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            // One byte more than allowed, so that a CR before the LF does not count.
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            too_long |= part.len() > room;
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(too_long || self.is_too_long()));
            }
        }
    }

    fn is_too_long(&self) -> bool {
        self.line.len() > LINE_BYTES_MAX && self.line.last() != Some(&b'\r')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: &[&[u8]]) {
        let mut lines = Lines::new(input);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(line.bytes.to_vec());
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn line_ends_marks_and_blanks() {
        check(b"a\nb\r\nc", &[b"a", b"b", b"c"]);
        check(b"\xEF\xBB\xBFa\n\n \t\r\nb\n", &[b"a", b"b"]);
        check(b"  a b  \n", &[b"a b"]);
        check(b"", &[]);
        check(b"\n\n", &[]);
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_is_whole() {
        let mut input = vec![b'x'; 3 * BUFFER_BYTES];
        input.extend_from_slice(b"\nnext\n");
        let mut lines = Lines::new(&input[..]);
        let line = lines.next_line().unwrap().unwrap();
        assert!(line.too_long && line.bytes.len() <= LINE_BYTES_MAX + 1);
        let next = lines.next_line().unwrap().unwrap();
        assert_eq!((next.bytes, next.too_long), (&b"next"[..], false));
    }

    #[test]
    fn the_longest_line_is_not_too_long() {
        for end in ["\n", "\r\n", ""] {
            let mut input = vec![b'x'; LINE_BYTES_MAX];
            input.extend_from_slice(end.as_bytes());
            let mut lines = Lines::new(&input[..]);
            assert!(!lines.next_line().unwrap().unwrap().too_long, "{end:?}");
        }
        let mut lines = Lines::new(&[b'x'; LINE_BYTES_MAX + 1][..]);
        assert!(lines.next_line().unwrap().unwrap().too_long);
    }
}
