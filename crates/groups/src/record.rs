//! Facts, and the bytes Kafka gives them in `__consumer_offsets`.

use std::sync::Arc;

use bytes::Bytes;
use ottla_types::TopicId;

mod format;

/// One fact about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group has committed an offset.
    Offset {
        /// Whose.
        group: Arc<str>,
        /// Of which topic.
        topic: Arc<str>,
        /// And partition.
        partition: i32,
        /// What.
        value: CommittedOffset,
    },
    /// A committed offset is gone.
    OffsetTombstone {
        /// Whose.
        group: Arc<str>,
        /// Of which topic.
        topic: Arc<str>,
        /// And partition.
        partition: i32,
    },
    /// A picture of a group whose generation is settled, or that has become empty.
    Group {
        /// Which.
        group: Arc<str>,
        /// The picture.
        value: GroupSnapshot,
    },
    /// A group is gone.
    GroupTombstone {
        /// Which.
        group: Arc<str>,
    },
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: i64,
    /// As committed; -1 for none.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: Arc<str>,
    /// Wall clock of the commit, in milliseconds.
    pub commit_timestamp_ms: i64,
    /// When the offset expires, if the client (of OffsetCommit 2 to 4) said so.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id if the commit named it by id, else zero.
    pub topic_id: TopicId,
}

/// A group as it is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol; none for an empty group.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id; none for an empty group.
    pub leader: Option<Arc<str>>,
    /// Wall clock of the last change of state, in milliseconds.
    pub state_since_ms: Option<i64>,
    /// The members.
    pub members: Vec<MemberSnapshot>,
}

/// A member as it is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSnapshot {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its instance id, when it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Where it joined from.
    pub client_host: Arc<str>,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its subscription under the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// Why a record of the log could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError(pub &'static str);

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// The group the fact is about.
    #[must_use]
    pub fn group(&self) -> &Arc<str> {
        match self {
            Self::Offset { group, .. }
            | Self::OffsetTombstone { group, .. }
            | Self::Group { group, .. }
            | Self::GroupTombstone { group } => group,
        }
    }
}
