//! Who leads instead, for answers with NOT_LEADER_OR_FOLLOWER (KIP-951): saves the client a Metadata request.

use std::sync::Arc;

use ottla_metadata::{Image, Topic};
use ottla_types::{LeaderEpoch, NodeId};

/// Where a leader is, on the listener that the request came in on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaderEndpoint {
    /// Its node id.
    pub(crate) node: NodeId,
    /// Its advertised host.
    pub(crate) host: Arc<str>,
    /// Its advertised port.
    pub(crate) port: i32,
    /// Its rack.
    pub(crate) rack: Option<Arc<str>>,
}

/// Leader and epoch of a partition, and where that leader is. `None` when the partition is not known.
pub(crate) fn leader_hint(
    image: &Image,
    topic: &Topic,
    partition: i32,
    listener: &str,
) -> Option<((NodeId, LeaderEpoch), Option<LeaderEndpoint>)> {
    let assigned = topic.partition(partition)?;
    let endpoint = image.broker(assigned.leader).and_then(|broker| {
        broker.listener(listener).map(|endpoint| LeaderEndpoint {
            node: broker.id,
            host: Arc::clone(&endpoint.host),
            port: i32::from(endpoint.port),
            rack: broker.rack.clone(),
        })
    });
    Some(((assigned.leader, assigned.leader_epoch), endpoint))
}
