//! Writes the types: structures with their defaults, builders, writing and reading.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::names::{Versions, field as field_name};
use super::schema::{Field, Message, Struct, Type};

/// What the code of one structure is written from.
struct Scope<'a> {
    message: &'a Message,
    name: &'a str,
    versions: Versions,
    fields: &'a [Field],
    /// Whether broker ids, topic names and so on are kafka-protocol's newtypes.
    newtypes: bool,
}

/// In which of its versions a structure is flexible.
enum Flexible {
    Never,
    Always,
    When(String),
}

impl Flexible {
    /// Rust for it, where the condition was bound to a variable.
    const fn rust(&self) -> &'static str {
        match self {
            Self::Never => "false",
            Self::Always => "true",
            Self::When(_) => "flexible",
        }
    }

    /// Binds the condition, if it is one.
    fn bind(&self, out: &mut String) {
        if let Self::When(condition) = self {
            writeln!(out, "let flexible = {condition};").expect("a string takes all");
        }
    }
}

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
    write(out, it)?;
    read(out, it)?;
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

/// Whether a default is the one its type has anyway.
fn is_natural(value: &str) -> bool {
    matches!(value, "0" | "0.0" | "false" | "None" | "Uuid::nil()" | "Default::default()")
        || value.ends_with("Id(0)")
}

fn floats(message: &Message) -> bool {
    let fields = message.structs.iter().flat_map(|s| &s.fields).chain(&message.fields);
    fields.into_iter().any(|field| field.ty == Type::Float64)
}

