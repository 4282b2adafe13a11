//! BrokerRegistration: a broker starts.

use ottla_metadata::{BrokerRegistration, feature};
use ottla_protocol::{
    messages::{BrokerRegistrationRequest, BrokerRegistrationResponse},
    persisted::metadata::{
        RegisterBrokerRecord,
        register_broker_record::{BrokerEndpoint, BrokerFeature},
    },
};
use ottla_types::{ErrorCode, NodeId};

use crate::{Turn, directories::is_reserved, leadership::DIRECTORIES, partitions::Affected};

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
        self.check_features(request)?;
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

    /// A broker must be able to work at every finalized level.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), ErrorCode> {
        let level = |name: &str| self.image().feature_level(name);
        let within = |feature: &ottla_protocol::messages::broker_registration_request::Feature| {
            (feature.min_supported_version..=feature.max_supported_version).contains(&level(&feature.name))
        };
        // Raft's own feature is not recorded here: a level of 0 would say nothing.
        let counts = |name: &str| name != feature::KRAFT_VERSION;
        if request.features.iter().any(|feature| counts(&feature.name) && !within(feature)) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let named = |name: &str| request.features.iter().any(|feature| *feature.name == *name);
        if !named(feature::METADATA_VERSION) {
            return Err(ErrorCode::INVALID_REGISTRATION);
        }
        if self.image().features.iter().any(|(name, _)| counts(name) && !named(name)) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
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
