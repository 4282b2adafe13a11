//! UpdateFeatures (57), versions 0–2 (KIP-584, KIP-778, KIP-853, KIP-1022).
//!
//! Raises or lowers finalized features. Raft keeps `kraft.version`: it goes up first, when the controller finds nothing
//! wrong with the whole request, then the other features change. Versions: 1 tries only (`validate_only`) and says how
//! far a downgrade may go; 2 has no results per feature.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::{Answer, Command};
use ottla_metadata::feature;
use ottla_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_raft::VoterChange;
use ottla_types::{ApiError, ErrorCode};

use super::{text::said, voters};
use crate::{
    Handler, Quorum, Reply, RequestContext,
    ask::{Ask, pick, relay},
    quorum::refusal,
};

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
        let current = self.controller.kraft_version();
        let wanted = wanted(&request).filter(|wanted| *wanted > current);
        if let (Some(wanted), Some(quorum)) = (wanted, self.controller.active()) {
            return Reply::later(async move {
                let updated = upgrade(&*quorum, request, (current, wanted)).await;
                updated.unwrap_or_else(|error| failed(&error))
            });
        }
        let asked = self.controller.ask(ctx, Command::UpdateFeatures(request, current));
        relay(asked, pick!(UpdateFeatures), |error| failed(&error))
    }

    fn says_not_controller(answer: &UpdateFeaturesResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}

fn failed(error: &ApiError) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse::default().with_error_code(error.code.0).with_error_message(said(error))
}

/// The level of `kraft.version` that a request asks for.
fn wanted(request: &UpdateFeaturesRequest) -> Option<i16> {
    let update = request.feature_updates.iter().find(|update| *update.feature == *feature::KRAFT_VERSION);
    update.map(|update| update.max_version_level)
}

/// Raises `kraft.version` and does what else is asked, if nothing speaks against any of it.
async fn upgrade(
    quorum: &dyn Quorum,
    request: UpdateFeaturesRequest,
    (current, wanted): (i16, i16),
) -> Result<UpdateFeaturesResponse, ApiError> {
    let validate_only = request.validate_only;
    let trial = request.clone().with_validate_only(true);
    let would_be = submit(quorum, Command::UpdateFeatures(trial, current)).await?;
    if would_be.error_code != ErrorCode::NONE.0 {
        return Ok(would_be);
    }
    let upgrade = VoterChange::Upgrade { version: wanted, validate_only };
    quorum.change_voters(upgrade).await.map_err(of_all)?;
    if validate_only {
        return Ok(would_be);
    }
    submit(quorum, Command::UpdateFeatures(request, wanted)).await
}

async fn submit(quorum: &dyn Quorum, command: Command) -> Result<UpdateFeaturesResponse, ApiError> {
    match quorum.submit(command).await.map_err(refusal)? {
        Answer::UpdateFeatures(response) => Ok(response),
        _ => unreachable!("an answer is of its command's kind"),
    }
}

/// What raft's refusal of one feature means for the request.
fn of_all(error: ApiError) -> ApiError {
    if voters::is_elsewhere(error.code.0) {
        return ErrorCode::NOT_CONTROLLER.into();
    }
    let why = error.message.as_deref().unwrap_or_default();
    let why = format!("The update failed for all features since the following feature had an error: {why}");
    ApiError::new(error.code, why)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::update_features_request::FeatureUpdateKey;

    use super::*;
    use crate::{
        api::testing::{FakeQuorum, ask},
        ask::Here,
    };

    fn request(level: i16) -> UpdateFeaturesRequest {
        let update = FeatureUpdateKey::default()
            .with_feature(feature::KRAFT_VERSION.into())
            .with_max_version_level(level)
            .with_upgrade_type(1);
        UpdateFeaturesRequest::default().with_feature_updates(vec![update])
    }

    fn node(answers: impl IntoIterator<Item = i16>) -> (UpdateFeatures, Arc<FakeQuorum>) {
        let quorum = FakeQuorum::new(true);
        let answer =
            |code| Ok(Answer::UpdateFeatures(UpdateFeaturesResponse::default().with_error_code(code)));
        quorum.answers.lock().extend(answers.into_iter().map(answer));
        (UpdateFeatures::new(Arc::new(Here(quorum.clone()))), quorum)
    }

    /// Whether each command was a trial, and at which level.
    fn asked(quorum: &FakeQuorum) -> Vec<(bool, i16)> {
        let tell = |command: &Command| match command {
            Command::UpdateFeatures(request, level) => (request.validate_only, *level),
            other => panic!("{other:?}"),
        };
        quorum.asked.lock().iter().map(tell).collect()
    }

    #[tokio::test]
    async fn raft_raises_its_version_before_the_controller_does_the_rest() {
        let (node, quorum) = node([0, 0]);
        assert_eq!(ask(&node, 2, request(1)).await.error_code, 0);
        assert_eq!(asked(&quorum), [(true, 0), (false, 1)]);
        let done = VoterChange::Upgrade { version: 1, validate_only: false };
        assert_eq!(*quorum.changes.lock(), [done]);
    }

    #[tokio::test]
    async fn a_trial_changes_nothing() {
        let (node, quorum) = node([0]);
        assert_eq!(ask(&node, 2, request(1).with_validate_only(true)).await.error_code, 0);
        assert_eq!(asked(&quorum), [(true, 0)]);
        let tried = VoterChange::Upgrade { version: 1, validate_only: true };
        assert_eq!(*quorum.changes.lock(), [tried]);
    }

    #[tokio::test]
    async fn one_refusal_stands_for_all() {
        let (node, quorum) = node([95]);
        assert_eq!(ask(&node, 2, request(7)).await.error_code, 95);
        assert!(quorum.changes.lock().is_empty(), "raft was not asked");
        for (refusal, code) in [(95, 95), (6, ErrorCode::NOT_CONTROLLER.0)] {
            let (node, quorum) = self::node([0]);
            *quorum.refusal.lock() = Some(ApiError::new(ErrorCode(refusal), "why"));
            let answer = ask(&node, 2, request(1)).await;
            assert_eq!(answer.error_code, code);
            assert_eq!(asked(&quorum).len(), 1, "the controller did nothing");
        }
    }

    #[tokio::test]
    async fn what_stands_there_is_asked_of_the_controller_alone() {
        let (node, quorum) = node([0]);
        quorum.status.send_modify(|status| status.kraft_version = 1);
        assert_eq!(ask(&node, 2, request(1)).await.error_code, 0);
        assert_eq!(asked(&quorum), [(false, 1)]);
        assert!(quorum.changes.lock().is_empty());
    }
}
