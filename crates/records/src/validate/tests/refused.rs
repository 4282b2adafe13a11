//! Batches that are refused, and with which code.

use bytes::Bytes;
use ottla_types::ErrorCode;

use crate::{Codec, ProduceRules, Refusal, TimestampType, check_produce, compression, testing::*};

const SERVER_ERROR: i16 = -1;
const CORRUPT: i16 = 2;
const TOO_LARGE: i16 = 10;
const TIMESTAMP: i16 = 32;
const NO_ZSTD: i16 = 76;
const INVALID: i16 = 87;

fn refusal_of(bytes: &Bytes, rules: &ProduceRules<'_>) -> Refusal {
    let refusal = check_produce(bytes, rules).expect_err("refused");
    assert!(!refusal.message.is_empty());
    refusal
}

#[track_caller]
fn refused(code: i16, bytes: &Bytes) {
    let refusal = refusal_of(bytes, &rules());
    assert_eq!(refusal.code, ErrorCode(code), "{}", refusal.message);
    assert_eq!(refusal.record_errors, [], "{}", refusal.message);
}

#[track_caller]
fn refused_by(code: i16, bytes: &Bytes, rules: &ProduceRules<'_>) {
    let refusal = refusal_of(bytes, rules);
    assert_eq!(refusal.code, ErrorCode(code), "{}", refusal.message);
}

/// As it is, and compressed: the same answer.
#[track_caller]
fn refused_both(code: i16, batch: &RawBatch) {
    refused(code, &batch.clone().build());
    for codec in ALL {
        refused(code, &batch.clone().codec(codec).build());
    }
}

fn two() -> RawBatch {
    raw(&[record(0), record(1)])
}

#[test]
fn bytes_that_are_no_batch() {
    let good = two().build();
    for len in [0, 10, 16, 20, 60, good.len() - 1] {
        refused(INVALID, &good.slice(..len));
    }
    for length in [0, -1, 13] {
        refused(CORRUPT, &two().length(length));
    }
    // 14 is an entry of the oldest format; 48 is one byte short of a header.
    for length in [14, 48, 49] {
        refused(CORRUPT, &two().length(length).slice(..length as usize + 12));
    }
    refused(INVALID, &two().length(good.len() as i32 - 12 + 1));
    refused(SERVER_ERROR, &two().length(i32::MAX));
    for magic in [3, -1, 127] {
        refused(CORRUPT, &two().magic(magic));
    }
    for magic in [0, 1] {
        refused(INVALID, &two().magic(magic));
        refused(INVALID, &concat(&[&two().magic(magic), &good]));
    }
}

#[test]
fn more_than_one_batch() {
    let good = two().build();
    refused(INVALID, &concat(&[&good, &good]));
    refused(INVALID, &concat(&[&good, &two().magic(1)]));
    refused(CORRUPT, &concat(&[&good, &two().magic(5)]));
    refused(CORRUPT, &concat(&[&good, &[0; 20]]));
}

#[test]
fn zstd_before_version_7() {
    let zstd = two().codec(Codec::Zstd);
    for version in [3, 6] {
        let rules = ProduceRules { version, ..rules() };
        refused_by(NO_ZSTD, &zstd.clone().build(), &rules);
        refused_by(NO_ZSTD, &zstd.clone().bad_crc(), &rules);
        refused_by(NO_ZSTD, &concat(&[&zstd.clone().build(), &two().build()]), &rules);
    }
}

#[test]
fn base_offset_size_and_checksum_in_this_order() {
    refused(INVALID, &two().with(|h| h.base_offset = 5).build());
    refused(INVALID, &two().with(|h| h.base_offset = 5).bad_crc());
    refused(CORRUPT, &two().bad_crc());
    let rules = ProduceRules { max_message_bytes: 76, ..rules() };
    refused_by(TOO_LARGE, &two().build(), &rules);
    refused_by(TOO_LARGE, &two().bad_crc(), &rules);
    refused_by(INVALID, &two().with(|h| h.base_offset = 5).build(), &rules);
    // A batch shorter than a header is judged by its base offset, then by its size.
    let short = two().with(|h| h.base_offset = 5).length(48).slice(..60);
    refused_by(INVALID, &short, &rules);
}

#[test]
fn codecs_that_do_not_exist() {
    for codec in [5, 6, 7] {
        refused(SERVER_ERROR, &two().with(|h| h.attributes = codec).build());
    }
    refused(SERVER_ERROR, &two().with(|h| (h.attributes, h.last_offset_delta) = (5, 7)).build());
    refused(SERVER_ERROR, &two().with(|h| h.attributes = 0x25).build());
    refused(CORRUPT, &two().with(|h| h.attributes = 5).bad_crc());
    refused(INVALID, &two().with(|h| (h.attributes, h.base_offset) = (5, 5)).build());
}

