//! DescribeCluster (60), versions 0–2 (KIP-700, KIP-919).
//!
//! Versions: 1 adds the endpoint type: on this listener only brokers can be asked for; 2 shows fenced brokers on request.
//! A controller's listener shows the controllers: `controller::describe_cluster`.

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

/// What a broker's listener knows.
pub(crate) const BROKERS: i8 = 1;
/// What a controller's listener knows.
pub(crate) const CONTROLLERS: i8 = 2;

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
        if let Some(refused) = refuse(&request, BROKERS, ctx.api_version) {
            return Reply::Now(refused);
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

/// The answer to a request for endpoints other than those `known` here; `None` when it is for those.
pub(crate) fn refuse(
    request: &DescribeClusterRequest,
    known: i8,
    version: i16,
) -> Option<DescribeClusterResponse> {
    let name = |kind| if kind == BROKERS { "BROKER" } else { "CONTROLLER" };
    let (code, message) = match request.endpoint_type {
        kind if kind == known => return None,
        BROKERS | CONTROLLERS => (
            ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            format!(
                "The request was sent to an endpoint of type {}, but we wanted an endpoint of type {}",
                name(known),
                name(request.endpoint_type)
            ),
        ),
        other => (ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, format!("Unsupported endpoint type {other}")),
    };
    // Version 0 knows neither endpoint types nor errors about them; it always means brokers.
    let code = if version == 0 { ErrorCode::INVALID_REQUEST } else { code };
    let message = Some(StrBytes::from_string(message));
    Some(DescribeClusterResponse::default().with_error_code(code.0).with_error_message(message))
}
