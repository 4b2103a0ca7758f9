//! What is asked of a ranking: sets of items, one item each for `aws-item-affinity`.

use std::borrow::Cow;

use crate::train::events::Sparse;

/// Queries as sets of item numbers, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queries {
    ends: Vec<usize>,
    items: Vec<u32>,
}

impl Queries {
    /// One query per item.
    pub fn of_items(items: impl IntoIterator<Item = u32>) -> Queries {
        let items: Vec<u32> = items.into_iter().collect();
        Queries {
            ends: (1..=items.len()).collect(),
            items,
        }
    }

    /// Adds the query for any item of `items`, which ascend and are not empty.
    pub fn push(&mut self, items: &[u32]) {
        debug_assert!(!items.is_empty() && items.windows(2).all(|pair| pair[0] < pair[1]));
        self.items.extend_from_slice(items);
        self.ends.push(self.items.len());
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The items of a query.
    pub fn get(&self, query: usize) -> &[u32] {
        let start = query.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[start..self.ends[query]]
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.len()).map(|query| self.get(query))
    }
}

impl<'a> FromIterator<&'a [u32]> for Queries {
    /// Each slice as by [`Queries::push`].
    fn from_iter<I: IntoIterator<Item = &'a [u32]>>(sets: I) -> Queries {
        let mut queries = Queries::default();
        for items in sets {
            queries.push(items);
        }
        queries
    }
}

/// The users of any item of `items`, ascending; `users_of` has a row of ascending users per item.
pub(crate) fn users_of_any<'a>(users_of: &'a Sparse, items: &[u32]) -> Cow<'a, [u32]> {
    if let [item] = items {
        return Cow::Borrowed(users_of.row(*item as usize));
    }
    let mut users: Vec<u32> = items
        .iter()
        .flat_map(|&item| users_of.row(item as usize))
        .copied()
        .collect();
    users.sort_unstable();
    users.dedup();
    Cow::Owned(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_items_and_their_users() {
        let mut queries = Queries::of_items([2, 0]);
        queries.push(&[0, 2]);
        assert_eq!(queries, queries.iter().collect());
        assert_eq!(
            queries.iter().collect::<Vec<_>>(),
            [&[2][..], &[0], &[0, 2]]
        );
        let users_of = Sparse {
            starts: vec![0, 2, 2, 4],
            indices: vec![1, 5, 0, 5],
        };
        let found: Vec<Vec<u32>> = queries
            .iter()
            .map(|items| users_of_any(&users_of, items).into_owned())
            .collect();
        assert_eq!(found, [vec![0, 5], vec![1, 5], vec![0, 1, 5]]);
    }
}
