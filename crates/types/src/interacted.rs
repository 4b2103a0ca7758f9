//! The rule of `kindred:exclude-interacted`: whose interactions with an item count.
//!
//! `true` for any interaction, or an event type; behind it optionally a blank or a comma and `<days>d`.
//! Values of tags cannot have commas, hence the blank. A last word that begins with a digit has to be
//! days: a slip such as `purchase 30` must not become a type that nobody has, and leave nobody out.
//! What is done with the users it finds is the engine's.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most days that a rule may look back.
pub const DAYS_MAX: u32 = 36_500;

/// Which interactions with an item leave a user out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractedRule {
    /// Only events of this type, ignoring case; of any type if absent.
    pub event_type: Option<String>,
    /// Only those of the last so many days of the dataset; all if absent.
    pub days: Option<u32>,
}

/// What the text has to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected true or an event type, optionally followed by a blank and days from 1 to {DAYS_MAX}, such as true 30d or purchase 90d"
)]
pub struct NotARule;

impl FromStr for InteractedRule {
    type Err = NotARule;

    fn from_str(text: &str) -> Result<Self, NotARule> {
        let text = text.trim();
        let days_follow = |last: &str| last.starts_with(|c: char| c.is_ascii_digit());
        let split = text.rsplit_once(',').or_else(|| {
            text.rsplit_once(char::is_whitespace)
                .filter(|(_, last)| days_follow(last))
        });
        let (what, days) = match split {
            Some((what, days)) => (what, Some(parse_days(days.trim()).ok_or(NotARule)?)),
            // Days alone are no type.
            None if parse_days(text).is_some() => return Err(NotARule),
            None => (text, None),
        };
        let what = what.trim();
        // Nobody means an event of the type "false".
        if what.is_empty() || what.eq_ignore_ascii_case("false") {
            return Err(NotARule);
        }
        Ok(InteractedRule {
            event_type: (!what.eq_ignore_ascii_case("true")).then(|| what.to_owned()),
            days,
        })
    }
}

fn parse_days(text: &str) -> Option<u32> {
    let digits = text.strip_suffix(['d', 'D'])?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let days = digits.parse().ok().filter(|_| is_number)?;
    (1..=DAYS_MAX).contains(&days).then_some(days)
}

impl fmt::Display for InteractedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.event_type.as_deref().unwrap_or("true"))?;
        match self.days {
            Some(days) => write!(f, ",{days}d"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        let rule = |event_type: Option<&str>, days| InteractedRule {
            event_type: event_type.map(str::to_owned),
            days,
        };
        for (text, expected) in [
            ("true", rule(None, None)),
            ("TRUE", rule(None, None)),
            ("true,30d", rule(None, Some(30))),
            ("purchase", rule(Some("purchase"), None)),
            ("Add to cart, 7d", rule(Some("Add to cart"), Some(7))),
            ("a,b,36500D", rule(Some("a,b"), Some(36_500))),
            ("true 30d", rule(None, Some(30))),
            (" Add to cart 7d ", rule(Some("Add to cart"), Some(7))),
            ("Add to cart", rule(Some("Add to cart"), None)),
            ("level 2 9d", rule(Some("level 2"), Some(9))),
            ("2for1", rule(Some("2for1"), None)),
        ] {
            let found: InteractedRule = text.parse().unwrap();
            assert_eq!(found, expected, "{text}");
            assert_eq!(found.to_string().parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            " ",
            ",",
            ",30d",
            "true,",
            "true,30",
            "true,d",
            "true,0d",
            "true,36501d",
            "true,-3d",
            "true,+3d",
            "true,3 d",
            "purchase,99999999999d",
            "click,view",
            "false",
            "False,3d",
        ] {
            assert_eq!(text.parse::<InteractedRule>(), Err(NotARule), "{text}");
        }
    }
}
