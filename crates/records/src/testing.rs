//! Batches with any field wrong, for the tests of this crate.

use bytes::Bytes;
use ottla_types::{Millis, TopicPartition};

use crate::{BatchHeader, Codec, ProduceRules, compression, varint};

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const DAY: i64 = 86_400_000;
pub(crate) const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

pub(crate) fn rules() -> ProduceRules<'static> {
    static PARTITION: std::sync::LazyLock<TopicPartition> =
        std::sync::LazyLock::new(|| TopicPartition::new("topic", 0));
    ProduceRules::new(&PARTITION, 12, Millis(NOW))
}

type RawField = Option<&'static [u8]>;

/// One record, every field of which can be wrong.
#[derive(Clone)]
pub(crate) struct RawRecord {
    pub(crate) offset: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'static [u8]>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(RawField, RawField)>,
    pub(crate) header_count: Option<i64>,
    pub(crate) attributes: u8,
    /// Added to the record's true length.
    pub(crate) size_error: i64,
    pub(crate) tail: &'static [u8],
}

pub(crate) fn record(offset: i32) -> RawRecord {
    RawRecord {
        offset,
        timestamp: 0,
        key: Some(b"k"),
        value: Some(b"v".to_vec()),
        headers: Vec::new(),
        header_count: None,
        attributes: 0,
        size_error: 0,
        tail: b"",
    }
}

fn field(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    varint::write(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

impl RawRecord {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = vec![self.attributes];
        varint::write(&mut body, self.timestamp);
        varint::write(&mut body, i64::from(self.offset));
        field(self.key, &mut body);
        field(self.value.as_deref(), &mut body);
        varint::write(&mut body, self.header_count.unwrap_or(self.headers.len() as i64));
        for (key, value) in &self.headers {
            field(*key, &mut body);
            field(*value, &mut body);
        }
        body.extend_from_slice(self.tail);
        let mut out = Vec::new();
        varint::write(&mut out, body.len() as i64 + self.size_error);
        out.extend_from_slice(&body);
        out
    }
}

/// A batch, every field of which can be wrong. The checksum is made to fit.
#[derive(Clone)]
pub(crate) struct RawBatch {
    pub(crate) header: BatchHeader,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn raw(records: &[RawRecord]) -> RawBatch {
    let count = records.len() as i32;
    RawBatch {
        header: BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: NOW,
            max_timestamp: NOW,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: count,
        },
        payload: records.iter().flat_map(RawRecord::bytes).collect(),
    }
}

impl RawBatch {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut BatchHeader)) -> Self {
        change(&mut self.header);
        self
    }

    /// Compresses the payload, or says so of one that already is.
    pub(crate) fn codec(mut self, codec: Codec) -> Self {
        self.payload = compression::compress(codec, None, &self.payload);
        self.header.set_codec(codec);
        self
    }

    pub(crate) fn payload(mut self, payload: Vec<u8>) -> Self {
        self.payload = payload;
        self
    }

    pub(crate) fn build(mut self) -> Bytes {
        let mut bytes = vec![0; BatchHeader::LEN];
        bytes.extend_from_slice(&self.payload);
        crate::builder::seal(&mut self.header, &mut bytes);
        Bytes::from(bytes)
    }

    /// Built, and then one byte of the checksum changed.
    pub(crate) fn bad_crc(self) -> Bytes {
        patch(&self.build(), 20, |byte| byte ^ 1)
    }

    /// Built, and then the length field written over.
    pub(crate) fn length(self, length: i32) -> Bytes {
        let mut bytes = self.build().to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        Bytes::from(bytes)
    }

    /// Built, and then the magic byte written over.
    pub(crate) fn magic(self, magic: i8) -> Bytes {
        patch(&self.build(), 16, |_| magic as u8)
    }
}

pub(crate) fn patch(bytes: &Bytes, at: usize, change: impl FnOnce(u8) -> u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] = change(bytes[at]);
    Bytes::from(bytes)
}

pub(crate) fn concat(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}
