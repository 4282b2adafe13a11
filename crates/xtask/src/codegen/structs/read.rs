//! Writes how a structure is read.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::super::names::field as field_name;
use super::super::schema::{Field, Type};
use super::scope::{Flexible, Scope, scalar_fn};

/// The variable a field is read into: its name, unless the code around it uses that name.
fn local(field: &Field) -> String {
    let name = field_name(&field.name);
    if matches!(name.as_str(), "version" | "buf" | "flexible" | "tag" | "size") {
        format!("its_{name}")
    } else {
        name
    }
}

pub(super) fn read(out: &mut String, it: &Scope<'_>) -> Result<()> {
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
