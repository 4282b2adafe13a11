//! Batches that are written anew under the topic's own codec.

use proptest::prelude::*;

use crate::{
    Batch, BatchBuilder, Codec, NO_TIMESTAMP, ProduceRules, Producer, TimestampType, check_produce,
    testing::*, validate::TargetCompression,
};

fn to(codec: Codec) -> ProduceRules<'static> {
    ProduceRules { compression: TargetCompression::Codec(codec, None), ..rules() }
}

#[track_caller]
fn rewritten(bytes: &bytes::Bytes, rules: &ProduceRules<'_>) -> Batch {
    let validated = check_produce(bytes, rules).unwrap_or_else(|refusal| panic!("{}", refusal.message));
    assert!(validated.recompressed);
    assert_eq!(validated.header().max_timestamp, validated.max_timestamp);
    let batch = validated.stamp(100, 3).to_batch();
    assert_eq!(Batch::parse(&batch.bytes, 0).as_ref(), Ok(&batch));
    assert_eq!(batch.verify_crc(), Ok(()));
    batch
}

/// Records as (offset, timestamp, key, value, headers).
type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn plain(batch: &Batch) -> Vec<Plain> {
    let mut all = Vec::new();
    let mut records = batch.records().expect("sound");
    while let Some(record) = records.try_next().expect("sound") {
        let headers = record.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        all.push((record.offset, record.timestamp, key, value, headers));
    }
    all
}

#[test]
fn from_every_codec_to_every_other() {
    for from in ALL {
        for target in ALL.into_iter().filter(|target| *target != from) {
            let headers = vec![(Some(&b"a"[..]), None), (Some(b"a"), Some(&b"x"[..]))];
            let records = [
                RawRecord { timestamp: 3, headers, attributes: 0xff, ..record(0) },
                RawRecord { timestamp: 7, key: None, value: None, ..record(1) },
            ];
            let batch = raw(&records).with(|h| h.attributes = 0x7fd0).codec(from).build();
            let batch = rewritten(&batch, &to(target));
            let header = batch.header;
            // Attributes without meaning and the delete horizon go, the transactional bit stays.
            assert_eq!(header.attributes, 0x10 | i16::from(target.code()));
            assert_eq!((header.base_timestamp, header.max_timestamp), (NOW + 3, NOW + 7));
            let records = plain(&batch);
            assert_eq!((records[0].0, records[1].0), (100, 101));
            assert_eq!((records[0].1, records[1].1), (NOW + 3, NOW + 7));
            assert_eq!(records[0].4, [(b"a".to_vec(), None), (b"a".to_vec(), Some(b"x".to_vec()))]);
            assert_eq!((records[1].2.as_ref(), records[1].3.as_ref()), (None, None));
        }
    }
}

#[test]
fn the_topics_own_codec_passes_through() {
    for codec in ALL {
        let batch = raw(&[record(0)]).codec(codec).build();
        let validated = check_produce(&batch, &to(codec)).expect("sound");
        assert!(!validated.recompressed);
        assert_eq!(validated.stamp(0, -1).to_bytes(), batch);
    }
}

#[test]
fn offsets_are_given_anew() {
    for offsets in [[0, 0], [5, 6]] {
        for (from, target) in [(Codec::Gzip, Codec::None), (Codec::None, Codec::Gzip)] {
            let batch = rewritten(&raw(&offsets.map(record)).codec(from).build(), &to(target));
            assert_eq!(plain(&batch).iter().map(|record| record.0).collect::<Vec<_>>(), [100, 101]);
        }
    }
}

