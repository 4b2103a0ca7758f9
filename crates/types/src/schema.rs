//! Dataset schemas: which columns an Interactions, Items or Users dataset has.
//!
//! [`parse`] turns the Avro JSON text of CreateSchema into a [`DatasetSchema`] that keeps every
//! rule about shapes, required and reserved fields; whoever holds one need not ask again. The text
//! itself is not kept: the catalog stores it byte for byte. How values of a column are read from a
//! CSV file is the engine's business (`data::import`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// The longest schema text, in characters.
pub const SCHEMA_CHARACTERS_MAX: usize = 20_000;
/// The longest column name, in characters.
pub const FIELD_NAME_CHARACTERS_MAX: usize = 150;
/// The longest categorical or plain string value, in characters; longer samples are taken for text.
pub const STRING_CHARACTERS_MAX: usize = 1_000;

/// Reads the Avro JSON text of a schema and checks every rule, those of `domain` too if given.
pub fn parse(text: &str, domain: Option<Domain>) -> Result<DatasetSchema, SchemaError> {
    let characters = text.chars().count();
    if characters > SCHEMA_CHARACTERS_MAX {
        return Err(SchemaError::new(format!(
            "the schema has {characters} characters, at most {SCHEMA_CHARACTERS_MAX} are allowed"
        )));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| SchemaError::new(format!("the schema is not valid JSON: {error}")))?;
    let record = value
        .as_object()
        .ok_or_else(|| SchemaError::new("the schema must be a JSON object"))?;
    if record.get("type").and_then(Value::as_str) != Some("record") {
        return Err(SchemaError::new("the schema's type must be \"record\""));
    }
    let name = record
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| SchemaError::new("the schema must have a name"))?;
    let kind = DatasetType::from_name_ignore_case(name).ok_or_else(|| {
        SchemaError::new(format!(
            "the schema's name must be Interactions, Items or Users, not {name:?}"
        ))
    })?;
    match record.get("namespace") {
        None | Some(Value::String(_)) => {}
        Some(_) => return Err(SchemaError::new("the schema's namespace must be a string")),
    }
    if matches!(
        record.get("version"),
        Some(Value::Array(_) | Value::Object(_))
    ) {
        return Err(SchemaError::new(
            "the schema's version must be a string or a number",
        ));
    }
    let list = record
        .get("fields")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| SchemaError::new("the schema's fields must be a non-empty list"))?;
    let fields = list
        .iter()
        .enumerate()
        .map(|(index, value)| parse_field(index, value))
        .collect::<Result<Vec<_>, _>>()?;
    let schema = DatasetSchema { kind, fields };
    schema.check()?;
    if let Some(domain) = domain {
        schema.check_domain(domain)?;
    }
    Ok(schema)
}

/// The columns of a dataset. One that came from [`parse`] or [`infer`] keeps all rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSchema {
    /// Which dataset it describes.
    pub kind: DatasetType,
    /// The columns in the order of the schema.
    pub fields: Vec<Field>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The column's name, as written.
    pub name: String,
    /// The type of its values.
    pub kind: FieldType,
    /// Whether a value may be absent.
    pub nullable: bool,
    /// Whether it holds categories, several of them separated by `|`.
    pub categorical: bool,
    /// Whether it holds unstructured text.
    pub textual: bool,
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// UTF-8 text.
    String,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Long,
    /// Single precision.
    Float,
    /// Double precision.
    Double,
    /// True or false.
    Boolean,
}

/// The three kinds of datasets there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DatasetType {
    /// Who did what with which item, and when.
    Interactions,
    /// What is known about items.
    Items,
    /// What is known about users.
    Users,
}

/// The domain of a dataset group and its schemas; custom groups have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Domain {
    /// `ECOMMERCE`.
    #[serde(rename = "ECOMMERCE")]
    Ecommerce,
    /// `VIDEO_ON_DEMAND`.
    #[serde(rename = "VIDEO_ON_DEMAND")]
    VideoOnDemand,
}

/// Why a schema is refused, in a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SchemaError {
    message: String,
}

