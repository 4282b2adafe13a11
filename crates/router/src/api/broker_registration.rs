//! BrokerRegistration (62), versions 0–4 (KIP-631, KIP-858, KIP-903).
//!
//! A broker starts. It gets the epoch that fences its earlier lives. Versions: 2 log dirs; 3 and 4 the epoch it had when it
//! stopped cleanly.
//!
//! A broker that was killed and started again at once would be taken for a second one until the session of the first is
//! over. But when it comes with the same log dirs, which only one process at a time can have open, to the same place, and
//! the connection is closed over which the first was heard last, then the first is gone.

use std::{ops::RangeInclusive, sync::Arc};

use futures::FutureExt;
use ottla_controller::{Answer, Command, registration_refusal};
use ottla_metadata::ImageCell;
use ottla_protocol::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};
use ottla_types::ErrorCode;
use tracing::warn;

use crate::{
    BrokerConnections, Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct BrokerRegistration {
    controller: Arc<dyn Ask>,
    connections: Arc<dyn BrokerConnections>,
    image: Arc<ImageCell>,
}

impl BrokerRegistration {
    pub(crate) fn new(
        controller: Arc<dyn Ask>,
        connections: Arc<dyn BrokerConnections>,
        image: Arc<ImageCell>,
    ) -> Self {
        Self { controller, connections, image }
    }

    /// The epoch of the process whose place this one takes, when that one is certain to be gone.
    fn gone(&self, request: &BrokerRegistrationRequest) -> Option<i64> {
        let (image, id) = (self.image.load(), request.broker_id.0);
        let before = image.broker(id).filter(|before| before.incarnation_id != request.incarnation_id)?;
        let same_dir = request.log_dirs.iter().any(|dir| before.log_dirs.contains(dir));
        let same_place = request.listeners.iter().all(|here| {
            before.listener(&here.name).is_some_and(|at| *at.host == *here.host && at.port == here.port)
        });
        (same_dir && same_place && !self.connections.is_connected(id)).then_some(before.epoch)
    }
}

impl Handler for BrokerRegistration {
    type Request = BrokerRegistrationRequest;
    type Response = BrokerRegistrationResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: BrokerRegistrationRequest,
    ) -> Reply<BrokerRegistrationResponse> {
        if let Some(epoch) = self.gone(&request) {
            // Taken up before the registration; whether it counted is seen by that one's answer.
            let lost = Command::BrokerLost { id: request.broker_id.0, epoch, since: ctx.now };
            drop(self.controller.ask(ctx, lost));
        }
        let asked = self.controller.ask(ctx, Command::RegisterBroker(request.clone()));
        let (image, from) = (self.image.clone(), ctx.peer.ip());
        let asked = asked.inspect(move |answer| {
            if let Ok(Answer::RegisterBroker(answer)) = answer
                && answer.error_code != ErrorCode::NONE.0
            {
                let why = registration_refusal(&image.load(), &request, ErrorCode(answer.error_code));
                warn!("{why}, which came from {from}");
            }
        });
        relay(asked.boxed(), pick!(RegisterBroker), |error| {
            BrokerRegistrationResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &BrokerRegistrationResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use ottla_metadata::{Fact, Image};
    use ottla_protocol::{
        api,
        messages::{BrokerId, broker_registration_request::Listener},
        persisted::metadata::{RegisterBrokerRecord, register_broker_record::BrokerEndpoint},
    };
    use ottla_types::NodeId;
    use parking_lot::Mutex;
    use uuid::Uuid;

    use super::*;
    use crate::{api::testing::context, ask::Asked};

    #[derive(Default)]
    struct Commands(Mutex<Vec<Command>>);

    impl Ask for Commands {
        fn ask(&self, _: &RequestContext, command: Command) -> Asked {
            self.0.lock().push(command);
            futures::future::pending().boxed()
        }
    }

    struct Connected(bool);

    impl BrokerConnections for Connected {
        fn heartbeat(&self, _: u64, _: NodeId, _: i64) {}

        fn is_connected(&self, _: NodeId) -> bool {
            self.0
        }
    }

    /// Broker 1 is known with log dir 5, at port 9092.
    fn image() -> Arc<ImageCell> {
        let at = BrokerEndpoint::default().with_name("A".into()).with_host("h".into()).with_port(9092);
        let record = RegisterBrokerRecord::default()
            .with_broker_id(1)
            .with_incarnation_id(Uuid::from_u128(1))
            .with_broker_epoch(40)
            .with_end_points(vec![at])
            .with_log_dirs(vec![Uuid::from_u128(5)]);
        let mut image = Image::new();
        image.apply(&Fact::at_level(record, 25));
        let cell = Arc::new(ImageCell::default());
        cell.publish(Arc::new(image));
        cell
    }

    /// Whether the process before is taken for gone.
    fn is_gone(connected: bool, incarnation: u128, dir: u128, port: u16) -> bool {
        let commands = Arc::new(Commands::default());
        let handler = BrokerRegistration::new(commands.clone(), Arc::new(Connected(connected)), image());
        let at = Listener::default().with_name("A".into()).with_host("h".into()).with_port(port);
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(1))
            .with_incarnation_id(Uuid::from_u128(incarnation))
            .with_listeners(vec![at])
            .with_log_dirs(vec![Uuid::from_u128(dir)]);
        drop(handler.handle(&context(api::BROKER_REGISTRATION, 4), request));
        let commands = commands.0.lock();
        assert!(matches!(commands.last(), Some(Command::RegisterBroker(_))));
        matches!(commands.first(), Some(Command::BrokerLost { id: 1, epoch: 40, .. }))
    }

    #[test]
    fn who_comes_back_to_the_same_place_with_the_same_dirs_is_no_second_one() {
        assert!(is_gone(false, 2, 5, 9092));
        assert!(!is_gone(true, 2, 5, 9092), "the one before is connected");
        assert!(!is_gone(false, 1, 5, 9092), "it asks again");
        assert!(!is_gone(false, 2, 6, 9092), "a stranger's dirs");
        assert!(!is_gone(false, 2, 5, 9093), "another place");
    }
}
