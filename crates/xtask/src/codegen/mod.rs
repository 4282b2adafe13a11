//! Writes the generated modules of the protocol crate from Kafka's message schemas.
//!
//! The schemas are Kafka's own JSON files. They are read from a directory outside of the repository; what is
//! committed is the Rust written here. `schema` reads them, `plan` says which of them become what,
//! `structs` writes the types, `shapes` the tables of the guard, `tables` the table of APIs and
//! `records` the enums over persisted records.

mod names;
mod output;
mod plan;
mod records;
mod schema;
mod shapes;
mod structs;
mod tables;

use std::path::Path;

use anyhow::Result;

/// Generates everything below `<protocol>/src/generated`; with `check` compares instead of writing.
///
/// # Errors
/// When a schema is missing or not understood, rustfmt cannot be run, or `check` finds a difference.
pub fn run(schemas: &Path, protocol: &Path, check: bool) -> Result<()> {
    let schemas = schema::Schemas::load(schemas)?;
    let mut out = output::Output::default();
    plan::generate(&schemas, &mut out)?;
    out.finish(&protocol.join("src/generated"), check)
}
