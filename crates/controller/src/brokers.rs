//! Brokers and controllers: registration, heartbeats, fencing (KIP-500, KIP-631).

use std::collections::BTreeMap;

use ottla_machine::TimerQueue;
use ottla_metadata::{BrokerRegistration, feature};
use ottla_protocol::{
    messages::{
        BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest,
        BrokerRegistrationResponse, ControllerRegistrationRequest, ControllerRegistrationResponse,
        UnregisterBrokerRequest, UnregisterBrokerResponse,
    },
    persisted::metadata::{
        BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord,
        UnregisterBrokerRecord,
        register_broker_record::{BrokerEndpoint, BrokerFeature},
        register_controller_record::{ControllerEndpoint, ControllerFeature},
    },
};
use ottla_types::{ErrorCode, Millis, NodeId, Offset};

use crate::{Command, State, Turn, text, topics::Affected};

/// What is known of a broker from its heartbeats in this term of office.
#[derive(Clone, Copy, Debug)]
struct Contact {
    epoch: i64,
    /// When it was last heard of.
    at: Millis,
    metadata_offset: Offset,
    /// Once its leaders were moved for a shutdown: where others must have got to before it may go.
    moved_at: Option<Offset>,
}

/// Soft state: who was heard of when.
#[derive(Debug)]
pub struct Soft {
    activated: bool,
    now: Millis,
    contacts: BTreeMap<NodeId, Contact>,
    sessions: TimerQueue<NodeId>,
}

impl Soft {
    pub(crate) fn new(state: &State, now: Millis) -> Self {
        let mut sessions = TimerQueue::default();
        for broker in state.image.alive_brokers() {
            // Nobody can have reached this leader before: everyone has a whole session to do it.
            sessions.set(broker.id, now.plus(state.settings.broker_session_timeout_ms));
        }
        Self { activated: false, now, contacts: BTreeMap::new(), sessions }
    }

    pub(crate) fn deadline(&self) -> Option<Millis> {
        if self.activated { self.sessions.deadline() } else { Some(self.now) }
    }

    pub(crate) fn due(&mut self, state: &State, now: Millis) -> Vec<Command> {
        let mut commands = Vec::new();
        if !std::mem::replace(&mut self.activated, true) {
            commands.push(Command::Activate);
        }
        while let Some(id) = self.sessions.pop_due(now) {
            if state.image.broker(id).is_some_and(|broker| !broker.fenced) {
                commands.push(Command::FenceStale(id));
            }
        }
        commands
    }

    fn has_session(&self, id: NodeId, epoch: i64) -> bool {
        self.sessions.get(&id).is_some()
            && self.contacts.get(&id).is_some_and(|contact| contact.epoch == epoch)
    }
}

