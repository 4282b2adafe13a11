//! AlterPartition: what leaders propose goes to the active controller, its answers go back.

use std::collections::BTreeMap;

use ottla_controller::{Answer, Command};
use ottla_partition::{Event, IsrAnswer, IsrProposal};
use ottla_protocol::messages::{
    AlterPartitionRequest, BrokerId,
    alter_partition_request::{BrokerState, PartitionData, TopicData},
    alter_partition_response,
};
use ottla_types::{ErrorCode, Millis, NodeId, TopicId, TopicPartitionId};

use super::{Broker, Life, REQUEST_TIMEOUT_MS};
use crate::{Fault, env::Env, log::Disk, message::Message};

/// An AlterPartition under way.
#[derive(Debug)]
pub(super) struct Altering {
    pub(super) id: u64,
    pub(super) deadline: Millis,
    asked: BTreeMap<TopicPartitionId, IsrProposal>,
    answer: Option<Vec<(TopicPartitionId, alter_partition_response::PartitionData)>>,
}

impl Broker {
    pub(super) fn send_proposals(&mut self, env: &mut Env<'_>) {
        if self.altering.as_ref().is_some_and(|altering| altering.deadline <= env.now) {
            self.alter_again(env);
            self.try_another(env, None);
        }
        if self.altering.is_some() || self.proposals.is_empty() || self.alter_retry > env.now {
            return;
        }
        if self.life == Life::Registering {
            return;
        }
        let replicas = &self.replicas;
        let mut asked = std::mem::take(&mut self.proposals);
        asked.retain(|tp, it| {
            replicas.get(tp).is_some_and(|replica| replica.partition.pending_isr() == Some(it))
        });
        if asked.is_empty() {
            return;
        }
        let request = self.alter_request(env, &asked);
        let id = env.id();
        env.send(self.hint, Message::Command { id, command: Box::new(Command::AlterPartition(request)) });
        let deadline = env.now.plus(REQUEST_TIMEOUT_MS);
        self.altering = Some(Altering { id, deadline, asked, answer: None });
    }

    fn alter_request(
        &self,
        env: &Env<'_>,
        asked: &BTreeMap<TopicPartitionId, IsrProposal>,
    ) -> AlterPartitionRequest {
        let blind = env.has(Fault::IgnoreBrokerEpochs) || env.has(Fault::FencedIntoIsr);
        let mut topics: BTreeMap<TopicId, Vec<PartitionData>> = BTreeMap::new();
        for (tp, proposal) in asked {
            let members = proposal.isr.iter().zip(&proposal.broker_epochs).map(|(id, epoch)| {
                let epoch = if *id == self.id { self.epoch } else { *epoch };
                BrokerState::default().with_broker_id(BrokerId(*id)).with_broker_epoch(if blind {
                    -1
                } else {
                    epoch
                })
            });
            topics.entry(tp.topic).or_default().push(
                PartitionData::default()
                    .with_partition_index(tp.partition)
                    .with_leader_epoch(proposal.leader_epoch)
                    .with_partition_epoch(proposal.partition_epoch)
                    .with_new_isr_with_epochs(members.collect()),
            );
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TopicData::default().with_topic_id(topic.0).with_partitions(partitions)
        });
        AlterPartitionRequest::default()
            .with_broker_id(BrokerId(self.id))
            .with_broker_epoch(self.epoch)
            .with_topics(topics.collect())
    }

    pub(super) fn alter_again(&mut self, env: &mut Env<'_>) {
        let Some(altering) = self.altering.take() else { return };
        for (tp, proposal) in altering.asked {
            self.proposals.entry(tp).or_insert(proposal);
        }
        self.alter_retry = env.now.plus(50);
    }

    /// Keeps the answer; the disk is needed to take it.
    pub(super) fn altered(&mut self, env: &mut Env<'_>, answer: Result<Box<Answer>, Option<NodeId>>) {
        match answer.map(|answer| *answer) {
            Ok(Answer::AlterPartition(answer)) if answer.error_code == 0 => {
                let of_topic = |topic: alter_partition_response::TopicData| {
                    let id = TopicId(topic.topic_id);
                    let tp = move |partition| TopicPartitionId { topic: id, partition };
                    topic.partitions.into_iter().map(move |it| (tp(it.partition_index), it))
                };
                let told = answer.topics.into_iter().flat_map(of_topic).collect();
                if let Some(altering) = &mut self.altering {
                    altering.answer = Some(told);
                }
            }
            Ok(_) => self.alter_again(env),
            Err(leader) => {
                self.alter_again(env);
                self.try_another(env, leader);
            }
        }
    }

    /// Tells the leaders what the controller answered.
    pub(super) fn take_answers(&mut self, env: &mut Env<'_>, disk: &mut Disk) {
        let Some(Altering { answer: Some(_), .. }) = &self.altering else { return };
        let Some(Altering { asked, answer: Some(told), .. }) = self.altering.take() else { return };
        for (tp, told) in told {
            let Some(asked) = asked.get(&tp).cloned() else { continue };
            let code = ErrorCode(told.error_code);
            let forget = env.has(Fault::ForgetProposal) && code != ErrorCode::NONE;
            let answer = match code {
                ErrorCode::NONE => IsrAnswer::Decided {
                    leader_epoch: told.leader_epoch,
                    partition_epoch: told.partition_epoch,
                    isr: told.isr.iter().map(|id| id.0).collect(),
                },
                ErrorCode::INELIGIBLE_REPLICA | ErrorCode::OPERATION_NOT_ATTEMPTED => IsrAnswer::Refused,
                _ if forget => IsrAnswer::Refused,
                ErrorCode::NOT_CONTROLLER => {
                    self.proposals.entry(tp).or_insert(asked);
                    self.alter_retry = env.now.plus(50);
                    continue;
                }
                _ => continue,
            };
            let event = Event::IsrAnswered { asked, answer };
            self.with_replica(env, disk, tp, |replica, env, log, done| replica.on(env, log, event, done));
        }
    }
}