#[test]
fn timestamps() {
    let without = |h: &mut crate::BatchHeader| (h.base_timestamp, h.max_timestamp) = (-1, -1);
    let batch = rewritten(&raw(&[record(0), record(1)]).with(without).build(), &to(Codec::Zstd));
    assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (NO_TIMESTAMP, NO_TIMESTAMP));
    let some = [record(0), RawRecord { timestamp: NOW + 1, ..record(1) }];
    let batch = rewritten(&raw(&some).with(without).build(), &to(Codec::Zstd));
    assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (NO_TIMESTAMP, NOW));
    // A claim of append time on a CreateTime topic becomes each record's timestamp.
    let claim = |h: &mut crate::BatchHeader| (h.attributes, h.max_timestamp) = (0x08, NOW - 5);
    let batch = rewritten(
        &raw(&[record(0), RawRecord { timestamp: 9, ..record(1) }]).with(claim).build(),
        &to(Codec::Zstd),
    );
    assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (NOW - 5, NOW - 5));
    assert_eq!(batch.header.timestamp_type(), TimestampType::CreateTime);
}

#[test]
fn limits_before_and_after() {
    let big = raw(&[RawRecord { value: Some(vec![b'x'; 1000]), ..record(0) }]);
    let limited = |codec| ProduceRules { max_message_bytes: 300, ..to(codec) };
    let code = |bytes: &bytes::Bytes, rules: &ProduceRules<'_>| {
        check_produce(bytes, rules).expect_err("refused").code.0
    };
    // Grows beyond the limit; would shrink below it but is judged as it came.
    assert_eq!(code(&big.clone().codec(Codec::Gzip).build(), &limited(Codec::None)), 10);
    assert_eq!(code(&big.build(), &limited(Codec::Gzip)), 10);
    // What is wrong with a record comes first.
    let late = RawRecord { value: Some(vec![b'x'; 1000]), timestamp: DAY, ..record(0) };
    assert_eq!(code(&raw(&[late]).codec(Codec::Gzip).build(), &limited(Codec::None)), 32);
    let broken = RawRecord { value: Some(vec![b'x'; 1000]), tail: b"x", ..record(0) };
    assert_eq!(code(&raw(&[broken]).codec(Codec::Gzip).build(), &limited(Codec::None)), 87);
    let huge = RawRecord { value: Some(vec![0; 17 << 20]), ..record(0) };
    assert_eq!(code(&raw(&[huge]).codec(Codec::Zstd).build(), &to(Codec::Gzip)), 10);
    assert_eq!(code(&raw(&[record(0)]).with(|h| h.attributes = 5).build(), &to(Codec::Gzip)), -1);
    assert_eq!(code(&raw(&[record(0)]).with(|h| h.attributes = 0x20).build(), &to(Codec::Gzip)), 87);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_rewritten_and_stamped_parses_and_verifies(
        records in prop::collection::vec((0i64..100_000, any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>()), 1..40),
        from in 0u8..5,
        target in 0u8..5,
        append_time: bool,
        sequence in 0i32..,
    ) {
        let codec = |code| Codec::from_code(code).expect("in range");
        let mut builder = BatchBuilder::new(0)
            .compression(codec(from), None)
            .producer(Producer { id: 9, epoch: 1, base_sequence: sequence });
        for (timestamp, key, value) in &records {
            builder.append(NOW - timestamp, key.as_deref(), value.as_deref(), &[]);
        }
        let sent = builder.build();
        let timestamp_type = if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let validated = check_produce(&sent, &ProduceRules { timestamp_type, ..to(codec(target)) }).expect("sound");
        let batch = validated.stamp(1 << 40, 12).to_batch();
        prop_assert_eq!(Batch::parse(&batch.bytes, 0), Ok(batch.clone()));
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!(batch.compression(), Ok(codec(target)));
        prop_assert_eq!((batch.header.producer_id, batch.header.base_sequence), (9, sequence));
        prop_assert_eq!(batch.header.next_offset(), (1 << 40) + records.len() as i64);
        let found = plain(&batch);
        prop_assert_eq!(found.len(), records.len());
        for (i, (found, sent)) in found.iter().zip(&records).enumerate() {
            let timestamp = if append_time { NOW } else { NOW - sent.0 };
            prop_assert_eq!((found.0, found.1), ((1 << 40) + i as i64, timestamp));
            prop_assert_eq!((&found.2, &found.3), (&sent.1, &sent.2));
        }
        let latest = &found[usize::try_from(validated.offset_of_max_timestamp).expect("positive")];
        prop_assert_eq!(latest.1, validated.max_timestamp);
    }
}
