//! `__consumer_offsets` as it really is: partitions of this broker's replicas.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_replica::{AppendOptions, Replica, ReplicaManager, Ticket};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

use crate::{BatchIterator, Durable, OFFSETS_TOPIC, OffsetsLog};

/// Appends with acks=all and reads what is in the log.
pub struct ReplicasLog {
    replicas: Arc<ReplicaManager>,
    /// `offsets.commit.timeout.ms`.
    timeout: Duration,
}

impl ReplicasLog {
    /// Facts that are not durable within `timeout` are reported as timed out; they stay in the log.
    #[must_use]
    pub fn new(replicas: Arc<ReplicaManager>, timeout: Duration) -> Self {
        Self { replicas, timeout }
    }

    fn replica(&self, partition: i32) -> Result<Arc<Replica>, ErrorCode> {
        let topic = self.replicas.topic(OFFSETS_TOPIC);
        topic.and_then(|topic| topic.partition(partition).cloned()).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }
}

impl OffsetsLog for ReplicasLog {
    fn append(&self, partition: i32, epoch: LeaderEpoch, batch: Bytes) -> Result<Option<Durable>, ErrorCode> {
        let replica = self.replica(partition)?;
        let appended = self.replicas.append(&replica, &batch, &AppendOptions::coordinator(epoch));
        let ticket = appended.map_err(|refusal| refusal.code)?.ticket;
        if ticket.ready() == Some(ErrorCode::NONE) {
            return Ok(None);
        }
        let timeout = self.timeout;
        Ok(Some(Box::pin(async move {
            match Ticket::wait_all(&[ticket], timeout).await.first().copied() {
                Some(ErrorCode::NONE) | None => Ok(()),
                Some(error) => Err(error),
            }
        })))
    }

    fn settled(&self, partition: i32, epoch: LeaderEpoch) -> Result<Option<Durable>, ErrorCode> {
        let replica = self.replica(partition)?;
        let ticket = self.replicas.settle(&replica, epoch)?;
        if ticket.ready() == Some(ErrorCode::NONE) {
            return Ok(None);
        }
        Ok(Some(Box::pin(async move {
            match ticket.done().await {
                ErrorCode::NONE => Ok(()),
                error => Err(error),
            }
        })))
    }

    fn bounds(&self, partition: i32) -> Result<Range<Offset>, ErrorCode> {
        let view = self.replica(partition)?.view();
        Ok(view.log_start..view.log_end)
    }

    fn batches(&self, partition: i32, from: Offset) -> Result<BatchIterator, ErrorCode> {
        let batches = self.replica(partition)?.batches(from);
        Ok(Box::new(batches.map(move |batch| {
            batch.map_err(|error| {
                tracing::error!(partition, ?error, "__consumer_offsets cannot be read back");
                ErrorCode::KAFKA_STORAGE_ERROR
            })
        })))
    }
}
