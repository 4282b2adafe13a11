//! ApiVersions (18), versions 0–5.
//!
//! What this broker serves, which features it can work with, and which are finalized. Served to anyone, before
//! authentication too. A version we do not know is answered by the router with error 35 in the shape of version 0
//! (KIP-511); see [`unsupported`].
//!
//! Versions: 3 adds the client's software and the features (KIP-584); 4 may say a feature's lowest level is 0, older
//! answers leave such features out; 5 checks which cluster and node the client meant to reach (KIP-1242).

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::{FeatureRange, Image, ImageCell, feature};
use ottla_protocol::{
    StrBytes, api,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
};
use ottla_types::{ErrorCode, NodeId};

use crate::{Handler, KRaftVersion, Reply, RequestContext, Served};

pub(crate) struct ApiVersions {
    advertised: Vec<ApiVersion>,
    image: Arc<ImageCell>,
    cluster_id: StrBytes,
    node_id: NodeId,
    kraft_version: KRaftVersion,
    /// What a controller can work with; a broker's features are those it registered with.
    features: Option<Vec<FeatureRange>>,
}

impl ApiVersions {
    /// Tells of all that is `served`, this API among it, in the order given.
    pub(crate) fn new(
        served: &[Served],
        image: Arc<ImageCell>,
        cluster_id: &str,
        node_id: NodeId,
        kraft_version: KRaftVersion,
    ) -> Self {
        let advertised = served.iter().map(|api| entry(api.key, &api.advertised)).collect();
        let cluster_id = StrBytes::from_string(cluster_id.to_owned());
        Self { advertised, image, cluster_id, node_id, kraft_version, features: None }
    }

    /// On the listener of a controller that can work with `features`.
    pub(crate) fn of_controller(self, features: Vec<FeatureRange>) -> Self {
        Self { features: Some(features), ..self }
    }
}

impl Handler for ApiVersions {
    type Request = ApiVersionsRequest;
    type Response = ApiVersionsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(&self, ctx: &RequestContext, request: ApiVersionsRequest) -> Reply<ApiVersionsResponse> {
        if names_software(ctx.api_version)
            && !(is_software_name(&request.client_software_name)
                && is_software_name(&request.client_software_version))
        {
            return refused(ErrorCode::INVALID_REQUEST);
        }
        let elsewhere = request.cluster_id.as_ref().is_some_and(|id| *id != self.cluster_id)
            || (request.node_id >= 0 && request.node_id != self.node_id);
        if elsewhere {
            return refused(ErrorCode::REBOOTSTRAP_REQUIRED);
        }
        let response = ApiVersionsResponse::default().with_api_keys(self.advertised.clone());
        let features = names_software(ctx.api_version);
        Reply::Now(if features { self.with_features(response, ctx.api_version) } else { response })
    }
}

impl ApiVersions {
    fn with_features(&self, response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
        let image: &Image = &self.image.load();
        let registered = || image.broker(self.node_id).map_or(&[][..], |broker| &broker.features);
        let supported = self.features.as_deref().unwrap_or_else(registered);
        let supported = supported.iter().filter(|feature| feature.min > 0 || may_say_zero(version));
        let supported = supported.map(|feature| {
            SupportedFeatureKey::default()
                .with_name(StrBytes::from_string(feature.name.to_string()))
                .with_min_version(feature.min)
                .with_max_version(feature.max)
        });
        // At level 0 a feature is off, and not told of.
        let raft = Some((feature::KRAFT_VERSION, (self.kraft_version)())).filter(|(_, level)| *level > 0);
        let finalized = image.features.iter().chain(raft).map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_string(name.to_owned()))
                .with_min_version_level(level)
                .with_max_version_level(level)
        });
        response
            .with_supported_features(supported.collect())
            .with_finalized_features(finalized.collect())
            .with_finalized_features_epoch(image.position.offset)
    }
}

/// The answer to a version we do not know: error 35, and which versions of this API there are. To be encoded as version 0.
pub(crate) fn unsupported(versions: &RangeInclusive<i16>) -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(vec![entry(api::API_VERSIONS, versions)])
}

fn refused(code: ErrorCode) -> Reply<ApiVersionsResponse> {
    Reply::Now(ApiVersionsResponse::default().with_error_code(code.0))
}

fn entry(key: i16, versions: &RangeInclusive<i16>) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(key)
        .with_min_version(*versions.start())
        .with_max_version(*versions.end())
}

/// From version 3 on requests name the client's software and answers carry features.
fn names_software(version: i16) -> bool {
    version >= 3
}

/// From version 4 on a feature's lowest level may be 0.
fn may_say_zero(version: i16) -> bool {
    version >= 4
}

/// Letters and digits; between them also dots and dashes (KIP-511).
fn is_software_name(name: &str) -> bool {
    let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked() {
        for good in ["librdkafka", "apache-kafka-java", "2.15.0", "x", "v1.2-rc.3"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-x", "x-", "a b", "x_y", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_quorums_own_feature_is_told_when_it_is_on() {
        for (level, finalized) in [(0, vec![]), (1, vec![("kraft.version", 1)])] {
            let node = ApiVersions::new(&[], Arc::default(), "c", 1, Arc::new(move || level));
            let request = ApiVersionsRequest::default()
                .with_client_software_name("x".into())
                .with_client_software_version("1".into());
            let answer = crate::api::testing::ask(&node, 4, request).await;
            let told = answer.finalized_features.iter();
            let told: Vec<_> = told.map(|one| (one.name.as_str(), one.max_version_level)).collect();
            assert_eq!(told, finalized);
        }
    }

    #[test]
    fn the_fallback_names_its_own_range_in_version_0() {
        let frame =
            ottla_protocol::encode_response(18, 0, 7, &unsupported(&(0..=5))).expect("version 0 can say it");
        assert_eq!(&frame[..], [0, 0, 0, 16, 0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5]);
    }
}
