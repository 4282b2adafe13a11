//! Gives the group coordinator's core a home on `__consumer_offsets`.
//!
//! One [`Groups`](ottla_groups::Groups) core per partition that this broker leads: loaded from the partition when
//! leadership comes, thrown away when it goes. A request is decided on the thread that brings it, under its shard's lock;
//! the facts are appended to the partition before the lock is let go, and the answer is given when the log says they are
//! durable. Answers to commands that log nothing wait for the facts before them, so nobody sees what may yet be lost.
//!
//! Deadlines of all shards are slept for by one task; a coordinator without groups does nothing at all.
//!
//! What is not here: rules (`groups`), wire versions (`router`), where the bytes go (`replica`).

mod config;
mod coordinators;
mod load;
mod log;
mod offsets_topic;
mod replicas;
mod shard;
mod timer;

pub use config::CoordinatorConfig;
pub use coordinators::{Coordinators, Listing};
pub use log::{BatchIterator, Durable, OffsetsLog};
pub use offsets_topic::{OFFSETS_TOPIC, OffsetsTopic};
pub use ottla_groups as groups;
pub use replicas::ReplicasLog;
pub use shard::{Outcome, Pending};

#[cfg(test)]
mod tests;
