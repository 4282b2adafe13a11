//! BrokerHeartbeat: a broker lives, and becomes what it wants to be when it may (KIP-631, KIP-858, KIP-1066).

use ottla_metadata::BrokerRegistration;
use ottla_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use crate::{Turn, partitions::Affected};

/// The level of `metadata.version` (3.3-IV3) from which a registration says that its broker is stopping.
const CONTROLLED_SHUTDOWN: i16 = 7;
/// The level (4.3-IV0) from which it names log dirs that take no new replicas.
const CORDONED: i16 = 30;

/// What a broker is to be after a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Same,
    Fenced,
    Unfenced,
    ShuttingDown,
    ShutDown,
}

impl Turn<'_, '_> {
    pub(crate) fn heartbeat(&mut self, request: &BrokerHeartbeatRequest) -> BrokerHeartbeatResponse {
        let mut response = BrokerHeartbeatResponse::default();
        let id = request.broker_id.0;
        if let Err(code) = self.check_broker_epoch(id, request.broker_epoch) {
            response.error_code = code.0;
            return response;
        }
        let broker = self.image().broker(id).cloned().expect("its epoch was checked");
        self.soft.heard(id, broker.epoch, request.current_metadata_offset, self.ctx.now, self.state);
        response.is_caught_up = request.current_metadata_offset >= broker.epoch;
        let next = self.next_state(&broker, request, response.is_caught_up);
        match next {
            Next::Same => {}
            Next::Fenced => self.put_out(&broker),
            Next::Unfenced => self.unfence(&broker, &request.offline_log_dirs),
            Next::ShuttingDown => self.shut_down(&broker),
            Next::ShutDown => {
                self.put_out(&broker);
                self.soft.forget(id);
            }
        }
        response.should_shut_down = next == Next::ShutDown;
        response.is_fenced = match next {
            Next::Fenced | Next::ShutDown => true,
            Next::Unfenced | Next::ShuttingDown => false,
            Next::Same => broker.fenced,
        };
        self.dirs_failed(&broker, &request.offline_log_dirs, response.is_fenced);
        if let Some(cordoned) = &request.cordoned_log_dirs
            && self.state.level() >= CORDONED
            && differ(broker.cordoned_log_dirs.as_deref(), cordoned)
        {
            self.change_registration(&broker, |change| change.cordoned_log_dirs = Some(cordoned.clone()));
        }
        response
    }

    fn next_state(
        &self,
        broker: &BrokerRegistration,
        request: &BrokerHeartbeatRequest,
        caught_up: bool,
    ) -> Next {
        let id = broker.id;
        if broker.fenced {
            return match (request.want_shut_down, request.want_fence) {
                (true, _) => Next::ShutDown,
                // One that is shutting down comes back by registering anew.
                (false, false) if caught_up && !broker.in_controlled_shutdown => Next::Unfenced,
                _ => Next::Same,
            };
        }
        let leads =
            || self.image().topics.iter().any(|topic| topic.partitions.iter().any(|p| p.leader == id));
        if broker.in_controlled_shutdown {
            let Some(moved_at) = self.soft.moved_at(id) else {
                // Its leaders were moved under another controller: who knows of it is not known here.
                return Next::ShuttingDown;
            };
            let others = self.image().brokers.values().filter(|other| other.is_active());
            let lowest = others.map(|other| self.soft.metadata_offset(other.id)).min();
            return if leads() {
                Next::ShuttingDown
            } else if lowest.is_none_or(|lowest| lowest >= moved_at) {
                Next::ShutDown
            } else {
                Next::Same
            };
        }
        match (request.want_fence, request.want_shut_down) {
            (true, true) => Next::ShutDown,
            (true, false) => Next::Fenced,
            (false, true) if leads() => Next::ShuttingDown,
            (false, true) => Next::ShutDown,
            (false, false) => Next::Same,
        }
    }

    fn put_out(&mut self, broker: &BrokerRegistration) {
        self.fence(broker.id, usize::MAX);
        if !broker.fenced {
            self.set_fenced(broker, true);
        }
    }

    /// Clients may see it, and partitions without a leader may get it.
    fn unfence(&mut self, broker: &BrokerRegistration, offline: &[uuid::Uuid]) {
        let id = broker.id;
        self.set_fenced(broker, false);
        let within = |partition: &ottla_metadata::Partition| {
            !partition.has_leader() && partition.directory_of(id).is_some_and(|dir| !offline.contains(&dir))
        };
        self.change_partitions(&Affected { back: Some(id), ..Affected::which(&within) });
    }

    /// Moves its leaders away and takes it out of the in-sync sets; when the others know, it may go.
    fn shut_down(&mut self, broker: &BrokerRegistration) {
        let id = broker.id;
        if !broker.in_controlled_shutdown && self.state.level() >= CONTROLLED_SHUTDOWN {
            self.change_registration(broker, |change| change.in_controlled_shutdown = 1);
        }
        let before = self.facts.len();
        self.fence(id, usize::MAX);
        if self.facts.len() > before || self.soft.moved_at(id).is_none() {
            let at = self.next_fact_offset() - 1;
            self.soft.set_moved_at(id, Some(at));
        }
    }
}

/// Dirs are a set; naming none where none was named says nothing new.
fn differ(known: Option<&[uuid::Uuid]>, told: &[uuid::Uuid]) -> bool {
    let sorted = |dirs: &[uuid::Uuid]| {
        let mut dirs = dirs.to_vec();
        dirs.sort_unstable();
        dirs
    };
    known.is_none_or(|known| sorted(known) != sorted(told))
}
