//! Batches that are accepted, and what is written for them.

use crate::{
    Batch, Codec, NO_TIMESTAMP, ProduceRules, TimestampType, Validated, check_produce, compression,
    testing::*, validate::Origin,
};

#[track_caller]
fn accepted(bytes: &bytes::Bytes, rules: &ProduceRules<'_>) -> Validated {
    let validated = check_produce(bytes, rules).unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let stamped = validated.stamp(1000, 7);
    let written = stamped.to_batch();
    assert_eq!(Batch::parse(&written.bytes, 0).as_ref(), Ok(&written));
    assert_eq!(written.verify_crc(), Ok(()));
    assert_eq!((written.header.base_offset, written.header.partition_leader_epoch), (1000, 7));
    validated
}

#[track_caller]
fn unchanged(bytes: &bytes::Bytes, rules: &ProduceRules<'_>) {
    let validated = accepted(bytes, rules);
    assert_eq!(validated.stamp(0, -1).to_bytes(), bytes.slice(..validated.batch.bytes.len()));
    assert!(!validated.recompressed);
}

#[test]
fn as_it_came_at_every_codec() {
    for codec in ALL {
        let batch = raw(&[record(0), record(1)]).codec(codec).build();
        unchanged(&batch, &rules());
        let stamped = accepted(&batch, &rules()).stamp(5, 1);
        assert_eq!(stamped.rest.as_ptr(), batch[61..].as_ptr(), "the payload is shared");
    }
    let version = 3;
    unchanged(&raw(&[record(0)]).codec(Codec::Lz4).build(), &ProduceRules { version, ..rules() });
    let version = 7;
    unchanged(&raw(&[record(0)]).codec(Codec::Zstd).build(), &ProduceRules { version, ..rules() });
}

#[test]
fn what_follows_and_is_no_batch_is_left_out() {
    let good = raw(&[record(0)]).build();
    let more = raw(&[RawRecord { value: Some(vec![1; 100]), ..record(0) }]).build();
    for tail in [&[0; 5][..], &good[..40], &more[..70]] {
        unchanged(&concat(&[&good, tail]), &rules());
    }
}

#[test]
fn odd_but_allowed() {
    let odd = |change: &dyn Fn(&mut RawRecord)| {
        let mut first = record(0);
        change(&mut first);
        for codec in ALL {
            unchanged(&raw(std::slice::from_ref(&first)).codec(codec).build(), &rules());
        }
    };
    odd(&|r| r.attributes = 0xff);
    odd(&|r| (r.key, r.value) = (None, None));
    odd(&|r| r.headers = vec![(Some(b"a"), None), (Some(b"a"), Some(b"x")), (Some(b"\xff\xfe"), Some(b""))]);
    accepted(&raw(&[record(0)]).with(|h| h.partition_leader_epoch = 77).build(), &rules());
    for (id, epoch, sequence) in [(501, -1, 0), (-1, 0, 5), (-2, 0, -1)] {
        let batch = raw(&[record(0)])
            .with(|h| (h.producer_id, h.producer_epoch, h.base_sequence) = (id, epoch, sequence));
        unchanged(&batch.build(), &rules());
    }
    // Attribute bits without meaning, and a delete horizon, stay while the header needs no other change.
    for attributes in [0x7f80, 0x40, 0x10] {
        unchanged(&raw(&[record(0)]).with(|h| h.attributes = attributes).build(), &rules());
    }
    // Uncompressed records keep whatever offset deltas they have.
    for offsets in [[0, 0], [1, 0], [0, 5], [5, 6]] {
        unchanged(&raw(&offsets.map(record)).build(), &rules());
    }
    let empty_key = RawRecord { key: Some(b""), ..record(0) };
    unchanged(&raw(&[empty_key]).build(), &ProduceRules { compacted: true, ..rules() });
    let limit = raw(&[record(0)]).build().len();
    unchanged(&raw(&[record(0)]).build(), &ProduceRules { max_message_bytes: limit, ..rules() });
}

