//! From tokens to a tree with the place of everything; fields are still names.
//!
//! The tree takes a little more than the language: any literal on the right side of any test, so that
//! `typing` can say what the field would have wanted.

use super::lexer::{Kind, Lexer, Token};
use super::{Action, CompareOp, Dataset, EXPRESSION_CHARACTERS_MAX, FilterError, Target};
use crate::item_query::Number;

#[derive(Debug)]
pub(super) struct Expression<'a> {
    pub(super) action: Action,
    pub(super) target: Placed<Target>,
    pub(super) any_of: Vec<Vec<Condition<'a>>>,
    /// The place of `IF` and what follows it.
    pub(super) only_if: Option<Placed<Vec<Condition<'a>>>>,
}

#[derive(Debug)]
pub(super) struct Condition<'a> {
    pub(super) dataset: Placed<Dataset>,
    pub(super) name: Placed<&'a str>,
    /// The place of `IN`, `NOT` or the operator.
    pub(super) test: Placed<Test<'a>>,
}

#[derive(Debug)]
pub(super) enum Test<'a> {
    In {
        values: Vec<Placed<Literal<'a>>>,
        negated: bool,
    },
    Compare {
        op: CompareOp,
        value: Placed<Literal<'a>>,
    },
}

#[derive(Debug)]
pub(super) enum Literal<'a> {
    Text(String),
    Number(Number),
    Parameter(&'a str),
    Star,
    /// A word without quotes, which is none of the above anywhere.
    Bare,
    CurrentItem(&'a str),
}

/// Something and where it starts, in characters from 1.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) it: T,
    pub(super) position: usize,
}

const DATASETS: [(&str, Dataset); 6] = [
    ("Users", Dataset::Users),
    ("Interactions", Dataset::Interactions),
    ("Items", Dataset::Items),
    ("Actions", Dataset::Actions),
    ("CurrentUser", Dataset::CurrentUser),
    ("CurrentItem", Dataset::CurrentItem),
];

