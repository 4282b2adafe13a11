//! Asks the controller for in-sync sets (AlterPartition, KIP-497): one request at a time, of everything proposed.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures::future::BoxFuture;
use ottla_partition::{IsrAnswer, IsrProposal};
use ottla_protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerId,
    alter_partition_request::{BrokerState, PartitionData, TopicData},
    alter_partition_response,
};
use ottla_types::{ErrorCode, NodeId, TopicId, TopicPartitionId};

use super::signal::Signal;
use crate::ReplicaManager;

/// Wait before what was not decided is asked again, as Kafka.
const RETRY: Duration = Duration::from_millis(50);

/// How the active controller is asked, wherever it is. Whoever implements it finds the controller and tries again where
/// that helps; an answer may take as long as it takes.
pub trait ControllerLink: Send + Sync + 'static {
    /// AlterPartition, version 3. The error is one of the request as a whole.
    fn alter_partition(
        &self,
        request: AlterPartitionRequest,
    ) -> BoxFuture<'_, Result<AlterPartitionResponse, ErrorCode>>;

    /// AssignReplicasToDirs. The error is one of the request as a whole.
    fn assign_dirs(
        &self,
        request: AssignReplicasToDirsRequest,
    ) -> BoxFuture<'_, Result<AssignReplicasToDirsResponse, ErrorCode>>;
}

type Proposals = HashMap<TopicPartitionId, IsrProposal>;

/// The task.
pub(super) async fn run(
    signal: Arc<Signal>,
    manager: Weak<ReplicaManager>,
    controller: Arc<dyn ControllerLink>,
) {
    while !signal.is_stopped() {
        let Some(strong) = manager.upgrade() else { return };
        let broker_epoch = strong.broker_epoch.load(Ordering::Acquire);
        let proposals: Proposals = if broker_epoch < 0 {
            Proposals::new()
        } else {
            strong.take_isr_proposals().into_iter().collect()
        };
        let node = strong.node();
        drop(strong);
        if proposals.is_empty() {
            signal.came().await;
            continue;
        }
        let answer = controller.alter_partition(request(node, broker_epoch, &proposals)).await;
        let Some(strong) = manager.upgrade() else { return };
        if take(&strong, proposals, answer) {
            drop(strong);
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn request(node: NodeId, broker_epoch: i64, proposals: &Proposals) -> AlterPartitionRequest {
    let mut topics: HashMap<TopicId, Vec<PartitionData>> = HashMap::new();
    for (id, asked) in proposals {
        let members = asked.isr.iter().zip(&asked.broker_epochs).map(|(broker, epoch)| {
            let epoch = if *broker == node { broker_epoch } else { *epoch };
            BrokerState::default().with_broker_id(BrokerId(*broker)).with_broker_epoch(epoch)
        });
        topics.entry(id.topic).or_default().push(
            PartitionData::default()
                .with_partition_index(id.partition)
                .with_leader_epoch(asked.leader_epoch)
                .with_partition_epoch(asked.partition_epoch)
                .with_new_isr_with_epochs(members.collect())
                // Whoever leads has taken over: there is nothing more to recover (KIP-704).
                .with_leader_recovery_state(0),
        );
    }
    let topics = topics
        .into_iter()
        .map(|(id, partitions)| TopicData::default().with_topic_id(id.0).with_partitions(partitions));
    AlterPartitionRequest::default()
        .with_broker_id(BrokerId(node))
        .with_broker_epoch(broker_epoch)
        .with_topics(topics.collect())
}

/// What becomes of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Answered(IsrAnswer),
    /// It is asked again.
    Again,
    /// The controller knows better, or does not know yet: the next image tells.
    Left,
}

fn fate(said: &alter_partition_response::PartitionData) -> Fate {
    match ErrorCode(said.error_code) {
        ErrorCode::NONE => Fate::Answered(IsrAnswer::Decided {
            leader_epoch: said.leader_epoch,
            partition_epoch: said.partition_epoch,
            isr: said.isr.iter().map(|broker| broker.0).collect(),
        }),
        ErrorCode::INELIGIBLE_REPLICA | ErrorCode::OPERATION_NOT_ATTEMPTED => {
            Fate::Answered(IsrAnswer::Refused)
        }
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::INVALID_UPDATE_VERSION
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::NEW_LEADER_ELECTED => Fate::Left,
        _ => Fate::Again,
    }
}

/// Takes an answer, in its order. True when something is to be asked again, or was refused: not at once.
fn take(
    manager: &ReplicaManager,
    mut proposals: Proposals,
    answer: Result<AlterPartitionResponse, ErrorCode>,
) -> bool {
    let mut pause = false;
    let answer = answer.and_then(|answer| match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Ok(answer),
        error => Err(error),
    });
    match answer {
        Err(error) => tracing::debug!("AlterPartition was refused: {error}"),
        Ok(answer) => {
            for topic in &answer.topics {
                for said in &topic.partitions {
                    let id =
                        TopicPartitionId { topic: TopicId(topic.topic_id), partition: said.partition_index };
                    let Some(asked) = proposals.remove(&id) else { continue };
                    match fate(said) {
                        Fate::Answered(answer) => {
                            pause |= answer == IsrAnswer::Refused;
                            told(manager, id, &asked, &answer);
                            manager.isr_answered(id, asked, answer);
                        }
                        Fate::Again => {
                            proposals.insert(id, asked);
                        }
                        Fate::Left => {
                            let error = ErrorCode(said.error_code);
                            tracing::debug!("AlterPartition for {id:?} is left: {error}");
                        }
                    }
                }
            }
        }
    }
    // Each is asked for what it proposes by then.
    pause |= !proposals.is_empty();
    manager.proposals.lock().extend(proposals.into_keys());
    pause
}

fn told(manager: &ReplicaManager, id: TopicPartitionId, asked: &IsrProposal, answer: &IsrAnswer) {
    let Some(replica) = manager.by_id(id) else { return };
    match answer {
        IsrAnswer::Decided { partition_epoch, isr, .. } => {
            tracing::info!("{}: in sync are {isr:?} (partition epoch {partition_epoch})", replica.name);
        }
        IsrAnswer::Refused => {
            tracing::info!("{}: the controller does not take {:?} as in-sync set", replica.name, asked.isr);
        }
    }
}
