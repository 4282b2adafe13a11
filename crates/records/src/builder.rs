//! Writes a batch record by record.

use bytes::Bytes;

use crate::{
    compression::{Codec, Encoder},
    header::{BatchHeader, NO_SEQUENCE, NO_TIMESTAMP, TimestampType},
    record::Header,
    varint,
};

/// The producer fields of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Identifies the producer; -1 for none.
    pub id: i64,
    /// Fences older incarnations; -1 for none.
    pub epoch: i16,
    /// Sequence of the batch's first record; -1 for none.
    pub base_sequence: i32,
}

impl Producer {
    /// Not idempotent.
    pub const NONE: Self = Self { id: -1, epoch: -1, base_sequence: NO_SEQUENCE };
}

/// Builds one batch of format 2.
///
/// Records are written as they are appended; compression happens in [`BatchBuilder::build`].
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    level: Option<i32>,
    append_time: Option<i64>,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    next_offset: i64,
}

impl BatchBuilder {
    /// A batch whose first record has offset `base_offset` (0 when the log is to place it).
    #[must_use]
    pub fn new(base_offset: i64) -> Self {
        Self::with_capacity(base_offset, 0)
    }

    /// As [`BatchBuilder::new`], with room for `capacity` bytes of records.
    #[must_use]
    pub fn with_capacity(base_offset: i64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(BatchHeader::LEN + capacity);
        bytes.resize(BatchHeader::LEN, 0);
        let header = BatchHeader {
            base_offset,
            batch_length: BatchHeader::MIN_LENGTH,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: Producer::NONE.id,
            producer_epoch: Producer::NONE.epoch,
            base_sequence: Producer::NONE.base_sequence,
            records_count: 0,
        };
        Self { header, codec: Codec::None, level: None, append_time: None, bytes, next_offset: base_offset }
    }

    /// Compresses the records; `None` is the codec's default level.
    #[must_use]
    pub fn compression(mut self, codec: Codec, level: Option<i32>) -> Self {
        (self.codec, self.level) = (codec, level);
        self
    }

    /// Marks the batch as stamped by the broker at `now` ms: timestamp type LogAppendTime.
    #[must_use]
    pub fn log_append_time(mut self, now: i64) -> Self {
        self.append_time = Some(now);
        self
    }

    /// Sets the leader epoch (-1 otherwise).
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// Sets the producer fields.
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> Self {
        self.header.producer_id = producer.id;
        self.header.producer_epoch = producer.epoch;
        self.header.base_sequence = producer.base_sequence;
        self
    }

    /// Makes the batch part of a transaction.
    #[must_use]
    pub fn transactional(mut self, yes: bool) -> Self {
        self.set_attributes(yes, self.header.is_control());
        self
    }

    /// Makes the records control records.
    #[must_use]
    pub fn control(mut self, yes: bool) -> Self {
        self.set_attributes(self.header.is_transactional(), yes);
        self
    }

    fn set_attributes(&mut self, transactional: bool, control: bool) {
        self.header.attributes =
            BatchHeader::attributes_of(Codec::None, TimestampType::CreateTime, transactional, control);
    }

    /// Appends a record at the next offset, which is returned. `timestamp` is in ms, -1 for none.
    ///
    /// # Panics
    /// When the batch would exceed 2 GiB or 2^31 records: the caller bounds it by the topic's limit.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> i64 {
        let offset = self.next_offset;
        self.append_at(offset, timestamp, key, value, headers);
        offset
    }

    /// Appends a record at an offset at or after the next one, as compaction does.
    ///
    /// # Panics
    /// As [`BatchBuilder::append`], and when `offset` is before the next offset or 2^31 or more after the base.
    pub fn append_at(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        assert!(offset >= self.next_offset, "offsets of a batch go up");
        let delta =
            i32::try_from(offset - self.header.base_offset).expect("a batch spans 2^31 offsets at most");
        if self.header.records_count == 0 {
            self.header.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        RecordFields { timestamp_delta, offset_delta: delta, key, value }
            .write(headers.iter().copied(), &mut self.bytes);
        self.header.records_count += 1;
        self.header.last_offset_delta = delta;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self.next_offset = offset + 1;
    }

    /// Records so far.
    #[must_use]
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Bytes the batch would have without compression.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Makes `offset` the batch's last offset though its record is gone, as compaction keeps it.
    ///
    /// # Panics
    /// When `offset` is before the last record or 2^31 or more after the base.
    #[must_use]
    pub fn last_offset(mut self, offset: i64) -> Self {
        assert!(offset >= self.next_offset - 1, "the last offset is not before the last record");
        self.header.last_offset_delta =
            i32::try_from(offset - self.header.base_offset).expect("a batch spans 2^31 offsets at most");
        self
    }

    /// The batch: header, records, checksum.
    #[must_use]
    pub fn build(mut self) -> Bytes {
        if self.codec != Codec::None {
            let mut encoder = Encoder::new(self.codec, self.level, vec![0; BatchHeader::LEN]);
            encoder.write(&self.bytes[BatchHeader::LEN..]);
            self.bytes = encoder.finish();
            self.header.set_codec(self.codec);
        }
        if let Some(now) = self.append_time {
            self.header.set_timestamp_type(TimestampType::LogAppendTime);
            self.header.max_timestamp = now;
        }
        self.header.last_offset_delta = self.header.last_offset_delta.max(0);
        seal(&mut self.header, &mut self.bytes);
        Bytes::from(self.bytes)
    }
}

/// Writes `header` before the payload that starts at byte 61 of `bytes`, with its length and checksum.
pub(crate) fn seal(header: &mut BatchHeader, bytes: &mut [u8]) {
    header.batch_length =
        i32::try_from(bytes.len() - BatchHeader::LOG_OVERHEAD).expect("a batch is smaller than 2 GiB");
    let head = bytes.first_chunk_mut().expect("room for the header was made first");
    header.write(head);
    header.crc = crc32c::crc32c(&bytes[BatchHeader::CRC_FROM..]);
    bytes[17..21].copy_from_slice(&header.crc.to_be_bytes());
}

/// A record to be written, but for its headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordFields<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl RecordFields<'_> {
    /// Appends the record with its length field.
    pub(crate) fn write<'h>(
        &self,
        headers: impl ExactSizeIterator<Item = Header<'h>> + Clone,
        out: &mut Vec<u8>,
    ) {
        let count = headers.len() as i64;
        let of_headers: usize =
            headers.clone().map(|header| field_size(Some(header.key)) + field_size(header.value)).sum();
        let size = 1
            + varint::size(self.timestamp_delta)
            + varint::size(i64::from(self.offset_delta))
            + field_size(self.key)
            + field_size(self.value)
            + varint::size(count)
            + of_headers;
        varint::write(out, size as i64);
        out.push(0);
        varint::write(out, self.timestamp_delta);
        varint::write(out, i64::from(self.offset_delta));
        write_field(self.key, out);
        write_field(self.value, out);
        varint::write(out, count);
        for header in headers {
            write_field(Some(header.key), out);
            write_field(header.value, out);
        }
    }
}

fn field_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint::size(bytes.len() as i64) + bytes.len())
}

fn write_field(field: Option<&[u8]>, out: &mut Vec<u8>) {
    match field {
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::write(out, -1),
    }
}