pub(super) fn parse(text: &str) -> Result<Vec<Expression<'_>>, FilterError> {
    // Bytes first: counting the characters of a huge text is not needed to refuse it.
    if text.len() > EXPRESSION_CHARACTERS_MAX && text.chars().count() > EXPRESSION_CHARACTERS_MAX {
        let detail = format!("more than {EXPRESSION_CHARACTERS_MAX} characters");
        return Err(FilterError::new(EXPRESSION_CHARACTERS_MAX + 1, detail));
    }
    let mut lexer = Lexer::new(text);
    let token = lexer.next_token()?;
    let mut parser = Parser { lexer, token };
    let mut expressions = vec![parser.expression("INCLUDE or EXCLUDE")?];
    loop {
        match parser.token.kind {
            Kind::End => return Ok(expressions),
            Kind::Pipe => {
                parser.next()?;
                expressions.push(parser.expression("INCLUDE or EXCLUDE after |")?);
            }
            _ if parser.at("IF") => {
                return Err(FilterError::new(
                    parser.token.position,
                    "IF can be used once, at the end",
                ));
            }
            _ if expressions
                .last()
                .is_some_and(|last| last.only_if.is_some()) =>
            {
                return Err(parser.expected("AND, | or the end of the expression"));
            }
            _ => return Err(parser.expected("AND, OR, | or the end of the expression")),
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
}

impl<'a> Parser<'a> {
    fn expression(&mut self, start: &str) -> Result<Expression<'a>, FilterError> {
        let (action, word) = if self.at("INCLUDE") {
            (Action::Include, "INCLUDE")
        } else if self.at("EXCLUDE") {
            (Action::Exclude, "EXCLUDE")
        } else {
            return Err(self.expected(start));
        };
        self.next()?;
        let position = self.token.position;
        let it = if self.at("UserID") {
            Target::Users
        } else if self.at("ItemID") {
            Target::Items
        } else if self.at("ActionID") {
            let detail = "ActionID is not supported: expected UserID";
            return Err(FilterError::new(position, detail));
        } else {
            return Err(self.expected(&format!("UserID after {word}")));
        };
        self.next()?;
        if !self.at("WHERE") {
            let target = match it {
                Target::Users => "UserID",
                Target::Items => "ItemID",
            };
            return Err(self.expected(&format!("WHERE after {target}")));
        }
        self.next()?;
        let mut any_of = vec![self.all_of()?];
        while self.at("OR") {
            self.next()?;
            any_of.push(self.all_of()?);
        }
        let only_if = if self.at("IF") {
            let position = self.token.position;
            self.next()?;
            let it = self.all_of()?;
            Some(Placed { it, position })
        } else {
            None
        };
        Ok(Expression {
            action,
            target: Placed { it, position },
            any_of,
            only_if,
        })
    }

    fn all_of(&mut self) -> Result<Vec<Condition<'a>>, FilterError> {
        let mut conditions = vec![self.condition()?];
        while self.at("AND") {
            self.next()?;
            conditions.push(self.condition()?);
        }
        Ok(conditions)
    }

    fn condition(&mut self) -> Result<Condition<'a>, FilterError> {
        let dataset = self.dataset()?;
        if self.token.kind != Kind::Dot {
            return Err(self.expected("a point between the dataset and its field"));
        }
        self.next()?;
        let name = self.name()?;
        let position = self.token.position;
        let it = self.test()?;
        Ok(Condition {
            dataset,
            name,
            test: Placed { it, position },
        })
    }

    fn dataset(&mut self) -> Result<Placed<Dataset>, FilterError> {
        const EXPECTED: &str = "a field such as Users.NAME or Interactions.EVENT_TYPE";
        let position = self.token.position;
        let word = match self.token.kind {
            Kind::Word(word) if word.eq_ignore_ascii_case("NOT") => {
                let detail = "expected a field: NOT stands after it, before IN";
                return Err(FilterError::new(position, detail));
            }
            Kind::Word(word) => word,
            Kind::Open => {
                let detail = format!("expected {EXPECTED}: conditions take no parentheses");
                return Err(FilterError::new(position, detail));
            }
            _ => return Err(self.expected(EXPECTED)),
        };
        let known = DATASETS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        let Some(&(_, it)) = known else {
            let near = nearest(word, DATASETS.iter().map(|(name, _)| *name));
            let hint = near.map_or(String::new(), |near| format!(": did you mean {near}?"));
            let detail = format!("expected {EXPECTED}{hint}");
            return Err(FilterError::new(position, detail));
        };
        self.next()?;
        Ok(Placed { it, position })
    }

    fn name(&mut self) -> Result<Placed<&'a str>, FilterError> {
        let position = self.token.position;
        let Kind::Word(it) = self.token.kind else {
            return Err(self.expected("the name of a field"));
        };
        self.next()?;
        Ok(Placed { it, position })
    }

    fn test(&mut self) -> Result<Test<'a>, FilterError> {
        if let Kind::Operator(op) = self.token.kind {
            self.next()?;
            let value = self
                .literal()?
                .ok_or_else(|| self.expected("a number or a placeholder such as $NAME"))?;
            return Ok(Test::Compare { op, value });
        }
        let negated = self.at("NOT");
        if negated {
            self.next()?;
            if !self.at("IN") {
                return Err(self.expected("IN after NOT"));
            }
        } else if !self.at("IN") {
            return Err(self.expected("IN, NOT IN, =, !=, <, <=, > or >="));
        }
        self.next()?;
        if self.token.kind != Kind::Open {
            return Err(self.expected("( after IN"));
        }
        self.next()?;
        let values = self.list()?;
        Ok(Test::In { values, negated })
    }

    /// Values up to the closing parenthesis; the opening one was read.
    fn list(&mut self) -> Result<Vec<Placed<Literal<'a>>>, FilterError> {
        let mut values = Vec::new();
        loop {
            let value = self.literal()?.ok_or_else(|| {
                self.expected("a string in double quotes, * or a placeholder such as $NAME")
            })?;
            values.push(value);
            match self.token.kind {
                Kind::Comma => self.next()?,
                Kind::Close => {
                    self.next()?;
                    return Ok(values);
                }
                _ => return Err(self.expected(", or ) after a value")),
            }
        }
    }

    fn literal(&mut self) -> Result<Option<Placed<Literal<'a>>>, FilterError> {
        let position = self.token.position;
        let it = match &mut self.token.kind {
            Kind::Text(text) => Literal::Text(std::mem::take(text)),
            Kind::Number(number) => Literal::Number(number.clone()),
            Kind::Parameter(name) => Literal::Parameter(name),
            Kind::Star => Literal::Star,
            Kind::Word(word) if word.eq_ignore_ascii_case("CurrentItem") => {
                self.next()?;
                if self.token.kind != Kind::Dot {
                    return Err(self.expected("a point after CurrentItem"));
                }
                self.next()?;
                let it = Literal::CurrentItem(self.name()?.it);
                return Ok(Some(Placed { it, position }));
            }
            Kind::Word(_) => Literal::Bare,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some(Placed { it, position }))
    }

    /// Whether the next token is this keyword.
    fn at(&self, keyword: &str) -> bool {
        matches!(self.token.kind, Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn next(&mut self) -> Result<(), FilterError> {
        self.token = self.lexer.next_token()?;
        Ok(())
    }

    fn expected(&self, what: &str) -> FilterError {
        let hint = match self.token.kind {
            Kind::End => ", but the expression ends",
            Kind::Other('\'') => ": strings are written in double quotes",
            _ => "",
        };
        FilterError::new(self.token.position, format!("expected {what}{hint}"))
    }
}

/// The name that a slip of the keyboard away from `written`, if there is one.
pub(super) fn nearest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Nobody means a name by a word that is longer than any; and the distance takes quadratic time.
    if written.len() > crate::schema::FIELD_NAME_CHARACTERS_MAX {
        return None;
    }
    let lower = written.to_ascii_lowercase();
    let far = (written.len() / 3).max(1);
    names
        .map(|name| {
            let distance = strsim::osa_distance(&lower, &name.to_ascii_lowercase());
            (distance, name)
        })
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
