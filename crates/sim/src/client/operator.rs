//! An operator: founds the topics, and turns knobs while others work.

use std::collections::{BTreeSet, VecDeque};

use ottla_controller::{Answer, Command};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest, TopicName,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
    elect_leaders_request::TopicPartitions,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use ottla_raft::VoterChange;
use ottla_types::{ErrorCode, Millis, NodeId};
use uuid::Uuid;

use super::{CLIENT_TIMEOUT_MS, Known as World};
use crate::{
    broker::{OFFSETS_TOPIC, UNCLEAN_ELECTION, text},
    env::{Env, Note},
    message::Message,
    quorum::{FOUNDERS, voter},
    temper::Temper,
};

#[derive(Debug)]
pub(crate) struct Operator {
    hint: NodeId,
    asked: Option<(u64, Millis)>,
    next: Millis,
    /// Topics that are still to be made.
    plan: VecDeque<Wanted>,
    factor: i16,
    topics: Vec<Known>,
    temper: Temper,
    /// Who votes, as far as the operator knows.
    voters: BTreeSet<NodeId>,
    /// The voter that is being added or removed.
    changing: Option<NodeId>,
}

/// A topic that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// `min.insync.replicas`.
    pub(crate) min_isr: i32,
    /// `unclean.leader.election.enable`; not set where it is false.
    pub(crate) unclean: bool,
}

/// A topic that was made.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    partitions: i32,
    /// What it was told to be made like.
    wanted: Wanted,
    /// As it was told.
    id: Option<Uuid>,
}

impl Operator {
    pub(crate) fn new(hint: NodeId, factor: i16, plan: Vec<Wanted>, temper: Temper) -> Self {
        let (plan, topics) = (plan.into(), Vec::new());
        let (voters, changing) = (BTreeSet::new(), None);
        Self { hint, asked: None, next: Millis(0), plan, factor, topics, temper, voters, changing }
    }

    /// Whether the topics are there.
    pub(crate) fn is_ready(&self) -> bool {
        self.plan.is_empty()
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, known: &World, message: Message) {
        if matches!(message, Message::Disconnected) {
            self.disconnected(env);
        }
        if let Message::VotersChanged { id, result } = message {
            if self.asked.is_some_and(|(asked, _)| asked == id) {
                self.asked = None;
                self.next = env.now.plus(40);
                self.voters_changed(env, known, result);
            }
        } else if let Message::Answer { id, answer } = message
            && self.asked.is_some_and(|(asked, _)| asked == id)
        {
            self.asked = None;
            self.next = env.now.plus(40);
            match answer.map(|answer| *answer) {
                Err(leader) => self.try_another(env, known, leader),
                Ok(Answer::CreateTopics(answer)) => {
                    let topic = answer.topics.first();
                    let code = topic.map_or(0, |topic| topic.error_code);
                    if (code == 0 || code == ErrorCode::TOPIC_ALREADY_EXISTS.0)
                        && let Some(wanted) = self.plan.pop_front()
                    {
                        let id = topic.map(|topic| topic.topic_id).filter(|_| code == 0);
                        let (name, partitions) = (wanted.name.clone(), wanted.partitions);
                        self.topics.push(Known { name, partitions, wanted, id });
                    }
                }
                Ok(_) => {}
            }
        }
        self.on_time(env, known);
    }

    fn disconnected(&mut self, env: &Env<'_>) {
        if let Some((_, deadline)) = &mut self.asked {
            *deadline = env.now;
        }
    }

    fn try_another(&mut self, env: &mut Env<'_>, known: &World, leader: Option<NodeId>) {
        let drawn = env.rng.pick(&known.controllers);
        self.hint = leader.or(drawn).unwrap_or(self.hint);
    }

    pub(crate) fn on_time(&mut self, env: &mut Env<'_>, known: &World) {
        if self.asked.is_some_and(|(_, deadline)| deadline <= env.now) {
            self.asked = None;
            self.try_another(env, known, None);
        }
        if self.asked.is_some() || self.next > env.now {
            return;
        }
        self.next = env.now.plus(100);
        let command = match self.plan.front() {
            Some(wanted) => self.create(wanted),
            None if known.draining => return,
            None => {
                let pause = env.rng.between(200, 1500);
                self.next = env.now.plus(pause);
                if self.temper.joiners > 0 && env.rng.permille(300) {
                    return self.change_voters(env, known);
                }
                match self.meddle(env, known) {
                    Some(command) => command,
                    None => return,
                }
            }
        };
        let id = env.id();
        env.send(self.hint, Message::Command { id, command: Box::new(command) });
        self.asked = Some((id, env.now.plus(2 * CLIENT_TIMEOUT_MS)));
    }

