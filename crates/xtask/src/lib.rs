//! Tools of the house, run as `cargo run -p ottla-xtask -- <task>`.

pub mod codegen;
pub mod config_docs;