impl SchemaError {
    fn new(message: impl Into<String>) -> Self {
        SchemaError {
            message: message.into(),
        }
    }
}

impl DatasetSchema {
    /// The field of exactly this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The names of the columns every schema of this dataset type must have.
    pub fn required(&self) -> Vec<&'static str> {
        rules(self.kind)
            .iter()
            .filter(|rule| rule.required)
            .map(|rule| rule.name)
            .collect()
    }

    /// Whether the service gives the column a meaning of its own (ids, times, event columns).
    pub fn is_reserved(&self, name: &str) -> bool {
        rules(self.kind).iter().any(|rule| rule.name == name)
    }

    /// The columns that are neither required nor reserved.
    pub fn metadata(&self) -> impl Iterator<Item = &Field> {
        self.fields
            .iter()
            .filter(|field| !self.is_reserved(&field.name))
    }

    /// Whether the schema also has what a group of `domain` needs.
    pub fn check_domain(&self, domain: Domain) -> Result<(), SchemaError> {
        self.check_rules(domain_rules(domain, self.kind), Some(domain))
    }

    /// Whether UpdateDataset may replace this schema by `new`: only Items and Users change, old
    /// fields stay as they are, and new fields allow null, since existing rows have no value.
    pub fn can_update_to(&self, new: &DatasetSchema) -> Result<(), SchemaError> {
        if self.kind == DatasetType::Interactions {
            return Err(SchemaError::new(
                "the schema of an Interactions dataset cannot be replaced",
            ));
        }
        if self.kind != new.kind {
            return Err(SchemaError::new(format!(
                "the new schema is for {}, the dataset is {}",
                new.kind.title(),
                self.kind.title()
            )));
        }
        for old in &self.fields {
            let name = &old.name;
            match new.field(name) {
                None => {
                    return Err(SchemaError::new(format!(
                        "field {name} is missing in the new schema"
                    )));
                }
                Some(same) if same != old => {
                    return Err(SchemaError::new(format!(
                        "field {name} must keep its type and attributes"
                    )));
                }
                Some(_) => {}
            }
        }
        for field in &new.fields {
            if self.field(&field.name).is_none() && !field.nullable {
                return Err(SchemaError::new(format!(
                    "new field {} must allow null",
                    field.name
                )));
            }
        }
        Ok(())
    }

    /// The rules of custom groups, which hold for every schema.
    fn check(&self) -> Result<(), SchemaError> {
        self.check_names()?;
        for field in &self.fields {
            let name = &field.name;
            if (field.categorical || field.textual) && field.kind != FieldType::String {
                return Err(SchemaError::new(format!(
                    "field {name} is {}: only string fields can be categorical or textual",
                    field.kind.as_str()
                )));
            }
            if field.categorical && field.textual {
                return Err(SchemaError::new(format!(
                    "field {name} cannot be both categorical and textual"
                )));
            }
            if field.textual && self.kind != DatasetType::Items {
                return Err(SchemaError::new(format!(
                    "field {name} is textual: only Items schemas can have textual fields"
                )));
            }
        }
        self.check_rules(rules(self.kind), None)?;
        if self.kind != DatasetType::Interactions && self.metadata().next().is_none() {
            return Err(SchemaError::new(format!(
                "{} schemas need at least one metadata field",
                self.kind.title()
            )));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), SchemaError> {
        let mut seen = std::collections::HashMap::new();
        for field in &self.fields {
            let name = field.name.as_str();
            if !is_field_name(name) {
                return Err(SchemaError::new(format!(
                    "field name {name:?} must match [A-Za-z_][A-Za-z0-9_]* and have at most \
                     {FIELD_NAME_CHARACTERS_MAX} characters"
                )));
            }
            if let Some(first) = seen.insert(plain_name(name), name) {
                return Err(SchemaError::new(format!(
                    "fields {first} and {name} have the same name once case and underscores are ignored"
                )));
            }
        }
        Ok(())
    }

    fn check_rules(&self, rules: &[Rule], domain: Option<Domain>) -> Result<(), SchemaError> {
        let place = match domain {
            None => self.kind.title().to_owned(),
            Some(domain) => format!("{} {}", domain.as_str(), self.kind.title()),
        };
        for rule in rules {
            let name = rule.name;
            let Some(field) = self.field(name) else {
                if rule.required {
                    return Err(SchemaError::new(format!(
                        "field {name} is required in {place} schemas"
                    )));
                }
                continue;
            };
            if !rule.kinds.contains(&field.kind) {
                return Err(SchemaError::new(format!(
                    "field {name} must be of type {} in {place} schemas, not {}",
                    rule.kinds[0].as_str(),
                    field.kind.as_str()
                )));
            }
            if field.nullable && !rule.nullable {
                return Err(SchemaError::new(format!("field {name} cannot be null")));
            }
            let (categorical, textual) = (field.categorical, field.textual);
            match rule.form {
                Form::Any => {}
                Form::Plain if !categorical && !textual => {}
                Form::Categorical if categorical => {}
                Form::Textual if textual => {}
                Form::Plain => {
                    return Err(SchemaError::new(format!(
                        "field {name} cannot be categorical or textual"
                    )));
                }
                Form::Categorical => {
                    return Err(SchemaError::new(format!(
                        "field {name} must be categorical in {place} schemas"
                    )));
                }
                Form::Textual => {
                    return Err(SchemaError::new(format!(
                        "field {name} must be textual in {place} schemas"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl FieldType {
    /// The Avro name, for example `long`.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldType::String => "string",
            FieldType::Int => "int",
            FieldType::Long => "long",
            FieldType::Float => "float",
            FieldType::Double => "double",
            FieldType::Boolean => "boolean",
        }
    }

    fn from_avro(name: &str) -> Option<Self> {
        Some(match name {
            "string" => FieldType::String,
            "int" => FieldType::Int,
            "long" => FieldType::Long,
            "float" => FieldType::Float,
            "double" => FieldType::Double,
            "boolean" => FieldType::Boolean,
            _ => return None,
        })
    }

    /// Whether values can be compared as numbers.
    pub fn is_numeric(self) -> bool {
        !matches!(self, FieldType::String | FieldType::Boolean)
    }
}

impl DatasetType {
    /// All three, in a fixed order.
    pub const ALL: [DatasetType; 3] = [
        DatasetType::Interactions,
        DatasetType::Items,
        DatasetType::Users,
    ];

    /// As in ARNs and `datasetType`, for example `INTERACTIONS`.
    pub fn as_upper(self) -> &'static str {
        match self {
            DatasetType::Interactions => "INTERACTIONS",
            DatasetType::Items => "ITEMS",
            DatasetType::Users => "USERS",
        }
    }

    /// As in schemas and sentences, for example `Interactions`.
    pub fn title(self) -> &'static str {
        match self {
            DatasetType::Interactions => "Interactions",
            DatasetType::Items => "Items",
            DatasetType::Users => "Users",
        }
    }

    /// The type of this name in any case; other names of the service's types are unknown here.
    pub fn from_name_ignore_case(name: &str) -> Option<Self> {
        DatasetType::ALL
            .into_iter()
            .find(|kind| kind.title().eq_ignore_ascii_case(name))
    }
}

impl Domain {
    /// As in the API, for example `VIDEO_ON_DEMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Domain::Ecommerce => "ECOMMERCE",
            Domain::VideoOnDemand => "VIDEO_ON_DEMAND",
        }
    }

    /// The domain of exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Domain::Ecommerce, Domain::VideoOnDemand]
            .into_iter()
            .find(|domain| domain.as_str() == name)
    }
}

/// Guesses a schema from a CSV header and some rows below it, for files that come without one.
///
/// Reserved columns (found ignoring case) get their own types; any other is numeric if all its
/// sampled non-empty values are numbers, else categorical. All columns but ids and times may be
/// null. Columns whose names cannot be field names are left out, as an import ignores extra columns.
pub fn infer(
    kind: DatasetType,
    header: &[String],
    rows: &[Vec<String>],
) -> Result<DatasetSchema, SchemaError> {
    let mut fields: Vec<Field> = Vec::new();
    for (column, name) in header.iter().enumerate() {
        let repeated = fields
            .iter()
            .any(|field| plain_name(&field.name) == plain_name(name));
        if repeated || !is_field_name(name) {
            continue;
        }
        let rule = rules(kind)
            .iter()
            .find(|rule| rule.name.eq_ignore_ascii_case(name));
        fields.push(match rule {
            Some(rule) => Field {
                name: rule.name.to_owned(),
                kind: rule.kinds[0],
                nullable: rule.nullable,
                categorical: false,
                textual: false,
            },
            None => infer_metadata(kind, name, column, rows),
        });
    }
    let schema = DatasetSchema { kind, fields };
    schema.check()?;
    Ok(schema)
}

fn infer_metadata(kind: DatasetType, name: &str, column: usize, rows: &[Vec<String>]) -> Field {
    let values = || {
        rows.iter()
            .filter_map(|row| row.get(column))
            .filter(|value| !value.is_empty())
    };
    let number = |value: &String| value.parse::<f64>().is_ok_and(|number| number.is_finite());
    let numeric = values().next().is_some() && values().all(number);
    let long = values().any(|value| value.chars().count() > STRING_CHARACTERS_MAX);
    let textual = !numeric && long && kind == DatasetType::Items;
    Field {
        name: name.to_owned(),
        kind: if numeric {
            FieldType::Double
        } else {
            FieldType::String
        },
        nullable: true,
        categorical: !numeric && !textual,
        textual,
    }
}

fn parse_field(index: usize, value: &Value) -> Result<Field, SchemaError> {
    let object = value
        .as_object()
        .ok_or_else(|| SchemaError::new(format!("field number {} is not an object", index + 1)))?;
    let name = object
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| SchemaError::new(format!("field number {} has no name", index + 1)))?;
    let (kind, nullable) = parse_type(name, object.get("type"))?;
    let flag = |attribute: &str| match object.get(attribute) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(SchemaError::new(format!(
            "field {name}: {attribute} must be true or false"
        ))),
    };
    Ok(Field {
        name: name.to_owned(),
        kind,
        nullable,
        categorical: flag("categorical")?,
        textual: flag("textual")?,
    })
}

