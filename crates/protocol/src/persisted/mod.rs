//! The records Kafka persists, in every version Apache Kafka 4.4 reads and writes.
//!
//! - [`metadata`]: the metadata log `__cluster_metadata` and its snapshots;
//! - [`offsets`], [`transactions`], [`share`]: the topics of the coordinators;
//! - [`control`]: the records of control batches;
//! - [`snapshot`]: the records that frame a metadata snapshot, and the binary files beside a log.
//!
//! Two framings are in use. Metadata records carry their key and version in front of them as varints
//! ([`metadata::MetadataRecord`]). Coordinator records are a key and a value, each with a 2-byte prefix: the
//! record's type before the key, the version before the value ([`versioned`]).

pub mod control;
pub mod metadata;
pub mod versioned;

pub mod offsets {
    //! The records of `__consumer_offsets`: committed offsets and the groups of every protocol.

    pub use super::versioned::{decode_key, decode_versioned, encode_key, encode_versioned, read_version};
    pub use crate::generated::offsets::*;
}

pub mod transactions {
    //! The records of `__transaction_state`.

    pub use super::versioned::{decode_key, decode_versioned, encode_key, encode_versioned, read_version};
    pub use crate::generated::transactions::*;
}

pub mod share {
    //! The records of `__share_group_state`.

    pub use super::versioned::{decode_key, decode_versioned, encode_key, encode_versioned, read_version};
    pub use crate::generated::share::*;
}

pub mod snapshot {
    //! The records at the start and end of a metadata snapshot, and the data of the binary files beside a log:
    //! `.snapshot` (producer state) and `.txnindex` (aborted transactions).

    pub use super::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
    pub use crate::generated::files::*;
}
