//! The group coordinator's rules, for the classic protocol: who is in a group, which generation it is in, who gets
//! which partitions, and the offsets that groups commit.
//!
//! [`Groups`] holds the groups of one partition of `__consumer_offsets`. It is pure: commands go in, facts and answers
//! come out, time is handed in. Its driver writes the facts to the log ([`Record`] knows Kafka's format), tells the core
//! that the log took them ([`Groups::accept`]) or did not ([`Groups::refused`]), and gives the answers when the facts
//! are durable.
//!
//! Unlike the controller's, the life of a classic group is mostly soft state: members, who waits for a join or a sync,
//! timers. Kafka's format logs a picture of the group only when a generation is settled; a new coordinator starts from
//! the last picture (KIP-62, KIP-345) and members that were in the middle of a rebalance join again. Offsets are hard
//! state: they change by [`Groups::accept`] only.
//!
//! What is not here: the consumer protocol of KIP-848, share and streams groups.

mod answer;
mod classic;
mod command;
mod config;
mod expiry;
mod groups;
mod offsets;
mod query;
mod record;
mod replay;
mod turn;

pub use answer::{
    Answer, DescribedGroup, DescribedMember, FetchedPartition, FetchedTopic, JoinAnswer, JoinedMember,
    LeaveAnswer, LeftMember, ListedGroup, OffsetCommitAnswer, OffsetFetchAnswer, SyncAnswer,
};
pub use classic::{Member, State};
pub use command::{
    Command, CommitPartition, CommitTopic, FetchTopic, Heartbeat, JoinGroup, LeaveGroup, LeavingMember,
    ListGroups, OffsetCommit, OffsetFetch, Protocol, SyncGroup, Timer,
};
pub use config::GroupsConfig;
pub use groups::Groups;
pub use record::{CommittedOffset, GroupSnapshot, MemberSnapshot, Record, RecordError};

/// Kafka's generation of "no generation": what a member that is not in the group sends and is told.
pub const NO_GENERATION: i32 = -1;
/// The offset of "nothing committed".
pub const INVALID_OFFSET: i64 = -1;