fn parse_type(name: &str, value: Option<&Value>) -> Result<(FieldType, bool), SchemaError> {
    let refused = || {
        SchemaError::new(format!(
            "field {name} must have type string, int, long, float, double or boolean, \
             alone or in a union with null"
        ))
    };
    let primitive = |value: &Value| value.as_str().and_then(FieldType::from_avro);
    let value = value.ok_or_else(|| SchemaError::new(format!("field {name} has no type")))?;
    let (prim, nullable) = match value {
        Value::Array(union) => match union.as_slice() {
            [one] => (primitive(one), false),
            [null, one] if null == "null" => (primitive(one), true),
            [one, null] if null == "null" => (primitive(one), true),
            _ => (None, false),
        },
        one => (primitive(one), false),
    };
    prim.map(|kind| (kind, nullable)).ok_or_else(refused)
}

fn is_field_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= FIELD_NAME_CHARACTERS_MAX
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name by which clashes are found: event properties are matched this way as well.
fn plain_name(name: &str) -> String {
    name.chars()
        .filter(|character| *character != '_')
        .map(|character| character.to_ascii_lowercase())
        .collect()
}

/// What the service demands of a column it knows.
struct Rule {
    name: &'static str,
    /// Accepted types, the usual one first.
    kinds: &'static [FieldType],
    required: bool,
    nullable: bool,
    form: Form,
}

