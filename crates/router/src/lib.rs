//! Requests to calls and responses: one file per API under `api`, one line for each in [`table()`].
//!
//! What is where:
//! - `service`: frames in, frames out: head, version, the ApiVersions exception, who may ask what;
//! - `handler`: what an API's file implements;
//! - `table`: which APIs there are;
//! - `resolve`: where topic ids become names and names become ids;
//! - `api`: the APIs.

pub mod api;
mod context;
mod controllers;
mod fetch_session;
mod handler;
mod resolve;
mod service;
mod table;

pub use context::{RequestContext, Session};
pub use controllers::Controllers;
pub use handler::{Handler, IntoFrame, Reply};
pub use service::Router;
pub use table::{Entry, Served, Services, Table, served, table};
