//! DescribeTopicPartitions (75), version 0 (KIP-966).
//!
//! Topics in the order of their names, at most `response_partition_limit` partitions at a time; `next_cursor` says where
//! to go on.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_metadata::{Image, ImageCell, Partition, Topic};
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};
use ottla_types::ErrorCode;

use super::{metadata, operations};
use crate::{Handler, Reply, RequestContext};

pub(crate) struct DescribeTopicPartitions {
    image: Arc<ImageCell>,
    /// `max.request.partition.size.limit`.
    limit: i32,
}

impl DescribeTopicPartitions {
    pub(crate) fn new(image: Arc<ImageCell>, limit: i32) -> Self {
        Self { image, limit }
    }
}

impl Handler for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    type Response = DescribeTopicPartitionsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: DescribeTopicPartitionsRequest,
    ) -> Reply<DescribeTopicPartitionsResponse> {
        let image = self.image.load();
        let (first, mut skip) = match &request.cursor {
            Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index.max(0)),
            None => ("", 0),
        };
        let mut names: Vec<&str> = if request.topics.is_empty() {
            image.topics.iter().map(|topic| &*topic.name).collect()
        } else {
            request.topics.iter().map(|topic| topic.name.as_str()).collect()
        };
        names.retain(|name| *name >= first);
        names.sort_unstable();
        names.dedup();
        if names.first() != Some(&first) {
            skip = 0;
        }
        let mut left = request.response_partition_limit.clamp(1, self.limit.max(1));
        let mut response = DescribeTopicPartitionsResponse::default();
        for name in names {
            let Some(topic) = image.topic(name) else {
                response.topics.push(unknown(name));
                continue;
            };
            if left == 0 {
                response.next_cursor = Some(cursor(name, 0));
                break;
            }
            let end = topic.partition_count().min(skip.saturating_add(left));
            response.topics.push(describe(&image, ctx, topic, skip, end));
            left -= (end - skip).max(0);
            skip = 0;
            if end < topic.partition_count() {
                response.next_cursor = Some(cursor(name, end));
                break;
            }
        }
        Reply::Now(response)
    }
}

fn cursor(topic: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match metadata::check_name(name) {
        Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Err(code) => code,
    };
    DescribeTopicPartitionsResponseTopic::default().with_error_code(code.0).with_name(Some(topic_name(name)))
}

fn describe(
    image: &Image,
    ctx: &RequestContext,
    topic: &Topic,
    from: i32,
    to: i32,
) -> DescribeTopicPartitionsResponseTopic {
    let shown = topic.iter().filter(|(index, _)| (from..to).contains(index));
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(metadata::is_internal(&topic.name))
        .with_topic_authorized_operations(operations::TOPIC)
        .with_partitions(
            shown.map(|(index, partition)| describe_partition(image, ctx, index, partition)).collect(),
        )
}

fn describe_partition(
    image: &Image,
    ctx: &RequestContext,
    index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let ids = |nodes: &[i32]| nodes.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
    let (leader, code) = metadata::leader(image, ctx, partition);
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(code.0)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        // Empty, never null: the Java client takes null for a fault.
        .with_eligible_leader_replicas(Some(ids(&partition.elr)))
        .with_last_known_elr(Some(ids(&partition.last_known_elr)))
        .with_offline_replicas(ids(&metadata::offline(image, ctx, partition)))
}
