//! The 61 bytes before the records of a batch.

use crate::{compression::Codec, error::BatchError};

/// The only batch format there is since Kafka 4.0.
pub const MAGIC: i8 = 2;
/// A record or batch without a timestamp.
pub const NO_TIMESTAMP: i64 = -1;
/// The base sequence of a batch without a producer id.
pub const NO_SEQUENCE: i32 = -1;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Who set a batch's timestamps (KIP-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer, record by record.
    #[default]
    CreateTime,
    /// The broker, one for the whole batch: its `max_timestamp`.
    LogAppendTime,
}

/// The header of a batch of format 2, field by field (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; clients send 0. Outside the checksum.
    pub base_offset: i64,
    /// Bytes after this field: `size_in_bytes() - 12`.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; clients send -1. Outside the checksum.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec in bits 0 to 2, then timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`; kept when compaction removes records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from, in ms; the delete horizon when that bit is set (KIP-534).
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the time of the append.
    pub max_timestamp: i64,
    /// -1 when the batch is not idempotent.
    pub producer_id: i64,
    /// -1 when the batch is not idempotent.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 when the batch is not idempotent.
    pub base_sequence: i32,
    /// Number of records in the batch.
    pub records_count: i32,
}

impl BatchHeader {
    /// Bytes of a header.
    pub const LEN: usize = 61;
    /// Bytes before those that `batch_length` counts.
    pub const LOG_OVERHEAD: usize = 12;
    /// Where the bytes covered by the checksum start.
    pub const CRC_FROM: usize = 21;
    /// Smallest value of `batch_length`: a batch of no records, which compaction leaves behind.
    pub const MIN_LENGTH: i32 = (Self::LEN - Self::LOG_OVERHEAD) as i32;

    /// Reads the header at the start of `bytes`; what follows need not be there yet.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] under 61 bytes, [`BatchError::Magic`], [`BatchError::Length`] for a length field
    /// that no batch can have. Nothing else is judged.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(head) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(Self::too_short(bytes));
        };
        let magic = head[16] as i8;
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let header = Self {
            base_offset: i64_at(head, 0),
            batch_length: i32_at(head, 8),
            partition_leader_epoch: i32_at(head, 12),
            crc: i32_at(head, 17) as u32,
            attributes: i16_at(head, 21),
            last_offset_delta: i32_at(head, 23),
            base_timestamp: i64_at(head, 27),
            max_timestamp: i64_at(head, 35),
            producer_id: i64_at(head, 43),
            producer_epoch: i16_at(head, 51),
            base_sequence: i32_at(head, 53),
            records_count: i32_at(head, 57),
        };
        if header.batch_length < Self::MIN_LENGTH {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// Under 61 bytes: the magic tells more than the length, when it is there.
    fn too_short(bytes: &[u8]) -> BatchError {
        match bytes.get(16) {
            Some(&magic) if magic as i8 != MAGIC => BatchError::Magic(magic as i8),
            _ => BatchError::Truncated { needed: Self::LEN, have: bytes.len() },
        }
    }

    /// Writes the header.
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[16] = MAGIC as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        self.write(&mut out);
        out
    }

    /// How the payload is compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`] for the codes 5 to 7.
    pub fn compression(&self) -> Result<Codec, BatchError> {
        let code = (self.attributes & CODEC_MASK) as u8;
        Codec::from_code(code).ok_or(BatchError::UnknownCodec(code))
    }

    /// Who set the timestamps.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the records are control records (transaction markers, quorum records), which consumers skip.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// When tombstones and markers of this batch may go, in ms, once compaction has decided it (KIP-534).
    #[must_use]
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Whether the batch carries a producer id.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > ottla_types::NO_PRODUCER_ID
    }

    /// Offset of the last record (also when compaction removed it).
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset the next batch starts at, at least.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Bytes of the whole batch. `batch_length` was checked by [`BatchHeader::parse`], so this is at least 61.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        Self::LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Sequence of the last record, -1 without one. Sequences start again at 0 after `i32::MAX`.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let span = i64::from(i32::MAX) + 1;
        if sum < span { sum as i32 } else { (sum - span) as i32 }
    }

    /// Sets the codec.
    pub(crate) fn set_codec(&mut self, codec: Codec) {
        self.attributes = self.attributes & !CODEC_MASK | i16::from(codec.code());
    }

    /// Sets who set the timestamps; clears the bits that mean nothing, as Kafka does when it writes attributes.
    pub(crate) fn set_timestamp_type(&mut self, kind: TimestampType) {
        let known = CODEC_MASK | TRANSACTIONAL | CONTROL | DELETE_HORIZON;
        let bit = if kind == TimestampType::LogAppendTime { LOG_APPEND_TIME } else { 0 };
        self.attributes = self.attributes & known | bit;
    }

    /// Attributes for a new batch.
    pub(crate) fn attributes_of(
        codec: Codec,
        kind: TimestampType,
        transactional: bool,
        control: bool,
    ) -> i16 {
        let bit = |set: bool, mask: i16| if set { mask } else { 0 };
        i16::from(codec.code())
            | bit(kind == TimestampType::LogAppendTime, LOG_APPEND_TIME)
            | bit(transactional, TRANSACTIONAL)
            | bit(control, CONTROL)
    }
}

fn i16_at(head: &[u8; BatchHeader::LEN], at: usize) -> i16 {
    i16::from_be_bytes([head[at], head[at + 1]])
}

fn i32_at(head: &[u8; BatchHeader::LEN], at: usize) -> i32 {
    i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn i64_at(head: &[u8; BatchHeader::LEN], at: usize) -> i64 {
    i64::from(i32_at(head, at)) << 32 | i64::from(i32_at(head, at + 4) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 0x0102_0304_0506_0708,
            batch_length: 49,
            partition_leader_epoch: -1,
            crc: 0xdead_beef,
            attributes: 0x34,
            last_offset_delta: 9,
            base_timestamp: -2,
            max_timestamp: i64::MAX,
            producer_id: 7,
            producer_epoch: -3,
            base_sequence: i32::MAX - 4,
            records_count: 10,
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let bytes = header().to_bytes();
        assert_eq!(BatchHeader::parse(&bytes), Ok(header()));
        assert_eq!(header().compression(), Ok(Codec::Zstd));
        assert!(header().is_transactional() && header().is_control());
        assert_eq!(header().timestamp_type(), TimestampType::CreateTime);
        assert_eq!(header().size_in_bytes(), 61);
    }

    #[test]
    fn refuses_what_is_no_header() {
        let mut bytes = header().to_bytes();
        assert_eq!(BatchHeader::parse(&bytes[..60]), Err(BatchError::Truncated { needed: 61, have: 60 }));
        bytes[11] = 48;
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Length(48)));
        bytes[8] = 0xff;
        assert!(matches!(BatchHeader::parse(&bytes), Err(BatchError::Length(n)) if n < 0));
        bytes[16] = 1;
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Magic(1)));
        assert_eq!(BatchHeader::parse(&bytes[..20]), Err(BatchError::Magic(1)));
    }

    #[test]
    fn sequences_wrap() {
        let mut h = header();
        assert_eq!(h.last_sequence(), 4);
        h.last_offset_delta = 4;
        assert_eq!(h.last_sequence(), i32::MAX);
        h.base_sequence = -1;
        assert_eq!(h.last_sequence(), -1);
    }

    #[test]
    fn offsets_hold_at_the_end_of_the_range() {
        let mut h = header();
        h.base_offset = i64::MAX;
        assert_eq!(h.next_offset(), i64::MAX);
    }
}
