//! From the tree of a text to a filter: fields are found in the schemas, tests have to fit them.

use super::syntax::{self, Literal, Placed, nearest};
use super::{
    Condition, Dataset, EVENT_TYPE, Expression, Field, Filter, FilterError, FilterSchemas, Operand,
    Target, Test, Values,
};
use crate::schema::{self, DatasetSchema, FieldType};

type Result<T> = std::result::Result<T, FilterError>;

pub(super) fn check(
    tree: &[syntax::Expression<'_>],
    schemas: &FilterSchemas<'_>,
) -> Result<Filter> {
    let target = tree.first().map_or(Target::Users, |first| first.target.it);
    let checker = Checker { target, schemas };
    let expressions = tree
        .iter()
        .map(|expression| checker.expression(expression))
        .collect::<Result<_>>()?;
    Ok(Filter {
        target,
        expressions,
    })
}

struct Checker<'a> {
    target: Target,
    schemas: &'a FilterSchemas<'a>,
}

impl Checker<'_> {
    fn expression(&self, tree: &syntax::Expression<'_>) -> Result<Expression> {
        if tree.target.it != self.target {
            return refuse(
                tree.target.position,
                "UserID and ItemID cannot be used in one filter",
            );
        }
        if let (Target::Users, Some(only_if)) = (self.target, &tree.only_if) {
            return refuse(only_if.position, "IF can only be used with ItemID");
        }
        self.need_one_dataset(tree)?;
        let all = |conditions: &Vec<syntax::Condition<'_>>| {
            let each = conditions.iter().map(|condition| self.condition(condition));
            each.collect::<Result<Vec<_>>>()
        };
        Ok(Expression {
            action: tree.action,
            any_of: tree.any_of.iter().map(all).collect::<Result<_>>()?,
            only_if: match &tree.only_if {
                None => Vec::new(),
                Some(only_if) => all(&only_if.it)?,
            },
        })
    }

    /// Which datasets conditions may be about, and that those of one expression share one.
    fn need_one_dataset(&self, tree: &syntax::Expression<'_>) -> Result<()> {
        let (allowed, names): (&[Dataset], _) = match self.target {
            Target::Users => (
                &[Dataset::Users, Dataset::Interactions],
                "UserID: use Users or Interactions",
            ),
            Target::Items => (
                &[Dataset::Items, Dataset::Interactions],
                "ItemID: use Items or Interactions",
            ),
        };
        let mut first = None;
        for condition in tree.any_of.iter().flatten() {
            let Placed { it, position } = condition.dataset;
            if !allowed.contains(&it) {
                let detail = format!("{it} cannot be used in an expression about {names}");
                return refuse(position, detail);
            }
            let first = *first.get_or_insert(it);
            if it != first {
                let detail = format!(
                    "all conditions of one expression are about one dataset, here {first}: write a \
                     second expression after |"
                );
                return refuse(position, detail);
            }
        }
        let after_if = tree.only_if.iter().flat_map(|only_if| &only_if.it);
        for condition in after_if {
            let Placed { it, position } = condition.dataset;
            if it != Dataset::CurrentUser {
                return refuse(position, "expected CurrentUser after IF");
            }
        }
        Ok(())
    }

    fn condition(&self, tree: &syntax::Condition<'_>) -> Result<Condition> {
        let dataset = tree.dataset.it;
        let field = self.field(&tree.dataset, &tree.name)?;
        let test = match &tree.test.it {
            syntax::Test::In { values, negated } => {
                if field.kind != FieldType::String {
                    let detail = format!(
                        "{dataset}.{} holds numbers, which IN does not take: use =, !=, <, <=, > or >=",
                        field.name
                    );
                    return refuse(tree.test.position, detail);
                }
                let values = self.values(dataset, &field, values, *negated)?;
                let negated = *negated;
                Test::In { values, negated }
            }
            syntax::Test::Compare { op, value } => {
                if field.kind == FieldType::String {
                    let detail = format!(
                        "{dataset}.{} holds strings, which cannot be compared: use IN (...) or NOT IN (...)",
                        field.name
                    );
                    return refuse(tree.test.position, detail);
                }
                let op = *op;
                let number = self.operand(value)?;
                Test::Compare { op, number }
            }
        };
        Ok(Condition {
            dataset,
            field,
            test,
        })
    }

    fn values(
        &self,
        dataset: Dataset,
        field: &Field,
        list: &[Placed<Literal<'_>>],
        negated: bool,
    ) -> Result<Values> {
        let alone = list.len() == 1;
        let mut strings = Vec::with_capacity(list.len());
        for Placed { it, position } in list {
            let position = *position;
            match it {
                Literal::Parameter(name) if negated => {
                    return Err(FilterError::parameter(position, name));
                }
                Literal::Star if dataset != Dataset::Interactions => {
                    let detail = format!("* can only be used with Interactions.{EVENT_TYPE}");
                    return refuse(position, detail);
                }
                Literal::Parameter(_) if !alone => {
                    return refuse(position, "a placeholder stands alone in its IN (...)");
                }
                Literal::Star if !alone => {
                    return refuse(position, "* stands alone in its IN (...)");
                }
                Literal::CurrentItem(_) if !alone => {
                    return refuse(
                        position,
                        "a field of CurrentItem stands alone in its IN (...)",
                    );
                }
                Literal::Parameter(name) => return Ok(Values::Parameter((*name).to_owned())),
                Literal::Star => return Ok(Values::Star),
                Literal::CurrentItem(name) => {
                    let other = self.current_item(position, name)?;
                    if other.kind != field.kind {
                        let detail = format!("CurrentItem.{} does not hold strings", other.name);
                        return refuse(position, detail);
                    }
                    return Ok(Values::CurrentItem(other));
                }
                Literal::Text(text) => strings.push(text.clone()),
                Literal::Number(_) | Literal::Bare => {
                    return refuse(position, "expected a string in double quotes");
                }
            }
        }
        Ok(Values::List(strings))
    }

    fn operand(&self, value: &Placed<Literal<'_>>) -> Result<Operand> {
        let position = value.position;
        Ok(match &value.it {
            Literal::Number(number) => Operand::Number(number.clone()),
            Literal::Parameter(name) => Operand::Parameter((*name).to_owned()),
            Literal::CurrentItem(name) => {
                let other = self.current_item(position, name)?;
                if !other.kind.is_numeric() {
                    let detail = format!("CurrentItem.{} does not hold numbers", other.name);
                    return refuse(position, detail);
                }
                Operand::CurrentItem(other)
            }
            Literal::Text(_) => {
                return refuse(position, "expected a number without quotes");
            }
            Literal::Star | Literal::Bare => {
                return refuse(position, "expected a number or a placeholder such as $NAME");
            }
        })
    }

    fn current_item(&self, position: usize, name: &str) -> Result<Field> {
        let it = Dataset::CurrentItem;
        if self.target != Target::Items {
            return refuse(position, "CurrentItem can only be used with ItemID");
        }
        // The name stands behind the dataset and its point; the start is precise enough here.
        self.field(&Placed { it, position }, &Placed { it: name, position })
    }

    /// The field of this name, exactly or else ignoring case, of a type that can be tested.
    fn field(&self, dataset: &Placed<Dataset>, name: &Placed<&str>) -> Result<Field> {
        let schema = self.schema(dataset)?;
        let Placed { it: name, position } = *name;
        let dataset = dataset.it;
        let alike = || {
            let mut alike = schema
                .fields
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name));
            alike.next().filter(|_| alike.next().is_none())
        };
        let Some(field) = schema.field(name).or_else(alike) else {
            return refuse(position, unknown(dataset, name, schema));
        };
        need_testable(dataset, field, position)?;
        Ok(Field {
            name: field.name.clone(),
            kind: field.kind,
        })
    }

    fn schema(&self, dataset: &Placed<Dataset>) -> Result<&DatasetSchema> {
        let (schema, name) = match dataset.it {
            Dataset::Users | Dataset::CurrentUser => (self.schemas.users, "Users"),
            Dataset::Interactions => (self.schemas.interactions, "Interactions"),
            Dataset::Items | Dataset::CurrentItem => (self.schemas.items, "Items"),
            Dataset::Actions => (None, "Actions"),
        };
        match schema {
            Some(schema) => Ok(schema),
            None => refuse(dataset.position, format!("there is no {name} dataset")),
        }
    }
}

