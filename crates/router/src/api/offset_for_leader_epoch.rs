//! OffsetForLeaderEpoch (23), versions 2–4 (KIP-101, KIP-279, KIP-320): where a leader epoch ends in the leader's log.
//!
//! Consumers ask it after a change of leader, to see whether what they have read still holds; replicas learn the same from
//! Fetch. Answered with the largest epoch that is not after the one asked for, and its end; -1 and -1 for an epoch the
//! leader does not know.
//!
//! Versions: 3 says which replica asks, which changes nothing; 4 is flexible.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::ImageCell;
use ottla_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};
use ottla_replica::{EpochEnd, HostedTopic, Replica, ReplicaManager};
use ottla_types::ErrorCode;

use crate::{Handler, Reply, RequestContext};

pub(crate) struct OffsetForLeaderEpoch {
    replicas: Arc<ReplicaManager>,
    image: Arc<ImageCell>,
}

impl OffsetForLeaderEpoch {
    pub(crate) fn new(replicas: Arc<ReplicaManager>, image: Arc<ImageCell>) -> Self {
        Self { replicas, image }
    }

    fn end(
        &self,
        hosted: Option<&HostedTopic>,
        topic: &str,
        asked: &OffsetForLeaderPartition,
    ) -> Result<EpochEnd, ErrorCode> {
        let Some(replica) = hosted.and_then(|hosted| hosted.partition(asked.partition)) else {
            return Err(match self.image.load().partition(topic, asked.partition) {
                Some(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            });
        };
        let view = replica.view();
        Replica::check_epoch(&view, asked.current_leader_epoch)?;
        if !view.is_leader {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(replica.end_of_epoch(asked.leader_epoch))
    }
}

impl Handler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    type Response = OffsetForLeaderEpochResponse;
    const VERSIONS: RangeInclusive<i16> = 2..=4;

    fn handle(
        &self,
        _: &RequestContext,
        request: OffsetForLeaderEpochRequest,
    ) -> Reply<OffsetForLeaderEpochResponse> {
        let topics = request.topics.into_iter().map(|topic| {
            let hosted = self.replicas.topic(&topic.topic);
            let partitions = topic.partitions.iter().map(|asked| {
                let end = self.end(hosted.as_deref(), &topic.topic, asked);
                let (end, code) =
                    end.map_or_else(|code| (EpochEnd::UNKNOWN, code), |end| (end, ErrorCode::NONE));
                EpochEndOffset::default()
                    .with_partition(asked.partition)
                    .with_error_code(code.0)
                    .with_leader_epoch(end.epoch)
                    .with_end_offset(end.end_offset)
            });
            let partitions = partitions.collect();
            OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
        });
        Reply::Now(OffsetForLeaderEpochResponse::default().with_topics(topics.collect()))
    }
}
