//! How often a user comes back to an item they know: the scores of seen pairs.
//!
//! Poisson regression with a log link on what is known about the pair (when it happened, how often, at
//! which intervals), about the item (whether people repeat it), and on the probability that the mixture
//! of towers and own history gives. Fitted on the validation cut: pairs before it, events after it.
//! Pairs that never met keep the towers' score.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::events::{Pairs, Prefix, by_block};
use super::poisson::{self, Row, Scale};

/// With the intercept.
const COLUMNS: usize = 12;
/// Pairs that are looked at; of more, those of evenly spaced users.
const PAIRS_MAX: usize = 2_000_000;
/// Fewer returns in the validation period teach nothing.
const RETURNS_MIN: f64 = 200.0;
/// Pseudo-counts of an item's share of repeated pairs.
const PRIOR_PAIRS: f64 = 5.0;
/// Keeps the logarithm of an age finite, in horizons.
const AGE_MIN: f64 = 0.01;

/// A fitted regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returns {
    /// Means of the columns after the intercept.
    pub means: Vec<f64>,
    /// Standard deviations of the columns after the intercept.
    pub deviations: Vec<f64>,
    /// Coefficients of the standardised columns, the intercept first.
    pub coefficients: Vec<f64>,
}

/// Logarithms of a seen pair's probabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairLogs {
    /// In the mixture.
    pub(crate) mixed: f64,
    /// By the towers alone.
    pub(crate) towers: f64,
    /// By the own history alone.
    pub(crate) history: f64,
}

/// What the pairs of a user have in common.
struct UserFacts {
    now: i64,
    /// Distinct times with events.
    steps: f64,
    /// log λ.
    rate: f64,
}

/// What happened between the pairs of a prefix, in the order of `Pairs::by_user`.
pub(crate) struct Meetings {
    /// Ages count from here, or from the user's last event.
    now: Option<i64>,
    horizon: f64,
    /// Distinct times at which a pair met, first and last of them.
    counts: Vec<u32>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    /// log of the share of an item's users who came back, smoothed.
    repeat_rates: Vec<f64>,
}

impl Meetings {
    pub(crate) fn new(
        prefix: &Prefix<'_>,
        pairs: &Pairs,
        now: Option<i64>,
        horizon: i64,
    ) -> Meetings {
        let count = pairs.by_user.indices.len();
        let mut meetings = Meetings {
            now,
            horizon: horizon.max(1) as f64,
            counts: vec![0; count],
            firsts: vec![0; count],
            lasts: vec![i64::MIN; count],
            repeat_rates: Vec::new(),
        };
        let start = |user: usize| pairs.by_user.starts[user];
        let users = prefix.users();
        by_block(&mut meetings.counts, users, start)
            .into_par_iter()
            .zip(by_block(&mut meetings.firsts, users, start))
            .zip(by_block(&mut meetings.lasts, users, start))
            .for_each(|(((users, counts), (_, firsts)), (_, lasts))| {
                let first = start(users.start);
                for user in users {
                    pairs.each_event(prefix, user, |pair, time| {
                        let pair = pair - first;
                        if counts[pair] == 0 {
                            firsts[pair] = time;
                        }
                        if lasts[pair] != time {
                            counts[pair] += 1;
                            lasts[pair] = time;
                        }
                    });
                }
            });
        meetings.repeat_rates = repeat_rates(pairs, &meetings.counts);
        meetings
    }

    /// The columns of a pair: `own` is the log of its probability in the mixture, `rate` log λ.
    fn columns(&self, pair: usize, item: u32, user: &UserFacts, own: PairLogs) -> [f64; COLUMNS] {
        let count = f64::from(self.counts[pair]);
        let age = user.now.saturating_sub(self.lasts[pair]).max(0) as f64 / self.horizon;
        let span = self.lasts[pair].saturating_sub(self.firsts[pair]) as f64 / self.horizon;
        let repeated = count > 1.0;
        let due = if repeated {
            libm::log((age + AGE_MIN) / (span / (count - 1.0) + AGE_MIN))
        } else {
            0.0
        };
        [
            1.0,
            user.rate,
            own.mixed,
            own.towers,
            own.history,
            libm::log(count),
            libm::log(age + AGE_MIN),
            f64::from(u8::from(repeated)),
            due,
            due * due,
            self.repeat_rates[item as usize],
            libm::log(count / user.steps.max(1.0)),
        ]
    }
}

/// What the regression is given beside the meetings.
pub(crate) struct Known<'a> {
    pub(crate) prefix: &'a Prefix<'a>,
    pub(crate) pairs: &'a Pairs,
    pub(crate) meetings: &'a Meetings,
    pub(crate) log_rates: &'a [f64],
}

impl Known<'_> {
    /// Columns of all pairs of a user; `own` has the log probability of each pair of the row.
    fn columns(&self, user: usize, own: &[PairLogs]) -> Vec<[f64; COLUMNS]> {
        let last = self.prefix.events_of(user).last();
        let last = last.map_or(0, |event| self.prefix.data.event_times[event]);
        let facts = UserFacts {
            now: self.meetings.now.unwrap_or(last),
            steps: self.prefix.steps_of(user) as f64,
            rate: self.log_rates[user],
        };
        let range = self.pairs.by_user.range(user);
        range
            .zip(own)
            .map(|(pair, &own)| {
                let item = self.pairs.by_user.indices[pair];
                self.meetings.columns(pair, item, &facts, own)
            })
            .collect()
    }
}