fn need_testable(dataset: Dataset, field: &schema::Field, position: usize) -> Result<()> {
    let name = &field.name;
    if dataset == Dataset::Interactions && name != EVENT_TYPE {
        let detail = format!("{EVENT_TYPE} is the only field of Interactions that filters take");
        return refuse(position, detail);
    }
    let unfit = if field.textual {
        "textual"
    } else if field.kind == FieldType::Boolean {
        "boolean"
    } else {
        return Ok(());
    };
    let detail = format!("{dataset}.{name} is {unfit}: such fields cannot be used in filters");
    refuse(position, detail)
}

fn unknown(dataset: Dataset, name: &str, schema: &DatasetSchema) -> String {
    if dataset == Dataset::Interactions {
        return match schema.field(EVENT_TYPE) {
            Some(_) => {
                format!("{EVENT_TYPE} is the only field of Interactions that filters take")
            }
            None => format!("the Interactions dataset has no field {EVENT_TYPE}"),
        };
    }
    let testable = schema
        .fields
        .iter()
        .filter(|field| need_testable(dataset, field, 0).is_ok());
    let near = nearest(name, testable.map(|field| field.name.as_str()));
    let hint = near.map_or(String::new(), |near| format!(", did you mean {near}?"));
    let name: String = name
        .chars()
        .take(schema::FIELD_NAME_CHARACTERS_MAX)
        .collect();
    format!("{dataset} has no field {name}{hint}")
}

fn refuse<T>(position: usize, detail: impl Into<String>) -> Result<T> {
    Err(FilterError::new(position, detail))
}