#[test]
fn payloads_in_several_pieces() {
    let (one, two) = (record(0).bytes(), record(1).bytes());
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        let pieces = [&one, &two].map(|bytes| compression::compress(codec, None, bytes)).concat();
        unchanged(
            &raw(&[record(0), record(1)]).with(|h| h.set_codec(codec)).payload(pieces).build(),
            &rules(),
        );
    }
    let with_tail = |codec: Codec, tail: &[u8]| {
        let payload = [&compression::compress(codec, None, &one)[..], tail].concat();
        unchanged(&raw(&[record(0)]).with(|h| h.set_codec(codec)).payload(payload).build(), &rules());
    };
    with_tail(Codec::Gzip, b"\0");
    with_tail(Codec::Lz4, b"xyz");
    with_tail(Codec::Snappy, b"\0\0");
}

#[test]
fn the_maximum_timestamp_is_put_right() {
    let records =
        [record(0), RawRecord { timestamp: 7, ..record(1) }, RawRecord { timestamp: 7, ..record(2) }];
    for codec in ALL {
        let batch = raw(&records).with(|h| h.max_timestamp = NOW + DAY).codec(codec).build();
        let validated = accepted(&batch, &rules());
        assert_eq!((validated.max_timestamp, validated.header().max_timestamp), (NOW + 7, NOW + 7));
        assert_eq!((validated.offset_of_max_timestamp, validated.log_append_time), (1, NO_TIMESTAMP));
    }
    // Then attribute bits without meaning go, the delete horizon stays.
    let odd = raw(&records).with(|h| (h.max_timestamp, h.attributes) = (5, 0x7fc0)).build();
    assert_eq!(accepted(&odd, &rules()).header().attributes, 0x40);
}

#[test]
fn records_without_timestamps() {
    let limited = ProduceRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 1000, ..rules() };
    let none = raw(&[record(0)]).with(|h| (h.base_timestamp, h.max_timestamp) = (-1, -1)).build();
    unchanged(&none, &limited);
    assert_eq!(accepted(&none, &limited).max_timestamp, NO_TIMESTAMP);
    let claimed = raw(&[record(0)]).with(|h| (h.base_timestamp, h.max_timestamp) = (-1, 5)).build();
    assert_eq!(accepted(&claimed, &limited).header().max_timestamp, NO_TIMESTAMP);
    let before_1970 = raw(&[record(0)]).with(|h| (h.base_timestamp, h.max_timestamp) = (-5, -5)).build();
    assert_eq!(accepted(&before_1970, &rules()).max_timestamp, NO_TIMESTAMP);
}

#[test]
fn append_time_is_set_by_the_topic() {
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    for codec in ALL {
        // Limits do not apply.
        let batch = raw(&[RawRecord { timestamp: -DAY, ..record(0) }, record(1)]).codec(codec).build();
        let validated = accepted(&batch, &rules);
        assert_eq!(validated.header().timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((validated.max_timestamp, validated.log_append_time), (NOW, NOW));
        assert_eq!(validated.header().base_timestamp, NOW);
        let written = validated.stamp(10, 0).to_batch();
        let mut records = written.records().expect("sound");
        while let Some(record) = records.try_next().expect("sound") {
            assert_eq!(record.timestamp, NOW);
        }
    }
}

#[test]
fn append_time_claimed_for_a_create_time_topic_is_taken_back() {
    let records = [record(0), RawRecord { timestamp: 7, ..record(1) }];
    let claim = raw(&records).with(|h| (h.attributes, h.max_timestamp) = (0x08, NOW + 1000)).build();
    let validated = accepted(&claim, &rules());
    assert_eq!(validated.header().timestamp_type(), TimestampType::CreateTime);
    assert_eq!((validated.max_timestamp, validated.offset_of_max_timestamp), (NOW + 1000, 0));
}

#[test]
fn coordinators_write_control_batches() {
    let rules = ProduceRules { origin: Origin::Coordinator, ..rules() };
    unchanged(&raw(&[record(0)]).with(|h| (h.attributes, h.producer_id) = (0x30, 5)).build(), &rules);
}
