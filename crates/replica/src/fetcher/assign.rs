//! Tells the controller which log dirs hold this broker's replicas (AssignReplicasToDirs, KIP-858): one request at a
//! time, of everything there is to tell.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use ottla_protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerId,
    assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData},
};
use ottla_types::{ErrorCode, TopicId, TopicPartitionId};
use uuid::Uuid;

use super::{isr::ControllerLink, signal::Signal};
use crate::{ReplicaManager, assignments::Dirs};

/// Wait before what was not taken is told again: the first and the longest one.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// The task.
pub(super) async fn run(
    signal: Arc<Signal>,
    manager: Weak<ReplicaManager>,
    controller: Arc<dyn ControllerLink>,
) {
    let mut pause = RETRY.0;
    while !signal.is_stopped() {
        let Some(strong) = manager.upgrade() else { return };
        let asked = strong.take_assignments();
        let request = request(&strong, &asked);
        drop(strong);
        if asked.is_empty() {
            signal.came().await;
            continue;
        }
        let answer = controller.assign_dirs(request).await;
        let Some(strong) = manager.upgrade() else { return };
        let again = take(&strong, asked, answer);
        drop(strong);
        if again {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        } else {
            pause = RETRY.0;
        }
    }
}

fn request(manager: &ReplicaManager, asked: &Dirs) -> AssignReplicasToDirsRequest {
    let mut dirs: HashMap<Uuid, HashMap<TopicId, Vec<PartitionData>>> = HashMap::new();
    for (id, dir) in asked {
        let partition = PartitionData::default().with_partition_index(id.partition);
        dirs.entry(*dir).or_default().entry(id.topic).or_default().push(partition);
    }
    let dirs = dirs.into_iter().map(|(dir, topics)| {
        let topics = topics
            .into_iter()
            .map(|(id, partitions)| TopicData::default().with_topic_id(id.0).with_partitions(partitions));
        DirectoryData::default().with_id(dir).with_topics(topics.collect())
    });
    AssignReplicasToDirsRequest::default()
        .with_broker_id(BrokerId(manager.node()))
        .with_broker_epoch(manager.broker_epoch.load(Ordering::Acquire))
        .with_directories(dirs.collect())
}

/// True when something is to be told again.
fn take(
    manager: &ReplicaManager,
    mut asked: Dirs,
    answer: Result<AssignReplicasToDirsResponse, ErrorCode>,
) -> bool {
    let answer = answer.and_then(|answer| match ErrorCode(answer.error_code) {
        ErrorCode::NONE => Ok(answer),
        error => Err(error),
    });
    match answer {
        Err(error) => tracing::debug!("AssignReplicasToDirs was refused: {error}"),
        Ok(answer) => {
            for (dir, topic) in
                answer.directories.iter().flat_map(|dir| dir.topics.iter().map(move |t| (dir.id, t)))
            {
                for said in &topic.partitions {
                    let id =
                        TopicPartitionId { topic: TopicId(topic.topic_id), partition: said.partition_index };
                    if asked.get(&id) != Some(&dir) {
                        continue;
                    }
                    match ErrorCode(said.error_code) {
                        ErrorCode::NONE => {
                            asked.remove(&id);
                            manager.dir_taken(id, dir);
                        }
                        error => tracing::debug!("AssignReplicasToDirs for {id:?}: {error}"),
                    }
                }
            }
        }
    }
    // A topic that is gone is left at the next look at the image.
    let again = !asked.is_empty();
    manager.assignments.told(asked);
    again
}
