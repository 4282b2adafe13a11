//! What a handler may know about who asks.

use std::{net::SocketAddr, sync::Arc};

use ottla_net::{ConnectionInfo, SecurityProtocol};
use ottla_protocol::StrBytes;
use ottla_types::Millis;

/// One connection, as the router sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection's number, unique in this process.
    pub connection: u64,
    /// The listener it came in on.
    pub listener: Arc<str>,
    /// How that listener protects it.
    pub protocol: SecurityProtocol,
    /// The client's address.
    pub peer: SocketAddr,
    /// Who asks, as `Type:name`. `None` until a SASL listener's client has authenticated.
    pub principal: Option<Arc<str>>,
    /// Monotonic milliseconds when it was accepted.
    pub opened: Millis,
}

impl Session {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(connection: ConnectionInfo, anonymous: &Arc<str>, now: Millis) -> Self {
        let principal = (!connection.protocol.sasl()).then(|| anonymous.clone());
        Self {
            connection: connection.id,
            listener: connection.listener,
            protocol: connection.protocol,
            peer: connection.peer,
            principal,
            opened: now,
        }
    }

    /// Whether requests other than the authentication's are served.
    #[must_use]
    pub fn authenticated(&self) -> bool {
        self.principal.is_some()
    }
}

/// One request, without its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// API key.
    pub api_key: i16,
    /// Version the body was written in, and the answer will be.
    pub api_version: i16,
    /// Echoed in the answer.
    pub correlation_id: i32,
    /// Length of the frame it came in, which every slice of the request keeps in memory.
    pub frame_bytes: usize,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
    /// The listener the request came in on: answers name brokers by the address they have there.
    pub listener: Arc<str>,
    /// The connection it came in on.
    pub connection: u64,
    /// Monotonic milliseconds when that was accepted.
    pub opened: Millis,
    /// The client's address.
    pub peer: SocketAddr,
    /// Who asks.
    pub principal: Option<Arc<str>>,
    /// Monotonic milliseconds when the request was taken up.
    pub now: Millis,
}

impl RequestContext {
    /// What the client calls itself, or nothing.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client_id.as_ref().map_or("", StrBytes::as_str)
    }

    /// The client's host as Kafka shows it in group descriptions: `/` and the address.
    #[must_use]
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.ip().to_canonical())
    }
}
