//! No byte of a batch can make this crate panic, and none of the payload can change unnoticed.

use bytes::Bytes;
use ottla_records::{
    Batch, BatchBuilder, BatchHeader, Codec, Header, ProduceRules, TimestampType, batches, batches_lenient,
    check_produce, time,
    validate::{TargetCompression, is_transactional, request_fault},
};
use ottla_types::{Millis, TopicPartition};

const NOW: i64 = 1_700_000_000_000;
const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn sample(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(0).compression(codec, None);
    for i in 0..4 {
        let header = Header { key: b"name", value: Some(b"value") };
        builder.append(NOW + i, Some(b"key"), Some(b"a value, a value, a value"), &[header; 2]);
    }
    builder.build()
}

/// Everything that takes bytes from outside.
fn exercise(bytes: &Bytes, partition: &TopicPartition) {
    let _ = (request_fault(bytes), is_transactional(bytes));
    let rules = ProduceRules::new(partition, 12, Millis(NOW));
    let _ = check_produce(bytes, &rules);
    let strict = ProduceRules {
        compacted: true,
        timestamp_type: TimestampType::LogAppendTime,
        compression: TargetCompression::Codec(Codec::Lz4, None),
        ..rules
    };
    let _ = check_produce(bytes, &strict);
    batches(bytes.clone()).chain(batches_lenient(bytes.clone())).filter_map(Result::ok).for_each(|batch| {
        let _ = (time::find(&batch, NOW + 2), time::find_max(&batch));
        let _ = batch.records().map(|mut records| while let Ok(Some(_)) = records.try_next() {});
        let _ = batch.stamp(i64::MAX, i32::MAX).to_batch().header.next_offset();
    });
}

/// Every other value of a byte; inside compressed payloads those that differ in one bit, and the ends of the ranges.
fn changes(byte: u8, all: bool) -> Vec<u8> {
    let mut values: Vec<u8> = if all {
        (0..=255).collect()
    } else {
        let bits = (0..8).map(|bit| byte ^ 1 << bit);
        bits.chain([0, 0x7f, 0x80, 0xff, byte.wrapping_add(1), byte.wrapping_sub(1)]).collect()
    };
    values.retain(|value| *value != byte);
    values
}

/// The same bytes with a checksum that fits, so that what is behind it is reached.
fn resealed(mut bytes: Vec<u8>) -> Bytes {
    if bytes.len() >= BatchHeader::LEN {
        let crc = crc32c::crc32c(&bytes[BatchHeader::CRC_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    Bytes::from(bytes)
}

#[test]
fn every_truncation() {
    let partition = TopicPartition::new("topic", 0);
    for codec in ALL {
        let whole = sample(codec);
        for len in 0..whole.len() {
            let cut = whole.slice(..len);
            exercise(&cut, &partition);
            assert!(Batch::parse(&cut, 0).is_err());
            // Cut, and the length made to fit.
            if len >= BatchHeader::LEN {
                let mut bytes = cut.to_vec();
                bytes[8..12].copy_from_slice(&(len as i32 - 12).to_be_bytes());
                let bytes = resealed(bytes);
                exercise(&bytes, &partition);
                let truncated = Batch::parse(&bytes, 0).expect("a batch");
                assert_eq!(truncated.verify_crc(), Ok(()));
                let mut records = truncated.records().expect("a codec");
                let mut found = 0;
                while let Ok(Some(_)) = records.try_next() {
                    found += 1;
                }
                // Of a gzip or LZ4 payload only the trailer may be missing.
                assert!(found < 4 || codec != Codec::None);
            }
        }
    }
}

#[test]
fn every_single_byte_change() {
    let partition = TopicPartition::new("topic", 0);
    for codec in ALL {
        let whole = sample(codec);
        for at in 0..whole.len() {
            for value in changes(whole[at], codec == Codec::None || at < BatchHeader::LEN) {
                let mut bytes = whole.to_vec();
                bytes[at] = value;
                let changed = Bytes::from(bytes.clone());
                if at >= BatchHeader::CRC_FROM {
                    let refused = check_produce(&changed, &ProduceRules::new(&partition, 12, Millis(NOW)));
                    assert_eq!(refused.expect_err("the checksum covers it").code.0, 2);
                } else {
                    exercise(&changed, &partition);
                }
                exercise(&resealed(bytes), &partition);
            }
        }
    }
}
