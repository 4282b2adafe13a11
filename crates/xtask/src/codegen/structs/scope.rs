//! What the code of one structure is written from, and what follows from it: types, defaults, conditions.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::names::{Versions, field as field_name};
use super::super::schema::{Field, Message, Type};

/// What the code of one structure is written from.
pub(super) struct Scope<'a> {
    pub(super) message: &'a Message,
    pub(super) name: &'a str,
    pub(super) versions: Versions,
    pub(super) fields: &'a [Field],
    /// Whether broker ids, topic names and so on are kafka-protocol's newtypes.
    pub(super) newtypes: bool,
}

/// In which of its versions a structure is flexible.
pub(super) enum Flexible {
    Never,
    Always,
    When(String),
}

impl Flexible {
    /// Rust for it, where the condition was bound to a variable.
    pub(super) const fn rust(&self) -> &'static str {
        match self {
            Self::Never => "false",
            Self::Always => "true",
            Self::When(_) => "flexible",
        }
    }

    /// Binds the condition, if it is one.
    pub(super) fn bind(&self, out: &mut String) {
        if let Self::When(condition) = self {
            writeln!(out, "let flexible = {condition};").expect("a string takes all");
        }
    }
}

/// Whether a default is the one its type has anyway.
pub(super) fn is_natural(value: &str) -> bool {
    matches!(value, "0" | "0.0" | "false" | "None" | "Uuid::nil()" | "Default::default()")
        || value.ends_with("Id(0)")
}

pub(super) fn floats(message: &Message) -> bool {
    let fields = message.structs.iter().flat_map(|s| &s.fields).chain(&message.fields);
    fields.into_iter().any(|field| field.ty == Type::Float64)
}

impl Scope<'_> {
    /// The type of a field, nullable or not.
    pub(super) fn rust(&self, field: &Field) -> Result<String> {
        let bare = self.bare(field, &field.ty)?;
        Ok(if field.nullable.is_empty() { bare } else { format!("Option<{bare}>") })
    }

    pub(super) fn bare(&self, field: &Field, ty: &Type) -> Result<String> {
        if let Some(newtype) = self.newtype(field, ty)? {
            return Ok(newtype.to_owned());
        }
        Ok(match ty {
            Type::Bool => "bool".to_owned(),
            Type::Int8 => "i8".to_owned(),
            Type::Int16 => "i16".to_owned(),
            Type::Uint16 => "u16".to_owned(),
            Type::Int32 => "i32".to_owned(),
            Type::Uint32 => "u32".to_owned(),
            Type::Int64 => "i64".to_owned(),
            Type::Float64 => "f64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "StrBytes".to_owned(),
            Type::Bytes | Type::Records => "Bytes".to_owned(),
            Type::Struct(name) => name.clone(),
            Type::Array(element) => format!("Vec<{}>", self.bare(field, element)?),
        })
    }

    /// The newtype of a scalar that names an entity.
    pub(super) fn newtype(&self, field: &Field, ty: &Type) -> Result<Option<&'static str>> {
        if !self.newtypes || matches!(ty, Type::Array(_)) {
            return Ok(None);
        }
        Ok(match field.entity.as_deref() {
            None => None,
            Some("brokerId") => Some("BrokerId"),
            Some("groupId") => Some("GroupId"),
            Some("producerId") => Some("ProducerId"),
            Some("topicName") => Some("TopicName"),
            Some("transactionalId") => Some("TransactionalId"),
            Some(other) => bail!("unknown entity {other}"),
        })
    }

    /// The value of a field that is not set.
    pub(super) fn default(&self, field: &Field) -> Result<String> {
        let value = match (&field.default, field.nullable.is_empty()) {
            (Some(Value::Null), _) => return Ok("None".to_owned()),
            (Some(Value::String(text)), false) if text == "null" => return Ok("None".to_owned()),
            (Some(value), _) => {
                self.literal(field, value).with_context(|| format!("default of {}", field.name))?
            }
            (None, _) => None,
        };
        let value = value.unwrap_or_else(|| match field.ty {
            Type::Bool => "false".to_owned(),
            Type::Float64 => "0.0".to_owned(),
            Type::Uuid => "Uuid::nil()".to_owned(),
            Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => {
                "Default::default()".to_owned()
            }
            _ => "0".to_owned(),
        });
        let value = match self.newtype(field, &field.ty)? {
            Some(newtype) if value != "Default::default()" => format!("{newtype}({value})"),
            _ => value,
        };
        Ok(if field.nullable.is_empty() { value } else { format!("Some({value})") })
    }

    /// A default given in the schema as Rust; `None` if it is the type's own.
    fn literal(&self, field: &Field, value: &Value) -> Result<Option<String>> {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Ok(Some(match field.ty {
            Type::Bool => text.parse::<bool>()?.to_string(),
            Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => {
                match text.strip_prefix("0x") {
                    Some(hex) => i64::from_str_radix(hex, 16)?.to_string(),
                    None => text.parse::<i64>()?.to_string(),
                }
            }
            Type::String if text.is_empty() => return Ok(None),
            _ => bail!("{text:?} is no default of {:?}", field.ty),
        }))
    }

    /// How far the structure is flexible.
    pub(super) fn flexible(&self) -> Flexible {
        match self.message.flexible.condition(self.versions) {
            None => Flexible::Always,
            Some(never) if never == "false" => Flexible::Never,
            Some(condition) => Flexible::When(condition),
        }
    }

    /// Rust for "this field may be null".
    pub(super) fn nullable(&self, field: &Field) -> String {
        field.nullable.condition(field.versions.and(self.versions)).unwrap_or_else(|| "true".to_owned())
    }

    /// The versions in which the field stands in its place.
    pub(super) fn inline(&self, field: &Field) -> Versions {
        match field.tag {
            Some((_, tagged)) => field.versions.and(Versions { from: i16::MIN, to: tagged.from - 1 }),
            None => field.versions,
        }
    }

    /// The versions in which it is tagged.
    pub(super) fn tagged(&self, field: &Field) -> Versions {
        field.tag.map_or(Versions::NONE, |(_, tagged)| tagged.and(field.versions))
    }

    /// Rust for "the field is not at its default".
    pub(super) fn is_set(&self, field: &Field) -> Result<String> {
        let name = format!("self.{}", field_name(&field.name));
        let default = self.default(field)?;
        Ok(match (default.as_str(), &field.ty) {
            ("None", _) => format!("{name}.is_some()"),
            ("Default::default()", Type::Struct(structure)) => format!("{name} != {structure}::default()"),
            ("Default::default()", _) => format!("!{name}.is_empty()"),
            ("Some(Default::default())", Type::Struct(structure)) => {
                format!("{name}.as_ref().is_none_or(|value| *value != {structure}::default())")
            }
            ("Some(Default::default())", _) => {
                format!("{name}.as_ref().is_none_or(|value| !value.is_empty())")
            }
            ("false", _) => name,
            ("true", _) => format!("!{name}"),
            ("Uuid::nil()", _) => format!("!{name}.is_nil()"),
            (value, _) => format!("{name} != {value}"),
        })
    }
}

pub(super) fn scalar_fn(ty: &Type) -> Result<&'static str> {
    Ok(match ty {
        Type::Bool => "bool",
        Type::Int8 => "i8",
        Type::Int16 => "i16",
        Type::Uint16 => "u16",
        Type::Int32 => "i32",
        Type::Uint32 => "u32",
        Type::Int64 => "i64",
        Type::Float64 => "f64",
        Type::Uuid => "uuid",
        other => bail!("not a scalar: {other:?}"),
    })
}
