//! UpdateFeatures (57), versions 0–2 (KIP-584, KIP-778, KIP-1022).
//!
//! Raises or lowers finalized features. Versions: 1 tries only (`validate_only`) and says how far a downgrade may go; 2 has
//! no results per feature.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_metadata::feature;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_types::ErrorCode;

use super::text::said;
use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

const UPGRADE: i8 = 1;

pub(crate) struct UpdateFeatures {
    controller: Arc<dyn Ask>,
}

impl UpdateFeatures {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    type Response = UpdateFeaturesResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(&self, ctx: &RequestContext, request: UpdateFeaturesRequest) -> Reply<UpdateFeaturesResponse> {
        let mut request = request;
        // Raft keeps its own feature; the controller knows nothing of its level.
        let level = self.controller.kraft_version();
        request.feature_updates.retain(|update| {
            let raft = *update.feature == *feature::KRAFT_VERSION && update.upgrade_type == UPGRADE;
            let already = raft && level > 0 && update.max_version_level == level;
            !(already && has_no_results(ctx.api_version))
        });
        let asked = self.controller.ask(ctx, Command::UpdateFeatures(request));
        relay(asked, pick!(UpdateFeatures), |error| {
            UpdateFeaturesResponse::default().with_error_code(error.code.0).with_error_message(said(&error))
        })
    }

    fn says_not_controller(answer: &UpdateFeaturesResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}

/// From version 2 on nothing is said per feature.
fn has_no_results(version: i16) -> bool {
    version >= 2
}
