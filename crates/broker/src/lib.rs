//! Composition, life cycle, command line.
//!
//! What is where:
//! - [`cli`], [`storage_tool`], [`logging`]: what a person sees;
//! - [`open_files`]: what the process may take of the system;
//! - [`Server`]: a node's life, in stages, and what each stage makes;
//! - the private modules: one stage or translation each.

mod applier;
mod broker_role;
pub mod cli;
mod controller_registration;
mod controller_role;
mod feed;
mod health;
pub mod listeners;
mod log_dirs;
pub mod logging;
mod metadata_view;
mod neighbours;
pub mod open_files;
mod presence;
mod program_pages;
mod quorum;
mod registration;
mod replication;
pub mod scheduling;
mod server;
mod settings;
pub mod storage_tool;

pub use server::Server;
