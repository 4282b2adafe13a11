//! Brokers: who is registered, who lives, who is fenced (KIP-500, KIP-631, KIP-841, KIP-966).

mod heartbeat;
mod refusal;
mod registration;
mod soft;

use ottla_metadata::BrokerRegistration;
use ottla_protocol::{
    messages::{UnregisterBrokerRequest, UnregisterBrokerResponse},
    persisted::metadata::{
        BrokerRegistrationChangeRecord, FenceBrokerRecord, UnfenceBrokerRecord, UnregisterBrokerRecord,
    },
};
use ottla_types::{ErrorCode, Millis, NodeId};

pub use refusal::registration_refusal;
pub use registration::check_features;
pub use soft::Soft;
pub(crate) use soft::Timer;

use crate::{Turn, partitions::Affected, text};

/// Partitions that leave a broker in one decision when nobody waits for it: as many records as Kafka puts in a batch.
const AT_ONCE: usize = 10_000;
/// The level of `metadata.version` (3.3-IV2) from which fencing is a change of the registration.
const REGISTRATION_CHANGES: i16 = 6;

impl Turn<'_, '_> {
    /// Whether a request comes from the broker as it is registered now.
    pub(crate) fn check_broker_epoch(&self, id: NodeId, epoch: i64) -> Result<(), ErrorCode> {
        match self.image().broker(id) {
            Some(broker) if broker.epoch == epoch => Ok(()),
            // One that was unregistered has to register anew, as one whose place was taken.
            _ => Err(ErrorCode::STALE_BROKER_EPOCH),
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
        self.fence(broker.id, usize::MAX);
        self.add(UnregisterBrokerRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            ..Default::default()
        });
        self.soft.forget(broker.id);
        response
    }

    /// A broker was not heard of for too long. What it has to give up may take several decisions.
    pub(crate) fn fence_stale(&mut self, id: NodeId) {
        let Some(broker) = self.image().broker(id).filter(|broker| !broker.fenced).cloned() else { return };
        if self.soft.has_session(id, broker.epoch) {
            // It was heard of while its fencing was under way.
            return;
        }
        if self.fence(id, AT_ONCE) {
            self.soft.timers.set(Timer::Session(id), self.ctx.now);
        } else {
            self.set_fenced(&broker, true);
        }
    }

    /// A broker whose connections closed is gone, unless it was heard of after that.
    pub(crate) fn broker_lost(&mut self, id: NodeId, epoch: i64, since: Millis) {
        if self.check_broker_epoch(id, epoch).is_ok() && !self.soft.heard_after(id, epoch, since) {
            self.soft.timers.cancel(&Timer::Session(id));
            self.fence_stale(id);
        }
    }

    /// Takes a broker's leaders and its places in in-sync sets. Whether there is more to take than `limit`.
    fn fence(&mut self, id: NodeId, limit: usize) -> bool {
        let within =
            |partition: &ottla_metadata::Partition| partition.is_in_sync(id) || partition.leader == id;
        self.change_partitions(&Affected { without: Some(id), limit, ..Affected::which(&within) })
    }

    fn set_fenced(&mut self, broker: &BrokerRegistration, fenced: bool) {
        let (id, epoch) = (broker.id, broker.epoch);
        if self.state.level() >= REGISTRATION_CHANGES {
            self.change_registration(broker, |change| change.fenced = if fenced { 1 } else { -1 });
        } else if fenced {
            self.add(FenceBrokerRecord { id, epoch, ..Default::default() });
        } else {
            self.add(UnfenceBrokerRecord { id, epoch, ..Default::default() });
        }
    }

    pub(crate) fn change_registration(
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
}
