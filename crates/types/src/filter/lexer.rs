//! From characters to tokens, one at a time, so that the first thing wrong is what is reported.

use super::{CompareOp, FilterError, PARAMETER_CHARACTERS_MAX};
use crate::item_query::Number;

/// A token and the place of its first character, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) position: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// A quoted string, its escapes resolved.
    Text(String),
    Number(Number),
    /// `$NAME`, in quotes or not, without the `$`.
    Parameter(&'a str),
    /// `*`, in quotes or not.
    Star,
    Operator(CompareOp),
    Dot,
    Comma,
    Open,
    Close,
    Pipe,
    /// A character that starts nothing.
    Other(char),
    End,
}

/// A text and how far it was read.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer {
            rest: text,
            position: 1,
        }
    }

    pub(super) fn next_token(&mut self) -> Result<Token<'a>, FilterError> {
        self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let position = self.position;
        let kind = self.kind()?;
        Ok(Token { kind, position })
    }

    fn kind(&mut self) -> Result<Kind<'a>, FilterError> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(Kind::End);
        };
        Ok(match first {
            '"' => return self.string(),
            '$' => return self.parameter(),
            '-' | '0'..='9' => return self.number(),
            'A'..='Z' | 'a'..='z' | '_' => Kind::Word(self.take_while(is_name)),
            _ => {
                self.take(first.len_utf8());
                let followed_by_equal = self.rest.starts_with('=');
                let (operator, long) = match first {
                    '=' => (CompareOp::Equal, false),
                    '!' if followed_by_equal => (CompareOp::NotEqual, true),
                    '<' if followed_by_equal => (CompareOp::LessOrEqual, true),
                    '<' => (CompareOp::Less, false),
                    '>' if followed_by_equal => (CompareOp::GreaterOrEqual, true),
                    '>' => (CompareOp::Greater, false),
                    '.' => return Ok(Kind::Dot),
                    ',' => return Ok(Kind::Comma),
                    '(' => return Ok(Kind::Open),
                    ')' => return Ok(Kind::Close),
                    '|' => return Ok(Kind::Pipe),
                    '*' => return Ok(Kind::Star),
                    other => return Ok(Kind::Other(other)),
                };
                if long {
                    self.take(1);
                }
                Kind::Operator(operator)
            }
        })
    }

    /// A string; the lexer stands at its first quote.
    fn string(&mut self) -> Result<Kind<'a>, FilterError> {
        let start = self.position;
        let (end, text) = unquote(self.rest)
            .ok_or_else(|| FilterError::new(start, "the string has no closing double quote"))?;
        let written = self.take(end);
        let inner = &written[1..end - 1];
        if inner == "*" {
            return Ok(Kind::Star);
        }
        if let Some(name) = inner.strip_prefix('$').filter(|name| is_letter_first(name)) {
            need_short(start, name)?;
            return Ok(Kind::Parameter(name));
        }
        Ok(Kind::Text(text))
    }

    fn parameter(&mut self) -> Result<Kind<'a>, FilterError> {
        let start = self.position;
        self.take(1);
        let name = self.take_while(is_name);
        if name.is_empty() {
            let detail = "expected the name of a placeholder after $";
            return Err(FilterError::new(self.position, detail));
        }
        need_short(start, name)?;
        Ok(Kind::Parameter(name))
    }

    fn number(&mut self) -> Result<Kind<'a>, FilterError> {
        let start = self.position;
        // Letters belong to it, so that `25years` is one wrong number and not a number and a word.
        let text = self.take_while(|c| is_name(c) || matches!(c, '.' | '-' | '+'));
        Number::parse(text)
            .map(Kind::Number)
            .ok_or_else(|| FilterError::new(start, "expected a number such as 25 or -0.5"))
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.position += taken.chars().count();
        taken
    }
}

/// The content of the quoted string that `text` starts with and its length with quotes, in bytes.
pub(super) fn unquote(text: &str) -> Option<(usize, String)> {
    let mut content = String::new();
    let mut characters = text.char_indices();
    if characters.next()?.1 != '"' {
        return None;
    }
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((place + 1, content)),
            '\\' => content.push(characters.next()?.1),
            character => content.push(character),
        }
    }
    None
}

/// Whether a quoted `$` followed by this is a placeholder, and not a literal such as `"$5"`.
pub(super) fn is_letter_first(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_name)
}

pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn need_short(position: usize, name: &str) -> Result<(), FilterError> {
    if name.len() <= PARAMETER_CHARACTERS_MAX {
        return Ok(());
    }
    Err(FilterError::new(
        position,
        format!(
            "the name of a placeholder has at most {PARAMETER_CHARACTERS_MAX} characters, this one has more"
        ),
    ))
}
