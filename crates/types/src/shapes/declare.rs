//! The notation of the declarations: `simple_shapes!`, `structures!` and `operations!`.

use super::{Kind, Shape};

impl Shape {
    pub(super) const fn new(name: &'static str, kind: Kind) -> Shape {
        Shape {
            name,
            kind,
            min: None,
            max: None,
            pattern: None,
            one_of: &[],
            sensitive: false,
        }
    }

    pub(super) const fn min(mut self, min: i64) -> Shape {
        self.min = Some(min);
        self
    }

    pub(super) const fn max(mut self, max: i64) -> Shape {
        self.max = Some(max);
        self
    }

    pub(super) const fn pattern(mut self, pattern: &'static str) -> Shape {
        self.pattern = Some(pattern);
        self
    }

    pub(super) const fn one_of(mut self, values: &'static [&'static str]) -> Shape {
        self.one_of = values;
        self
    }

    pub(super) const fn sensitive(mut self) -> Shape {
        self.sensitive = true;
        self
    }
}

/// Whether a member is left out when it is written: only an empty `Option` is.
pub(super) trait Absent {
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl Absent for String {}
impl<T> Absent for Vec<T> {}
impl<K, V> Absent for std::collections::BTreeMap<K, V> {}

/// Applies constraints, written `min 1, max 63, pattern "..."`, to a shape.
macro_rules! constrained {
    ($shape:expr;) => { $shape };
    ($shape:expr; min $value:literal $(, $($rest:tt)*)?) => {
        constrained!($shape.min($value); $($($rest)*)?)
    };
    ($shape:expr; max $value:literal $(, $($rest:tt)*)?) => {
        constrained!($shape.max($value); $($($rest)*)?)
    };
    ($shape:expr; pattern $value:literal $(, $($rest:tt)*)?) => {
        constrained!($shape.pattern($value); $($($rest)*)?)
    };
    ($shape:expr; one_of [$($value:literal),*] $(, $($rest:tt)*)?) => {
        constrained!($shape.one_of(&[$($value),*]); $($($rest)*)?)
    };
    ($shape:expr; sensitive $(, $($rest:tt)*)?) => {
        constrained!($shape.sensitive(); $($($rest)*)?)
    };
}

/// Declares simple types: `string Name { min 1 };`, `list Tags of Tag { max 200 };`.
macro_rules! simple_shapes {
    () => {};
    (string $name:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name, String, $crate::shapes::Kind::String, [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (integer $name:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name, i32, $crate::shapes::Kind::Integer, [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (double $name:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name, f64, $crate::shapes::Kind::Double, [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (boolean $name:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name, bool, $crate::shapes::Kind::Boolean, [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (timestamp $name:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name, $crate::time::Timestamp, $crate::shapes::Kind::Timestamp, [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (list $name:ident of $element:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name, Vec<<$element as $crate::shapes::Described>::Rust>,
            $crate::shapes::Kind::List(<$element as $crate::shapes::Described>::SHAPE), [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (map $name:ident of $key:ident to $value:ident $({ $($c:tt)* })?; $($rest:tt)*) => {
        simple_shapes!(@ $name,
            std::collections::BTreeMap<String, <$value as $crate::shapes::Described>::Rust>,
            $crate::shapes::Kind::Map(
                <$key as $crate::shapes::Described>::SHAPE,
                <$value as $crate::shapes::Described>::SHAPE), [$($($c)*)?]);
        simple_shapes!($($rest)*);
    };
    (@ $name:ident, $rust:ty, $kind:expr, [$($c:tt)*]) => {
        #[derive(Debug)]
        pub enum $name {}

        impl $crate::shapes::Described for $name {
            type Rust = $rust;
            const SHAPE: &'static $crate::shapes::Shape =
                &constrained!($crate::shapes::Shape::new(stringify!($name), $kind); $($c)*);
        }
    };
}

/// The Rust type of a member.
macro_rules! member_type {
    ($shape:ident required) => { <$shape as $crate::shapes::Described>::Rust };
    ($shape:ident) => { Option<<$shape as $crate::shapes::Described>::Rust> };
}

macro_rules! is_required {
    (required) => {
        true
    };
    () => {
        false
    };
}

/// Declares structures: `Tag { tag_key "tagKey": TagKey required, }`.
macro_rules! structures {
    ($($name:ident { $($field:ident $wire:literal: $shape:ident $($required:ident)?,)* })*) => {$(
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                #[serde(rename = $wire, skip_serializing_if = "crate::shapes::declare::Absent::is_absent")]
                pub $field: member_type!($shape $($required)?),
            )*
        }

        impl $crate::shapes::declare::Absent for $name {}

        impl $crate::shapes::Described for $name {
            type Rust = $name;
            const SHAPE: &'static $crate::shapes::Shape = &$crate::shapes::Shape::new(
                stringify!($name),
                $crate::shapes::Kind::Structure(&[$($crate::shapes::Member {
                    name: $wire,
                    shape: <$shape as $crate::shapes::Described>::SHAPE,
                    required: is_required!($($required)?),
                }),*]),
            );
        }
    )*};
}

/// Declares the operations of a file: `Create(CreateRequest) -> CreateResponse fails [InvalidInput];`.
macro_rules! operations {
    ($($name:ident($input:ident) $(-> $output:ident)? fails [$($error:ident),*];)*) => {
        /// The operations of this file.
        pub(super) const OPERATIONS: &[$crate::shapes::OperationShape] = &[
            $($crate::shapes::OperationShape {
                name: stringify!($name),
                input: <$input as $crate::shapes::Described>::SHAPE,
                output: output_shape!($($output)?),
                errors: &[$(stringify!($error)),*],
            }),*
        ];
    };
}

macro_rules! output_shape {
    ($output:ident) => {
        Some(<$output as $crate::shapes::Described>::SHAPE)
    };
    () => {
        None
    };
}