    fn create(&self, wanted: &Wanted) -> Command {
        let Wanted { name, partitions, min_isr, unclean } = wanted;
        let set = |name, value: &str| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let mut configs = vec![set("min.insync.replicas", &min_isr.to_string())];
        if *unclean {
            configs.push(set(UNCLEAN_ELECTION, "true"));
        }
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(*partitions)
            .with_replication_factor(self.factor)
            .with_configs(configs);
        Command::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic]))
    }

    fn meddle(&mut self, env: &mut Env<'_>, known: &World) -> Option<Command> {
        let at = env.rng.index(self.topics.len());
        let Known { name, partitions, .. } = self.topics.get(at)?.clone();
        if self.temper.deletes && name != OFFSETS_TOPIC && env.rng.permille(150) {
            return Some(self.delete(env, at));
        }
        if self.temper.unclean.contains(&&*name) && env.rng.permille(250) {
            return Some(self.risk(env, &name, partitions));
        }
        Some(match env.rng.below(6) {
            0 | 1 => {
                let min_isr = env.rng.between(1, 2).to_string();
                configure(&name, "min.insync.replicas", &min_isr)
            }
            2 if name != OFFSETS_TOPIC && partitions < 5 => {
                self.topics[at].partitions += 1;
                let topic = CreatePartitionsTopic::default()
                    .with_name(TopicName(text(&name)))
                    .with_count(partitions + 1)
                    .with_assignments(None);
                Command::CreatePartitions(CreatePartitionsRequest::default().with_topics(vec![topic]))
            }
            3 => Command::ElectLeaders(
                ElectLeadersRequest::default().with_election_type(0).with_topic_partitions(None),
            ),
            _ => {
                let mut replicas = known.brokers.clone();
                let mut chosen = Vec::new();
                for _ in 0..self.factor {
                    if !replicas.is_empty() {
                        chosen.push(BrokerId(replicas.swap_remove(env.rng.index(replicas.len()))));
                    }
                }
                let index =
                    i32::try_from(env.rng.index(usize::try_from(partitions).expect("few"))).expect("few");
                let cancels = env.rng.permille(200);
                let partition = ReassignablePartition::default()
                    .with_partition_index(index)
                    .with_replicas((!cancels).then_some(chosen));
                let topic = ReassignableTopic::default()
                    .with_name(TopicName(text(&name)))
                    .with_partitions(vec![partition]);
                Command::AlterPartitionReassignments(
                    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]),
                )
            }
        })
    }

    /// Adds a voter, or removes one. Two are kept, most of the time.
    fn change_voters(&mut self, env: &mut Env<'_>, known: &World) {
        if self.voters.is_empty() {
            self.voters.extend(&known.controllers[..FOUNDERS]);
        }
        let Some(node) = env.rng.pick(&known.controllers) else { return };
        let voter = voter(node);
        let change = if !self.voters.contains(&node) {
            VoterChange::Add { voter, wait: env.rng.permille(500), timeout_ms: 2_000 }
        } else if self.voters.len() > 2 || env.rng.permille(200) {
            VoterChange::Remove { id: node, directory_id: voter.directory_id }
        } else {
            return;
        };
        self.changing = Some(node);
        let id = env.id();
        env.send(self.hint, Message::ChangeVoters { id, change: Box::new(change) });
        self.asked = Some((id, env.now.plus(4 * CLIENT_TIMEOUT_MS)));
    }

    fn voters_changed(&mut self, env: &mut Env<'_>, known: &World, result: Result<(), ErrorCode>) {
        let Some(node) = self.changing.take() else { return };
        match result {
            Ok(()) if self.voters.contains(&node) => drop(self.voters.remove(&node)),
            Ok(()) | Err(ErrorCode::DUPLICATE_VOTER) => drop(self.voters.insert(node)),
            Err(ErrorCode::VOTER_NOT_FOUND) => drop(self.voters.remove(&node)),
            Err(_) => self.try_another(env, known, None),
        }
    }

    /// Something about a topic that would rather lose records than wait.
    fn risk(&self, env: &mut Env<'_>, name: &str, partitions: i32) -> Command {
        if !self.temper.asks_unclean || env.rng.permille(400) {
            let allowed = if env.rng.permille(700) { "true" } else { "false" };
            return configure(name, UNCLEAN_ELECTION, allowed);
        }
        env.note(Note::UncleanAsked { topic: name.into() });
        let topic = TopicPartitions::default()
            .with_topic(TopicName(text(name)))
            .with_partitions((0..partitions).collect());
        Command::ElectLeaders(
            ElectLeadersRequest::default().with_election_type(1).with_topic_partitions(Some(vec![topic])),
        )
    }

    /// Deletes a topic, and makes it anew next, whatever comes of that.
    fn delete(&mut self, env: &mut Env<'_>, at: usize) -> Command {
        let Known { name, wanted, id, .. } = self.topics.swap_remove(at);
        self.plan.push_back(wanted);
        let by_id = id.filter(|_| env.rng.permille(500));
        let topic = match by_id {
            Some(id) => DeleteTopicState::default().with_name(None).with_topic_id(id),
            None => DeleteTopicState::default().with_name(Some(TopicName(text(&name)))),
        };
        Command::DeleteTopics(DeleteTopicsRequest::default().with_topics(vec![topic]))
    }

    pub(crate) fn deadline(&self) -> Millis {
        self.asked.map_or(self.next, |(_, deadline)| deadline)
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        (!self.is_ready()).then(|| "topics could not be created".to_owned())
    }
}

fn configure(topic: &str, name: &str, value: &str) -> Command {
    let config = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![config]);
    Command::IncrementalAlterConfigs(IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
}
