//! A user's events as steps: events with the same timestamp are one, because a basket has no order
//! inside and nothing may depend on the order of rows in a file.

use std::ops::Range;

use crate::train::events::Prefix;

/// The steps of every user of a prefix.
pub(crate) struct Steps {
    /// Where each user's steps start in `starts`; users + 1 values.
    firsts: Vec<usize>,
    /// The first event of each step. The end of a user's last step is in `ends`.
    starts: Vec<usize>,
    /// End of each user's events.
    ends: Vec<usize>,
}

impl Steps {
    pub(crate) fn new(prefix: &Prefix<'_>) -> Steps {
        let mut steps = Steps {
            firsts: Vec::with_capacity(prefix.users() + 1),
            starts: Vec::new(),
            ends: Vec::with_capacity(prefix.users()),
        };
        for user in 0..prefix.users() {
            steps.firsts.push(steps.starts.len());
            let events = prefix.events_of(user);
            steps.ends.push(events.end);
            push_starts(prefix, events, &mut steps.starts);
        }
        steps.firsts.push(steps.starts.len());
        steps
    }

    pub(crate) fn users(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn of(&self, user: usize) -> UserSteps<'_> {
        UserSteps {
            starts: &self.starts[self.firsts[user]..self.firsts[user + 1]],
            end: self.ends[user],
        }
    }
}

fn push_starts(prefix: &Prefix<'_>, events: Range<usize>, starts: &mut Vec<usize>) {
    let mut last = None;
    for event in events {
        let time = prefix.data.event_times[event];
        if last != Some(time) {
            starts.push(event);
            last = Some(time);
        }
    }
}

/// The steps of one user, in time order.
#[derive(Clone, Copy)]
pub(crate) struct UserSteps<'a> {
    starts: &'a [usize],
    end: usize,
}

impl<'a> UserSteps<'a> {
    /// Those of `user`, kept in `starts`.
    pub(crate) fn of(prefix: &Prefix<'_>, user: usize, starts: &'a mut Vec<usize>) -> Self {
        let events = prefix.events_of(user);
        starts.clear();
        push_starts(prefix, events.clone(), starts);
        UserSteps {
            starts,
            end: events.end,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The events of a step.
    pub(crate) fn events(&self, step: usize) -> Range<usize> {
        let end = self.starts.get(step + 1).copied().unwrap_or(self.end);
        self.starts[step]..end
    }

    /// The step that an event belongs to.
    pub(crate) fn step_of(&self, event: usize) -> usize {
        self.starts.partition_point(|&start| start <= event) - 1
    }

    /// `count` steps from `first` on.
    pub(crate) fn window(&self, first: usize, count: usize) -> Self {
        let last = (first + count).min(self.len());
        UserSteps {
            starts: &self.starts[first..last],
            end: self.starts.get(last).copied().unwrap_or(self.end),
        }
    }

    /// All events.
    pub(crate) fn all(&self) -> Range<usize> {
        self.starts.first().copied().unwrap_or(self.end)..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fixtures::interactions;

    #[test]
    fn equal_timestamps_are_one_step() {
        let data = interactions(&[
            ("a", "x", 10),
            ("a", "y", 20),
            ("a", "x", 20),
            ("a", "z", 30),
            ("b", "z", 15),
        ]);
        let prefix = Prefix::whole(&data);
        let steps = Steps::new(&prefix);
        let a = steps.of(0);
        assert_eq!((a.len(), a.events(1), a.events(2)), (3, 1..3, 3..4));
        assert_eq!((a.step_of(0), a.step_of(2), a.step_of(3)), (0, 1, 2));
        assert_eq!(a.window(1, 1).all(), 1..3);
        assert_eq!(a.window(1, 9).all(), 1..4);
        assert_eq!(steps.of(1).all(), 4..5);
        let mut starts = vec![7];
        let alone = UserSteps::of(&prefix, 0, &mut starts);
        assert_eq!((alone.len(), alone.events(1), alone.all()), (3, 1..3, 0..4));
        assert_eq!(Steps::new(&prefix.before(15)).of(1).len(), 0);
    }
}