/// Which attribute a known string column must have.
#[derive(Clone, Copy)]
enum Form {
    Any,
    Plain,
    Categorical,
    Textual,
}

const STRING: &[FieldType] = &[FieldType::String];
const LONG: &[FieldType] = &[FieldType::Long];
const FLOAT: &[FieldType] = &[FieldType::Float];
const FLOAT_OR_DOUBLE: &[FieldType] = &[FieldType::Float, FieldType::Double];

const fn required(name: &'static str, kinds: &'static [FieldType], form: Form) -> Rule {
    Rule {
        name,
        kinds,
        required: true,
        nullable: false,
        form,
    }
}

const fn optional(name: &'static str, kinds: &'static [FieldType], form: Form) -> Rule {
    Rule {
        name,
        kinds,
        required: false,
        nullable: true,
        form,
    }
}

/// Needed, but rows may lack a value: the fields a domain adds.
const fn needed(name: &'static str, kinds: &'static [FieldType], form: Form) -> Rule {
    Rule {
        name,
        kinds,
        required: true,
        nullable: true,
        form,
    }
}

const INTERACTIONS: &[Rule] = &[
    required("USER_ID", STRING, Form::Plain),
    required("ITEM_ID", STRING, Form::Plain),
    required("TIMESTAMP", LONG, Form::Plain),
    optional("EVENT_TYPE", STRING, Form::Plain),
    optional("EVENT_VALUE", FLOAT_OR_DOUBLE, Form::Plain),
    optional("IMPRESSION", STRING, Form::Any),
    optional("RECOMMENDATION_ID", STRING, Form::Any),
    optional("EVENT_ATTRIBUTION_SOURCE", STRING, Form::Any),
];
const ITEMS: &[Rule] = &[
    required("ITEM_ID", STRING, Form::Plain),
    optional("CREATION_TIMESTAMP", LONG, Form::Plain),
];
const USERS: &[Rule] = &[required("USER_ID", STRING, Form::Plain)];

