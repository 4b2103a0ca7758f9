//! Reads CSV records from a stream, in memory that does not grow with the file.
//!
//! Fields may be in double quotes, inside which `\"`, `\\` and `""` stand for one character each and
//! commas and line breaks are data; outside quotes everything but comma and line break is data. LF
//! and CRLF end a record, a byte order mark and blank lines are skipped. What the values mean, and
//! how a header is matched with a schema, is `data::import`'s business.

use std::io::{self, Read};

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// The most columns a file may have.
pub const COLUMNS_MAX: usize = 1_000;

const READ_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why no further record can be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file ends inside quotes.
    #[error("a quoted value that begins in the record of line {line} is not closed")]
    OpenQuote {
        /// Where the record begins.
        line: u64,
    },
    /// A record has more than [`RECORD_BYTES_MAX`] bytes; a missing quote looks like this.
    #[error("the record of line {line} is longer than {RECORD_BYTES_MAX} bytes")]
    TooLong {
        /// Where the record begins.
        line: u64,
    },
}

/// A stream of records.
pub struct Reader<R> {
    input: R,
    read_bytes: usize,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    begun: bool,
    line: u64,
    scratch: Vec<u8>,
    spans: Vec<Span>,
}

/// One record; its fields are bytes that need not be UTF-8.
#[derive(Debug)]
pub struct Record<'a> {
    plain: &'a [u8],
    unquoted: &'a [u8],
    spans: &'a [Span],
    /// The line it begins in, counted from 1.
    pub line: u64,
    /// How many fields it has; those beyond [`COLUMNS_MAX`] are counted but not kept.
    pub columns: usize,
    /// Whether all closing quotes are followed by a comma or the record's end.
    pub well_formed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
}

/// What a look at the buffer found.
enum Scan {
    Record {
        bytes: usize,
        lines: u64,
        columns: usize,
        well_formed: bool,
    },
    NeedsMore,
    OpenQuote,
}

impl Record<'_> {
    /// The value in column `column`, if the record has so many.
    pub fn get(&self, column: usize) -> Option<&[u8]> {
        let span = self.spans.get(column)?;
        let bytes = if span.quoted {
            self.unquoted
        } else {
            self.plain
        };
        Some(&bytes[span.start..span.end])
    }
}

impl<R: Read> Reader<R> {
    /// Records of `input`.
    pub fn new(input: R) -> Self {
        Self::with_read_bytes(input, READ_BYTES)
    }

    fn with_read_bytes(input: R, read_bytes: usize) -> Self {
        Reader {
            input,
            read_bytes,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            at_end: false,
            begun: false,
            line: 1,
            scratch: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// The next record, or `None` at the end. After an error nothing more can be read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        if !self.begun {
            while self.end - self.start < BYTE_ORDER_MARK.len() && !self.at_end {
                self.fill()?;
            }
            if self.buffer[self.start..self.end].starts_with(BYTE_ORDER_MARK) {
                self.start += BYTE_ORDER_MARK.len();
            }
            self.begun = true;
        }
        loop {
            if self.start == self.end {
                if self.at_end {
                    return Ok(None);
                }
                self.fill()?;
                continue;
            }
            match self.scan() {
                Scan::Record {
                    bytes,
                    lines,
                    columns,
                    well_formed,
                } => {
                    let (line, start) = (self.line, self.start);
                    if bytes > RECORD_BYTES_MAX {
                        return Err(Error::TooLong { line });
                    }
                    self.start += bytes;
                    self.line += lines;
                    let blank = columns == 1
                        && !self.spans[0].quoted
                        && self.spans[0].start == self.spans[0].end;
                    if blank {
                        continue;
                    }
                    return Ok(Some(Record {
                        plain: &self.buffer[start..start + bytes],
                        unquoted: &self.scratch,
                        spans: &self.spans,
                        line,
                        columns,
                        well_formed,
                    }));
                }
                Scan::NeedsMore if self.end - self.start > RECORD_BYTES_MAX => {
                    return Err(Error::TooLong { line: self.line });
                }
                Scan::NeedsMore => self.fill()?,
                Scan::OpenQuote => return Err(Error::OpenQuote { line: self.line }),
            }
        }
    }

