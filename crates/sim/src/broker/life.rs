//! A broker's life: registered, kept alive by heartbeats, shut down in an orderly way.

use ottla_controller::{Answer, Command, supported_features};
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest,
        broker_registration_request as registration,
    },
};
use ottla_types::{ErrorCode, NodeId};

use super::{Asked, Broker, REQUEST_TIMEOUT_MS};
use crate::{
    Fault,
    env::{Env, Note},
    message::Message,
};

/// The name of every simulated cluster.
pub(crate) const CLUSTER: &str = "simulated";
/// Between heartbeats.
const HEARTBEAT_MS: i64 = 150;

/// Where a broker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Registering,
    Running,
    /// Asks until it may go.
    Leaving,
}

pub(crate) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

impl Broker {
    /// Begins a controlled shutdown.
    pub(crate) fn leave(&mut self, env: &mut Env<'_>) {
        if self.life == Life::Running {
            self.life = Life::Leaving;
            self.next_heartbeat = env.now;
        }
    }

    pub(super) fn ask_controller(&mut self, env: &mut Env<'_>) {
        if self.asked.as_ref().is_some_and(|asked| asked.deadline <= env.now) {
            self.asked = None;
            self.try_another(env, None);
        }
        if self.asked.is_some() || self.next_heartbeat > env.now {
            return;
        }
        let command = match self.life {
            Life::Registering => Command::RegisterBroker(self.registration(env)),
            Life::Running | Life::Leaving => Command::BrokerHeartbeat(
                BrokerHeartbeatRequest::default()
                    .with_broker_id(BrokerId(self.id))
                    .with_broker_epoch(self.epoch)
                    .with_current_metadata_offset(self.image.position.offset)
                    .with_want_shut_down(self.life == Life::Leaving),
            ),
        };
        let id = env.id();
        env.send(self.hint, Message::Command { id, command: Box::new(command) });
        self.asked = Some(Asked { id, deadline: env.now.plus(REQUEST_TIMEOUT_MS) });
    }

    fn registration(&self, env: &Env<'_>) -> BrokerRegistrationRequest {
        let features = supported_features().into_iter().map(|feature| {
            registration::Feature::default()
                .with_name(text(&feature.name))
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        });
        let listener =
            registration::Listener::default().with_name(text("PLAINTEXT")).with_host(text("simulated"));
        let claims = env.has(Fault::ClaimCleanShutdown) || env.has(Fault::IgnoreBrokerEpochs);
        let known = self.feed.broker(self.id).map_or(-1, |broker| broker.epoch);
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(self.id))
            .with_cluster_id(text(CLUSTER))
            .with_incarnation_id(self.incarnation)
            .with_listeners(vec![listener])
            .with_features(features.collect())
            .with_log_dirs(vec![log_dir(self.id)])
            .with_previous_broker_epoch(if claims { known } else { self.previous_epoch })
    }

    /// The controller that was asked does not answer, or is not the active one.
    pub(super) fn try_another(&mut self, env: &mut Env<'_>, leader: Option<NodeId>) {
        let drawn = self.controllers[env.rng.index(self.controllers.len())];
        self.hint = leader.unwrap_or(drawn);
    }

    pub(super) fn answered(
        &mut self,
        env: &mut Env<'_>,
        id: u64,
        answer: Result<Box<Answer>, Option<NodeId>>,
    ) {
        if self.altering.as_ref().is_some_and(|altering| altering.id == id) {
            return self.altered(env, answer);
        }
        if self.asked.as_ref().is_none_or(|asked| asked.id != id) {
            return;
        }
        self.asked = None;
        self.next_heartbeat = env.now.plus(HEARTBEAT_MS);
        match answer.map(|answer| *answer) {
            Err(leader) => {
                self.try_another(env, leader);
                self.next_heartbeat = env.now.plus(50);
            }
            Ok(Answer::RegisterBroker(answer)) => {
                if answer.error_code == 0 {
                    self.epoch = answer.broker_epoch;
                    self.life = Life::Running;
                    self.next_heartbeat = env.now;
                    env.say(|| format!("registered with epoch {}", answer.broker_epoch));
                }
            }
            Ok(Answer::BrokerHeartbeat(answer)) => {
                if answer.error_code != 0 {
                    let code = ErrorCode(answer.error_code);
                    env.say(|| format!("heartbeat refused: {}", code.name()));
                } else if self.life == Life::Leaving && answer.should_shut_down {
                    env.note(Note::Stopped);
                }
            }
            Ok(_) => {}
        }
    }
}

/// The id of a broker's only log dir.
pub(crate) fn log_dir(id: NodeId) -> uuid::Uuid {
    uuid::Uuid::from_u128(0xd1_0000 + u128::from(id.unsigned_abs()))
}
