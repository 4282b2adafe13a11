//! OttlaRaft: raft's messages from other controllers. Ottla's own; no Kafka sends it.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_protocol::messages::{OttlaRaftRequest, OttlaRaftResponse};
use ottla_raft::{Seen, VoterEndpoint};
use ottla_types::{ErrorCode, NodeId};
use tracing::{debug, warn};

use crate::{Handler, Quorum, Reply, RequestContext};

/// Endpoints of one node that are noted.
const ENDPOINTS: usize = 16;

pub(crate) struct OttlaRaft {
    quorum: Arc<dyn Quorum>,
    cluster_id: Arc<str>,
    node_id: NodeId,
}

impl OttlaRaft {
    pub(crate) fn new(quorum: Arc<dyn Quorum>, cluster_id: Arc<str>, node_id: NodeId) -> Self {
        Self { quorum, cluster_id, node_id }
    }

    fn check(&self, request: &OttlaRaftRequest, ctx: &RequestContext) -> ErrorCode {
        if *request.cluster_id != *self.cluster_id {
            warn!(
                "Controller {} at {} is of cluster {}, this node is of {}",
                request.from, ctx.peer, &*request.cluster_id, self.cluster_id
            );
            return ErrorCode::INCONSISTENT_CLUSTER_ID;
        }
        if request.from == self.node_id && request.to == -1 {
            // Its own voice: it is among the bootstrap servers, too.
            return ErrorCode::INVALID_REQUEST;
        }
        if request.from == self.node_id || request.from < 0 {
            warn!("A controller at {} says that its node id is {}", ctx.peer, request.from);
            return ErrorCode::INVALID_REQUEST;
        }
        if request.to != self.node_id && request.to != -1 {
            warn!("Controller {} at {} took this node for node {}", request.from, ctx.peer, request.to);
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
        let code = self.check(&request, ctx);
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
            self.quorum.deliver(ctx.connection, sender, messages);
        }
        Reply::Now(OttlaRaftResponse { error_code: code.0, ..OttlaRaftResponse::default() })
    }
}
