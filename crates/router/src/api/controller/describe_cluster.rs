//! DescribeCluster (60) on a controller's listener, versions 0–2 (KIP-919): the controllers instead of the brokers.
//!
//! Only those are shown that are registered and have a listener of the name that was asked on. `controller_id` is the
//! active one, -1 when it is not among them.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::ImageCell;
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
};
use ottla_types::NO_LEADER;

use crate::{
    Handler, Quorum, Reply, RequestContext,
    api::{describe_cluster, operations},
};

pub(crate) struct DescribeCluster {
    image: Arc<ImageCell>,
    quorum: Arc<dyn Quorum>,
    cluster_id: StrBytes,
}

impl DescribeCluster {
    pub(crate) fn new(image: Arc<ImageCell>, quorum: Arc<dyn Quorum>, cluster_id: &str) -> Self {
        Self { image, quorum, cluster_id: StrBytes::from_string(cluster_id.to_owned()) }
    }
}

impl Handler for DescribeCluster {
    type Request = DescribeClusterRequest;
    type Response = DescribeClusterResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: DescribeClusterRequest,
    ) -> Reply<DescribeClusterResponse> {
        let version = ctx.api_version;
        if let Some(refused) = describe_cluster::refuse(&request, describe_cluster::CONTROLLERS, version) {
            return Reply::Now(refused);
        }
        let image = self.image.load();
        let shown: Vec<_> = image
            .controllers
            .values()
            .filter_map(|controller| {
                let endpoint = controller.listeners.iter().find(|listener| listener.name == ctx.listener)?;
                Some(
                    DescribeClusterBroker::default()
                        .with_broker_id(BrokerId(controller.id))
                        .with_host(StrBytes::from_string(endpoint.host.to_string()))
                        .with_port(endpoint.port.into())
                        .with_rack(None),
                )
            })
            .collect();
        let active = self.quorum.status().borrow().leader.unwrap_or(NO_LEADER);
        let active = if shown.iter().any(|node| node.broker_id.0 == active) { active } else { NO_LEADER };
        let asked = request.include_cluster_authorized_operations;
        Reply::Now(
            DescribeClusterResponse::default()
                .with_cluster_id(self.cluster_id.clone())
                .with_controller_id(BrokerId(active))
                .with_brokers(shown)
                .with_endpoint_type(describe_cluster::CONTROLLERS)
                .with_cluster_authorized_operations(if asked {
                    operations::CLUSTER
                } else {
                    operations::OMITTED
                }),
        )
    }
}
