//! What is asked of the coordinator. Wire versions end in the router: a command carries what its version means.
//!
//! Strings and bytes in commands outlive the request (they become the group's), so whoever makes a command copies them
//! out of the frame they came in.

use std::sync::Arc;

use bytes::Bytes;
use ottla_types::TopicId;

/// Everything that can happen to the groups of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answered with [`Answer::Join`](crate::Answer::Join), when the join phase completes.
    JoinGroup(JoinGroup),
    /// Answered with [`Answer::Sync`](crate::Answer::Sync), when the leader's assignment is known.
    SyncGroup(SyncGroup),
    /// Answered with [`Answer::Heartbeat`](crate::Answer::Heartbeat).
    Heartbeat(Heartbeat),
    /// Answered with [`Answer::Leave`](crate::Answer::Leave).
    LeaveGroup(LeaveGroup),
    /// Answered with [`Answer::OffsetCommit`](crate::Answer::OffsetCommit).
    OffsetCommit(OffsetCommit),
    /// Answered with [`Answer::OffsetFetch`](crate::Answer::OffsetFetch).
    OffsetFetch(OffsetFetch),
    /// Answered with [`Answer::Describe`](crate::Answer::Describe).
    DescribeGroup(Arc<str>),
    /// Answered with [`Answer::List`](crate::Answer::List).
    ListGroups(ListGroups),
    /// These topics are gone: so are the offsets committed for them. Answered with [`Answer::Done`](crate::Answer::Done).
    TopicsDeleted(Vec<Arc<str>>),
    /// A deadline has passed; made by [`Groups::due`](crate::Groups::due). Not answered.
    Due(Timer),
}

/// What the core waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// A member's session, or the life of a member id that was handed out and has not joined.
    Session(Arc<str>, Arc<str>),
    /// The join phase of a group.
    Join(Arc<str>),
    /// The sync phase of a group.
    Sync(Arc<str>),
    /// A look at which of a group's offsets have expired, and whether the group itself may go.
    Expiry(Arc<str>),
}

/// One way of assigning partitions that a member offers, with what it tells the leader for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: Arc<str>,
    /// The member's subscription, opaque to the coordinator.
    pub metadata: Bytes,
}

/// `JoinGroup` (11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group; not empty.
    pub group_id: Arc<str>,
    /// Empty for a member that has none yet.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<Arc<str>>,
    /// From the request header; empty when it had none.
    pub client_id: Arc<str>,
    /// The peer as Kafka writes it: a slash and the address.
    pub client_host: Arc<str>,
    /// The member is dropped when it is silent for so long.
    pub session_timeout_ms: i32,
    /// How long the member may take to join again. The session timeout for version 0, which has no such field.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: Arc<str>,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// KIP-394, version 4: a new member is given its id first, and joins with it.
    pub requires_known_member_id: bool,
    /// KIP-814, version 9: a static leader that comes back may be told not to assign.
    pub supports_skipping_assignment: bool,
}

/// `SyncGroup` (14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group; not empty.
    pub group_id: Arc<str>,
    /// The generation the join was answered with.
    pub generation_id: i32,
    /// Who asks.
    pub member_id: Arc<str>,
    /// The static member's instance id.
    pub group_instance_id: Option<Arc<str>>,
    /// What the member believes the group's protocol type to be (KIP-559).
    pub protocol_type: Option<Arc<str>>,
    /// What the member believes the group's protocol to be (KIP-559).
    pub protocol_name: Option<Arc<str>>,
    /// From the leader: who gets what. Empty from followers.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// `Heartbeat` (12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group; not empty.
    pub group_id: Arc<str>,
    /// The generation the member is in.
    pub generation_id: i32,
    /// Who is alive.
    pub member_id: Arc<str>,
    /// The static member's instance id.
    pub group_instance_id: Option<Arc<str>>,
}

/// `LeaveGroup` (13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group; not empty.
    pub group_id: Arc<str>,
    /// Who leaves; exactly one before version 3.
    pub members: Vec<LeavingMember>,
}

/// One member that leaves, or that an operator removes by its instance id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty when the member is named by its instance id.
    pub member_id: Arc<str>,
    /// The static member's instance id.
    pub group_instance_id: Option<Arc<str>>,
}

/// `OffsetCommit` (8). Topics are known to exist; the router has answered for those that do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The group; may be empty, as old clients that use no groups have it.
    pub group_id: Arc<str>,
    /// The member's generation; negative from consumers without group management and from tools.
    pub generation_id: i32,
    /// Empty from consumers without group management and from tools.
    pub member_id: Arc<str>,
    /// The static member's instance id.
    pub group_instance_id: Option<Arc<str>>,
    /// How long to keep the offsets; versions 2 to 4 only.
    pub retention_time_ms: Option<i64>,
    /// Version 9: an unknown group is told as such.
    pub tells_unknown_group: bool,
    /// What is committed.
    pub topics: Vec<CommitTopic>,
}

/// The partitions of one topic that a commit names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id, or zero when the request named the topic.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the last record read, kept as it came; -1 for none (KIP-320).
    pub leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub metadata: Arc<str>,
}

/// `OffsetFetch` (9), of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetch {
    /// The group; may be empty.
    pub group_id: Arc<str>,
    /// What to look up; `None` for everything the group has.
    pub topics: Option<Vec<FetchTopic>>,
    /// Do not show offsets that an open transaction is about to replace (KIP-447).
    pub require_stable: bool,
}

/// The partitions of one topic to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id, or zero when the request named the topic.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// `ListGroups` (16): which groups to list. An empty list lets everything through; case does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListGroups {
    /// Names of states (KIP-518).
    pub states: Vec<Arc<str>>,
    /// Names of types (KIP-848).
    pub types: Vec<Arc<str>>,
}