    /// Moves what is left to the front and reads on, at least a byte unless the stream ends.
    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // Small reads are gathered: an unfinished record is scanned again after every call.
        let wanted = self.end + self.read_bytes;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted && !self.at_end {
            match self.input.read(&mut self.buffer[self.end..wanted]) {
                Ok(0) => self.at_end = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Looks for one whole record at the front of the buffer.
    fn scan(&mut self) -> Scan {
        let Reader {
            buffer,
            start,
            end,
            at_end,
            scratch,
            spans,
            ..
        } = self;
        let data = &buffer[*start..*end];
        let at_end = *at_end;
        scratch.clear();
        spans.clear();
        let (mut at, mut lines, mut columns, mut well_formed) = (0, 0, 0, true);
        let done = |bytes, lines, columns, well_formed| Scan::Record {
            bytes,
            lines: lines + 1,
            columns,
            well_formed,
        };
        loop {
            columns += 1;
            let mut span = Span {
                start: at,
                end: at,
                quoted: false,
            };
            if data.get(at) == Some(&b'"') {
                span.quoted = true;
                span.start = scratch.len();
                match unquote(data, at + 1, at_end, scratch, &mut lines) {
                    Ok(after) => at = after,
                    Err(unfinished) => return unfinished,
                }
                span.end = scratch.len();
            }
            let text = at;
            while at < data.len() && data[at] != b',' && data[at] != b'\n' {
                at += 1;
            }
            if at == data.len() && !at_end {
                return Scan::NeedsMore;
            }
            let mut text_end = at;
            let ends_record = data.get(at) != Some(&b',');
            if ends_record && text_end > text && data[text_end - 1] == b'\r' {
                text_end -= 1;
            }
            if span.quoted {
                well_formed &= text_end == text;
            } else {
                span.end = text_end;
            }
            if columns <= COLUMNS_MAX {
                spans.push(span);
            }
            if ends_record {
                return done((at + 1).min(data.len()), lines, columns, well_formed);
            }
            at += 1;
        }
    }
}

/// Copies a quoted value that begins at `at` to `scratch`; gives the place after its closing quote.
fn unquote(
    data: &[u8],
    mut at: usize,
    at_end: bool,
    scratch: &mut Vec<u8>,
    lines: &mut u64,
) -> Result<usize, Scan> {
    let unfinished = || {
        Err(if at_end {
            Scan::OpenQuote
        } else {
            Scan::NeedsMore
        })
    };
    loop {
        let run = at;
        while at < data.len() && data[at] != b'"' && data[at] != b'\\' {
            *lines += u64::from(data[at] == b'\n');
            at += 1;
        }
        scratch.extend_from_slice(&data[run..at]);
        let (Some(&special), next) = (data.get(at), data.get(at + 1)) else {
            return unfinished();
        };
        match (special, next) {
            (b'\\', None) => return unfinished(),
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                scratch.push(escaped);
                at += 2;
            }
            (b'\\', Some(_)) => {
                scratch.push(b'\\');
                at += 1;
            }
            (_, None) if !at_end => return Err(Scan::NeedsMore),
            (_, Some(b'"')) => {
                scratch.push(b'"');
                at += 2;
            }
            _ => return Ok(at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Result<Vec<(u64, Vec<String>)>, Error> {
        let mut reader = Reader::new(bytes);
        let mut rows = Vec::new();
        while let Some(record) = reader.next_record()? {
            let fields = (0..record.columns)
                .map(|column| String::from_utf8_lossy(record.get(column).unwrap()).into_owned())
                .collect();
            rows.push((record.line, fields));
        }
        Ok(rows)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(u64, &[&str])]) {
        let rows = rows(text.as_bytes()).unwrap();
        let rows: Vec<(u64, Vec<&str>)> = rows
            .iter()
            .map(|(line, fields)| (*line, fields.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<(u64, Vec<&str>)> = expected
            .iter()
            .map(|(line, fields)| (*line, fields.to_vec()))
            .collect();
        assert_eq!(rows, expected, "{text:?}");
    }

    #[test]
    fn plain_records() {
        check("", &[]);
        check("\u{feff}", &[]);
        check("a,b\n1,2\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check("a,b\r\n1,2", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check(
            "\u{feff}a,b\n\n\r\n,\n",
            &[(1, &["a", "b"]), (4, &["", ""])],
        );
        check("a\rb,c\\\"d\r", &[(1, &["a\rb", "c\\\"d"])]);
        check("x,5\" disk\n", &[(1, &["x", "5\" disk"])]);
    }

    #[test]
    fn quoted_fields() {
        check(
            "\"a,b\",\"say \"\"hi\"\"\",\"c\\\"d\\\\\",\"\\n\"\n\"\",x\n",
            &[
                (1, &["a,b", "say \"hi\"", "c\"d\\", "\\n"]),
                (2, &["", "x"]),
            ],
        );
        check(
            "\"one\r\ntwo\",x\r\n\"\"\r\nz\n",
            &[(1, &["one\r\ntwo", "x"]), (3, &[""]), (4, &["z"])],
        );
        check("a,\"b\"", &[(1, &["a", "b"])]);
        check("a,\"\"\"\"", &[(1, &["a", "\""])]);
    }

    #[test]
    fn text_after_a_closing_quote_is_noticed() {
        let mut reader = Reader::new(&b"\"a\"b,c\n\"a\" ,c\n\"a\",c\r\n"[..]);
        for expected in [false, false, true] {
            let record = reader.next_record().unwrap().unwrap();
            assert_eq!(
                (record.well_formed, record.columns),
                (expected, 2),
                "line {}",
                record.line
            );
        }
    }

    #[test]
    fn records_have_limits() {
        let open = rows(b"a\n1\n\"b\n\n").unwrap_err();
        assert!(matches!(open, Error::OpenQuote { line: 3 }), "{open}");
        let mut long = b"a\n".to_vec();
        long.resize(RECORD_BYTES_MAX + 2, b'x');
        assert_eq!(rows(&long).unwrap().len(), 2);
        long.extend(b"xx");
        assert!(matches!(rows(&long), Err(Error::TooLong { line: 2 })));
        let mut quoted = b"\"".to_vec();
        quoted.resize(3 * RECORD_BYTES_MAX, b'\n');
        assert!(matches!(rows(&quoted), Err(Error::TooLong { line: 1 })));
        let wide = ",".repeat(COLUMNS_MAX + 5);
        let mut reader = Reader::new(wide.as_bytes());
        let record = reader.next_record().unwrap().unwrap();
        assert_eq!(record.columns, COLUMNS_MAX + 6);
        assert!(record.get(COLUMNS_MAX - 1).is_some() && record.get(COLUMNS_MAX).is_none());
    }

    #[test]
    fn any_bytes_end_in_records_or_an_error() {
        // Every string of up to six of the bytes that matter.
        let letters = [b'a', b',', b'"', b'\\', b'\n', b'\r'];
        for number in 0..letters.len().pow(6) {
            let mut rest = number;
            let text: Vec<u8> = (0..6)
                .map(|_| {
                    let letter = letters[rest % letters.len()];
                    rest /= letters.len();
                    letter
                })
                .collect();
            let whole: Vec<_> = collect(&text, 100);
            let cut: Vec<_> = collect(&text, 1);
            assert_eq!(whole, cut, "{:?}", String::from_utf8_lossy(&text));
        }
    }

    fn collect(text: &[u8], step: usize) -> Vec<String> {
        let mut reader = Reader::with_read_bytes(text, step);
        let mut seen = Vec::new();
        loop {
            match reader.next_record() {
                Ok(None) => return seen,
                Ok(Some(record)) => seen.push(format!(
                    "{} {} {:?}",
                    record.line,
                    record.well_formed,
                    (0..record.columns)
                        .map(|c| record.get(c))
                        .collect::<Vec<_>>()
                )),
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
}
