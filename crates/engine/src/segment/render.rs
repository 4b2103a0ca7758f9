//! Output lines, byte for byte as the service writes them.
//!
//! `{"input": <line>, "output": {"usersList": [<ids>]}, "error": <text or null>}` and a newline.
//! The input is repeated as it came; a line that is no JSON object becomes a JSON string. A job may
//! ask for more members of `output`: `recommendedUsers`, which is the list again, and `scores`, the
//! probability of each user of the list. Lines with an error have no `scores`.

use crate::train::kernels;

/// Ids of users as JSON strings, made once.
#[derive(Debug)]
pub(crate) struct UserFragments {
    texts: Texts,
    users: usize,
    /// Length of all, and of the shortest.
    bytes: usize,
    shortest: usize,
}

#[derive(Debug)]
enum Texts {
    /// All are short.
    Slots(Vec<Slot>),
    Any {
        bytes: Vec<u8>,
        starts: Vec<usize>,
    },
}

/// Bytes of a short text.
const SLOT_BYTES: usize = 15;

/// A short text in one place, which one read fetches and one write copies.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
struct Slot {
    text: [u8; SLOT_BYTES],
    length: u8,
}

/// Users of a list whose ids are asked for ahead of their use.
const IDS_AHEAD: usize = 8;

impl UserFragments {
    pub(crate) fn new(ids: &[String]) -> Self {
        let mut text = Vec::new();
        let mut length_of = |id: &String| {
            text.clear();
            push_json_string(&mut text, id);
            text.len()
        };
        let (mut bytes, mut shortest, mut longest) = (0, usize::MAX, 0);
        for length in ids.iter().map(&mut length_of) {
            bytes += length;
            shortest = shortest.min(length);
            longest = longest.max(length);
        }
        let texts = if longest <= SLOT_BYTES {
            Texts::Slots(ids.iter().map(|id| Slot::of(id)).collect())
        } else {
            let mut all = Vec::with_capacity(bytes);
            let mut starts = Vec::with_capacity(ids.len() + 1);
            starts.push(0);
            for id in ids {
                push_json_string(&mut all, id);
                starts.push(all.len());
            }
            Texts::Any { bytes: all, starts }
        };
        UserFragments {
            texts,
            users: ids.len(),
            bytes,
            shortest,
        }
    }

    /// Adds the id of a user to a line.
    #[inline]
    fn push(&self, line: &mut Vec<u8>, user: u32) {
        match &self.texts {
            Texts::Slots(slots) => {
                let slot = &slots[user as usize];
                let end = line.len() + usize::from(slot.length);
                line.extend_from_slice(&slot.text);
                line.truncate(end);
            }
            Texts::Any { bytes, starts } => {
                let user = user as usize;
                line.extend_from_slice(&bytes[starts[user]..starts[user + 1]]);
            }
        }
    }

    /// Asks for the id of a user, `near` its use, or before that for where it is.
    #[inline]
    fn fetch(&self, user: u32, near: bool) {
        let user = user as usize;
        match &self.texts {
            Texts::Slots(slots) if near => kernels::prefetch(&slots[user..=user]),
            Texts::Slots(_) => {}
            Texts::Any { bytes, starts } if near => {
                kernels::prefetch(&bytes[starts[user]..=starts[user]]);
            }
            Texts::Any { starts, .. } => kernels::prefetch(&starts[user..=user]),
        }
    }

    /// Length of a list of so many users, about.
    pub(crate) fn usual_list_bytes(&self, users: usize) -> usize {
        users * (1 + self.bytes / self.users.max(1))
    }

    /// A list of so many users is not shorter.
    pub(crate) fn list_bytes_min(&self, users: usize) -> usize {
        users.saturating_mul(self.shortest.saturating_add(1))
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.texts {
            Texts::Slots(slots) => size_of_val(&slots[..]),
            Texts::Any { bytes, starts } => bytes.len() + size_of_val(&starts[..]),
        }
    }
}

