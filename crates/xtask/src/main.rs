//! The command line of the house's tools.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo run -p ottla-xtask -- <task>

tasks:
  codegen <directory of JSON schemas> [--check]
      Writes crates/protocol/src/generated from Kafka's message schemas, which are found below the directory
      by their names (unpack them from the kafka-clients, kafka-metadata, kafka-group-coordinator,
      kafka-transaction-coordinator, kafka-share-coordinator and kafka-storage jars).
      With --check nothing is written; differences to what is committed are an error.
  config-docs [--check]
      Writes docs/CONFIG.md from the table of configuration keys.";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codegen", schemas] => ottla_xtask::codegen::run(Path::new(schemas), &protocol_crate()?, false),
        ["codegen", schemas, "--check"] => {
            ottla_xtask::codegen::run(Path::new(schemas), &protocol_crate()?, true)
        }
        ["config-docs"] => ottla_xtask::config_docs::run(&page("CONFIG.md")?, false),
        ["config-docs", "--check"] => ottla_xtask::config_docs::run(&page("CONFIG.md")?, true),
        _ => bail!("{USAGE}"),
    }
}

fn protocol_crate() -> Result<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate has no parent")?;
    Ok(crates.join("protocol"))
}

fn page(name: &str) -> Result<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate has no parent")?;
    Ok(crates.parent().context("the crates have no parent")?.join("docs").join(name))
}
