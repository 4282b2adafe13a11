//! Requests to calls and responses: one file per API under `api`, one line for each in [`table()`] and
//! [`controller_table()`].
//!
//! What is where:
//! - `service`: frames in, frames out: head, version, the ApiVersions exception, who may ask what;
//! - `handler`: what an API's file implements;
//! - `table`: which APIs there are on a broker's listeners;
//! - `controller_table`: which there are on a controller's, with what their handlers need: `quorum`, `metadata_log`;
//! - `ask`: whom a handler asks when the cluster is to change;
//! - `losses`: brokers that went away a moment ago, and what clients are told meanwhile;
//! - `resolve`: where topic ids become names and names become ids;
//! - `api`: the APIs.

pub mod api;
mod ask;
mod context;
mod controller_table;
mod controllers;
mod fetch_session;
mod handler;
mod losses;
mod metadata_log;
mod quorum;
mod resolve;
mod service;
mod table;

pub use api::broker_heartbeat::BrokerConnections;
pub use context::{RequestContext, Session};
pub use controller_table::{ControllerServices, controller_served, controller_table};
pub use controllers::{ControllerAddress, Controllers, KRaftVersion, Ways};
pub use handler::{Handler, IntoFrame, Reply};
pub use losses::Losses;
pub use metadata_log::{MetadataLogView, SnapshotPiece};
pub use quorum::Quorum;
pub use service::Router;
pub use table::{Entry, Served, Services, Table, served, table};
