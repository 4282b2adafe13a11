//! BrokerHeartbeat (63), versions 0–2 (KIP-631, KIP-858).
//!
//! A broker lives, wants to be unfenced, or wants to stop. Versions: 1 names log dirs that failed; 2 log dirs that are to
//! take no new replicas.

use std::{ops::RangeInclusive, sync::Arc};

use futures::FutureExt;
use ottla_controller::{Answer, Command};
use ottla_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use ottla_types::{ErrorCode, NodeId};

use super::told::Told;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

/// Told which connection the heartbeats of a broker come over: when it is closed, that is news of the broker.
pub trait BrokerConnections: Send + Sync + 'static {
    /// A heartbeat of `broker` with this epoch came over `connection`.
    fn heartbeat(&self, connection: u64, broker: NodeId, epoch: i64);

    /// Whether the connection is open over which the last heartbeat of `broker` came.
    fn is_connected(&self, broker: NodeId) -> bool;
}

/// Nobody wants to know.
impl BrokerConnections for () {
    fn heartbeat(&self, _: u64, _: NodeId, _: i64) {}

    fn is_connected(&self, _: NodeId) -> bool {
        // Nothing is known of it.
        true
    }
}

pub(crate) struct BrokerHeartbeat {
    controller: Arc<dyn Ask>,
    connections: Arc<dyn BrokerConnections>,
    told: Arc<Told>,
}

impl BrokerHeartbeat {
    pub(crate) fn new(controller: Arc<dyn Ask>, connections: Arc<dyn BrokerConnections>) -> Self {
        Self { controller, connections, told: Arc::default() }
    }
}

impl Handler for BrokerHeartbeat {
    type Request = BrokerHeartbeatRequest;
    type Response = BrokerHeartbeatResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: BrokerHeartbeatRequest,
    ) -> Reply<BrokerHeartbeatResponse> {
        self.connections.heartbeat(ctx.connection, request.broker_id.0, request.broker_epoch);
        let (id, epoch, from) = (request.broker_id, request.broker_epoch, ctx.peer.ip());
        let told = self.told.clone();
        let asked = self.controller.ask(ctx, Command::BrokerHeartbeat(request));
        let asked = asked.inspect(move |answer| {
            if let Ok(Answer::BrokerHeartbeat(answer)) = answer
                && is_stranger(ErrorCode(answer.error_code))
            {
                let code = ErrorCode(answer.error_code);
                told.warn(format!(
                    "A heartbeat of broker {} with epoch {epoch} from {from} was refused: {code}",
                    id.0
                ));
            }
        });
        // Unlike the schema's default, an answer that is a refusal says nothing of fencing.
        relay(asked.boxed(), pick!(BrokerHeartbeat), |error| {
            BrokerHeartbeatResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &BrokerHeartbeatResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}

/// Whether the controller knows another process by this id, or none.
fn is_stranger(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::STALE_BROKER_EPOCH | ErrorCode::BROKER_ID_NOT_REGISTERED)
}
