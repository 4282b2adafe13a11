//! How a machine's facts look as Kafka record batches: plain functions, given by whoever composes the machine.

use std::sync::Arc;

use bytes::Bytes;
use ottla_machine::Machine;
use ottla_records::Batch;
use ottla_types::{LeaderEpoch, Millis, NodeId, Offset};
use uuid::Uuid;

/// Where a voter listens for other controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// Listener name.
    pub name: Arc<str>,
    /// Host.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Node id.
    pub id: NodeId,
    /// Id of the directory that holds its metadata log; zero when it is not known.
    pub directory_id: Uuid,
    /// Its controller listeners.
    pub endpoints: Vec<VoterEndpoint>,
}

/// The facts of a batch, or what is wrong with it.
pub type Decoded<M> = Result<Vec<<M as Machine>::Record>, String>;

/// The machine's facts as bytes and back.
///
/// `decode(encode(records))` must give `stamp(..)` followed by `records`: the leader applies what it encoded, everyone
/// else what they decoded.
pub struct Codec<M: Machine> {
    /// One batch of these facts with base offset 0, created at the given wall time.
    pub encode: fn(&[M::Record], Millis) -> Bytes,
    /// The facts of a batch, [`stamp`](Self::stamp) first. Control batches give facts too: each takes an offset.
    pub decode: fn(&Batch, LeaderEpoch) -> Decoded<M>,
    /// The fact that says of which epoch and time the facts after it are. Takes no offset.
    pub stamp: fn(LeaderEpoch, Millis) -> M::Record,
    /// The facts that give a state.
    pub snapshot: fn(&M::State) -> Vec<M::Record>,
    /// The state before the first fact, with whatever of `from` is not made of facts.
    pub empty: fn(&M::State) -> M::State,
    /// Tells a state that was read from a snapshot where the log goes on: next offset, epoch of the last record.
    pub place: fn(&mut M::State, Offset, LeaderEpoch),
}

impl<M: Machine> Clone for Codec<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for Codec<M> {}
