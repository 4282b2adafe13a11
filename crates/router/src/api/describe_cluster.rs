//! DescribeCluster (60), versions 0–2 (KIP-700, KIP-919).
//!
//! Versions: 1 adds the endpoint type: on this listener only brokers can be asked for; 2 shows fenced brokers on request.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::ImageCell;
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
};
use ottla_types::ErrorCode;

use super::{metadata::any_broker, operations};
use crate::{Handler, Reply, RequestContext};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) struct DescribeCluster {
    image: Arc<ImageCell>,
    cluster_id: StrBytes,
}

impl DescribeCluster {
    pub(crate) fn new(image: Arc<ImageCell>, cluster_id: &str) -> Self {
        Self { image, cluster_id: StrBytes::from_string(cluster_id.to_owned()) }
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
        let refusal = match request.endpoint_type {
            BROKERS => None,
            CONTROLLERS => Some((
                ErrorCode::MISMATCHED_ENDPOINT_TYPE,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
            )),
            other => Some((
                ErrorCode::UNSUPPORTED_ENDPOINT_TYPE,
                format!("Unsupported endpoint type {other}"),
            )),
        };
        if let Some((code, message)) = refusal {
            let refused = DescribeClusterResponse::default().with_error_code(code.0);
            return Reply::Now(refused.with_error_message(Some(StrBytes::from_string(message))));
        }
        let image = self.image.load();
        let shown = image.brokers.values().filter(|broker| !broker.fenced || request.include_fenced_brokers);
        let brokers = shown.filter_map(|broker| {
            let endpoint = broker.listener(&ctx.listener)?;
            let rack = broker.rack.as_ref().map(|rack| StrBytes::from_string(rack.to_string()));
            Some(
                DescribeClusterBroker::default()
                    .with_broker_id(BrokerId(broker.id))
                    .with_host(StrBytes::from_string(endpoint.host.to_string()))
                    .with_port(endpoint.port.into())
                    .with_rack(rack)
                    .with_is_fenced(broker.fenced),
            )
        });
        let asked = request.include_cluster_authorized_operations;
        Reply::Now(
            DescribeClusterResponse::default()
                .with_cluster_id(self.cluster_id.clone())
                .with_controller_id(BrokerId(any_broker(&image, ctx)))
                .with_brokers(brokers.collect())
                .with_endpoint_type(BROKERS)
                .with_cluster_authorized_operations(if asked {
                    operations::CLUSTER
                } else {
                    operations::OMITTED
                }),
        )
    }
}