impl Turn<'_, '_> {
    /// Whether a request comes from the broker as it is registered now.
    pub(crate) fn check_broker_epoch(&self, id: NodeId, epoch: i64) -> Result<(), ErrorCode> {
        match self.image().broker(id) {
            None => Err(ErrorCode::BROKER_ID_NOT_REGISTERED),
            Some(broker) if broker.epoch != epoch => Err(ErrorCode::STALE_BROKER_EPOCH),
            Some(_) => Ok(()),
        }
    }

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
        if id < 0 || request.listeners.is_empty() || has_duplicates(&request.log_dirs) {
            return Err(ErrorCode::INVALID_REGISTRATION);
        }
        self.check_features(request)?;
        let existing = self.image().broker(id).cloned();
        let same = existing.as_ref().is_some_and(|old| old.incarnation_id == request.incarnation_id);
        if let Some(old) = &existing
            && !same
            && self.soft.has_session(id, old.epoch)
            && !old.fenced
            && !old.in_controlled_shutdown
        {
            return Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION);
        }
        if let Some(old) = &existing
            && !same
        {
            self.retire(old, request.previous_broker_epoch == old.epoch);
        }
        let epoch = match &existing {
            Some(old) if same => old.epoch,
            _ => self.state.next_offset() + i64::try_from(self.facts.len()).expect("a small number"),
        };
        self.add(registration(request, epoch, existing.filter(|_| same).as_deref()));
        self.soft
            .contacts
            .insert(id, Contact { epoch, at: self.ctx.now, metadata_offset: -1, moved_at: None });
        self.soft.sessions.set(id, self.ctx.now.plus(self.state.settings.broker_session_timeout_ms));
        Ok(epoch)
    }

    /// A broker must be able to work at every finalized level.
    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), ErrorCode> {
        let fits = |name: &str, level: i16| {
            let range = request.features.iter().find(|feature| *feature.name == *name);
            range.is_some_and(|range| {
                (range.min_supported_version..=range.max_supported_version).contains(&level)
            })
        };
        let finalized = self.image().features.iter();
        let unfit = |(name, level): &(&str, i16)| *name != feature::KRAFT_VERSION && !fits(name, *level);
        if finalized.into_iter().any(|finalized| unfit(&finalized)) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        Ok(())
    }

    /// The old incarnation is gone: what it led is given up, and after an unclean end it is not eligible.
    fn retire(&mut self, old: &BrokerRegistration, clean: bool) {
        let id = old.id;
        let alive = |image: &ottla_metadata::Image, node: NodeId| {
            node != id && image.broker(node).is_some_and(|broker| broker.is_active())
        };
        if !clean && self.state.elr_enabled() {
            self.change_partitions(Affected { without: Some(id), unclean: &[id], back: None }, alive);
        } else if !old.fenced {
            self.change_partitions(Affected { without: Some(id), unclean: &[], back: None }, alive);
        }
    }

    pub(crate) fn unregister_broker(
        &mut self,
        request: &UnregisterBrokerRequest,
    ) -> UnregisterBrokerResponse {
        let mut response = UnregisterBrokerResponse::default().with_error_message(None);
        let Some(broker) = self.image().broker(request.broker_id.0).cloned() else {
            response.error_code = ErrorCode::BROKER_ID_NOT_REGISTERED.0;
            response.error_message =
                Some(text(&format!("Broker ID {} is not currently registered", request.broker_id.0)));
            return response;
        };
        self.fence(&broker);
        self.add(UnregisterBrokerRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            ..Default::default()
        });
        self.soft.sessions.cancel(&broker.id);
        self.soft.contacts.remove(&broker.id);
        response
    }

    pub(crate) fn fence_stale(&mut self, id: NodeId) {
        if let Some(broker) = self.image().broker(id).filter(|broker| !broker.fenced).cloned() {
            self.fence(&broker);
            self.change_registration(&broker, |change| change.fenced = 1);
        }
    }

    /// A broker whose connections closed is gone, unless it was heard of after that.
    pub(crate) fn broker_lost(&mut self, id: NodeId, epoch: i64, since: Millis) {
        let heard =
            self.soft.contacts.get(&id).is_some_and(|contact| contact.epoch == epoch && contact.at > since);
        let same = self.image().broker(id).is_some_and(|broker| broker.epoch == epoch);
        if same && !heard {
            self.soft.sessions.cancel(&id);
            self.fence_stale(id);
        }
    }

    fn fence(&mut self, broker: &BrokerRegistration) {
        let id = broker.id;
        self.change_partitions(Affected { without: Some(id), unclean: &[], back: None }, |image, node| {
            node != id && image.broker(node).is_some_and(|broker| broker.is_active())
        });
    }

    fn change_registration(
        &mut self,
        broker: &BrokerRegistration,
        change: impl FnOnce(&mut BrokerRegistrationChangeRecord),
    ) {
        let mut record = BrokerRegistrationChangeRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            ..Default::default()
        };
        change(&mut record);
        self.add(record);
    }

    pub(crate) fn heartbeat(&mut self, request: &BrokerHeartbeatRequest) -> BrokerHeartbeatResponse {
        let mut response = BrokerHeartbeatResponse::default();
        let id = request.broker_id.0;
        if let Err(code) = self.check_broker_epoch(id, request.broker_epoch) {
            response.error_code = code.0;
            return response;
        }
        let broker = self.image().broker(id).cloned().expect("its epoch was checked");
        let moved_at = self.soft.contacts.get(&id).and_then(|contact| contact.moved_at);
        let contact = Contact {
            epoch: broker.epoch,
            at: self.ctx.now,
            metadata_offset: request.current_metadata_offset,
            moved_at,
        };
        self.soft.contacts.insert(id, contact);
        self.soft.sessions.set(id, self.ctx.now.plus(self.state.settings.broker_session_timeout_ms));
        if let Some(cordoned) = &request.cordoned_log_dirs
            && broker.cordoned_log_dirs.as_ref() != Some(cordoned)
        {
            self.change_registration(&broker, |change| change.cordoned_log_dirs = Some(cordoned.clone()));
        }
        response.is_caught_up = request.current_metadata_offset >= broker.epoch;
        response.is_fenced = broker.fenced;
        self.next_state(&broker, request, &mut response);
        response
    }

    /// Fenced, unfenced, shutting down, free to go.
    fn next_state(
        &mut self,
        broker: &BrokerRegistration,
        request: &BrokerHeartbeatRequest,
        response: &mut BrokerHeartbeatResponse,
    ) {
        if broker.fenced {
            if request.want_shut_down {
                response.should_shut_down = true;
            } else if !request.want_fence && !broker.in_controlled_shutdown && response.is_caught_up {
                // One that is shutting down comes back by registering anew.
                self.unfence(broker);
                response.is_fenced = false;
            }
        } else if request.want_shut_down {
            self.shut_down(broker, response);
        } else if request.want_fence {
            self.fence(broker);
            self.change_registration(broker, |change| change.fenced = 1);
            response.is_fenced = true;
        }
    }

    fn unfence(&mut self, broker: &BrokerRegistration) {
        let id = broker.id;
        self.change_registration(broker, |change| change.fenced = -1);
        self.change_partitions(Affected { without: None, unclean: &[], back: Some(id) }, |image, node| {
            node == id || image.broker(node).is_some_and(|broker| broker.is_active())
        });
    }

    /// Moves its leaders away; lets it go once there are none and the others know.
    fn shut_down(&mut self, broker: &BrokerRegistration, response: &mut BrokerHeartbeatResponse) {
        let id = broker.id;
        if !broker.in_controlled_shutdown {
            self.change_registration(broker, |change| change.in_controlled_shutdown = 1);
            self.fence(broker);
            let at = self.state.next_offset() + i64::try_from(self.facts.len()).expect("a small number") - 1;
            if let Some(contact) = self.soft.contacts.get_mut(&id) {
                contact.moved_at = Some(at);
            }
            return;
        }
        let leads = self.image().topics.iter().any(|topic| topic.partitions.iter().any(|p| p.leader == id));
        let moved_at = self.soft.contacts.get(&id).and_then(|contact| contact.moved_at).unwrap_or(-1);
        let others = self.image().brokers.values().filter(|other| other.is_active() && other.id != id);
        let lowest = others
            .map(|other| self.soft.contacts.get(&other.id).map_or(-1, |contact| contact.metadata_offset))
            .min();
        if leads {
            self.fence(broker);
        } else if lowest.is_none_or(|lowest| lowest >= moved_at) {
            self.change_registration(broker, |change| change.fenced = 1);
            response.is_fenced = true;
            response.should_shut_down = true;
        }
    }

    pub(crate) fn register_controller(
        &mut self,
        request: &ControllerRegistrationRequest,
    ) -> ControllerRegistrationResponse {
        let end_points = request.listeners.iter().map(|at| ControllerEndpoint {
            name: at.name.clone(),
            host: at.host.clone(),
            port: at.port,
            security_protocol: at.security_protocol,
            ..Default::default()
        });
        let features = request.features.iter().map(|feature| ControllerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..Default::default()
        });
        self.add(RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: request.zk_migration_ready,
            end_points: end_points.collect(),
            features: features.collect(),
            ..Default::default()
        });
        ControllerRegistrationResponse::default()
    }
}

fn has_duplicates(ids: &[uuid::Uuid]) -> bool {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}

fn registration(
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
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: same.and_then(|old| old.cordoned_log_dirs.clone()),
        ..Default::default()
    }
}
