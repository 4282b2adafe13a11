//! An operator: founds the topics, and turns knobs while others work.

use std::collections::VecDeque;

use ottla_controller::{Answer, Command};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest, TopicName,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use ottla_types::{ErrorCode, Millis, NodeId};
use uuid::Uuid;

use super::{CLIENT_TIMEOUT_MS, Known as World};
use crate::{
    broker::{OFFSETS_TOPIC, text},
    env::Env,
    message::Message,
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
}

/// A topic that is to be made: name, partitions, minimum in sync.
pub(crate) type Wanted = (String, i32, i32);

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
        Self { hint, asked: None, next: Millis(0), plan, factor, topics, temper }
    }

    /// Whether the topics are there.
    pub(crate) fn is_ready(&self) -> bool {
        self.plan.is_empty()
    }

    pub(crate) fn on_message(&mut self, env: &mut Env<'_>, known: &World, message: Message) {
        if matches!(message, Message::Disconnected) {
            self.disconnected(env);
        }
        if let Message::Answer { id, answer } = message
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
                        let (name, partitions) = (wanted.0.clone(), wanted.1);
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
            Some((name, partitions, min_isr)) => self.create(name, *partitions, *min_isr),
            None if known.draining => return,
            None => {
                let pause = env.rng.between(200, 1500);
                self.next = env.now.plus(pause);
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

    fn create(&self, name: &str, partitions: i32, min_isr: i32) -> Command {
        let min_isr = CreatableTopicConfig::default()
            .with_name(text("min.insync.replicas"))
            .with_value(Some(text(&min_isr.to_string())));
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(self.factor)
            .with_configs(vec![min_isr]);
        Command::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic]))
    }

    fn meddle(&mut self, env: &mut Env<'_>, known: &World) -> Option<Command> {
        let at = env.rng.index(self.topics.len());
        let Known { name, partitions, .. } = self.topics.get(at)?.clone();
        if self.temper.deletes && name != OFFSETS_TOPIC && env.rng.permille(150) {
            return Some(self.delete(env, at));
        }
        Some(match env.rng.below(6) {
            0 | 1 => {
                let min_isr = env.rng.between(1, 2).to_string();
                let config = AlterableConfig::default()
                    .with_name(text("min.insync.replicas"))
                    .with_value(Some(text(&min_isr)));
                let resource = AlterConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(&name))
                    .with_configs(vec![config]);
                Command::IncrementalAlterConfigs(
                    IncrementalAlterConfigsRequest::default().with_resources(vec![resource]),
                )
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