impl Slot {
    /// Of an id that is short enough.
    fn of(id: &str) -> Slot {
        let mut fragment = Vec::with_capacity(SLOT_BYTES);
        push_json_string(&mut fragment, id);
        let mut text = [0; SLOT_BYTES];
        text[..fragment.len()].copy_from_slice(&fragment);
        Slot {
            text,
            length: fragment.len() as u8,
        }
    }
}

/// Significant digits of a probability.
const SCORE_DIGITS: usize = 6;
/// Probabilities below 10 to this power are written with an exponent.
const PLAIN_EXPONENT_MIN: i32 = -4;

/// Users between two looks at whether a line should be handed on.
const USERS_PER_LOOK: usize = 4096;

/// How lines with rankings are written.
#[derive(Debug)]
pub(crate) struct TailForm {
    /// Ids of all users.
    pub(crate) fragments: UserFragments,
    /// Write the list of users twice, as the documentation has it.
    pub(crate) documented: bool,
}

impl TailForm {
    /// Writes what follows the input in a line with a ranking. `log_rates` gives, in the order of the
    /// users, the log of the number of events that are expected of each; it must not ascend. A ranking
    /// may be long: `hand_on` is called now and then and may take from the line what is written.
    pub(crate) fn push_ranking<E>(
        &self,
        line: &mut Vec<u8>,
        users: impl Iterator<Item = u32> + Clone,
        log_rates: Option<impl Iterator<Item = f64>>,
        mut hand_on: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        line.extend_from_slice(b", \"output\": {\"usersList\": ");
        self.push_users(line, users.clone(), &mut hand_on)?;
        if self.documented {
            line.extend_from_slice(b", \"recommendedUsers\": ");
            self.push_users(line, users, &mut hand_on)?;
        }
        if let Some(log_rates) = log_rates {
            push_scores(line, log_rates, &mut hand_on)?;
        }
        line.extend_from_slice(b"}, \"error\": null}\n");
        Ok(())
    }

    fn push_users<E>(
        &self,
        line: &mut Vec<u8>,
        users: impl Iterator<Item = u32> + Clone,
        hand_on: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        line.push(b'[');
        // Users of a list are anywhere: first where their ids start is asked for, then the ids.
        let fragments = &self.fragments;
        let mut starts_ahead = users.clone().skip(2 * IDS_AHEAD);
        let mut ids_ahead = users.clone().skip(IDS_AHEAD);
        for (index, user) in users.enumerate() {
            if index > 0 {
                line.push(b',');
                if index % USERS_PER_LOOK == 0 {
                    hand_on(line)?;
                }
            }
            if let Some(ahead) = starts_ahead.next() {
                fragments.fetch(ahead, false);
            }
            if let Some(ahead) = ids_ahead.next() {
                fragments.fetch(ahead, true);
            }
            fragments.push(line, user);
        }
        line.push(b']');
        Ok(())
    }
}

fn push_scores<E>(
    line: &mut Vec<u8>,
    log_rates: impl Iterator<Item = f64>,
    hand_on: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    line.extend_from_slice(b", \"scores\": [");
    let mut last = 1.0;
    for (index, log_rate) in log_rates.enumerate() {
        if index > 0 {
            line.push(b',');
            if index % USERS_PER_LOOK == 0 {
                hand_on(line)?;
            }
        }
        // Rounding inside exp and expm1 must not make a later user look better than an earlier one.
        last = probability(log_rate).min(last);
        push_probability(line, last);
    }
    line.push(b']');
    Ok(())
}

/// The probability of at least one event where exp(`log_rate`) are expected, if they come as a
/// Poisson process: 1 − exp(−exp(`log_rate`)).
fn probability(log_rate: f64) -> f64 {
    -libm::expm1(-libm::exp(log_rate))
}

/// Writes a number from 0 to 1 with at most six significant digits and without zeros at the end:
/// `0.0123457`, from 0.0001 on; `1.2e-7` below; `0` and `1`.
fn push_probability(line: &mut Vec<u8>, value: f64) {
    let text = format!("{value:.*e}", SCORE_DIGITS - 1);
    let (digits, exponent) = text.split_once('e').expect("this format has an exponent");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let power: i32 = exponent.parse().expect("the exponent is a number");
    if (PLAIN_EXPONENT_MIN..0).contains(&power) {
        line.extend_from_slice(b"0.");
        line.extend((power + 1..0).map(|_| b'0'));
        line.extend(digits.bytes().filter(u8::is_ascii_digit));
        return;
    }
    line.extend_from_slice(digits.as_bytes());
    if power < 0 {
        line.push(b'e');
        line.extend_from_slice(exponent.as_bytes());
    }
}

