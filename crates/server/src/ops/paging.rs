//! Pages of lists and the tokens that go on to the next one.
//!
//! A token carries the sort key of the last row shown, not an offset, so pages stay right while
//! resources come and go. It is bound to the operation and its filter arguments: given to another
//! list it is refused. It is URL-safe text without meaning to the client, and no secret: whoever
//! builds one by hand can only start a list elsewhere. `maxResults` may change between pages.

use crate::error::Exception;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kindred_catalog::{PageStart, Record, Tx};
use kindred_types::time::Timestamp;
use sha2::{Digest, Sha256};

/// Rows of a page when the client does not say.
const PAGE_ROWS_DEFAULT: usize = 100;

/// Rows of a page at most, whatever the client says.
const PAGE_ROWS_MAX: usize = 100;

/// Bytes of the digest that binds a token to its list.
const BINDING_BYTES: usize = 12;

/// The page a request asks for.
#[derive(Debug)]
pub(crate) struct Page {
    operation: &'static str,
    filter: String,
    /// The last row of the page before; `None` for the first page.
    pub(crate) after: Option<PageStart>,
    /// Rows this page may hold.
    rows: usize,
}

impl Page {
    /// Reads the paging members of a request; `filter` is every argument that chooses rows.
    pub(crate) fn of(
        operation: &'static str,
        filter: &str,
        next_token: Option<&str>,
        max_results: Option<i32>,
    ) -> Result<Page, Exception> {
        let rows = max_results
            .and_then(|asked| usize::try_from(asked).ok())
            .unwrap_or(PAGE_ROWS_DEFAULT)
            .clamp(1, PAGE_ROWS_MAX);
        let after = match next_token {
            None => None,
            Some(token) => Some(read_token(operation, filter, token).ok_or_else(|| {
                Exception::invalid_next_token(format!(
                    "nextToken was not issued by {operation} for these arguments; start again without it."
                ))
            })?),
        };
        Ok(Page {
            operation,
            filter: filter.to_owned(),
            after,
            rows,
        })
    }

    /// Reads the page from the catalog: all records of a kind, or those under `parent`.
    pub(crate) fn read<R: Record>(
        &self,
        tx: &Tx<'_>,
        parent: Option<&str>,
    ) -> Result<(Vec<R>, Option<String>), Exception> {
        // One row more than the page holds tells whether there is another page.
        let read = tx.list::<R>(parent, self.after.as_ref(), self.rows + 1)?;
        Ok(self.cut(read, |record| PageStart {
            created: record.created(),
            arn: record.arn().to_owned(),
        }))
    }

    /// Cuts what was read to the page and makes the token of the next one, if there is one.
    pub(crate) fn cut<T>(
        &self,
        mut read: Vec<T>,
        key: impl Fn(&T) -> PageStart,
    ) -> (Vec<T>, Option<String>) {
        let more = read.len() > self.rows;
        read.truncate(self.rows);
        let token = match read.last() {
            Some(last) if more => Some(write_token(self.operation, &self.filter, &key(last))),
            _ => None,
        };
        (read, token)
    }
}

fn write_token(operation: &str, filter: &str, key: &PageStart) -> String {
    let mut raw = binding(operation, filter, key).to_vec();
    raw.extend_from_slice(&key.created.0.to_be_bytes());
    raw.extend_from_slice(key.arn.as_bytes());
    URL_SAFE_NO_PAD.encode(raw)
}

fn read_token(operation: &str, filter: &str, token: &str) -> Option<PageStart> {
    let raw = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (bound, rest) = raw.split_at_checked(BINDING_BYTES)?;
    let (created, arn) = rest.split_first_chunk::<8>()?;
    let key = PageStart {
        created: Timestamp(i64::from_be_bytes(*created)),
        arn: std::str::from_utf8(arn).ok()?.to_owned(),
    };
    (bound == binding(operation, filter, &key)).then_some(key)
}

/// A digest over everything a token stands for; the lengths keep neighbours apart.
fn binding(operation: &str, filter: &str, key: &PageStart) -> [u8; BINDING_BYTES] {
    let mut digest = Sha256::new();
    for part in [operation.as_bytes(), filter.as_bytes(), key.arn.as_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(key.created.0.to_be_bytes());
    let mut bound = [0u8; BINDING_BYTES];
    bound.copy_from_slice(&digest.finalize()[..BINDING_BYTES]);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(created: i64, arn: &str) -> PageStart {
        PageStart {
            created: Timestamp(created),
            arn: arn.into(),
        }
    }

    #[test]
    fn a_token_opens_only_the_list_it_came_from() {
        let last = key(-5, "arn:aws:personalize:us-east-1:000000000000:schema/ä");
        let token = write_token("ListSchemas", "", &last);
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_eq!(read_token("ListSchemas", "", &token), Some(last));
        assert_eq!(read_token("ListDatasets", "", &token), None);
        assert_eq!(read_token("ListSchemas", "arn", &token), None);
        assert_eq!(read_token("ListSchemas", "", &token[1..]), None);
        let mut turned = token.into_bytes();
        turned[20] = if turned[20] == b'A' { b'B' } else { b'A' };
        assert_eq!(
            read_token("ListSchemas", "", std::str::from_utf8(&turned).unwrap()),
            None
        );
        for forged in ["", "x", "????", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(read_token("ListSchemas", "", forged), None, "{forged}");
        }
    }

    #[test]
    fn the_longest_token_fits_the_model() {
        let token = write_token("ListBatchSegmentJobs", "", &key(i64::MAX, &"a".repeat(256)));
        assert!(token.len() <= 1500, "{}", token.len());
    }

    #[test]
    fn the_last_page_has_no_token() {
        let page = Page::of("ListSchemas", "", None, Some(2)).unwrap();
        let (rows, token) = page.cut(vec![1, 2, 3], |n| key(*n, "arn"));
        assert_eq!(rows, [1, 2]);
        let next = Page::of("ListSchemas", "", token.as_deref(), Some(2)).unwrap();
        assert_eq!(next.after, Some(key(2, "arn")));
        assert_eq!(next.cut(vec![3, 4], |n| key(*n, "arn")), (vec![3, 4], None));
    }
}
