//! Reads Kafka's message schemas: JSON with line comments.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::names::Versions;

/// Every schema found, by name.
pub(crate) struct Schemas(BTreeMap<String, Message>);

/// One message: a request, a response, a record or a key or value of one.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) api_key: Option<i16>,
    pub(crate) listeners: Vec<String>,
    pub(crate) latest_unstable: bool,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    pub(crate) fields: Vec<Field>,
    /// Structures by name, in order of their appearance.
    pub(crate) structs: Vec<Struct>,
}

/// A structure within a message.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

/// A field of a message or structure.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    /// Tag, and the versions in which the field is in the tag section.
    pub(crate) tag: Option<(u16, Versions)>,
    pub(crate) default: Option<Value>,
    pub(crate) ignorable: bool,
    pub(crate) entity: Option<String>,
    pub(crate) about: String,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Self>),
}

impl Type {
    fn parse(text: &str) -> Self {
        if let Some(element) = text.strip_prefix("[]") {
            return Self::Array(Box::new(Self::parse(element)));
        }
        match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name => Self::Struct(name.to_owned()),
        }
    }

    /// The structure this is, or is an array of.
    pub(crate) fn structure(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.structure(),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMessage {
    #[serde(default)]
    api_key: Option<i16>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    listeners: Vec<String>,
    name: String,
    valid_versions: String,
    #[serde(default)]
    flexible_versions: Option<String>,
    #[serde(default)]
    latest_version_unstable: bool,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
    #[serde(default, rename = "about")]
    _about: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawStruct {
    name: String,
    versions: String,
    fields: Vec<RawField>,
    #[serde(default, rename = "about")]
    _about: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawField {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    tag: Option<u16>,
    // A JSON null is a default too, so absence must stay distinguishable.
    #[serde(default, deserialize_with = "present")]
    default: Option<Value>,
    #[serde(default)]
    ignorable: bool,
    entity_type: Option<String>,
    #[serde(default)]
    about: String,
    fields: Option<Vec<Self>>,
    #[serde(default, rename = "mapKey")]
    _map_key: bool,
    #[serde(default, rename = "zeroCopy")]
    _zero_copy: bool,
    #[serde(rename = "flexibleVersions")]
    flexible_versions: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Schemas {
    /// Reads every schema below `directory`; other JSON files are passed over.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            let entries = std::fs::read_dir(&directory)
                .with_context(|| format!("cannot list {}", directory.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "json") {
                    let text = std::fs::read_to_string(&path)?;
                    let message = parse(&text).with_context(|| format!("in {}", path.display()))?;
                    found.insert(message.name.clone(), message);
                }
            }
        }
        ensure!(!found.is_empty(), "no schema below {}", directory.display());
        Ok(Self(found))
    }

    /// The schema of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Message> {
        self.0.get(name).with_context(|| format!("no schema of {name}"))
    }

    /// The schemas of this kind that have a version, by key.
    ///
    /// The records of tiered storage's own topic call themselves metadata too, with keys of their own; they are
    /// left out.
    pub(crate) fn of_kind(&self, kind: &str) -> Result<BTreeMap<i16, &Message>> {
        let mut found = BTreeMap::new();
        for message in self.0.values().filter(|m| m.kind == kind && !m.versions.is_empty()) {
            let remote = message.name.starts_with("RemoteLog") || message.name.starts_with("RemotePartition");
            let Some(key) = message.api_key.filter(|_| !remote) else { continue };
            if let Some(other) = found.insert(key, message) {
                bail!("{} and {} have the same key", other.name, message.name);
            }
        }
        Ok(found)
    }
}

fn parse(text: &str) -> Result<Message> {
    let bare: String = text.lines().map(without_comment).collect::<Vec<_>>().join("\n");
    let raw: RawMessage = serde_json::from_str(&bare)?;
    let versions = Versions::parse(&raw.valid_versions)?;
    let mut structs = Vec::new();
    for common in raw.common_structs {
        let own = Versions::parse(&common.versions)?.and(versions);
        let fields = fields(common.fields, own, &mut structs)?;
        structs.push(Struct { name: common.name, versions: own, fields });
    }
    let fields = fields(raw.fields, versions, &mut structs)?;
    Ok(Message {
        name: raw.name,
        kind: raw.kind,
        api_key: raw.api_key,
        listeners: raw.listeners,
        latest_unstable: raw.latest_version_unstable,
        versions,
        flexible: Versions::parse(raw.flexible_versions.as_deref().unwrap_or("none"))?.and(versions),
        fields,
        structs,
    })
}

/// Cuts a `//` comment, unless it is inside of a string.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let bytes = line.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'/' if !quoted && bytes.get(i + 1) == Some(&b'/') => return &line[..i],
            _ => {}
        }
    }
    line
}