const DOMAIN_INTERACTIONS: &[Rule] = &[needed("EVENT_TYPE", STRING, Form::Plain)];
const ECOMMERCE_ITEMS: &[Rule] = &[
    needed("PRICE", FLOAT, Form::Plain),
    needed("CATEGORY_L1", STRING, Form::Categorical),
    optional("CATEGORY_L2", STRING, Form::Categorical),
    optional("CATEGORY_L3", STRING, Form::Categorical),
    optional("AGE_GROUP", STRING, Form::Categorical),
    optional("ADULT", STRING, Form::Categorical),
    optional("GENDER", STRING, Form::Categorical),
    optional("PRODUCT_DESCRIPTION", STRING, Form::Textual),
];
const VIDEO_ITEMS: &[Rule] = &[
    needed("GENRES", STRING, Form::Categorical),
    needed("CREATION_TIMESTAMP", LONG, Form::Plain),
    optional("PRICE", FLOAT, Form::Plain),
    optional("DURATION", FLOAT, Form::Plain),
    optional("AVERAGE_RATING", FLOAT, Form::Plain),
    optional("GENRE_L2", STRING, Form::Categorical),
    optional("GENRE_L3", STRING, Form::Categorical),
    optional("CONTENT_OWNER", STRING, Form::Categorical),
    optional("CONTENT_CLASSIFICATION", STRING, Form::Categorical),
    optional("PRODUCT_DESCRIPTION", STRING, Form::Textual),
];
const VIDEO_USERS: &[Rule] = &[optional("SUBSCRIPTION_MODEL", STRING, Form::Categorical)];

fn rules(kind: DatasetType) -> &'static [Rule] {
    match kind {
        DatasetType::Interactions => INTERACTIONS,
        DatasetType::Items => ITEMS,
        DatasetType::Users => USERS,
    }
}

fn domain_rules(domain: Domain, kind: DatasetType) -> &'static [Rule] {
    match (domain, kind) {
        (_, DatasetType::Interactions) => DOMAIN_INTERACTIONS,
        (Domain::Ecommerce, DatasetType::Items) => ECOMMERCE_ITEMS,
        (Domain::Ecommerce, DatasetType::Users) => &[],
        (Domain::VideoOnDemand, DatasetType::Items) => VIDEO_ITEMS,
        (Domain::VideoOnDemand, DatasetType::Users) => VIDEO_USERS,
    }
}
