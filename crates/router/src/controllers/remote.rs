//! Connections to the active controller when it is another node.

use std::{collections::HashMap, time::Duration};

use ottla_controller::{Answer, Command};
use ottla_net::peer::{Peer, PeerError, PeerOptions};
use ottla_protocol::messages::EnvelopeRequest;
use ottla_types::ErrorCode;
use parking_lot::Mutex;
use tracing::{debug, warn};

use super::{
    Asker, ControllerAddress, LIFE_PATIENCE, PATIENCE,
    wire::{self, Lane},
};

/// What came of asking another node.
pub(super) enum Attempt {
    /// It answered.
    Answered(Box<Answer>),
    /// It is not the active controller, or cannot be reached: another may be asked.
    Elsewhere,
    /// Nobody would answer otherwise.
    Refused(ErrorCode),
}

/// One connection per lane, to one node.
pub(super) struct Remote {
    options: PeerOptions,
    peers: Mutex<HashMap<Lane, (ControllerAddress, Peer)>>,
}

/// How long one attempt may take: less than all of them together, where it does no harm to ask twice.
fn attempt_patience(lane: Lane) -> Duration {
    match lane {
        Lane::Life => LIFE_PATIENCE * 3 / 4,
        Lane::Partitions => PATIENCE / 3,
        Lane::Clients => PATIENCE,
    }
}

impl Remote {
    pub(super) fn new(options: PeerOptions) -> Self {
        Self { options, peers: Mutex::default() }
    }

    /// The connection of a lane.
    pub(super) fn peer(&self, lane: Lane, at: &ControllerAddress) -> Peer {
        let mut peers = self.peers.lock();
        match peers.get(&lane) {
            Some((known, peer)) if known == at => peer.clone(),
            _ => {
                let peer = Peer::new(&at.host, at.port, self.options_of(lane));
                if let Some((_, old)) = peers.insert(lane, (at.clone(), peer.clone())) {
                    old.close();
                }
                peer
            }
        }
    }

    /// A connection that does not answer has to be given up, not only the request: the next one would wait behind it.
    fn options_of(&self, lane: Lane) -> PeerOptions {
        let mut options = self.options.clone();
        options.request_timeout = options.request_timeout.min(attempt_patience(lane));
        options.setup_timeout = options.setup_timeout.min(attempt_patience(lane));
        options
    }

    /// Closes all connections.
    pub(super) fn close(&self) {
        for (_, (_, peer)) in self.peers.lock().drain() {
            peer.close();
        }
    }

    /// Asks once.
    pub(super) async fn attempt(
        &self,
        at: &ControllerAddress,
        command: &Command,
        asker: Option<&Asker>,
    ) -> Attempt {
        let Some(lane) = wire::lane(command) else { return Attempt::Refused(ErrorCode::NOT_CONTROLLER) };
        let peer = self.peer(lane, at);
        let answer = match asker {
            Some(asker) => enveloped(&peer, command, asker).await,
            None => wire::ask(&peer, command).await.map(Ok),
        };
        match answer {
            Ok(Ok(answer)) if wire::not_controller(&answer) => Attempt::Elsewhere,
            Ok(Ok(answer)) => Attempt::Answered(Box::new(answer)),
            Ok(Err(ErrorCode::NOT_CONTROLLER)) => Attempt::Elsewhere,
            Ok(Err(code)) => {
                warn!("The controller, node {}, refused a forwarded request: {code}", at.id);
                Attempt::Refused(code)
            }
            Err(error @ (PeerError::Unsupported { .. } | PeerError::Unsayable(_))) => {
                warn!("The controller, node {}, cannot be asked this: {error}", at.id);
                Attempt::Refused(ErrorCode::UNSUPPORTED_VERSION)
            }
            Err(error) => {
                debug!("The controller, node {} at {}:{}: {error}", at.id, at.host, at.port);
                Attempt::Elsewhere
            }
        }
    }
}

/// Asks for a client; the inner error is the envelope's own.
async fn enveloped(
    peer: &Peer,
    command: &Command,
    asker: &Asker,
) -> Result<Result<Answer, ErrorCode>, PeerError> {
    let envelope = wire::enclose(command, asker)?;
    let (_, answer) = peer.ask::<EnvelopeRequest>(0..=0, |_| envelope).await?;
    match ErrorCode(answer.error_code) {
        ErrorCode::NONE => {
            Ok(Ok(wire::unwrap(command, asker.version, answer.response_data.unwrap_or_default())?))
        }
        code => Ok(Err(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_an_answer_is_given_up_before_the_next_heartbeat_needs_it() {
        let remote = Remote::new(PeerOptions::default());
        let life = remote.options_of(Lane::Life);
        assert!(life.request_timeout < LIFE_PATIENCE && life.setup_timeout < LIFE_PATIENCE);
        assert!(remote.options_of(Lane::Partitions).request_timeout < PATIENCE);
        assert_eq!(remote.options_of(Lane::Clients).request_timeout, PATIENCE, "asking twice may do harm");
    }
}
