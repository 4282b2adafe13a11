//! Writes the enums over persisted records.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::schema::Message;

/// `MetadataRecord`: every record of the metadata log.
pub(crate) fn metadata(messages: &[&Message]) -> Result<String> {
    let mut table = Vec::new();
    for message in messages {
        let variant = message.name.strip_suffix("Record").context("a metadata record is not named so")?;
        let key = message.api_key.context("a metadata record has a key")?;
        table.push((variant.to_owned(), message.name.clone(), key));
    }
    let mut out = String::from("crate::persisted::metadata::record_enum! {\n");
    for (variant, name, key) in table {
        writeln!(out, "{key} => {variant}({name}),")?;
    }
    out.push_str("}\n");
    Ok(out)
}

/// `Record`: every kind of record of a coordinator's topic, as key and value.
pub(crate) fn coordinator(messages: &[&Message], topic: &str) -> Result<String> {
    let mut out = format!("crate::persisted::versioned::record_enum! {{\n\"{topic}\",\n");
    for pair in messages.chunks(2) {
        let [key, value] = pair else { continue };
        let variant = key.name.strip_suffix("Key").context("a key is not named so")?;
        writeln!(out, "{variant}({}, {}),", key.name, value.name)?;
    }
    out.push_str("}\n");
    Ok(out)
}
