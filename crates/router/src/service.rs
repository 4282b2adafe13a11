//! Frames in, frames out: head, version, the ApiVersions exception, who may ask what before authentication.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use ottla_net::{ConnectionInfo, Frame, FrameService, Outcome};
use ottla_protocol::{api, header};
use ottla_types::Clock;
use tracing::{debug, error};

use crate::{
    RequestContext, Session, Table,
    api::api_versions,
    handler::{Encoded, Reply},
};

/// Takes requests apart and gives them to their handlers.
pub struct Router {
    table: Table,
    clock: Arc<dyn Clock>,
    anonymous: Arc<str>,
}

impl Router {
    /// A router over the table.
    #[must_use]
    pub fn new(table: Table, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock, anonymous: "User:ANONYMOUS".into() }
    }

    fn route(&self, session: &Session, mut frame: Bytes) -> Result<Outcome, String> {
        let frame_bytes = frame.len();
        let (key, version, correlation_id) = header::peek(&frame).map_err(|e| e.to_string())?;
        if !session.authenticated() && !before_authentication(key) {
            return Err(format!("API key {key} before the client has authenticated"));
        }
        let entry = self.table.get(key).ok_or_else(|| format!("API key {key} is not served"))?;
        if !entry.served.versions.contains(&version) {
            if key == api::API_VERSIONS {
                // The body of a version we do not know cannot be read, and need not be (KIP-511).
                let answer = api_versions::unsupported(&entry.served.versions);
                let frame = ottla_protocol::encode_response(key, 0, correlation_id, &answer);
                return Ok(Outcome::Now(frame.map_err(|e| e.to_string())?.into()));
            }
            return Err(format!("{} has no version {version}", entry.served.name));
        }
        let head = header::parse(&mut frame).map_err(|e| e.to_string())?;
        let ctx = RequestContext {
            api_key: key,
            api_version: version,
            correlation_id,
            frame_bytes,
            client_id: head.client_id,
            listener: session.listener.clone(),
            connection: session.connection,
            opened: session.opened,
            peer: session.peer,
            principal: session.principal.clone(),
            now: self.clock.ticks(),
        };
        let reply =
            entry.serve(&ctx, frame).map_err(|e| format!("{} version {version}: {e}", entry.served.name))?;
        let name = entry.served.name;
        Ok(match reply {
            Reply::Now(encoded) => sendable(encoded, name).map_or(Outcome::Close, Outcome::Now),
            Reply::Later { answer, holds } => {
                Outcome::Later { answer: answer.map(move |encoded| sendable(encoded, name)).boxed(), holds }
            }
            Reply::None => Outcome::Silent,
            Reply::Close => Outcome::Close,
        })
    }
}

/// ApiVersions, SaslHandshake and SaslAuthenticate are all that is decoded for strangers.
fn before_authentication(key: i16) -> bool {
    matches!(key, api::API_VERSIONS | api::SASL_HANDSHAKE | api::SASL_AUTHENTICATE)
}

/// The frame; a handler's answer that its version cannot say is a fault of ours, told in the log.
fn sendable(encoded: Encoded, name: &str) -> Option<Frame> {
    encoded.inspect_err(|e| error!("Error when sending the answer to {name}: {e}")).ok()
}

impl FrameService for Router {
    type Session = Session;

    fn open(&self, connection: ConnectionInfo) -> Session {
        Session::new(connection, &self.anonymous, self.clock.ticks())
    }

    fn call(&self, session: &mut Session, frame: Bytes) -> Outcome {
        self.route(session, frame).unwrap_or_else(|why| {
            debug!("Closing the connection of {}: {why}", session.peer);
            Outcome::Close
        })
    }
}
