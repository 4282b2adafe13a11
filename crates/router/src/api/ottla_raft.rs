//! OttlaRaft: raft's messages from other controllers. Ottla's own; no Kafka sends it.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_protocol::messages::{OttlaRaftRequest, OttlaRaftResponse};
use ottla_raft::{Seen, Stranger, VoterEndpoint};
use ottla_types::{ErrorCode, NodeId};
use tracing::debug;

use super::told::Told;
use crate::{Handler, Quorum, Reply, RequestContext};

/// Endpoints of one node that are noted.
const ENDPOINTS: usize = 16;

pub(crate) struct OttlaRaft {
    quorum: Arc<dyn Quorum>,
    cluster_id: Arc<str>,
    node_id: NodeId,
    /// What was said last of strangers: they ask several times a second.
    told: Told,
}

impl OttlaRaft {
    pub(crate) fn new(quorum: Arc<dyn Quorum>, cluster_id: Arc<str>, node_id: NodeId) -> Self {
        Self { quorum, cluster_id, node_id, told: Told::default() }
    }

    fn check(&self, request: &OttlaRaftRequest, ctx: &RequestContext) -> ErrorCode {
        if *request.cluster_id != *self.cluster_id {
            self.told.warn(format!(
                "Controller {} at {} was refused: it is of cluster {}, this node is of {}",
                request.from,
                ctx.peer.ip(),
                request.cluster_id.as_str(),
                self.cluster_id
            ));
            return ErrorCode::INCONSISTENT_CLUSTER_ID;
        }
        if request.from == self.node_id && request.to == -1 {
            // Its own voice: it is among the bootstrap servers, too.
            return ErrorCode::INVALID_REQUEST;
        }
        if request.from == self.node_id || request.from < 0 {
            self.told.warn(format!(
                "A controller at {} was refused: it says that its node id is {}",
                ctx.peer.ip(),
                request.from
            ));
            return ErrorCode::INVALID_REQUEST;
        }
        if request.to != self.node_id && request.to != -1 {
            self.told.warn(format!(
                "Controller {} at {} was refused: it took this node for node {}",
                request.from,
                ctx.peer.ip(),
                request.to
            ));
            return ErrorCode::INVALID_REQUEST;
        }
        ErrorCode::NONE
    }
}

impl Handler for OttlaRaft {
    type Request = OttlaRaftRequest;
    type Response = OttlaRaftResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(&self, ctx: &RequestContext, request: OttlaRaftRequest) -> Reply<OttlaRaftResponse> {
        let mut code = self.check(&request, ctx);
        if code == ErrorCode::NONE {
            let endpoints = request.endpoints.iter().take(ENDPOINTS).map(|at| VoterEndpoint {
                name: at.name.as_str().into(),
                host: at.host.as_str().into(),
                port: at.port,
            });
            let sender = Seen {
                id: request.from,
                directory_id: request.from_directory_id,
                endpoints: endpoints.collect(),
            };
            let count = request.messages.len();
            let messages: Vec<_> =
                request.messages.iter().filter_map(|bytes| ottla_raft::decode_message(bytes)).collect();
            if messages.len() != count {
                debug!("Controller {} sent messages that cannot be read", request.from);
            }
            let directory = sender.directory_id;
            let speaks_as = Some(request.speaks_as).filter(|name| *name != 0);
            if let Err(stranger) = self.quorum.deliver(ctx.connection, sender, speaks_as, messages) {
                let (why, refusal) = match stranger {
                    Stranger::Rival => (
                        format!(
                            "another process with this node.id is a member of the quorum (its directory id is not \
                             {directory})"
                        ),
                        ErrorCode::INVALID_VOTER_KEY,
                    ),
                    Stranger::OtherDirectory(voter) => (
                        format!("the voter with this node.id has directory id {voter}, it has {directory}"),
                        ErrorCode::VOTER_NOT_FOUND,
                    ),
                };
                self.told.warn(format!(
                    "Controller {} at {} was refused: {why}",
                    request.from,
                    ctx.peer.ip()
                ));
                code = refusal;
            }
        }
        Reply::Now(OttlaRaftResponse { error_code: code.0, ..OttlaRaftResponse::default() })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::api::testing::{FakeQuorum, ask};

    #[tokio::test]
    async fn strangers_are_refused() {
        let node = OttlaRaft::new(FakeQuorum::new(true), "here".into(), 1);
        let request = |cluster: &'static str, from, to, directory| OttlaRaftRequest {
            cluster_id: cluster.into(),
            from,
            from_directory_id: Uuid::from_u128(directory),
            to,
            ..OttlaRaftRequest::default()
        };
        for (request, code) in [
            (request("here", 2, 1, 5), ErrorCode::NONE),
            (request("here", 2, -1, 5), ErrorCode::NONE),
            (request("elsewhere", 2, 1, 5), ErrorCode::INCONSISTENT_CLUSTER_ID),
            (request("here", 1, 1, 5), ErrorCode::INVALID_REQUEST),
            (request("here", 2, 3, 5), ErrorCode::INVALID_REQUEST),
            (request("here", 2, 1, 9), ErrorCode::INVALID_VOTER_KEY),
            (request("here", 2, 1, 8), ErrorCode::VOTER_NOT_FOUND),
        ] {
            assert_eq!(ErrorCode(ask(&node, 0, request).await.error_code), code);
        }
    }
}