#[test]
fn counts_control_and_sequence() {
    for (count, last) in [(0, 0), (0, -1), (-1, 1), (3, 1), (2, 5), (2, -5), (-4, -5), (i32::MIN, i32::MAX)] {
        refused_both(INVALID, &two().with(|h| (h.records_count, h.last_offset_delta) = (count, last)));
    }
    refused_both(INVALID, &two().with(|h| h.attributes = 0x20));
    for sequence in [-1, -7] {
        refused_both(INVALID, &two().with(|h| (h.producer_id, h.base_sequence) = (500, sequence)));
    }
}

#[test]
fn records_that_do_not_parse() {
    let broken = |change: &dyn Fn(&mut RawRecord)| {
        let mut first = record(0);
        change(&mut first);
        raw(&[first, record(1)])
    };
    refused_both(INVALID, &broken(&|r| r.size_error = 100));
    refused_both(INVALID, &broken(&|r| r.size_error = -9));
    refused_both(INVALID, &broken(&|r| r.tail = b"xx"));
    refused_both(INVALID, &broken(&|r| r.header_count = Some(-1)));
    refused_both(INVALID, &broken(&|r| r.header_count = Some(100_000)));
    refused_both(INVALID, &broken(&|r| r.headers = vec![(None, Some(b"x"))]));
    // In a compressed batch Kafka does not compare a record's length with its fields; its consumers do.
    refused_both(INVALID, &broken(&|r| r.size_error = 1));
    refused_both(INVALID, &broken(&|r| r.size_error = -1));
    refused_both(INVALID, &two().with(|h| (h.records_count, h.last_offset_delta) = (3, 2)));
    refused_both(INVALID, &two().with(|h| (h.records_count, h.last_offset_delta) = (1, 0)));
    let payload = [&record(0).bytes()[..], &[0]].concat();
    refused_both(INVALID, &raw(&[record(0)]).payload(payload));
    refused_both(INVALID, &raw(&[record(0)]).payload(vec![0, 1, 2]));
    // Where a record's own length is too long a varint, Kafka answers -1 for the uncompressed batch.
    refused_both(INVALID, &raw(&[record(0)]).payload(vec![0xff; 8]));
    refused_both(INVALID, &raw(&[record(0)]).payload([&[28, 0][..], &[0xff; 11], &[0, 0]].concat()));
}

#[test]
fn payloads_that_do_not_decompress() {
    let as_codec = |codec: Codec, payload: Vec<u8>| {
        raw(&[record(0)]).with(|h| h.set_codec(codec)).payload(payload).build()
    };
    let good = |codec| compression::compress(codec, None, &record(0).bytes());
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        refused(SERVER_ERROR, &as_codec(codec, b"not compressed at all".to_vec()));
        let cut = good(codec);
        refused(SERVER_ERROR, &as_codec(codec, cut[..cut.len() - 3].to_vec()));
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        refused(SERVER_ERROR, &as_codec(codec, Vec::new()));
    }
    // No bytes are no zstd frame, and that is a payload without records; likewise snappy's header alone.
    refused(INVALID, &as_codec(Codec::Zstd, Vec::new()));
    refused(INVALID, &as_codec(Codec::Snappy, good(Codec::Snappy)[..16].to_vec()));
    refused(SERVER_ERROR, &as_codec(Codec::Zstd, [&good(Codec::Zstd)[..], b"xyz"].concat()));
    // Only the first LZ4 frame counts.
    let frames = [good(Codec::Lz4), compression::compress(Codec::Lz4, None, &record(1).bytes())].concat();
    refused(INVALID, &two().with(|h| h.set_codec(Codec::Lz4)).payload(frames).build());
}

#[test]
fn offsets_inside_a_compressed_batch() {
    for offsets in [[0, 0], [1, 0], [0, 5], [5, 6]] {
        for codec in [Codec::Gzip, Codec::Zstd] {
            refused(SERVER_ERROR, &raw(&offsets.map(record)).codec(codec).build());
        }
    }
}

