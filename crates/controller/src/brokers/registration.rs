//! BrokerRegistration: a broker starts.

use ottla_metadata::{BrokerRegistration, Image, feature};
use ottla_protocol::{
    messages::{BrokerRegistrationRequest, BrokerRegistrationResponse},
    persisted::metadata::{
        RegisterBrokerRecord,
        register_broker_record::{BrokerEndpoint, BrokerFeature},
    },
};
use ottla_types::{ApiError, ErrorCode, NodeId};

use crate::{Turn, directories::is_reserved, leadership::DIRECTORIES, partitions::Affected};

/// A broker must be able to work at every finalized level.
///
/// # Errors
/// UNSUPPORTED_VERSION or INVALID_REGISTRATION, and in words what is missing: the answer has no place for them.
pub fn check_features(image: &Image, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
    // Raft's own feature is not recorded here: a level of 0 would say nothing.
    let counts = |name: &str| name != feature::KRAFT_VERSION;
    let refuse = |level: i16, name: &str, wants: String| {
        let why = format!("it does not support finalized version {level} of {name}: {wants}");
        Err(ApiError::new(ErrorCode::UNSUPPORTED_VERSION, why))
    };
    for feature in request.features.iter().filter(|feature| counts(&feature.name)) {
        let (level, min) = (image.feature_level(&feature.name), feature.min_supported_version);
        let max = feature.max_supported_version;
        if !(min..=max).contains(&level) {
            return refuse(level, &feature.name, format!("it wants one between {min} and {max}"));
        }
    }
    let named = |name: &str| request.features.iter().any(|feature| *feature.name == *name);
    if !named(feature::METADATA_VERSION) {
        let why = "it does not say which versions of metadata.version it supports";
        return Err(ApiError::new(ErrorCode::INVALID_REGISTRATION, why));
    }
    match image.features.iter().find(|(name, _)| counts(name) && !named(name)) {
        Some((name, level)) => refuse(level, name, "it does not know this feature".into()),
        None => Ok(()),
    }
}

impl Turn<'_, '_> {
    pub(crate) fn register_broker(
        &mut self,
        request: &BrokerRegistrationRequest,
    ) -> BrokerRegistrationResponse {
        let mut response = BrokerRegistrationResponse::default();
        match self.try_register(request) {
            Ok(epoch) => response.broker_epoch = epoch,
            Err(code) => {
                response.error_code = code.0;
                response.broker_epoch = -1;
            }
        }
        response
    }

    fn try_register(&mut self, request: &BrokerRegistrationRequest) -> Result<i64, ErrorCode> {
        let id = request.broker_id.0;
        if *request.cluster_id != *self.state.settings.cluster_id {
            return Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        let existing = self.image().broker(id).cloned();
        let same = existing.as_ref().filter(|old| old.incarnation_id == request.incarnation_id).cloned();
        if let Some(old) = &existing
            && same.is_none()
            && self.soft.has_session(id, old.epoch)
            && !old.in_controlled_shutdown
        {
            return Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION);
        }
        if request.is_migrating_zk_broker {
            return Err(ErrorCode::BROKER_ID_NOT_REGISTERED);
        }
        if id < 0 || request.listeners.is_empty() {
            return Err(ErrorCode::INVALID_REGISTRATION);
        }
        self.check_dirs(request)?;
        check_features(self.image(), request).map_err(|error| error.code)?;
        if same.is_none() {
            let previous = existing.as_ref().map(|old| old.epoch);
            self.retire(id, previous == Some(request.previous_broker_epoch));
        }
        let epoch = match &same {
            Some(old) => old.epoch,
            None => self.next_fact_offset(),
        };
        let record = self.registration(request, epoch, same.as_deref());
        self.add(record);
        self.soft.registered(id, epoch, self.ctx.now, self.state);
        Ok(epoch)
    }

    /// A log dir belongs to one broker, and has an id of its own.
    fn check_dirs(&self, request: &BrokerRegistrationRequest) -> Result<(), ErrorCode> {
        let dirs = &request.log_dirs;
        if self.state.level() < DIRECTORIES {
            return Ok(());
        }
        let mut sorted = dirs.clone();
        sorted.sort_unstable();
        let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
        let others = self.image().brokers.values().filter(|broker| broker.id != request.broker_id.0);
        let foreign = others.flat_map(|broker| &broker.log_dirs).any(|dir| dirs.contains(dir));
        if dirs.is_empty() || dirs.iter().any(|dir| is_reserved(*dir)) || twice || foreign {
            return Err(ErrorCode::INVALID_REGISTRATION);
        }
        Ok(())
    }

