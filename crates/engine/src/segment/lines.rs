//! Lines of a stretch of bytes.
//!
//! LF or CRLF, the last line may lack either, a byte order mark at the start of a source is skipped,
//! blank lines are left out. Of a line that is too long only the beginning is kept. Where stretches
//! come from and how a source is cut into them is `chunks`'.

/// Longest line that is parsed, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;
/// So many bytes of a line without its end show that it is too long: one more than the longest may
/// have, for a CR, and one more than that.
pub(crate) const TOO_LONG_BYTES: usize = LINE_BYTES_MAX + 2;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A line without its end and outer white space; never blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The line, or its first [`LINE_BYTES_MAX`] bytes.
    pub(crate) bytes: &'a [u8],
    /// Whether it was longer than that.
    pub(crate) too_long: bool,
}

/// The lines of a stretch of a source, in order.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the next line starts.
    at: usize,
    /// Lines that start here or later belong to the next stretch.
    end: usize,
    /// The next line is the source's first.
    at_start: bool,
}

impl<'a> Lines<'a> {
    /// The lines that start in `bytes` at `from` or behind it, but before `end`; a line starts at
    /// `from`. Their last one ends within `bytes`, at the end of the source, or is too long.
    /// `at_start` says that the source starts at `from`.
    pub(crate) fn new(bytes: &'a [u8], from: usize, end: usize, at_start: bool) -> Self {
        Lines {
            bytes,
            at: from,
            end: end.min(bytes.len()),
            at_start,
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        while self.at < self.end {
            let rest = &self.bytes[self.at..];
            let content = match memchr::memchr(b'\n', rest) {
                Some(end) => {
                    self.at += end + 1;
                    &rest[..end]
                }
                None => {
                    self.at = self.bytes.len();
                    rest
                }
            };
            let too_long = is_too_long(content);
            let mut line = if too_long {
                &content[..LINE_BYTES_MAX]
            } else {
                content
            };
            if std::mem::take(&mut self.at_start) {
                line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            }
            let bytes = line.trim_ascii();
            if too_long || !bytes.is_empty() {
                return Some(Line { bytes, too_long });
            }
        }
        None
    }
}

/// Whether a line, without its LF, is too long; a CR at its end does not count.
fn is_too_long(content: &[u8]) -> bool {
    content.len() >= TOO_LONG_BYTES
        || content.len() > LINE_BYTES_MAX && content.last() != Some(&b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: &[&[u8]]) {
        let lines = Lines::new(input, 0, input.len(), true);
        let found: Vec<&[u8]> = lines.map(|line| line.bytes).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn line_ends_marks_and_blanks() {
        check(b"a\nb\r\nc", &[b"a", b"b", b"c"]);
        check(b"\xEF\xBB\xBFa\n\n \t\r\nb\n", &[b"a", b"b"]);
        check(b"\xEF\xBB\xBF\n\xEF\xBB\xBFb", &[b"\xEF\xBB\xBFb"]);
        check(b"  a b  \n", &[b"a b"]);
        check(b"", &[]);
        check(b"\n\n", &[]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut input = vec![b'x'; 3 * LINE_BYTES_MAX];
        input.extend_from_slice(b"\nnext\n");
        let mut lines = Lines::new(&input, 0, input.len(), true);
        let line = lines.next().unwrap();
        assert!(line.too_long && line.bytes.len() == LINE_BYTES_MAX);
        let next = lines.next().unwrap();
        assert_eq!((next.bytes, next.too_long), (&b"next"[..], false));
    }

    #[test]
    fn the_longest_line_is_not_too_long() {
        let first_is_too_long = |input: &[u8]| {
            let mut lines = Lines::new(input, 0, input.len(), true);
            lines.next().unwrap().too_long
        };
        for end in ["\n", "\r\n", ""] {
            let mut input = vec![b'x'; LINE_BYTES_MAX];
            input.extend_from_slice(end.as_bytes());
            assert!(!first_is_too_long(&input), "{end:?}");
        }
        for end in ["", "\n", "\r\n"] {
            let mut input = vec![b'x'; LINE_BYTES_MAX + 1];
            input.extend_from_slice(end.as_bytes());
            assert!(first_is_too_long(&input), "{end:?}");
        }
        assert!(first_is_too_long(&vec![b' '; TOO_LONG_BYTES]));
    }
}