#[test]
fn keys_on_a_compacted_topic() {
    let keyless = |offset| RawRecord { key: None, ..record(offset) };
    let rules = ProduceRules { compacted: true, ..rules() };
    for codec in ALL {
        let batch = raw(&[record(0), keyless(1), keyless(2)]).codec(codec).build();
        let refusal = refusal_of(&batch, &rules);
        assert_eq!(refusal.code, ErrorCode::INVALID_RECORD);
        let at: Vec<_> = refusal.record_errors.iter().map(|(index, _)| *index).collect();
        assert_eq!(at, [1, 2]);
        assert!(
            refusal
                .record_errors
                .iter()
                .all(|(_, text)| text.as_ref().is_some_and(|t| t.contains("topic-0")))
        );
        // A record that does not parse outweighs the errors of those before it.
        let broken = RawRecord { header_count: Some(-1), ..record(1) };
        let batch = raw(&[keyless(0), broken]).codec(codec).build();
        assert_eq!(refusal_of(&batch, &rules).record_errors, []);
    }
    // All of them are named, as Kafka does, and the message repeats three.
    let many: Vec<_> = (0..3000).map(keyless).collect();
    let refusal = refusal_of(&raw(&many).build(), &rules);
    assert_eq!(refusal.record_errors.len(), 3000);
    assert_eq!(refusal.message.matches("topic-0").count(), 3);
}

#[test]
fn an_answer_is_bounded_by_what_was_sent() {
    let keyless: Vec<_> = (0..100_000).map(|i| RawRecord { key: None, ..record(i) }).collect();
    let batch = raw(&keyless).codec(Codec::Zstd).build();
    let refusal = refusal_of(&batch, &ProduceRules { compacted: true, ..rules() });
    assert!(refusal.message.starts_with("100000 of"));
    assert!(refusal.record_errors.len() <= 1000 + batch.len() / 7);
}

#[test]
fn timestamps_outside_the_limits() {
    let limited = ProduceRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 1000, ..rules() };
    let at = |timestamp| RawRecord { timestamp, ..record(0) };
    for codec in ALL {
        for timestamp in [-DAY, DAY, -1001, 1001] {
            let batch = raw(&[record(0), RawRecord { timestamp, ..record(1) }]).codec(codec).build();
            let refusal = refusal_of(&batch, &limited);
            assert_eq!(refusal.code, ErrorCode::INVALID_TIMESTAMP);
            assert_eq!(refusal.record_errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
        }
    }
    // By default an hour ahead is allowed, and anything before.
    refused_by(TIMESTAMP, &raw(&[at(2 * 3_600_000)]).build(), &rules());
    refused_by(TIMESTAMP, &raw(&[record(0)]).with(|h| h.base_timestamp = i64::MIN).build(), &rules());
    refused_by(
        TIMESTAMP,
        &raw(&[record(0), RawRecord { timestamp: i64::MAX, ..record(1) }]).build(),
        &rules(),
    );
    // A record that lacks a key as well is named for the key; the code is the timestamp's.
    let both = RawRecord { key: None, ..at(-DAY) };
    let refusal = refusal_of(
        &raw(&[both, RawRecord { offset: 1, ..at(-DAY) }]).build(),
        &ProduceRules { compacted: true, ..limited },
    );
    assert_eq!(refusal.code, ErrorCode::INVALID_TIMESTAMP);
    assert!(refusal.record_errors[0].1.as_ref().is_some_and(|text| text.contains("key")));
    assert!(refusal.record_errors[1].1.as_ref().is_some_and(|text| text.contains("timestamp")));
    refused_by(INVALID, &raw(&[at(-DAY), record(1)]).with(|h| h.records_count = 1).build(), &limited);
}

#[test]
fn append_time_claimed_by_the_producer() {
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let refusal = refusal_of(&two().with(|h| h.attributes = 0x08).build(), &rules);
    assert_eq!(refusal.code, ErrorCode::INVALID_TIMESTAMP);
    assert_eq!(refusal.record_errors.len(), 2);
    // On a CreateTime topic it is one, too, where there is no time to check.
    let claim = |h: &mut crate::BatchHeader| (h.attributes, h.max_timestamp) = (0x08, -1);
    refused_by(TIMESTAMP, &two().with(claim).build(), &crate::testing::rules());
}

#[test]
fn a_bomb_is_walked_up_to_the_limit() {
    let huge = RawRecord { value: Some(vec![0; 3 << 20]), ..record(0) };
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let batch = raw(std::slice::from_ref(&huge)).codec(codec).build();
        refused_by(TOO_LARGE, &batch, &ProduceRules { max_uncompressed_bytes: 2 << 20, ..rules() });
        assert!(check_produce(&batch, &rules()).is_ok(), "{codec}");
    }
}
