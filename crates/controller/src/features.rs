//! UpdateFeatures: finalized levels go up, and down where nothing is lost by it (KIP-584, KIP-778, KIP-1022).

use std::collections::BTreeMap;

use ottla_metadata::{ConfigResource, Fact, FeatureRange, ResourceType, feature};
use ottla_protocol::{
    messages::{
        UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_response::UpdatableFeatureResult,
    },
    persisted::metadata::{ConfigRecord, FeatureLevelRecord},
};
use ottla_types::{ApiError, ErrorCode};

use crate::{
    LATEST, RELEASES, Release, Turn, bootstrap::MIN_ISR, controllers::REGISTRATIONS,
    settings::supported_features, text,
};

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

/// What eligible leader replicas need of `metadata.version`.
pub const ELR_NEEDS: (i16, &str) = (23, "4.0-IV1");

impl Turn<'_, '_> {
    pub(crate) fn update_features(
        &mut self,
        request: &UpdateFeaturesRequest,
        kraft_version: i16,
    ) -> UpdateFeaturesResponse {
        let mut response = UpdateFeaturesResponse::default().with_error_message(None);
        let mut proposed: BTreeMap<&str, i16> = self.state.image.features.iter().collect();
        let updates = request.feature_updates.iter();
        proposed.extend(updates.map(|update| (update.feature.as_str(), update.max_version_level)));
        let mut facts = Vec::new();
        for update in &request.feature_updates {
            let level = update.max_version_level;
            let is_raft = *update.feature == *feature::KRAFT_VERSION;
            let refused = if is_raft {
                let change = (level, update.upgrade_type);
                self.update_kraft_version(change, kraft_version, request.validate_only)
            } else {
                self.update_feature(&update.feature, level, update.upgrade_type, &proposed)
            };
            if let Err(error) = refused {
                let why = error.message.as_deref().unwrap_or_default();
                let why = format!(
                    "The update failed for all features since the following feature had an error: {why}"
                );
                return response.with_error_code(error.code.0).with_error_message(Some(text(&why)));
            }
            // Raft keeps the level of its own feature.
            if !is_raft {
                let name = update.feature.clone();
                let record = FeatureLevelRecord { name, feature_level: level, ..Default::default() };
                facts.push(self.state.fact(record));
            }
        }
        let elr = |name: &str, level: i16| *name == *feature::ELIGIBLE_LEADER_REPLICAS_VERSION && level > 0;
        if request.feature_updates.iter().any(|update| elr(&update.feature, update.max_version_level)) {
            let mut pinned = self.pin_minimum();
            pinned.append(&mut facts);
            facts = pinned;
        }
        if !request.validate_only {
            self.facts.append(&mut facts);
        }
        let done = |update: &ottla_protocol::messages::update_features_request::FeatureUpdateKey| {
            // Kafka's words for success.
            UpdatableFeatureResult::default()
                .with_feature(update.feature.clone())
                .with_error_message(Some(text("NONE")))
        };
        response.results = request.feature_updates.iter().map(done).collect();
        response
    }

