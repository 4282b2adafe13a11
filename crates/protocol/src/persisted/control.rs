//! The records of control batches: transaction markers, and those raft puts into the metadata log.
//!
//! The key of such a record is a [`ControlType`] behind a 2-byte version that is 0. The value starts with the
//! 2-byte version it is written in: raft's records have it as a field of their own ([`encode_value`],
//! [`decode_value`]), the transaction marker as a prefix ([`encode_marker`], [`decode_marker`]).

use bytes::Bytes;

pub use crate::generated::control::*;
use crate::{Decodable, DecodeError, Encodable, EncodeError};

/// What a control record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    /// A transaction was aborted: [`EndTxnMarker`].
    Abort,
    /// A transaction was committed: [`EndTxnMarker`].
    Commit,
    /// Raft elected a leader: [`LeaderChangeMessage`].
    LeaderChange,
    /// The first record of a snapshot: [`SnapshotHeaderRecord`].
    SnapshotHeader,
    /// The last record of a snapshot: [`SnapshotFooterRecord`].
    SnapshotFooter,
    /// The version of the raft protocol: [`KRaftVersionRecord`].
    KRaftVersion,
    /// The voters: [`VotersRecord`].
    KRaftVoters,
}

impl ControlType {
    /// The number on the wire.
    pub const fn number(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
        }
    }

    /// The type with this number; `None` for one that is not known, which readers pass over.
    pub const fn from_number(number: i16) -> Option<Self> {
        Some(match number {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            _ => return None,
        })
    }

    /// The key of a control record: version 0, then the type.
    pub const fn key(self) -> [u8; 4] {
        let [high, low] = self.number().to_be_bytes();
        [0, 0, high, low]
    }

    /// Reads the key of a control record: `Ok(None)` for a type that is not known.
    ///
    /// # Errors
    /// When the key is shorter than four bytes or its version is negative.
    pub fn from_key(key: &[u8]) -> Result<Option<Self>, DecodeError> {
        let [v0, v1, t0, t1] =
            *key.first_chunk::<4>().ok_or(DecodeError::Head("a control key of less than four bytes"))?;
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(DecodeError::Head("a control key of a negative version"));
        }
        Ok(Self::from_number(i16::from_be_bytes([t0, t1])))
    }
}

/// Writes the value of a control record in `version`. Kafka 4.4 writes and reads version 0 of all of them: a
/// [`LeaderChangeMessage`] of version 1, which its schema has, it cannot read back. For raft's records the record's own `version` field must
/// say the same; it is what a reader goes by.
///
/// # Errors
/// When a field is set that the version does not have.
pub fn encode_value<T: Encodable>(version: i16, record: &T) -> Result<Bytes, EncodeError> {
    let fail = |source| EncodeError::Body { key: -1, version, source };
    let mut out = Vec::with_capacity(record.compute_size(version).map_err(fail)?);
    record.encode(&mut out, version).map_err(fail)?;
    Ok(out.into())
}

/// Reads the value of one of raft's control records, whose first two bytes are its version.
///
/// # Errors
/// When the version is not known or the value is malformed.
pub fn decode_value<T: Decodable>(value: &[u8]) -> Result<T, DecodeError> {
    let version = super::versioned::read_version(value)?;
    T::decode(&mut Bytes::copy_from_slice(value), version).map_err(DecodeError::Body)
}

/// Writes the value of a transaction marker: the version, 0, and the coordinator's epoch.
pub fn encode_marker(marker: &EndTxnMarker) -> [u8; 6] {
    let [a, b, c, d] = marker.coordinator_epoch.to_be_bytes();
    [0, 0, a, b, c, d]
}

/// Reads the value of a transaction marker. Later versions only add behind what version 0 has.
///
/// # Errors
/// When the value is shorter than six bytes or its version is negative.
pub fn decode_marker(value: &[u8]) -> Result<EndTxnMarker, DecodeError> {
    let [v0, v1, a, b, c, d] =
        *value.first_chunk::<6>().ok_or(DecodeError::Head("a transaction marker of less than six bytes"))?;
    if i16::from_be_bytes([v0, v1]) < 0 {
        return Err(DecodeError::Head("a transaction marker of a negative version"));
    }
    Ok(EndTxnMarker { coordinator_epoch: i32::from_be_bytes([a, b, c, d]) })
}
