//! Which users the lines of a run choose from, by the values they give to the filter's parameters.
//!
//! Lines that bind the filter to the same values have the same audience. Whom an audience is made of
//! is found when its questions are scored, not kept. The text of `filterValues` is remembered as long
//! as there is room, so that lines that repeat it cost a look-up.

use kindred_types::filter::{BoundFilter, FilterValues};
use rustc_hash::FxHashMap;
use std::sync::Arc;

use super::asked::Refused;
use crate::selection::{Selection, UserFilter, UserSet};

/// Most different sets of values in one run.
const AUDIENCES_MAX: usize = 1_000_000;
/// Most bytes of their texts together.
const AUDIENCE_BYTES_MAX: usize = 256 << 20;
/// Bytes of texts that are remembered with their audience or error.
const REMEMBERED_BYTES: usize = 64 << 20;

/// The audience of a run whose lines choose nothing.
pub(crate) const EVERY_LINE: u32 = 0;

/// The audiences of a run.
#[derive(Debug)]
pub(crate) struct Audiences<'a> {
    filter: Option<&'a UserFilter>,
    numbers: FxHashMap<Arc<BoundFilter>, u32>,
    bound: Vec<Arc<BoundFilter>>,
    bytes: usize,
    full: bool,
    remembered: FxHashMap<Box<str>, Result<u32, Box<str>>>,
    remembered_bytes: usize,
}

impl<'a> Audiences<'a> {
    pub(crate) fn new(selection: &'a Selection) -> Audiences<'a> {
        Audiences {
            filter: selection.filter_of_lines(),
            numbers: FxHashMap::default(),
            bound: Vec::new(),
            bytes: 0,
            full: false,
            remembered: FxHashMap::default(),
            remembered_bytes: 0,
        }
    }

    /// Whether all lines have the same.
    pub(crate) fn is_one(&self) -> bool {
        self.filter.is_none()
    }

    /// The audience of a line with these `filterValues`; nothing if the line is in error.
    pub(crate) fn note(&mut self, values: Option<&str>) -> Option<u32> {
        let Some(filter) = self.filter else {
            return Some(EVERY_LINE);
        };
        let text = values.unwrap_or_default();
        if let Some(known) = self.remembered.get(text) {
            return known.as_ref().ok().copied();
        }
        let audience = match bind(filter, values) {
            Ok(bound) => match self.numbers.get(&bound) {
                Some(number) => Ok(*number),
                None => {
                    self.bytes += text.len();
                    self.full |= self.bound.len() >= AUDIENCES_MAX;
                    self.full |= self.bytes > AUDIENCE_BYTES_MAX;
                    if self.full {
                        return None;
                    }
                    let number = self.bound.len() as u32;
                    let bound = Arc::new(bound);
                    self.numbers.insert(Arc::clone(&bound), number);
                    self.bound.push(bound);
                    Ok(number)
                }
            },
            Err(error) => Err(error.into_boxed_str()),
        };
        let found = audience.as_ref().ok().copied();
        if self.remembered_bytes + text.len() <= REMEMBERED_BYTES {
            // An entry takes some room beside its text.
            self.remembered_bytes += text.len() + 64;
            self.remembered.insert(text.into(), audience);
        }
        found
    }

    /// Ends the first look.
    ///
    /// # Errors
    /// A sentence for the user, if there are too many audiences.
    pub(crate) fn close(&self) -> Result<(), String> {
        if self.full {
            return Err(format!(
                "Input has more than {AUDIENCES_MAX} different sets of filter values, or more than {} MiB of them.",
                AUDIENCE_BYTES_MAX >> 20
            ));
        }
        Ok(())
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
            let known = known.as_ref().copied();
            return known.map_err(|error| Refused::Line(error.to_string()));
        }
        let bound = bind(filter, values).map_err(Refused::Line)?;
        self.numbers.get(&bound).copied().ok_or(Refused::Unplanned)
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
            let text = format!("{bound:?}");
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
}

fn bind(filter: &UserFilter, values: Option<&str>) -> Result<BoundFilter, String> {
    let values = match values {
        Some(values) => FilterValues::parse(values).map_err(|error| error.to_string())?,
        None => FilterValues::default(),
    };
    filter.bind(&values).map_err(|error| error.to_string())
}