    /// What holds for every feature.
    fn check_update(&self, name: &str, level: i16, upgrade_type: i8, current: i16) -> Result<(), ApiError> {
        let refuse = |why: &str| refused(name, level, why);
        if ![UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE].contains(&upgrade_type) {
            return refuse("The controller does not support the given upgrade type.");
        }
        if level < 0 {
            return refuse("A feature version cannot be less than 0.");
        }
        if let Some(why) = self.not_supported(name, level) {
            return refuse(&why);
        }
        if level < current && upgrade_type == UPGRADE {
            return refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                 unsafe downgrade.",
            );
        }
        if level > current && upgrade_type != UPGRADE {
            return refuse("Can't downgrade to a newer version.");
        }
        Ok(())
    }

    /// The level is raft's to change, and it goes up only.
    fn update_kraft_version(
        &self,
        (level, upgrade_type): (i16, i8),
        current: i16,
        validate_only: bool,
    ) -> Result<(), ApiError> {
        self.check_update(feature::KRAFT_VERSION, level, upgrade_type, current)?;
        if level < current {
            return refused(feature::KRAFT_VERSION, level, "Can't downgrade the version of this feature.");
        }
        if level > current && !validate_only {
            // Whoever asked did not know that the quorum is here: asked again it has raft do it.
            let why = "The quorum's own version has not changed yet.";
            return Err(ApiError::new(ErrorCode::NOT_CONTROLLER, why));
        }
        Ok(())
    }

    fn update_feature(
        &self,
        name: &str,
        level: i16,
        upgrade_type: i8,
        proposed: &BTreeMap<&str, i16>,
    ) -> Result<(), ApiError> {
        let refuse = |why: &str| refused(name, level, why);
        let current = self.image().feature_level(name);
        self.check_update(name, level, upgrade_type, current)?;
        if *name == *feature::METADATA_VERSION {
            return check_metadata_version(current, level, upgrade_type == UNSAFE_DOWNGRADE);
        }
        if supported_features().iter().all(|known| *known.name != *name) {
            return refuse(&format!("Feature {name} not found."));
        }
        let (needed, needed_name) = ELR_NEEDS;
        if *name == *feature::ELIGIBLE_LEADER_REPLICAS_VERSION
            && level > 0
            && proposed.get(feature::METADATA_VERSION).is_none_or(|level| *level < needed)
        {
            return refuse(&format!(
                "{name} could not be set to {level} because it depends on metadata.version={needed} ({needed_name})"
            ));
        }
        Ok(())
    }

    /// Which node cannot work at this level.
    fn not_supported(&self, name: &str, level: i16) -> Option<String> {
        let own = self.state.settings.node_id;
        if let Some(why) = reason(&format!("Local controller {own}"), &supported_features(), name, level) {
            return Some(why);
        }
        let brokers = self.image().brokers.values();
        let broker = brokers.map(|it| reason(&format!("Broker {}", it.id), &it.features, name, level));
        let broker = broker.flatten().next();
        if broker.is_some() || self.state.level() < REGISTRATIONS {
            return broker;
        }
        let controllers = self.image().controllers.values().filter(|it| it.id != own);
        let controller =
            controllers.map(|it| reason(&format!("Controller {}", it.id), &it.features, name, level));
        controller.flatten().next().or_else(|| self.not_registered())
    }

    /// A static voter that nobody knows yet: nor what it supports.
    fn not_registered(&self) -> Option<String> {
        let voters = self.state.layers().list("controller.quorum.voters");
        let mut ids = voters.iter().filter_map(|voter| voter.split_once('@')?.0.trim().parse::<i32>().ok());
        let own = self.state.settings.node_id;
        let unknown = ids.find(|id| *id != own && !self.image().controllers.contains_key(id))?;
        Some(format!("controller {unknown} has not registered, and may not support this feature"))
    }

    /// With eligible leader replicas the minimum must be the same on all brokers.
    fn pin_minimum(&self) -> Vec<Fact> {
        let configs = &self.image().configs;
        let record = |resource: &str, value: Option<String>| {
            self.state.fact(ConfigRecord {
                resource_type: ResourceType::BROKER.0,
                resource_name: text(resource),
                name: text(MIN_ISR),
                value: value.as_deref().map(text),
                ..Default::default()
            })
        };
        let mut facts = Vec::new();
        if !configs.broker_default().contains_key(MIN_ISR) {
            let fixed = self.state.settings.config.clone();
            let layers = ottla_config::Layers::new(fixed, BTreeMap::new(), BTreeMap::new());
            facts.push(record("", Some(layers.int(MIN_ISR).to_string())));
        }
        let of_one =
            |resource: &ConfigResource| resource.kind == ResourceType::BROKER && !resource.name.is_empty();
        let set =
            configs.iter().filter(|(resource, values)| of_one(resource) && values.contains_key(MIN_ISR));
        facts.extend(set.map(|(resource, _)| record(&resource.name, None)));
        facts
    }
}

fn refused(name: &str, level: i16, why: &str) -> Result<(), ApiError> {
    let why = format!("Invalid update version {level} for feature {name}. {why}");
    Err(ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, why))
}

fn reason(who: &str, features: &[FeatureRange], name: &str, level: i16) -> Option<String> {
    let range = features.iter().find(|range| *range.name == *name);
    let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
    if (min..=max).contains(&level) {
        return None;
    }
    Some(match max {
        0 => format!("{who} does not support this feature."),
        max if max == min => format!("{who} only supports versions {min}"),
        max => format!("{who} only supports versions {min}-{max}"),
    })
}

/// Down only over levels that brought nothing into the log.
fn check_metadata_version(current: i16, level: i16, unsafely: bool) -> Result<(), ApiError> {
    let refuse = |why: String| Err(ApiError::new(ErrorCode::INVALID_UPDATE_VERSION, why));
    let Some(release) = Release::of_level(level) else {
        return refuse(format!(
            "Invalid metadata.version {level}. Valid versions are from {} to {}.",
            RELEASES[0].level, LATEST.level
        ));
    };
    if !release.reachable_from(current) {
        let why = if unsafely {
            "Unsafe metadata downgrade is not supported in this version."
        } else {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        };
        return refuse(format!("Unsupported metadata.version downgrade from {current} to {level}. {why}"));
    }
    Ok(())
}
