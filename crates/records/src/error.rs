//! What can be wrong with the bytes of a batch.

use crate::compression::{Codec, DecompressError};

/// Why bytes are not a sound batch of format 2.
///
/// Says what was found, never who is to blame: a producer's batch becomes a [`crate::Refusal`], a batch in a log file
/// a fault of the log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch needs {needed} bytes and {have} are left")]
    Truncated {
        /// Bytes the header, or the batch by its own length, would take.
        needed: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The length field is smaller than a header, or negative.
    #[error("a batch cannot have a length field of {0}")]
    Length(i32),
    /// A format other than 2.
    #[error("magic {0} is not a batch of format 2")]
    Magic(i8),
    /// The checksum does not fit the bytes.
    #[error("CRC-32C is {computed:#010x} and the header says {stored:#010x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// Bits 0 to 2 of the attributes name no codec.
    #[error("compression type {0} does not exist")]
    UnknownCodec(u8),
    /// The header announces a negative number of records.
    #[error("a batch cannot have {0} records")]
    Count(i32),
    /// A record does not parse.
    #[error("record {index} of the batch: {fault}")]
    Record {
        /// Counted from 0 within the batch.
        index: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// The payload ends before the announced number of records was read.
    #[error("the batch ends after {found} of {announced} records")]
    TooFewRecords {
        /// What the header says.
        announced: i32,
        /// How many there are.
        found: i32,
    },
    /// Bytes are left after the announced number of records.
    #[error("bytes follow the last of {announced} records")]
    TrailingBytes {
        /// What the header says.
        announced: i32,
    },
    /// The payload does not decompress.
    #[error("{codec} payload: {fault}")]
    Decompress {
        /// The codec the attributes name.
        codec: Codec,
        /// What the decompressor met.
        fault: DecompressError,
    },
    /// More comes out of the decompressor than the caller allows.
    #[error("the payload decompresses to more than {limit} bytes")]
    TooLarge {
        /// The caller's limit in bytes.
        limit: u64,
    },
}

/// Why the bytes of one record do not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The record's length, or a length inside it, goes past the bytes there are.
    #[error("a length goes past the end")]
    PastEnd,
    /// A variable-length number has more bytes than its type can have.
    #[error("a varint is too long")]
    Varint,
    /// The record is shorter or longer than its length field says.
    #[error("the fields do not fill the record's length")]
    Size,
    /// The number of headers is negative or cannot fit.
    #[error("the header count is impossible")]
    HeaderCount,
    /// A header's key has a negative length.
    #[error("a header key has a negative length")]
    HeaderKey,
}