impl Scope<'_> {
    /// The type of a field, nullable or not.
    fn rust(&self, field: &Field) -> Result<String> {
        let bare = self.bare(field, &field.ty)?;
        Ok(if field.nullable.is_empty() { bare } else { format!("Option<{bare}>") })
    }

    fn bare(&self, field: &Field, ty: &Type) -> Result<String> {
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
    fn newtype(&self, field: &Field, ty: &Type) -> Result<Option<&'static str>> {
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
    fn default(&self, field: &Field) -> Result<String> {
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
    fn flexible(&self) -> Flexible {
        match self.message.flexible.condition(self.versions) {
            None => Flexible::Always,
            Some(never) if never == "false" => Flexible::Never,
            Some(condition) => Flexible::When(condition),
        }
    }

    /// Rust for "this field may be null".
    fn nullable(&self, field: &Field) -> String {
        field.nullable.condition(field.versions.and(self.versions)).unwrap_or_else(|| "true".to_owned())
    }

    /// The versions in which the field stands in its place.
    fn inline(&self, field: &Field) -> Versions {
        match field.tag {
            Some((_, tagged)) => field.versions.and(Versions { from: i16::MIN, to: tagged.from - 1 }),
            None => field.versions,
        }
    }

    /// The versions in which it is tagged.
    fn tagged(&self, field: &Field) -> Versions {
        field.tag.map_or(Versions::NONE, |(_, tagged)| tagged.and(field.versions))
    }

    /// Rust for "the field is not at its default".
    fn is_set(&self, field: &Field) -> Result<String> {
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

fn write(out: &mut String, it: &Scope<'_>) -> Result<()> {
    writeln!(out, "fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {{")?;
    writeln!(out, "wire::supported::<Self>(version)?;")?;
    it.flexible().bind(out);
    for field in it.fields {
        let name = field_name(&field.name);
        let put = put(it, field, "out", &format!("self.{name}"))?;
        let absent = if field.ignorable {
            String::new()
        } else {
            format!("if {} {{ return wire::absent(\"{name}\", version); }}", it.is_set(field)?)
        };
        match it.inline(field).condition(it.versions) {
            None => writeln!(out, "{put}")?,
            Some(never) if never == "false" => match it.tagged(field).condition(it.versions) {
                Some(when) if !absent.is_empty() && when != "false" => {
                    let unless = it.tagged(field).unless(it.versions);
                    writeln!(
                        out,
                        "if {unless} && {} {{ return wire::absent(\"{name}\", version); }}",
                        it.is_set(field)?
                    )?;
                }
                _ => {}
            },
            Some(when) if absent.is_empty() || field.tag.is_some() => writeln!(out, "if {when} {{ {put} }}")?,
            Some(when) => writeln!(out, "if {when} {{ {put} }} else {absent}")?,
        }
    }
    if !matches!(it.flexible(), Flexible::Never) {
        write_tags(out, it)?;
    }
    writeln!(out, "Ok(())\n}}\n")?;
    Ok(())
}

fn write_tags(out: &mut String, it: &Scope<'_>) -> Result<()> {
    let mut tagged: Vec<_> = it.fields.iter().filter(|field| field.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag.map(|(tag, _)| tag));
    let always = matches!(it.flexible(), Flexible::Always);
    let (open, close) = if always { ("", "") } else { ("if flexible {", "}") };
    writeln!(out, "{open}")?;
    if tagged.is_empty() {
        writeln!(out, "wire::put_unknown_tags(out, &self.unknown_tagged_fields);\n{close}")?;
        return Ok(());
    }
    writeln!(out, "let mut tags = wire::Tags::default();")?;
    for field in tagged {
        let name = field_name(&field.name);
        let (tag, _) = field.tag.context("filtered for having one")?;
        let mut when = it.is_set(field)?;
        if let Some(versions) = it.tagged(field).condition(it.versions.and(it.message.flexible)) {
            when = format!("{versions} && {when}");
        }
        let put = put(it, field, "value", &format!("self.{name}"))?;
        writeln!(out, "if {when} {{ let value = tags.open(); {put} tags.close({tag}); }}")?;
    }
    writeln!(out, "tags.put(out, &self.unknown_tagged_fields);\n{close}")?;
    Ok(())
}

/// A statement that writes a field's value to `sink`.
fn put(it: &Scope<'_>, field: &Field, sink: &str, value: &str) -> Result<String> {
    let null = !field.nullable.is_empty();
    let nullable = it.nullable(field);
    let flexible = it.flexible();
    let flexible = flexible.rust();
    Ok(match &field.ty {
        Type::Array(element) => {
            let item = put_element(it, field, element)?;
            let slice = if null { format!("{value}.as_deref()") } else { format!("Some(&{value}[..])") };
            let nullable = if null { nullable } else { "false".to_owned() };
            format!("wire::put_array({sink}, {slice}, {flexible}, {nullable}, |out, item| {{ {item} }})?;")
        }
        Type::Struct(_) if null => format!(
            "wire::put_presence({sink}, {value}.is_some(), {nullable})?;\n\
             if let Some(value_) = &{value} {{ value_.write({sink}, version)?; }}"
        ),
        Type::Struct(_) => format!("{value}.write({sink}, version)?;"),
        Type::String if null => {
            let text = if it.newtype(field, &field.ty)?.is_some() {
                format!("{value}.as_ref().map(|text| text.as_str())")
            } else {
                format!("{value}.as_deref()")
            };
            format!("wire::put_string({sink}, {text}, {flexible}, {nullable})?;")
        }
        Type::String => format!("wire::put_string({sink}, Some(&{value}), {flexible}, false)?;"),
        Type::Bytes | Type::Records if null => {
            format!("wire::put_bytes({sink}, {value}.as_deref(), {flexible}, {nullable})?;")
        }
        Type::Bytes | Type::Records => {
            format!("wire::put_bytes({sink}, Some(&{value}), {flexible}, false)?;")
        }
        scalar => {
            if null {
                bail!("a nullable scalar: {}", field.name);
            }
            let value =
                if it.newtype(field, scalar)?.is_some() { format!("{value}.0") } else { value.to_owned() };
            format!("{sink}.{}({value});", scalar_fn(scalar)?)
        }
    })
}

/// The body of the closure that writes an element `item` to `out`.
fn put_element(it: &Scope<'_>, field: &Field, element: &Type) -> Result<String> {
    let flexible = it.flexible();
    let flexible = flexible.rust();
    Ok(match element {
        Type::Struct(_) => "item.write(out, version)".to_owned(),
        Type::String => format!("wire::put_string(out, Some(item), {flexible}, false)"),
        Type::Bytes | Type::Records => format!("wire::put_bytes(out, Some(item), {flexible}, false)"),
        Type::Array(_) => bail!("an array of arrays: {}", field.name),
        scalar => {
            let value = if it.newtype(field, scalar)?.is_some() { "item.0" } else { "*item" };
            format!("out.{}({value}); Ok(())", scalar_fn(scalar)?)
        }
    })
}

fn scalar_fn(ty: &Type) -> Result<&'static str> {
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

/// The variable a field is read into: its name, unless the code around it uses that name.
fn local(field: &Field) -> String {
    let name = field_name(&field.name);
    if matches!(name.as_str(), "version" | "buf" | "flexible" | "tag" | "size") {
        format!("its_{name}")
    } else {
        name
    }
}

fn read(out: &mut String, it: &Scope<'_>) -> Result<()> {
    writeln!(out, "fn read<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {{")?;
    writeln!(out, "wire::supported::<Self>(version)?;")?;
    let uses_flexible = !matches!(it.flexible(), Flexible::Never);
    it.flexible().bind(out);
    for field in it.fields {
        let name = local(field);
        let get = get(it, field)?;
        let mutable = if it.tagged(field).is_empty() { "" } else { "mut " };
        let default = it.default(field)?;
        let annotation = format!("{mutable}{name}: {}", it.rust(field)?);
        match it.inline(field).condition(it.versions) {
            None => writeln!(out, "let {mutable}{name} = {get};")?,
            Some(never) if never == "false" => writeln!(out, "let {annotation} = {default};")?,
            Some(when) => writeln!(out, "let {annotation} = if {when} {{ {get} }} else {{ {default} }};")?,
        }
    }
    if uses_flexible {
        read_tags(out, it)?;
    }
    let names: Vec<_> = it
        .fields
        .iter()
        .map(|field| (field_name(&field.name), local(field)))
        .map(|(name, local)| if name == local { name } else { format!("{name}: {local}") })
        .collect();
    let tags = if it.message.flexible.is_empty() {
        ""
    } else if uses_flexible {
        "unknown_tagged_fields"
    } else {
        "unknown_tagged_fields: BTreeMap::new()"
    };
    writeln!(
        out,
        "Ok(Self {{ {}{}{tags} }})\n}}",
        names.join(", "),
        if names.is_empty() { "" } else { ", " }
    )?;
    Ok(())
}

fn read_tags(out: &mut String, it: &Scope<'_>) -> Result<()> {
    let tagged: Vec<_> = it.fields.iter().filter(|field| field.tag.is_some()).collect();
    let always = matches!(it.flexible(), Flexible::Always);
    let (open, close) = if always { ("", "") } else { ("if flexible {", "}") };
    if tagged.is_empty() {
        let read = "wire::get_unknown_tags(buf)?";
        let value = if always {
            read.to_owned()
        } else {
            format!("if flexible {{ {read} }} else {{ BTreeMap::new() }}")
        };
        writeln!(out, "let unknown_tagged_fields = {value};")?;
        return Ok(());
    }
    writeln!(out, "let mut unknown_tagged_fields = BTreeMap::new();\n{open}")?;
    writeln!(out, "for _ in 0..wire::get_tag_count(buf)? {{")?;
    writeln!(out, "let (tag, size) = wire::get_tag(buf)?;\nmatch tag {{")?;
    for field in tagged {
        let (tag, _) = field.tag.context("filtered for having one")?;
        let guard = match it.tagged(field).condition(it.versions.and(it.message.flexible)) {
            Some(when) => format!(" if {when}"),
            None => String::new(),
        };
        writeln!(out, "{tag}{guard} => {} = {},", local(field), get(it, field)?)?;
        if !guard.is_empty() {
            writeln!(out, "{tag} => return wire::misplaced(tag, version),")?;
        }
    }
    writeln!(
        out,
        "_ => wire::get_unknown_tag(buf, tag, size, &mut unknown_tagged_fields)?,\n}}\n}}\n{close}"
    )?;
    Ok(())
}

/// An expression that reads a field's value from `buf`.
fn get(it: &Scope<'_>, field: &Field) -> Result<String> {
    let null = !field.nullable.is_empty();
    let nullable = it.nullable(field);
    let flexible = it.flexible();
    let flexible = flexible.rust();
    let into = if it.newtype(field, &field.ty)?.is_some() { ".into()" } else { "" };
    Ok(match &field.ty {
        Type::Array(element) => {
            let item = get_element(it, field, element)?;
            if null {
                format!("wire::get_nullable_array(buf, {flexible}, {nullable}, {item})?")
            } else {
                format!("wire::get_array(buf, {flexible}, {item})?")
            }
        }
        Type::Struct(name) if null => format!(
            "if wire::get_presence(buf, {nullable})? {{ Some({name}::read(buf, version)?) }} else {{ None }}"
        ),
        Type::Struct(name) => format!("{name}::read(buf, version)?"),
        Type::String if null => {
            let map = if into.is_empty() { "" } else { ".map(Into::into)" };
            format!("wire::get_nullable_string(buf, {flexible}, {nullable})?{map}")
        }
        Type::String => format!("wire::get_string(buf, {flexible})?{into}"),
        Type::Bytes | Type::Records if null => {
            format!("wire::get_nullable_bytes(buf, {flexible}, {nullable})?")
        }
        Type::Bytes | Type::Records => format!("wire::get_bytes(buf, {flexible})?"),
        scalar => format!("wire::get_{}(buf)?{into}", scalar_fn(scalar)?),
    })
}

fn get_element(it: &Scope<'_>, field: &Field, element: &Type) -> Result<String> {
    let flexible = it.flexible();
    let flexible = flexible.rust();
    let map = if it.newtype(field, element)?.is_some() { ".map(Into::into)" } else { "" };
    Ok(match element {
        Type::Struct(name) => format!("|buf| {name}::read(buf, version)"),
        Type::String => format!("|buf| wire::get_string(buf, {flexible}){map}"),
        Type::Bytes | Type::Records => format!("|buf| wire::get_bytes(buf, {flexible})"),
        Type::Array(_) => bail!("an array of arrays: {}", field.name),
        scalar if map.is_empty() => format!("wire::get_{}", scalar_fn(scalar)?),
        scalar => format!("|buf| wire::get_{}(buf){map}", scalar_fn(scalar)?),
    })
}
