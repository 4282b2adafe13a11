//! Writes how a structure is written.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::super::names::field as field_name;
use super::super::schema::{Field, Type};
use super::scope::{Flexible, Scope, scalar_fn};

pub(super) fn write(out: &mut String, it: &Scope<'_>) -> Result<()> {
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
