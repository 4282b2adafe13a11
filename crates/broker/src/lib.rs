//! Composition, life cycle, command line.
//!
//! What is where:
//! - [`cli`], [`storage_tool`], [`logging`]: what a person sees;
//! - [`Server`]: a node's life, in stages, and what each stage makes;
//! - the private modules: one stage or translation each.

mod applier;
pub mod cli;
mod listeners;
mod log_dirs;
pub mod logging;
mod quorum;
mod registration;
mod server;
mod settings;
pub mod storage_tool;

pub use server::Server;