    /// The old incarnation is gone: what it led is given up, and after an unclean end it is not eligible.
    fn retire(&mut self, id: NodeId, clean: bool) {
        let unclean = !clean && self.state.elr_enabled();
        let within = |partition: &ottla_metadata::Partition| {
            partition.is_in_sync(id) || partition.leader == id || (unclean && partition.elr.contains(&id))
        };
        self.change_partitions(&Affected { without: Some(id), unclean, ..Affected::which(&within) });
    }

    fn registration(
        &self,
        request: &BrokerRegistrationRequest,
        epoch: i64,
        same: Option<&BrokerRegistration>,
    ) -> RegisterBrokerRecord {
        let end_points = request.listeners.iter().map(|at| BrokerEndpoint {
            name: at.name.clone(),
            host: at.host.clone(),
            port: at.port,
            security_protocol: at.security_protocol,
            ..Default::default()
        });
        let features = request.features.iter().map(|feature| BrokerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..Default::default()
        });
        let dirs = self.state.level() >= DIRECTORIES;
        RegisterBrokerRecord {
            broker_id: request.broker_id.0,
            incarnation_id: request.incarnation_id,
            broker_epoch: epoch,
            end_points: end_points.collect(),
            features: features.collect(),
            rack: request.rack.clone(),
            // A retry of the same start keeps what it has reached; a new start begins fenced.
            fenced: same.is_none_or(|old| old.fenced),
            in_controlled_shutdown: same.is_some_and(|old| old.in_controlled_shutdown),
            log_dirs: if dirs { request.log_dirs.clone() } else { Vec::new() },
            cordoned_log_dirs: same.and_then(|old| old.cordoned_log_dirs.clone()),
            ..Default::default()
        }
    }

    /// The offset of the next fact of this decision.
    pub(crate) fn next_fact_offset(&self) -> i64 {
        self.state.next_offset() + i64::try_from(self.facts.len()).expect("a small number")
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::Fact;
    use ottla_protocol::{
        messages::broker_registration_request::Feature, persisted::metadata::FeatureLevelRecord,
    };

    use super::*;

    fn refusal(finalized: &[(&str, i16)], supported: &[(&str, i16, i16)]) -> Option<(ErrorCode, String)> {
        let mut image = Image::new();
        for (name, feature_level) in finalized {
            let name = name.to_string().into();
            let record = FeatureLevelRecord { name, feature_level: *feature_level, ..Default::default() };
            image.apply(&Fact::at_level(record, 30));
        }
        let feature = |(name, min, max): &(&str, i16, i16)| {
            let name = ottla_protocol::StrBytes::from_string((*name).to_owned());
            Feature::default()
                .with_name(name)
                .with_min_supported_version(*min)
                .with_max_supported_version(*max)
        };
        let request =
            BrokerRegistrationRequest::default().with_features(supported.iter().map(feature).collect());
        let error = check_features(&image, &request).err()?;
        Some((error.code, error.message.unwrap_or_default().into_owned()))
    }

    #[test]
    fn a_broker_that_cannot_work_at_a_finalized_level_is_refused_in_words() {
        let mv = feature::METADATA_VERSION;
        let old = (mv, 7, 30);
        assert_eq!(refusal(&[(mv, 30)], &[old, ("kraft.version", 0, 1), ("share.version", 0, 1)]), None);
        let words =
            "it does not support finalized version 33 of metadata.version: it wants one between 7 and 30";
        assert_eq!(refusal(&[(mv, 33)], &[old]), Some((ErrorCode::UNSUPPORTED_VERSION, words.into())));
        let words = "it does not support finalized version 1 of group.version: it does not know this feature";
        let unknown = refusal(&[(mv, 30), ("group.version", 1)], &[old]);
        assert_eq!(unknown, Some((ErrorCode::UNSUPPORTED_VERSION, words.into())));
        let words = "it does not say which versions of metadata.version it supports";
        let nothing = refusal(&[(mv, 30)], &[("group.version", 0, 1)]);
        assert_eq!(nothing, Some((ErrorCode::INVALID_REGISTRATION, words.into())));
    }
}
