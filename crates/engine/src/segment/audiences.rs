//! Which users the lines of a run choose from, by the values they give to the filter's parameters.
//!
//! Lines that bind the filter to the same values have the same audience. Whom an audience is made of
//! is found when its questions are scored, not kept. The text of `filterValues` is remembered as long
//! as there is room, so that lines that repeat it cost a look-up. Many workers look at lines at the same
//! time; the numbers that audiences have in the end do not depend on the order of the lines.

use kindred_types::filter::{BoundFilter, FilterValues};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::asked::Refused;
use super::numbered::Numbered;
use super::remembered::Remembered;
use crate::selection::{Selection, UserFilter, UserSet};

/// Most different sets of values in one run.
const AUDIENCES_MAX: usize = 1_000_000;
/// Most bytes of their texts together.
const AUDIENCE_BYTES_MAX: usize = 256 << 20;

/// The audience of a run whose lines choose nothing.
pub(crate) const EVERY_LINE: u32 = 0;

/// The audiences of a run.
#[derive(Debug)]
pub(crate) struct Audiences<'a> {
    filter: Option<&'a UserFilter>,
    numbers: Numbered<Arc<BoundFilter>>,
    /// Bytes of what they are bound to.
    bytes: AtomicUsize,
    /// By their numbers, once all are noted.
    bound: Vec<Arc<BoundFilter>>,
    /// What was found for texts: an audience, or the sentence of the lines that have it.
    remembered: Remembered<Result<u32, Arc<str>>>,
}

impl<'a> Audiences<'a> {
    /// Remembers texts of `remembered_bytes` bytes.
    pub(crate) fn new(selection: &'a Selection, remembered_bytes: usize) -> Audiences<'a> {
        Audiences {
            filter: selection.filter_of_lines(),
            numbers: Numbered::new(AUDIENCES_MAX),
            bytes: AtomicUsize::new(0),
            bound: Vec::new(),
            remembered: Remembered::new(remembered_bytes),
        }
    }

    /// Whether all lines have the same.
    pub(crate) fn is_one(&self) -> bool {
        self.filter.is_none()
    }

    fn is_full(&self) -> bool {
        self.numbers.is_full() || self.bytes.load(Ordering::Relaxed) > AUDIENCE_BYTES_MAX
    }

    /// The audience of a line with these `filterValues`; nothing if the line is in error.
    pub(crate) fn note(&self, values: Option<&str>) -> Option<u32> {
        let Some(filter) = self.filter else {
            return Some(EVERY_LINE);
        };
        let text = values.unwrap_or_default();
        if let Some(known) = self.remembered.get(text) {
            return known.ok();
        }
        let found = match bind(filter, values) {
            // Too many of them end the run.
            Ok(_) if self.is_full() => return None,
            Ok(bound) => {
                let bound = Arc::new(bound);
                let is_new = || {
                    let bytes = written(&bound).len();
                    self.bytes.fetch_add(bytes, Ordering::Relaxed);
                    true
                };
                Ok(self.numbers.note(&bound, is_new)?)
            }
            Err(error) => Err(error.into()),
        };
        self.remembered.keep(text, found.clone());
        found.ok()
    }

    /// Ends the first look; gives the new numbers of the audiences by their old ones.
    ///
    /// # Errors
    /// A sentence for the user, if there are too many audiences.
    pub(crate) fn close(&mut self) -> Result<Vec<u32>, String> {
        if self.is_full() {
            return Err(format!(
                "Input has more than {AUDIENCES_MAX} different sets of filter values, or more than {} MiB of them.",
                AUDIENCE_BYTES_MAX >> 20
            ));
        }
        let (bound, renumbered) = self.numbers.close(|bound| written(bound));
        self.bound = bound;
        self.remembered.change(|found| {
            if let Ok(number) = found {
                *number = renumbered[*number as usize];
            }
        });
        Ok(renumbered)
    }

    /// The audience of a line.
    ///
    /// # Errors
    /// The sentence for the line, or that its audience was never noted.
    pub(crate) fn find(&self, values: Option<&str>) -> Result<u32, Refused> {
        let Some(filter) = self.filter else {
            return Ok(EVERY_LINE);
        };
        if let Some(known) = self.remembered.get(values.unwrap_or_default()) {
            return known.map_err(|error| Refused::Line(error.to_string()));
        }
        let bound = bind(filter, values).map_err(Refused::Line)?;
        let number = self.numbers.get(&Arc::new(bound)).flatten();
        number.ok_or(Refused::Unplanned)
    }

    /// Bytes that the audiences take, about.
    pub(crate) fn bytes(&self) -> usize {
        /// Of an entry of the map and the list beside the values.
        const ENTRY_BYTES: usize = 160;
        self.bytes.load(Ordering::Relaxed) + ENTRY_BYTES * self.bound.len()
    }

    /// The users an audience is made of; nothing if it is everyone.
    pub(crate) fn users(&self, audience: u32) -> Option<UserSet> {
        let bound = self.bound.get(audience as usize)?;
        self.filter.map(|filter| filter.users(bound))
    }

    /// All that the audiences are, beside the filter and its data.
    pub(crate) fn add_to(&self, hash: &mut sha2::Sha256) {
        use sha2::Digest;
        for bound in &self.bound {
            let text = written(bound);
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
}

/// What is bound, in words that differ where it does.
fn written(bound: &BoundFilter) -> String {
    format!("{bound:?}")
}

fn bind(filter: &UserFilter, values: Option<&str>) -> Result<BoundFilter, String> {
    let values = match values {
        Some(values) => FilterValues::parse(values).map_err(|error| error.to_string())?,
        None => FilterValues::default(),
    };
    filter.bind(&values).map_err(|error| error.to_string())
}
