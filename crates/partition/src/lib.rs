//! What one replica does next: producers, leader epochs, watermarks, in-sync replicas.
//!
//! Pure: no files, no clock, no tasks. The driver (`ottla-replica`) owns the log, hands in what happened, and performs
//! the [`Effects`] that come out. Everything is written for N replicas; one replica is the smallest case.

mod epochs;
mod machine;
mod producers;
mod replication;

pub use epochs::{EpochEnd, LeaderEpochs};
pub use machine::{Admitted, AppendRefusal, Effects, Event, Partition, Role, Rules};
pub use producers::{
    AbortedTransaction, BatchFacts, Marker, Origin, ProducerRefusal, ProducerState, ProducerTable,
    SnapshotError, TransactionEnd, Verdict, next_sequence,
};
pub use replication::{
    BrokerStanding, Brokers, FollowerFetch, IsrAnswer, IsrProposal, LeaderTerm, NO_BROKER_EPOCH,
    RemoteReplica,
};
