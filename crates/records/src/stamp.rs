//! A batch with its place in the log: a fresh header and the shared payload.

use bytes::{Bytes, BytesMut};

use crate::{
    batch::Batch,
    header::{BatchHeader, TimestampType},
};

/// A batch ready to be written: first `head`, then `rest`, in one vectored write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// What `head` says.
    pub header: BatchHeader,
    /// The header's bytes.
    pub head: [u8; BatchHeader::LEN],
    /// Everything after the header, shared with whoever received it.
    pub rest: Bytes,
}

impl Stamped {
    /// Puts a header before a payload. The checksum in `header` is written as it is.
    #[must_use]
    pub fn new(header: BatchHeader, rest: Bytes) -> Self {
        Self { header, head: header.to_bytes(), rest }
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    /// The batch in one piece; copies the payload.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size_in_bytes());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.rest);
        out.freeze()
    }

    /// The batch in one piece as a view; copies the payload.
    #[must_use]
    pub fn to_batch(&self) -> Batch {
        Batch { header: self.header, bytes: self.to_bytes() }
    }
}

/// Sets timestamp type and maximum timestamp of a header and its checksum to match, given that the checksum fitted
/// before. `payload_len` is the number of bytes after the header.
///
/// CRC-32C is linear, so the payload is not read again: the difference of the two headers' checksums is shifted over
/// the payload's length.
pub(crate) fn set_timestamps(
    header: &mut BatchHeader,
    kind: TimestampType,
    max_timestamp: i64,
    payload_len: usize,
) {
    let before = covered_crc(header);
    header.set_timestamp_type(kind);
    header.max_timestamp = max_timestamp;
    let difference = before ^ covered_crc(header);
    header.crc ^= crc32c::crc32c_combine(difference, 0, payload_len);
}

/// Checksum of the part of the header that the batch's checksum covers.
fn covered_crc(header: &BatchHeader) -> u32 {
    crc32c::crc32c(&header.to_bytes()[BatchHeader::CRC_FROM..])
}
