//! Writes the tables the guard walks: every request and response in every version.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::names::{Versions, screaming, snake};
use super::output::Output;
use super::schema::{Field, Message, Type};
use super::tables::first;

/// One module per API, and the two lookups by key.
pub(crate) fn generate(
    requests: &BTreeMap<i16, &Message>,
    responses: &BTreeMap<i16, &Message>,
    out: &mut Output,
) -> Result<()> {
    let mut modules = String::new();
    let mut rows = String::new();
    for (key, request) in requests {
        let response = responses.get(key).with_context(|| format!("no response of key {key}"))?;
        let name = request.name.strip_suffix("Request").context("a request is not named so")?;
        let module = snake(name);
        let mut body =
            String::from("use crate::guard::Kind::*;\nuse crate::guard::{Field, MessageShape, Shape};\n\n");
        message(&mut body, "REQUEST", request)?;
        message(&mut body, "RESPONSE", response)?;
        out.file(format!("shapes/{module}.rs"), &format!("The shapes of {name}."), &body);
        writeln!(modules, "mod {module};")?;
        writeln!(rows, "{key} => Some((&{module}::REQUEST, &{module}::RESPONSE)),")?;
    }
    let body = format!(
        "use crate::guard::MessageShape;\n\n{modules}#[cfg(feature = \"samples\")]\nmod records;\n\
         #[cfg(feature = \"samples\")]\npub(crate) use records::record;\n\n\
         /// Request and response of an API.\n\
         fn both(key: i16) -> Option<(&'static MessageShape, &'static MessageShape)> {{\n\
         match key {{\n{rows}_ => None,\n}}\n}}\n\n\
         /// The shape of a request.\n\
         pub(crate) fn request(key: i16) -> Option<&'static MessageShape> {{\nboth(key).map(|both| both.0)\n}}\n\n\
         /// The shape of a response.\n\
         pub(crate) fn response(key: i16) -> Option<&'static MessageShape> {{\nboth(key).map(|both| both.1)\n}}\n"
    );
    out.file("shapes/mod.rs", "The shape of every request and response.", &body);
    Ok(())
}

/// The shapes of persisted records, which only the generator of samples uses: records are not guarded, their
/// decoders are ours and believe no length.
pub(crate) fn records(messages: &[&Message], out: &mut Output) -> Result<()> {
    let mut body =
        String::from("use crate::guard::Kind::*;\nuse crate::guard::{Field, MessageShape, Shape};\n\n");
    let mut rows = String::new();
    for one in messages {
        let prefix = screaming(&one.name);
        message(&mut body, &prefix, one)?;
        writeln!(rows, "\"{}\" => Some(&{prefix}),", one.name)?;
    }
    write!(
        body,
        "/// The shape of a persisted record.\n\
         pub(crate) fn record(name: &str) -> Option<&'static MessageShape> {{\nmatch name {{\n{rows}_ => None,\n}}\n}}\n"
    )?;
    out.file("shapes/records.rs", "The shapes of persisted records.", &body);
    Ok(())
}

fn message(body: &mut String, prefix: &str, message: &Message) -> Result<()> {
    let Versions { from, to } = message.versions;
    writeln!(
        body,
        "/// {}\npub(super) static {prefix}: MessageShape = MessageShape {{ min: {from}, max: {to}, flexible: {}, root: &{prefix}_ROOT }};",
        message.name,
        first(message.flexible),
    )?;
    shape(body, prefix, "ROOT", &message.fields)?;
    for nested in &message.structs {
        shape(body, prefix, &screaming(&nested.name), &nested.fields)?;
    }
    body.push('\n');
    Ok(())
}

fn shape(body: &mut String, prefix: &str, name: &str, fields: &[Field]) -> Result<()> {
    writeln!(body, "static {prefix}_{name}: Shape = Shape(&[")?;
    for field in fields {
        let Versions { from, to } = field.versions;
        write!(body, "Field::new({}, {from}, {to})", kind(prefix, &field.ty))?;
        if !field.nullable.is_empty() {
            write!(body, ".nullable({}, {})", field.nullable.from, field.nullable.to)?;
        }
        if let Some((tag, tagged)) = field.tag {
            write!(body, ".tagged({tag}, {})", tagged.from)?;
        }
        writeln!(body, ", // {}", field.name)?;
    }
    writeln!(body, "]);")?;
    Ok(())
}

fn kind(prefix: &str, ty: &Type) -> String {
    match ty {
        Type::Bool | Type::Int8 => "Fixed(1)".to_owned(),
        Type::Int16 | Type::Uint16 => "Fixed(2)".to_owned(),
        Type::Int32 | Type::Uint32 => "Fixed(4)".to_owned(),
        Type::Int64 | Type::Float64 => "Fixed(8)".to_owned(),
        Type::Uuid => "Fixed(16)".to_owned(),
        Type::String => "String".to_owned(),
        Type::Bytes | Type::Records => "Bytes".to_owned(),
        Type::Struct(name) => format!("Struct(&{prefix}_{})", screaming(name)),
        Type::Array(element) => format!("Array(&{})", kind(prefix, element)),
    }
}
