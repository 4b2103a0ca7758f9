//! Filters as text: one form, which reads back as the same filter.

use super::lexer::is_letter_first;
use super::{
    Action, CompareOp, Condition, Dataset, Expression, Field, Filter, Operand, Target, Test, Values,
};
use std::fmt::{self, Display, Formatter, Write as _};

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::Users => "UserID",
            Target::Items => "ItemID",
        };
        for (place, expression) in self.expressions.iter().enumerate() {
            if place > 0 {
                f.write_str(" | ")?;
            }
            write_expression(f, expression, target)?;
        }
        Ok(())
    }
}

fn write_expression(f: &mut Formatter<'_>, expression: &Expression, target: &str) -> fmt::Result {
    let action = match expression.action {
        Action::Include => "INCLUDE",
        Action::Exclude => "EXCLUDE",
    };
    write!(f, "{action} {target} WHERE ")?;
    for (place, conditions) in expression.any_of.iter().enumerate() {
        if place > 0 {
            f.write_str(" OR ")?;
        }
        write_all_of(f, conditions)?;
    }
    if !expression.only_if.is_empty() {
        f.write_str(" IF ")?;
        write_all_of(f, &expression.only_if)?;
    }
    Ok(())
}

fn write_all_of(f: &mut Formatter<'_>, conditions: &[Condition]) -> fmt::Result {
    for (place, condition) in conditions.iter().enumerate() {
        if place > 0 {
            f.write_str(" AND ")?;
        }
        let Condition {
            dataset,
            field,
            test,
        } = condition;
        write!(f, "{dataset}.{} {test}", field.name)?;
    }
    Ok(())
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Test::Compare { op, number } => write!(f, "{op} {number}"),
            Test::In { values, negated } => {
                let not = if *negated { "NOT " } else { "" };
                write!(f, "{not}IN ({values})")
            }
        }
    }
}

impl Display for Values {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Values::Star => f.write_str("*"),
            Values::Parameter(name) => write!(f, "${name}"),
            Values::CurrentItem(Field { name, .. }) => write!(f, "CurrentItem.{name}"),
            Values::List(strings) => {
                for (place, string) in strings.iter().enumerate() {
                    if place > 0 {
                        f.write_str(", ")?;
                    }
                    write_string(f, string)?;
                }
                Ok(())
            }
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Number(number) => number.fmt(f),
            Operand::Parameter(name) => write!(f, "${name}"),
            Operand::CurrentItem(Field { name, .. }) => write!(f, "CurrentItem.{name}"),
        }
    }
}

impl Display for CompareOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompareOp::Equal => "=",
            CompareOp::NotEqual => "!=",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Dataset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dataset::Users => "Users",
            Dataset::Interactions => "Interactions",
            Dataset::Items => "Items",
            Dataset::Actions => "Actions",
            Dataset::CurrentUser => "CurrentUser",
            Dataset::CurrentItem => "CurrentItem",
        })
    }
}

fn write_string(f: &mut Formatter<'_>, string: &str) -> fmt::Result {
    f.write_char('"')?;
    // Without the backslash these would read back as a star or a placeholder.
    if string == "*" || string.strip_prefix('$').is_some_and(is_letter_first) {
        f.write_char('\\')?;
    }
    for character in string.chars() {
        if matches!(character, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('"')
}
