//! Following: this broker fetches from the leaders of the partitions it holds replicas of.
//!
//! What to ask next is decided by a [`core`], which is pure: which partitions, from where, full or incremental
//! (KIP-227), how long to leave one alone after an error. A [`lane`] is the task around it, one per leader and fetcher
//! number (`num.replica.fetchers`): it asks over a [`LeaderLink`], hands what comes to the replicas
//! (`ReplicaManager::append_as_follower`) and tells the core how far each got. [`Replication`] holds the lanes, moves
//! partitions between them when leaders change, asks the controller for in-sync sets ([`isr`]) and tells it which log
//! dirs hold replicas ([`assign`]).
//!
//! A new assignment does not wait for a long poll that is under way: its connection is closed and everything asked
//! anew, at most once in a while.

mod assign;
pub(crate) mod core;
mod isr;
mod lane;
mod link;
mod message;
mod replication;
mod session;
mod signal;

pub use isr::ControllerLink;
pub use link::{LeaderLink, LeaderLinks, LinkError, PeerLinks};
pub use replication::{FetchOptions, ReplicationParts};
pub(crate) use replication::{Following, Replication};
