//! Kafka's bytes for the facts: what a broker of 4.4 writes, and what every broker before it wrote.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{
    DecodeError, EncodeError, StrBytes,
    persisted::{
        offsets::{
            GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
            decode_key, decode_versioned, encode_key, encode_versioned, group_metadata_value::MemberMetadata,
            read_version,
        },
        versioned::RecordKey,
    },
};
use ottla_types::TopicId;

use super::{CommittedOffset, GroupSnapshot, MemberSnapshot, Record, RecordError};

/// Version of a group's value: the last one that brokers before flexible versions read (KIP-915).
const GROUP_VERSION: i16 = 3;
/// Version of an offset's value: the one with a topic id.
const OFFSET_VERSION: i16 = 4;
/// Version of an offset's value that says itself when it expires.
const EXPIRING_OFFSET_VERSION: i16 = 1;

impl Record {
    /// Key and value as they are written; no value for a tombstone.
    ///
    /// # Errors
    /// When a name is longer than the format can say.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), RecordError> {
        self.try_encode().map_err(|_| RecordError("a name is longer than a record can hold"))
    }

    fn try_encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        Ok(match self {
            Self::Offset { group, topic, partition, value } => {
                (offset_key(group, topic, *partition)?, Some(encode_offset(value)?))
            }
            Self::OffsetTombstone { group, topic, partition } => {
                (offset_key(group, topic, *partition)?, None)
            }
            Self::Group { group, value } => (group_key(group)?, Some(encode_group(value)?)),
            Self::GroupTombstone { group } => (group_key(group)?, None),
        })
    }

    /// Reads a record. `None` for records of other kinds of groups.
    ///
    /// # Errors
    /// When key or value are malformed or of a version that nobody has written yet.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        Self::try_decode(key, value).map_err(|_| RecordError("malformed, or of an unknown version"))
    }

    fn try_decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
        let record = match read_version(key)? {
            LegacyOffsetCommitKey::TYPE => {
                let key: LegacyOffsetCommitKey = decode_key(key)?;
                decode_offset(text(&key.group), text(&key.topic), key.partition, value)?
            }
            OffsetCommitKey::TYPE => {
                let key: OffsetCommitKey = decode_key(key)?;
                decode_offset(text(&key.group), text(&key.topic), key.partition, value)?
            }
            GroupMetadataKey::TYPE => {
                let key: GroupMetadataKey = decode_key(key)?;
                decode_group(text(&key.group), value)?
            }
            _ => return Ok(None),
        };
        Ok(Some(record))
    }
}

fn bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn text(bytes: &StrBytes) -> Arc<str> {
    Arc::from(bytes.as_str())
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Result<Bytes, EncodeError> {
    let key = OffsetCommitKey::default()
        .with_group(bytes(group))
        .with_topic(bytes(topic))
        .with_partition(partition);
    encode_key(&key)
}

fn group_key(group: &str) -> Result<Bytes, EncodeError> {
    encode_key(&GroupMetadataKey::default().with_group(bytes(group)))
}

fn encode_offset(value: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let record = OffsetCommitValue::default()
        .with_offset(value.offset)
        .with_metadata(bytes(&value.metadata))
        .with_commit_timestamp(value.commit_timestamp_ms);
    match value.expire_timestamp_ms {
        Some(at) => encode_versioned(EXPIRING_OFFSET_VERSION, &record.with_expire_timestamp(at)),
        None => {
            let record = record.with_leader_epoch(value.leader_epoch).with_topic_id(value.topic_id.0);
            encode_versioned(OFFSET_VERSION, &record)
        }
    }
}

fn encode_group(value: &GroupSnapshot) -> Result<Bytes, EncodeError> {
    let member = |member: &MemberSnapshot| {
        MemberMetadata::default()
            .with_member_id(bytes(&member.member_id))
            .with_group_instance_id(member.group_instance_id.as_deref().map(bytes))
            .with_client_id(bytes(&member.client_id))
            .with_client_host(bytes(&member.client_host))
            .with_rebalance_timeout(member.rebalance_timeout_ms)
            .with_session_timeout(member.session_timeout_ms)
            .with_subscription(member.subscription.clone())
            .with_assignment(member.assignment.clone())
    };
    let record = GroupMetadataValue::default()
        .with_protocol_type(bytes(&value.protocol_type))
        .with_generation(value.generation)
        .with_protocol(value.protocol.as_deref().map(bytes))
        .with_leader(value.leader.as_deref().map(bytes))
        .with_current_state_timestamp(value.state_since_ms.unwrap_or(-1))
        .with_members(value.members.iter().map(member).collect());
    encode_versioned(GROUP_VERSION, &record)
}

fn decode_offset(
    group: Arc<str>,
    topic: Arc<str>,
    partition: i32,
    value: Option<&[u8]>,
) -> Result<Record, DecodeError> {
    let Some(value) = value else { return Ok(Record::OffsetTombstone { group, topic, partition }) };
    let value: OffsetCommitValue = decode_versioned(value)?;
    let value = CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: text(&value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: Some(value.expire_timestamp).filter(|at| *at != -1),
        topic_id: TopicId(value.topic_id),
    };
    Ok(Record::Offset { group, topic, partition, value })
}

fn decode_group(group: Arc<str>, value: Option<&[u8]>) -> Result<Record, DecodeError> {
    let Some(value) = value else { return Ok(Record::GroupTombstone { group }) };
    let value: GroupMetadataValue = decode_versioned(value)?;
    let member = |member: &MemberMetadata| MemberSnapshot {
        member_id: text(&member.member_id),
        group_instance_id: member.group_instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        // Version 0 has no rebalance timeout: it was the session timeout then.
        rebalance_timeout_ms: match member.rebalance_timeout {
            -1 => member.session_timeout,
            given => given,
        },
        session_timeout_ms: member.session_timeout,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    };
    let value = GroupSnapshot {
        protocol_type: text(&value.protocol_type),
        generation: value.generation,
        protocol: value.protocol.as_ref().map(text),
        leader: value.leader.as_ref().map(text),
        state_since_ms: Some(value.current_state_timestamp).filter(|at| *at != -1),
        members: value.members.iter().map(member).collect(),
    };
    Ok(Record::Group { group, value })
}

#[cfg(test)]
mod tests;