/// Fits on what came after `known.prefix`: `came(user)` gives the weights of the user's later events by
/// item. `None` where hardly anybody came back.
pub(crate) fn fit(
    known: &Known<'_>,
    own: impl Fn(usize) -> Vec<PairLogs> + Sync,
    came: impl Fn(usize) -> Vec<(u32, f64)> + Sync,
) -> Option<Returns> {
    let users = known.prefix.known_users();
    let spacing = known.pairs.by_user.indices.len().div_ceil(PAIRS_MAX).max(1);
    let users: Vec<u32> = users.into_iter().step_by(spacing).collect();
    let parts: Vec<Vec<Row<COLUMNS>>> = users
        .par_iter()
        .map(|&user| {
            let user = user as usize;
            let row = known.pairs.by_user.row(user);
            let mut counts = vec![0.0; row.len()];
            for (item, weight) in came(user) {
                if let Ok(place) = row.binary_search(&item) {
                    counts[place] += weight;
                }
            }
            let columns = known.columns(user, &own(user));
            columns.into_iter().zip(counts).collect()
        })
        .collect();
    let mut rows: Vec<Row<COLUMNS>> = parts.concat();
    let returns: f64 = rows.iter().map(|(_, count)| count).sum();
    if returns < RETURNS_MIN {
        return None;
    }
    let scale = Scale::of(&rows);
    for (columns, _) in &mut rows {
        scale.apply(columns);
    }
    let coefficients = poisson::regress(&rows)?;
    Some(Returns {
        means: scale.means[1..].to_vec(),
        deviations: scale.deviations[1..].to_vec(),
        coefficients: coefficients.to_vec(),
    })
}

impl Returns {
    /// log of the events expected in the horizon for each pair of a user.
    pub(crate) fn log_rates(&self, known: &Known<'_>, user: usize, own: &[PairLogs]) -> Vec<f64> {
        let mut scale = Scale {
            means: [0.0; COLUMNS],
            deviations: [1.0; COLUMNS],
        };
        scale.means[1..].copy_from_slice(&self.means);
        scale.deviations[1..].copy_from_slice(&self.deviations);
        let mut coefficients = [0.0; COLUMNS];
        coefficients.copy_from_slice(&self.coefficients);
        let mut rows = known.columns(user, own);
        rows.iter_mut()
            .map(|columns| {
                scale.apply(columns);
                poisson::linear_term(columns, &coefficients)
            })
            .collect()
    }
}

fn repeat_rates(pairs: &Pairs, counts: &[u32]) -> Vec<f64> {
    let mut repeated = vec![0.0f64; pairs.by_item.rows()];
    let mut all = 0.0;
    for (&item, &count) in pairs.by_user.indices.iter().zip(counts) {
        if count > 1 {
            repeated[item as usize] += 1.0;
            all += 1.0;
        }
    }
    let mean = (all + 1.0) / (counts.len() as f64 + 2.0);
    (0..repeated.len())
        .map(|item| {
            let users = pairs.popularity(item) as f64;
            libm::log((repeated[item] + PRIOR_PAIRS * mean) / (users + PRIOR_PAIRS))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    const DAY: i64 = 86_400;

    /// Sixty users buy milk every ten days and bread every forty.
    fn rows(days: i64) -> Vec<(String, &'static str, i64)> {
        let mut rows = Vec::new();
        for user in 0..60i64 {
            for day in user % 10..days {
                let name = format!("u{user:02}");
                if (day - user) % 10 == 0 {
                    rows.push((name.clone(), "milk", day * DAY));
                }
                if (day - user) % 40 == 0 {
                    rows.push((name, "bread", day * DAY));
                }
            }
        }
        rows
    }

    #[test]
    fn what_is_bought_often_and_is_due_comes_back_more() {
        let all = rows(240);
        let all: Vec<(&str, &str, i64)> =
            all.iter().map(|(u, i, t)| (u.as_str(), *i, *t)).collect();
        let data = interactions(&all);
        let whole = Prefix::whole(&data);
        let before = whole.before(200 * DAY);
        let pairs = Pairs::new(&before);
        let log_rates = vec![0.0; 60];
        let own = |user: usize| {
            let same = PairLogs {
                mixed: -1.0,
                towers: -1.0,
                history: -1.0,
            };
            vec![same; pairs.by_user.row(user).len()]
        };
        let came = |user: usize| -> Vec<(u32, f64)> {
            let rest = before.rest_of(&whole, user);
            rest.map(|event| (data.event_items[event], 1.0)).collect()
        };
        for now in [Some(200 * DAY), None] {
            let meetings = Meetings::new(&before, &pairs, now, 40 * DAY);
            let known = Known {
                prefix: &before,
                pairs: &pairs,
                meetings: &meetings,
                log_rates: &log_rates,
            };
            let found = fit(&known, own, came).unwrap();
            assert!(found.coefficients.iter().all(|c| c.is_finite()));
            let (mut milk, mut bread, mut all) = (0.0, 0.0, 0.0);
            for user in 0..60 {
                let logs = found.log_rates(&known, user, &own(user));
                // Items are numbered by their ids: bread, then milk.
                bread += libm::exp(logs[0]);
                milk += libm::exp(logs[1]);
                all += came(user).len() as f64;
            }
            assert!(milk > 3.0 * bread, "{milk} and {bread}");
            assert!(((milk + bread) / all - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn hardly_any_returns_teach_nothing() {
        let data = interactions(&[("a", "x", 1), ("b", "x", 2)]);
        let prefix = Prefix::whole(&data);
        let pairs = Pairs::new(&prefix);
        let meetings = Meetings::new(&prefix, &pairs, Some(3), 1);
        let known = Known {
            prefix: &prefix,
            pairs: &pairs,
            meetings: &meetings,
            log_rates: &[0.0; 2],
        };
        let own = |_| {
            vec![PairLogs {
                mixed: 0.0,
                towers: 0.0,
                history: 0.0,
            }]
        };
        assert_eq!(fit(&known, own, |_| Vec::new()), None);
    }
}