fn fields(raw: Vec<RawField>, within: Versions, structs: &mut Vec<Struct>) -> Result<Vec<Field>> {
    let fields: Vec<_> = raw.into_iter().map(|raw| field(raw, within, structs)).collect::<Result<_>>()?;
    // What only versions before the lowest valid one had is gone.
    Ok(fields.into_iter().filter(|field| !field.versions.is_empty()).collect())
}

fn field(raw: RawField, within: Versions, structs: &mut Vec<Struct>) -> Result<Field> {
    let name = raw.name;
    let optional = |text: &Option<String>| text.as_deref().map(Versions::parse).transpose();
    let tagged = optional(&raw.tagged_versions)?;
    // A field that names only the versions in which it is tagged exists in those.
    let versions = match (optional(&raw.versions)?, tagged) {
        (Some(versions), _) => versions,
        (None, Some(tagged)) => tagged,
        (None, None) => bail!("field {name} has no versions"),
    };
    let versions = versions.and(within);
    let ty = Type::parse(&raw.ty);
    if let Some(nested) = raw.fields {
        let struct_name =
            ty.structure().with_context(|| format!("field {name} has fields, and no struct"))?;
        let fields = fields(nested, versions, structs)?;
        structs.push(Struct { name: struct_name.to_owned(), versions, fields });
    }
    let tag = match (raw.tag, tagged) {
        (Some(tag), Some(tagged)) => {
            ensure!(tagged.to == i16::MAX, "field {name} stops being tagged");
            Some((tag, tagged.and(within)))
        }
        (None, None) => None,
        _ => bail!("field {name} has a tag without versions, or versions without a tag"),
    };
    if let Some(flexible) = raw.flexible_versions {
        ensure!(flexible == "none", "field {name} has flexible versions of its own");
    }
    Ok(Field {
        nullable: optional(&raw.nullable_versions)?.unwrap_or(Versions::NONE).and(versions),
        name,
        ty,
        versions,
        tag,
        default: raw.default,
        ignorable: raw.ignorable,
        entity: raw.entity_type,
        about: raw.about,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        // A comment, and one behind a value:
        "apiKey": 7, "type": "request", "name": "SampleRequest", // "not": "read"
        "listeners": ["broker"], "validVersions": "1-3", "flexibleVersions": "2+",
        "fields": [
            { "name": "Gone", "type": "int8", "versions": "0", "about": "Before the lowest version." },
            { "name": "Url", "type": "string", "versions": "0+", "default": "null", "nullableVersions": "2+",
              "about": "See http://example.org." },
            { "name": "OnlyTagged", "type": "int64", "taggedVersions": "3+", "tag": 4, "default": "-1" },
            { "name": "Parts", "type": "[]Part", "versions": "2+", "fields": [
                { "name": "Ids", "type": "[]int32", "versions": "0+" } ] }
        ] }"#;

    #[test]
    fn a_schema_is_cut_to_its_valid_versions() {
        let message = parse(SCHEMA).expect("a good schema");
        assert_eq!(
            (message.versions, message.flexible),
            (Versions { from: 1, to: 3 }, Versions { from: 2, to: 3 })
        );
        let names: Vec<_> = message.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["Url", "OnlyTagged", "Parts"]);
        assert_eq!(message.fields[0].versions, Versions { from: 1, to: 3 });
        assert_eq!(message.fields[0].nullable, Versions { from: 2, to: 3 });
        assert_eq!(message.fields[0].about, "See http://example.org.");
        assert_eq!(message.fields[1].versions, Versions { from: 3, to: 3 });
        assert_eq!(message.fields[1].tag, Some((4, Versions { from: 3, to: 3 })));
        assert_eq!(message.structs[0].name, "Part");
        assert_eq!(message.structs[0].fields[0].versions, Versions { from: 2, to: 3 });
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(parse(&SCHEMA.replace("\"about\"", "\"unheardOf\"")).is_err());
        assert!(parse(&SCHEMA.replace("\"tag\": 4, ", "")).is_err());
        assert!(parse(&SCHEMA.replace("\"2+\"", "\"x+\"")).is_err());
    }
}