/// Writes what follows the input in a line with an error.
pub(crate) fn push_error_tail(line: &mut Vec<u8>, error: &str, documented: bool) {
    line.extend_from_slice(b", \"output\": {\"usersList\": []");
    if documented {
        line.extend_from_slice(b", \"recommendedUsers\": []");
    }
    line.extend_from_slice(b"}, \"error\": ");
    push_json_string(line, error);
    line.extend_from_slice(b"}\n");
}

/// Writes the beginning of a line: the input as it came, or as a string if it is no object.
pub(crate) fn push_input(line: &mut Vec<u8>, input: &[u8], is_object: bool) {
    line.extend_from_slice(b"{\"input\": ");
    if is_object {
        line.extend_from_slice(input);
    } else {
        push_json_string(line, &String::from_utf8_lossy(input));
    }
}

/// A JSON string: only quotes, backslashes and control characters are escaped.
fn push_json_string(target: &mut Vec<u8>, text: &str) {
    // Writing a string to memory cannot fail.
    serde_json::to_writer(target, text).expect("strings are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_SCORES: Option<std::iter::Empty<f64>> = None;

    fn push_ranking_tail(
        line: &mut Vec<u8>,
        users: impl Iterator<Item = u32> + Clone,
        log_rates: Option<impl Iterator<Item = f64>>,
        fragments: UserFragments,
        documented: bool,
    ) {
        let form = TailForm {
            fragments,
            documented,
        };
        let whole = |_: &mut Vec<u8>| Ok::<(), std::convert::Infallible>(());
        form.push_ranking(line, users, log_rates, whole).unwrap();
    }

    fn one_user() -> UserFragments {
        UserFragments::new(&["7".into()])
    }

    #[test]
    fn ids_of_any_length_are_written_whole() {
        let short = ["", "7", "a\"b", "thirteen-char"];
        let long = ["7", "a name that fits in no slot", "", "fourteen-chars"];
        for ids in [short, long] {
            let ids = ids.map(String::from);
            let fragments = UserFragments::new(&ids);
            let slots = matches!(fragments.texts, Texts::Slots(_));
            assert_eq!(slots, ids[1] == "7");
            let list: Vec<u32> = (0..200).map(|place| place % 4).collect();
            let mut line = Vec::new();
            push_ranking_tail(&mut line, list.iter().copied(), NO_SCORES, fragments, false);
            let expected: Vec<String> = list
                .iter()
                .map(|&user| serde_json::to_string(&ids[user as usize]).unwrap())
                .collect();
            let expected = format!("\"usersList\": [{}]", expected.join(","));
            assert!(String::from_utf8(line).unwrap().contains(&expected));
        }
    }

    #[test]
    fn a_long_tail_is_handed_on_in_pieces() {
        let form = TailForm {
            fragments: one_user(),
            documented: true,
        };
        let users = std::iter::repeat_n(0, 3 * USERS_PER_LOOK);
        let log_rates = Some(users.clone().map(f64::from));
        let mut whole = Vec::new();
        let none = |_: &mut Vec<u8>| Ok::<(), ()>(());
        form.push_ranking(&mut whole, users.clone(), log_rates.clone(), none)
            .unwrap();
        let (mut pieces, mut longest) = (Vec::new(), 0);
        let mut line = Vec::new();
        let take = |line: &mut Vec<u8>| {
            longest = longest.max(line.len());
            pieces.append(line);
            Ok::<(), ()>(())
        };
        form.push_ranking(&mut line, users.clone(), log_rates.clone(), take)
            .unwrap();
        pieces.append(&mut line);
        assert!(pieces == whole);
        assert!(longest < 20 * USERS_PER_LOOK && whole.len() > 2 * longest);
        let full = |_: &mut Vec<u8>| Err("full");
        let failed = form.push_ranking(&mut line, users, log_rates, full);
        assert_eq!(failed, Err("full"));
    }

    #[test]
    fn lines_have_the_services_bytes() {
        let fragments = UserFragments::new(&["7".into(), "a\"b\\c\n".into(), "日本".into()]);
        let mut line = Vec::new();
        push_input(&mut line, br#"{"itemId":"1"}"#, true);
        push_ranking_tail(
            &mut line,
            [2, 0, 1].into_iter(),
            NO_SCORES,
            fragments,
            false,
        );
        push_input(&mut line, b"no \"json\"\xff", false);
        push_error_tail(&mut line, "User error: x", false);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"input\": {\"itemId\":\"1\"}, \"output\": {\"usersList\": [\"日本\",\"7\",\"a\\\"b\\\\c\\n\"]}, \"error\": null}\n\
             {\"input\": \"no \\\"json\\\"\u{fffd}\", \"output\": {\"usersList\": []}, \"error\": \"User error: x\"}\n"
        );
    }

    #[test]
    fn the_documented_form_has_the_list_twice() {
        let fragments = UserFragments::new(&["7".into()]);
        let mut line = Vec::new();
        push_ranking_tail(&mut line, [0].into_iter(), NO_SCORES, fragments, true);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            ", \"output\": {\"usersList\": [\"7\"], \"recommendedUsers\": [\"7\"]}, \"error\": null}\n"
        );
    }

    #[test]
    fn probabilities_have_six_digits_and_no_zeros_at_the_end() {
        let check = |value: f64, expected: &str| {
            let mut text = Vec::new();
            push_probability(&mut text, value);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            let read: f64 = serde_json::from_str(expected).unwrap();
            assert!((read - value).abs() <= 5.000_001e-6 * value, "{expected}");
        };
        check(0.0, "0");
        check(1.0, "1");
        check(0.999_999_6, "1");
        check(0.999_999_4, "0.999999");
        check(0.5, "0.5");
        check(0.012_345_67, "0.0123457");
        check(0.1, "0.1");
        check(0.000_1, "0.0001");
        check(0.000_123_456_7, "0.000123457");
        check(0.000_099_999_99, "0.0001");
        check(0.000_099_999_4, "9.99994e-5");
        check(1.2e-7, "1.2e-7");
        check(3e-7, "3e-7");
        check(1.234_567e-123, "1.23457e-123");
        check(f64::MIN_POSITIVE, "2.22507e-308");
    }

    #[test]
    fn scores_are_probabilities_that_never_ascend() {
        let scores = |log_rates: &[f64]| {
            let mut line = Vec::new();
            let users = log_rates.iter().map(|_| 0);
            let log_rates = Some(log_rates.iter().copied());
            push_ranking_tail(&mut line, users, log_rates, one_user(), false);
            let text = String::from_utf8(line).unwrap();
            let start = text.find("\"scores\"").unwrap();
            assert!(text.ends_with("}, \"error\": null}\n"));
            text[start..]
                .trim_end_matches("}, \"error\": null}\n")
                .to_owned()
        };
        assert_eq!(
            scores(&[
                f64::INFINITY,
                800.0,
                2.0,
                0.0,
                0.0,
                -5.0,
                -20.0,
                -800.0,
                f64::NEG_INFINITY
            ]),
            "\"scores\": [1,1,0.999382,0.632121,0.632121,0.0067153,2.06115e-9,0,0]"
        );
        assert_eq!(scores(&[]), "\"scores\": []");
        // Even a caller whose list ascends gets a list that does not.
        assert_eq!(scores(&[-5.0, 0.0]), "\"scores\": [0.0067153,0.0067153]");
        let mut line = Vec::new();
        let log_rates = Some([0.0].into_iter());
        push_ranking_tail(&mut line, [0].into_iter(), log_rates, one_user(), true);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            ", \"output\": {\"usersList\": [\"7\"], \"recommendedUsers\": [\"7\"], \"scores\": [0.632121]}, \"error\": null}\n"
        );
    }
}
