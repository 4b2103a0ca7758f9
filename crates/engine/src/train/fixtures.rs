//! Small generated data sets for tests.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::interactions::Interactions;

/// Builds interactions from rows of (user, item, time) in any order.
pub(crate) fn interactions(rows: &[(&str, &str, i64)]) -> Interactions {
    let mut rows: Vec<(&str, i64, &str)> = rows.iter().map(|&(u, i, t)| (u, t, i)).collect();
    rows.sort_unstable();
    let mut users: Vec<String> = rows.iter().map(|row| row.0.to_string()).collect();
    let mut items: Vec<String> = rows.iter().map(|row| row.2.to_string()).collect();
    users.dedup();
    items.sort_unstable();
    items.dedup();
    let mut data = Interactions {
        user_starts: vec![0],
        ..Interactions::default()
    };
    let mut user = 0;
    for row in &rows {
        while users[user] != row.0 {
            user += 1;
            data.user_starts.push(data.event_items.len());
        }
        let item = items.binary_search_by(|item| item.as_str().cmp(row.2)).unwrap();
        data.event_items.push(item as u32);
        data.event_times.push(row.1);
    }
    data.user_starts.push(data.event_items.len());
    data.users = users;
    data.items = items;
    data
}

/// Users and items in two halves that keep to each other, with repeats, over 200 days.
pub(crate) fn two_tastes(users: usize, items: usize, events: usize, seed: u64) -> Interactions {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<(String, String, i64)> = Vec::new();
    for event in 0..events {
        // Every user and item once, then at random with busy users and popular items.
        let user = if event < users {
            event
        } else {
            random.random_range(0..users) * random.random_range(1..=users) / users
        };
        let half = usize::from(user >= users / 2);
        let size = [items / 2, items - items / 2][half];
        let item = if event < items && event % 2 == half {
            event / 2 % size
        } else {
            random.random_range(0..size) * random.random_range(1..=size) / size
        };
        let item = item + half * (items / 2);
        let time = random.random_range(0..200 * 86_400i64);
        rows.push((format!("u{user:05}"), format!("i{item:05}"), time));
        if random.random_range(0..3) == 0 {
            let again = time + random.random_range(1..20 * 86_400i64);
            rows.push((format!("u{user:05}"), format!("i{item:05}"), again));
        }
    }
    // Items nobody drew still have one buyer, so that the counts are as asked for.
    for item in 0..items {
        let user = if item < items / 2 { 0 } else { users - 1 };
        rows.push((format!("u{user:05}"), format!("i{item:05}"), 86_400));
    }
    let rows: Vec<(&str, &str, i64)> = rows
        .iter()
        .map(|(user, item, time)| (user.as_str(), item.as_str(), *time))
        .collect();
    interactions(&rows)
}
