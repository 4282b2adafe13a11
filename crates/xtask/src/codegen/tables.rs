//! Writes the table of APIs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::names::{Versions, screaming};
use super::schema::Message;

/// Constants for the keys, the table, and the index from key to place in the table.
pub(crate) fn apis(
    requests: &BTreeMap<i16, &Message>,
    responses: &BTreeMap<i16, &Message>,
) -> Result<String> {
    let mut keys = String::from("use crate::api::Api;\n\n");
    let mut rows =
        String::from("/// Every API that has a version, by ascending key.\npub static APIS: &[Api] = &[\n");
    for (key, request) in requests {
        let response = responses.get(key).with_context(|| format!("no response of key {key}"))?;
        let name = request.name.strip_suffix("Request").context("a request is not named so")?;
        let constant = screaming(name);
        writeln!(keys, "/// The key of {name}.\npub const {constant}: i16 = {key};")?;
        let Versions { from, to } = request.versions;
        writeln!(
            rows,
            "Api {{ key: {constant}, name: \"{name}\", min: {from}, max: {to}, latest_unstable: {}, \
             broker: {}, controller: {}, request_flexible: {}, response_flexible: {} }},",
            request.latest_unstable,
            request.listeners.iter().any(|listener| listener == "broker"),
            request.listeners.iter().any(|listener| listener == "controller"),
            first(request.flexible),
            first(response.flexible),
        )?;
    }
    rows.push_str("];\n");
    let last = requests.keys().last().copied().unwrap_or(-1);
    let places: Vec<_> =
        (0..=last).map(|key| requests.keys().position(|k| *k == key).unwrap_or(255)).collect();
    Ok(format!(
        "{keys}\n{rows}\n/// Key to place in [`APIS`]; 255 where no API has the key any more.\n\
         pub(crate) static INDEX: &[u8] = &{places:?};\n"
    ))
}

/// The first version of a range as Rust, [`i16::MAX`] if there is none.
pub(crate) fn first(versions: Versions) -> String {
    if versions.is_empty() { "i16::MAX".to_owned() } else { versions.from.to_string() }
}
