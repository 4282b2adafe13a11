//! Writes the types: structures with their defaults, builders, writing and reading.

mod read;
mod scope;
mod write;

use std::fmt::Write as _;

use anyhow::Result;

use super::names::{Versions, field as field_name};
use super::schema::{Field, Message, Struct};
use scope::{Scope, floats, is_natural};

/// The first line of a module's documentation.
pub(crate) fn about(message: &Message) -> String {
    let key = message.api_key.map(|key| format!(" (key {key})")).unwrap_or_default();
    format!("{}{key}, versions {}.", message.name, message.versions.show())
}

/// The module of a message.
pub(crate) fn module(message: &Message, newtypes: bool) -> Result<String> {
    let mut body = String::new();
    for nested in &message.structs {
        let Struct { name, versions, fields } = nested;
        structure(&mut body, &Scope { message, name, versions: *versions, fields, newtypes })?;
    }
    let root =
        Scope { message, name: &message.name, versions: message.versions, fields: &message.fields, newtypes };
    structure(&mut body, &root)?;
    body.push_str(&traits(message));
    Ok(format!("{}\n{body}", uses(&body)))
}

/// The imports that `body` needs.
fn uses(body: &str) -> String {
    let has = |name: &str| body.contains(name);
    let mut out = String::new();
    if has("BTreeMap") {
        out.push_str("use std::collections::BTreeMap;\n\n");
    }
    out.push_str("use anyhow::Result;\n");
    if has(" Bytes") || has("<Bytes>") {
        out.push_str("use bytes::Bytes;\n");
    }
    out.push_str("use kafka_protocol::protocol::buf::ByteBuf;\n");
    if has("StrBytes") {
        out.push_str("use kafka_protocol::protocol::StrBytes;\n");
    }
    if has(": Uuid") || has("<Uuid>") {
        out.push_str("use uuid::Uuid;\n");
    }
    let entities: Vec<_> = ["BrokerId", "GroupId", "ProducerId", "TopicName", "TransactionalId"]
        .into_iter()
        .filter(|name| has(&format!(": {name}")) || has(&format!("<{name}>")))
        .collect();
    if !entities.is_empty() {
        write!(out, "\nuse crate::messages::{{{}}};", entities.join(", ")).expect("a string takes all");
    }
    out.push_str("\nuse crate::wire::{self, Sink, Wire};\n");
    out
}

/// The traits a request, a response or a persisted record has beyond those of every structure.
fn traits(message: &Message) -> String {
    let Message { name, api_key, .. } = message;
    let first = super::tables::first(message.flexible);
    match (message.kind.as_str(), api_key) {
        ("request", Some(key)) => {
            let response = name.replace("Request", "Response");
            format!("wire::request!({name}, {key}, {response}, {first});\n")
        }
        ("response", Some(key)) => format!("wire::response!({name}, {key}, {first});\n"),
        ("coordinator-key", Some(key)) => format!("crate::persisted::versioned::key!({name}, {key});\n"),
        ("coordinator-value", _) => format!("crate::persisted::versioned::value!({name});\n"),
        _ => String::new(),
    }
}

fn structure(out: &mut String, it: &Scope<'_>) -> Result<()> {
    let flexible = !it.message.flexible.is_empty();
    let eq = if floats(it.message) { "" } else { ", Eq" };
    let defaults = it.fields.iter().map(|field| it.default(field)).collect::<Result<Vec<_>>>()?;
    let derived = defaults.iter().all(|value| is_natural(value));
    let default = if derived { ", Default" } else { "" };
    let name = it.name;
    writeln!(out, "/// `{name}`, in versions {}.", it.versions.show())?;
    writeln!(out, "#[derive(Debug, Clone{default}, PartialEq{eq})]\npub struct {name} {{")?;
    for field in it.fields {
        document(out, it, field)?;
        writeln!(out, "pub {}: {},", field_name(&field.name), it.rust(field)?)?;
    }
    if flexible {
        writeln!(out, "/// Tags this code does not know, by number: carried, not understood.")?;
        writeln!(out, "pub unknown_tagged_fields: BTreeMap<i32, Bytes>,")?;
    }
    writeln!(out, "}}\n\nimpl {name} {{")?;
    for field in it.fields {
        let name = field_name(&field.name);
        writeln!(out, "/// Sets [`Self::{name}`].\n#[must_use]")?;
        let setter = name.trim_start_matches('_');
        writeln!(
            out,
            "pub fn with_{setter}(mut self, value: {}) -> Self {{ self.{name} = value; self }}",
            it.rust(field)?
        )?;
    }
    if flexible {
        writeln!(out, "/// Sets [`Self::unknown_tagged_fields`].\n#[must_use]")?;
        writeln!(
            out,
            "pub fn with_unknown_tagged_fields(mut self, value: BTreeMap<i32, Bytes>) -> Self {{ \
             self.unknown_tagged_fields = value; self }}"
        )?;
        writeln!(out, "/// Adds to [`Self::unknown_tagged_fields`].\n#[must_use]")?;
        writeln!(
            out,
            "pub fn with_unknown_tagged_field(mut self, key: i32, value: Bytes) -> Self {{ \
             self.unknown_tagged_fields.insert(key, value); self }}"
        )?;
    }
    writeln!(out, "}}\n")?;
    if !derived {
        writeln!(out, "impl Default for {name} {{\nfn default() -> Self {{\nSelf {{")?;
        for (field, value) in it.fields.iter().zip(&defaults) {
            writeln!(out, "{}: {value},", field_name(&field.name))?;
        }
        if flexible {
            writeln!(out, "unknown_tagged_fields: BTreeMap::new(),")?;
        }
        writeln!(out, "}}\n}}\n}}\n")?;
    }
    let Versions { from, to } = it.versions;
    writeln!(out, "impl Wire for {name} {{\nconst MIN: i16 = {from};\nconst MAX: i16 = {to};\n")?;
    write::write(out, it)?;
    read::read(out, it)?;
    writeln!(out, "}}\n\nwire::message!({name});\n")?;
    Ok(())
}

fn document(out: &mut String, it: &Scope<'_>, field: &Field) -> Result<()> {
    let about = field.about.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<");
    if about.is_empty() {
        writeln!(out, "/// Kafka's `{}`.", field.name)?;
    } else {
        writeln!(out, "/// {about}")?;
    }
    let mut notes = Vec::new();
    if !field.versions.covers(it.versions) {
        notes.push(format!("Versions {}.", field.versions.show()));
    }
    if !field.nullable.is_empty() {
        let all = field.nullable.covers(field.versions);
        notes.push(if all {
            "May be null.".to_owned()
        } else {
            format!("May be null in versions {}.", field.nullable.show())
        });
    }
    if let Some((tag, tagged)) = field.tag {
        notes.push(if tagged.covers(field.versions) {
            format!("Tag {tag}.")
        } else {
            format!("Tag {tag} in versions {}.", tagged.show())
        });
    }
    if !notes.is_empty() {
        writeln!(out, "///\n/// {}", notes.join(" "))?;
    }
    Ok(())
}
