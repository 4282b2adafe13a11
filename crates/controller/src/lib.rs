//! What the cluster shall become: commands in, facts and answers out. Pure: no I/O, no clock, no chance of its own.
//!
//! [`Controller`] is a replicated machine. Its hard state is the metadata [`Image`] (with the constants of this node
//! beside it); its soft state is who was heard of when. Commands carry requests as they came over the wire, answers the
//! responses. One module per concern: `brokers` (registration, heartbeats, fencing), `controllers`, `topics` (create,
//! delete, grow), `placement` (which brokers get a partition), `leadership` (what a change makes of a partition),
//! `partitions` (all partitions that an event touches), `alter_partition` (leaders report in-sync sets), `elections`
//! (asked for and by themselves), `reassign`, `directories`, `configs`, `features`, `producer_ids`, `bootstrap`.

mod alter_partition;
mod bootstrap;
mod brokers;
mod command;
mod configs;
mod controllers;
mod directories;
mod elections;
mod features;
mod leadership;
mod partitions;
mod placement;
mod producer_ids;
mod reassign;
mod releases;
mod settings;
mod topics;

use ottla_machine::{Ctx, Decision, Machine, Token};
use ottla_metadata::{Fact, Image, feature};
use ottla_protocol::{StrBytes, persisted::metadata::MetadataRecord};
use ottla_types::{LeaderEpoch, Millis, Offset};
use std::sync::Arc;

pub use brokers::{Soft, check_features, registration_refusal};
pub use command::{Answer, Command};
pub use configs::operate;
pub use features::ELR_NEEDS;
pub use placement::{Place, Spot, place};
pub use producer_ids::BLOCK_LEN as PRODUCER_ID_BLOCK_LEN;
pub use reassign::list_reassignments;
pub use releases::{LATEST, RELEASES, Release};
pub use settings::{Settings, bootstrap_features, supported_features};
pub use topics::{LARGEST_REQUEST as MAX_PARTITIONS_PER_REQUEST, check_topic_name};

/// Hard state: what the log says, and what this node was started with.
#[derive(Clone, Debug)]
pub struct State {
    /// What the log says.
    pub image: Image,
    /// What this node was started with.
    pub settings: Arc<Settings>,
}

impl State {
    /// The state before the first fact.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { image: Image::new(), settings }
    }

    /// The state before the first fact, on the same node.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::new(Arc::clone(&self.settings))
    }

    /// Says how far the log was applied, after facts were applied that have no place in it: a snapshot's.
    pub fn place(&mut self, next: Offset, epoch: LeaderEpoch) {
        self.image.position.offset = next - 1;
        self.image.position.epoch = epoch;
    }

    /// The facts that give this state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Fact> {
        self.image.snapshot()
    }

    /// The offset the first fact of a decision made on this state will have.
    fn next_offset(&self) -> Offset {
        self.image.position.offset + 1
    }

    fn fact(&self, record: impl Into<MetadataRecord>) -> Fact {
        Fact::at_level(record, self.image.feature_level(feature::METADATA_VERSION))
    }

    fn elr_enabled(&self) -> bool {
        self.image.feature_level(feature::ELIGIBLE_LEADER_REPLICAS_VERSION) > 0
    }
}

/// The controller.
#[derive(Debug)]
pub struct Controller;

impl Machine for Controller {
    type State = State;
    type Soft = Soft;
    type Command = Command;
    type Record = Fact;
    type Answer = Answer;

    fn take_office(state: &State, now: Millis) -> Soft {
        Soft::new(state, now)
    }

    fn decide(
        state: &State,
        soft: &mut Soft,
        ctx: &mut Ctx<'_>,
        from: Token,
        command: Command,
    ) -> Decision<Fact, Answer> {
        let mut turn =
            Turn { state, soft, ctx, facts: Vec::new(), touched: partitions::Touched::new(), rules: None };
        let answer = turn.carry_out(command);
        let answers = answer.map(|answer| (from, answer)).into_iter().collect();
        Decision { records: turn.facts, answers }
    }

    fn apply(state: &mut State, record: &Fact) {
        state.image.apply(record);
    }

    fn deadline(soft: &Soft) -> Option<Millis> {
        soft.deadline()
    }

    fn due(state: &State, soft: &mut Soft, now: Millis) -> Vec<Command> {
        soft.due(state, now)
    }
}

/// One decision in the making: what is known, and the facts so far.
struct Turn<'a, 'c> {
    state: &'a State,
    soft: &'a mut Soft,
    ctx: &'a mut Ctx<'c>,
    facts: Vec<Fact>,
    /// Partitions that requests have changed in this decision. Events change each partition once.
    touched: partitions::Touched,
    /// What holds for topics that set nothing of their own, once it was asked for.
    rules: Option<leadership::Rules>,
}

impl Turn<'_, '_> {
    fn add(&mut self, record: impl Into<MetadataRecord>) {
        self.facts.push(self.state.fact(record));
    }

    fn image(&self) -> &Image {
        &self.state.image
    }

    fn carry_out(&mut self, command: Command) -> Option<Answer> {
        Some(match command {
            Command::Activate => {
                self.activate();
                return None;
            }
            Command::FenceStale(broker) => {
                self.fence_stale(broker);
                return None;
            }
            Command::BrokerLost { id, epoch, since } => {
                self.broker_lost(id, epoch, since);
                return None;
            }
            Command::Balance => {
                self.balance();
                return None;
            }
            Command::ElectLeaderless => {
                self.elect_leaderless();
                return None;
            }
            Command::RegisterBroker(request) => Answer::RegisterBroker(self.register_broker(&request)),
            Command::UnregisterBroker(request) => Answer::UnregisterBroker(self.unregister_broker(&request)),
            Command::BrokerHeartbeat(request) => Answer::BrokerHeartbeat(self.heartbeat(&request)),
            Command::RegisterController(request) => {
                Answer::RegisterController(self.register_controller(&request))
            }
            Command::CreateTopics(request) => Answer::CreateTopics(self.create_topics(&request)),
            Command::DeleteTopics(request) => Answer::DeleteTopics(self.delete_topics(&request)),
            Command::CreatePartitions(request) => Answer::CreatePartitions(self.create_partitions(&request)),
            Command::IncrementalAlterConfigs(request) => {
                Answer::IncrementalAlterConfigs(self.incremental_alter_configs(&request))
            }
            Command::UnregisterController(request) => {
                Answer::UnregisterController(self.unregister_controller(&request))
            }
            Command::AlterConfigs(request) => Answer::AlterConfigs(self.alter_configs(&request)),
            Command::ElectLeaders(request) => Answer::ElectLeaders(self.elect_leaders(&request)),
            Command::AlterPartitionReassignments(request) => {
                Answer::AlterPartitionReassignments(self.alter_reassignments(&request))
            }
            Command::ListPartitionReassignments(request) => {
                Answer::ListPartitionReassignments(list_reassignments(&self.state.image, &request))
            }
            Command::UpdateFeatures(request, kraft_version) => {
                Answer::UpdateFeatures(self.update_features(&request, kraft_version))
            }
            Command::AssignReplicasToDirs(request) => {
                Answer::AssignReplicasToDirs(self.assign_replicas_to_dirs(&request))
            }
            Command::AlterPartition(request) => Answer::AlterPartition(self.alter_partition(&request)),
            Command::AllocateProducerIds(request) => {
                Answer::AllocateProducerIds(self.allocate_producer_ids(&request))
            }
        })
    }
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}
