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

#[cfg(test)]
mod tests {
    use ottla_protocol::api;

    use super::*;
    use crate::api::{
        describe_cluster::{BROKERS, CONTROLLERS},
        testing::{FakeQuorum, ask, body, image},
    };

    async fn said(version: i16, request: DescribeClusterRequest) -> String {
        let node = DescribeCluster::new(image(), FakeQuorum::new(true), "FDKordlvRwas5H1N1sN4Kw");
        body(api::DESCRIBE_CLUSTER, version, ask(&node, version, request).await)
    }

    #[tokio::test]
    async fn controllers_are_shown_as_kafka_shows_them() {
        let of = |kind| DescribeClusterRequest::default().with_endpoint_type(kind);
        let head = "00000000000000021746444b6f72646c76527761733548314e31734e344b770000000104";
        assert_eq!(
            said(1, of(CONTROLLERS)).await,
            format!(
                "{head}000000010a3132372e302e302e3100005e1c0000000000020a3132372e302e302e3100005e1d0000\
                 000000030a3132372e302e302e3100005e1e00008000000000"
            )
            .replace(' ', "")
        );
        assert_eq!(
            said(2, of(CONTROLLERS)).await,
            format!(
                "{head}000000010a3132372e302e302e3100005e1c000000000000020a3132372e302e302e3100005e1d000000\
                 000000030a3132372e302e302e3100005e1e0000008000000000"
            )
            .replace(' ', "")
        );
        let wrong =
            "615468652072657175657374207761732073656e7420746f20616e20656e64706f696e74206f662074797065\
                     20434f4e54524f4c4c45522c206275742077652077616e74656420616e20656e64706f696e74206f66207479\
                     70652042524f4b4552"
                .replace(' ', "");
        assert_eq!(said(0, of(BROKERS)).await, format!("00000000002a{wrong}01ffffffff018000000000"));
        assert_eq!(said(1, of(BROKERS)).await, format!("000000000072{wrong}0101ffffffff018000000000"));
    }
}
