//! What the coordinator tells. Every answer can carry an error of its request's own kind.

use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{ErrorCode, TopicId};

use crate::{INVALID_OFFSET, LeavingMember, NO_GENERATION, State};

/// One answer, of the kind its command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a join.
    Join(JoinAnswer),
    /// To a sync.
    Sync(SyncAnswer),
    /// To a heartbeat.
    Heartbeat(ErrorCode),
    /// To a leave.
    Leave(LeaveAnswer),
    /// To a commit.
    OffsetCommit(OffsetCommitAnswer),
    /// To a fetch of offsets.
    OffsetFetch(OffsetFetchAnswer),
    /// To a describe; `None` for a group that does not exist.
    Describe(Option<DescribedGroup>),
    /// To a list, in the order of the groups' names.
    List(Vec<ListedGroup>),
    /// To what has nothing to tell but whether it is done.
    Done(ErrorCode),
}

/// To a join: the generation, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// `NONE`, or why not.
    pub error: ErrorCode,
    /// The generation; -1 with most errors.
    pub generation_id: i32,
    /// Absent with errors.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol chosen by the members' votes; absent with errors.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id; empty with most errors.
    pub leader: Arc<str>,
    /// The leader shall not assign: its old assignment stands (KIP-814).
    pub skip_assignment: bool,
    /// The member's id: with `MEMBER_ID_REQUIRED` the one to join with.
    pub member_id: Arc<str>,
    /// All members and their subscriptions; empty for followers.
    pub members: Vec<JoinedMember>,
}

/// What the leader is told of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its instance id, when it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its subscription under the chosen protocol.
    pub metadata: Bytes,
}

impl JoinAnswer {
    /// A refusal.
    #[must_use]
    pub fn refusal(member_id: &Arc<str>, error: ErrorCode) -> Self {
        Self {
            error,
            generation_id: NO_GENERATION,
            protocol_type: None,
            protocol_name: None,
            leader: Arc::from(""),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: Vec::new(),
        }
    }
}

/// To a sync: what the member is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// `NONE`, or why not.
    pub error: ErrorCode,
    /// The group's protocol type; absent with errors.
    pub protocol_type: Option<Arc<str>>,
    /// The group's protocol; absent with errors.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's word, opaque to the coordinator.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// A refusal.
    #[must_use]
    pub fn refusal(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

/// To a leave: an error of the whole, or one per member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveAnswer {
    /// `NONE`, or why nobody left.
    pub error: ErrorCode,
    /// In the order of the request.
    pub members: Vec<LeftMember>,
}

/// What became of one leaving member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftMember {
    /// As the request had it.
    pub member_id: Arc<str>,
    /// As the request had it.
    pub group_instance_id: Option<Arc<str>>,
    /// `NONE`, or why not.
    pub error: ErrorCode,
}

impl LeftMember {
    pub(crate) fn unknown(leaving: LeavingMember) -> Self {
        Self {
            member_id: leaving.member_id,
            group_instance_id: leaving.group_instance_id,
            error: ErrorCode::UNKNOWN_MEMBER_ID,
        }
    }
}

/// To a commit: an error of the whole, or one per partition, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitAnswer {
    /// `NONE`, or why nothing was committed.
    pub error: ErrorCode,
    /// Per topic of the request, per partition of it: `NONE`, or why not.
    pub topics: Vec<Vec<ErrorCode>>,
}

/// To a fetch of offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetchAnswer {
    /// `NONE`, or why there is nothing.
    pub error: ErrorCode,
    /// In the order of the request; of all offsets: in the order of names.
    pub topics: Vec<FetchedTopic>,
}

/// The offsets of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// As the request had it; the committed one when everything was asked for.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// One committed offset, or that there is none: offset -1 and no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: i32,
    /// The committed offset, or -1.
    pub offset: i64,
    /// As committed; -1 for none.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: Arc<str>,
    /// `NONE` or `UNSTABLE_OFFSET_COMMIT`.
    pub error: ErrorCode,
}

impl FetchedPartition {
    /// Nothing to show: never committed, or an error.
    #[must_use]
    pub fn nothing(partition: i32, error: ErrorCode) -> Self {
        Self { partition, offset: INVALID_OFFSET, leader_epoch: -1, metadata: Arc::from(""), error }
    }
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its id.
    pub group_id: Arc<str>,
    /// Its state.
    pub state: State,
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members, by id.
    pub members: Vec<DescribedMember>,
}

/// A member in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its instance id, when it is static.
    pub group_instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Where it joined from.
    pub client_host: Arc<str>,
    /// Its subscription; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment, in a rebalance the one of before; empty while it has none.
    pub assignment: Bytes,
}

/// A group in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group_id: Arc<str>,
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: State,
    /// `classic`.
    pub group_type: &'static str,
}

impl Answer {
    /// The same kind of answer, saying that it came to nothing: the log did not take the facts it waited for.
    #[must_use]
    pub fn failed(self, error: ErrorCode) -> Self {
        match self {
            Self::Join(join) => Self::Join(JoinAnswer::refusal(&join.member_id, error)),
            Self::Sync(_) => Self::Sync(SyncAnswer::refusal(error)),
            Self::Heartbeat(_) => Self::Heartbeat(error),
            Self::Leave(_) => Self::Leave(LeaveAnswer { error, members: Vec::new() }),
            Self::OffsetCommit(_) => Self::OffsetCommit(OffsetCommitAnswer { error, topics: Vec::new() }),
            Self::OffsetFetch(_) => Self::OffsetFetch(OffsetFetchAnswer { error, topics: Vec::new() }),
            Self::Describe(_) | Self::List(_) => self,
            Self::Done(_) => Self::Done(error),
        }
    }
}
