//! The walk over records: every codec, records of every size, and what is broken.

use proptest::prelude::*;

use super::*;
use crate::{BatchBuilder, Codec, Header, testing::*};

fn entries(batch: &Batch) -> Result<Vec<Entry>, BatchError> {
    let mut all = Vec::new();
    let mut entries = batch.entries()?;
    while let Some(entry) = entries.try_next()? {
        all.push(entry);
    }
    Ok(all)
}

fn entries_at_once(batch: &Batch) -> Result<Vec<Entry>, BatchError> {
    let mut all = Vec::new();
    batch.entries()?.for_each(|index, entry| {
        assert_eq!(index as usize, all.len());
        all.push(entry);
    })?;
    Ok(all)
}

/// Both walks; the view's fields are brought to an entry's.
fn walked(batch: &Batch) -> Result<Vec<Entry>, BatchError> {
    let mut all = Vec::new();
    let mut records = batch.records()?;
    while let Some(record) = records.try_next()? {
        all.push((record.offset, record.timestamp, record.key.is_some()));
    }
    let entries = entries(batch)?;
    assert_eq!(entries_at_once(batch).as_ref(), Ok(&entries));
    let seen: Vec<_> = entries.iter().map(|entry| (entry.offset, entry.timestamp, entry.has_key)).collect();
    assert_eq!(seen, all);
    Ok(entries)
}

fn parse(bytes: &bytes::Bytes) -> Batch {
    Batch::parse(bytes, 0).expect("a batch")
}

#[test]
fn large_records_among_small_ones() {
    // Beyond a chunk, beyond what is held, and headers that alone are beyond it.
    let sizes = [10usize, 100_000, 0, 300_000, 5, 1 << 20, 70_000, 1];
    let large: &'static [u8] = Box::leak(vec![7; 400_000].into_boxed_slice());
    for codec in ALL {
        let mut builder = BatchBuilder::new(100).compression(codec, None);
        for (i, size) in sizes.into_iter().enumerate() {
            let value: Vec<u8> = (0..size).map(|n| ((n * n) >> 3) as u8).collect();
            let headers = [Header { key: b"h", value: Some(large) }, Header { key: large, value: None }];
            let headers = if i == 4 { &headers[..] } else { &[] };
            let key = (i % 2 == 0).then_some(&value[..]);
            builder.append(NOW + i as i64, key, Some(&value), headers);
        }
        let batch = parse(&builder.build());
        let found = walked(&batch).expect("sound");
        assert_eq!(found.len(), sizes.len());
        assert!(found.iter().enumerate().all(|(i, entry)| entry.offset == 100 + i as i64));
        let limited = batch.records_within(200_000).and_then(|mut records| {
            while records.try_next()?.is_some() {}
            Ok(())
        });
        assert_eq!(limited.is_err(), codec != Codec::None, "a slice of the payload needs no limit");
    }
}

#[test]
fn the_slow_path_finds_the_same_faults() {
    let large = RawRecord { value: Some(vec![1; 400_000]), ..record(0) };
    let faults: [(RawRecord, RecordFault); 6] = [
        (RawRecord { size_error: 9, ..large.clone() }, RecordFault::Size),
        (RawRecord { size_error: -1, ..large.clone() }, RecordFault::PastEnd),
        (RawRecord { tail: b"x", ..large.clone() }, RecordFault::Size),
        (RawRecord { header_count: Some(-1), ..large.clone() }, RecordFault::HeaderCount),
        (RawRecord { header_count: Some(9), ..large.clone() }, RecordFault::HeaderCount),
        (RawRecord { headers: vec![(None, Some(b"x"))], ..large.clone() }, RecordFault::HeaderKey),
    ];
    for (broken, fault) in faults {
        for codec in ALL {
            let batch = parse(&raw(&[record(0), broken.clone(), record(2)]).codec(codec).build());
            let expected = Err(BatchError::Record { index: 1, fault });
            assert_eq!(entries(&batch), expected, "{codec}");
            assert_eq!(entries_at_once(&batch), expected, "{codec}");
        }
    }
    let past_the_end = RawRecord { size_error: 1, ..large };
    for codec in ALL {
        let batch = parse(&raw(std::slice::from_ref(&past_the_end)).codec(codec).build());
        assert!(matches!(entries(&batch), Err(BatchError::Record { index: 0, .. })), "{codec}");
    }
}

#[test]
fn counts_that_do_not_fit() {
    for codec in ALL {
        let with_count = |count| {
            parse(&raw(&[record(0), record(1)]).with(|h| h.records_count = count).codec(codec).build())
        };
        assert_eq!(walked(&with_count(3)), Err(BatchError::TooFewRecords { announced: 3, found: 2 }));
        assert_eq!(walked(&with_count(1)), Err(BatchError::TrailingBytes { announced: 1 }));
        assert_eq!(walked(&with_count(-1)), Err(BatchError::Count(-1)));
        assert_eq!(
            walked(&with_count(i32::MAX)),
            Err(BatchError::TooFewRecords { announced: i32::MAX, found: 2 })
        );
    }
}

#[test]
fn empty_batches_of_compaction() {
    let batch = parse(&BatchBuilder::new(7).last_offset(20).build());
    assert_eq!((batch.header.last_offset(), batch.header.records_count), (20, 0));
    assert_eq!(walked(&batch), Ok(Vec::new()));
}

type Sent = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let headers = prop::collection::vec(any::<(Vec<u8>, Option<Vec<u8>>)>(), 0..3);
    prop::collection::vec((any::<i64>(), any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>(), headers), 1..20)
}

fn build(base: i64, codec: Codec, sent: &[Sent]) -> Batch {
    let mut builder = BatchBuilder::new(base).compression(codec, None);
    for (timestamp, key, value, headers) in sent {
        let headers: Vec<_> =
            headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let before = builder.records_count();
        let offset = builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers);
        assert_eq!(offset, base + i64::from(before));
    }
    parse(&builder.build())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_the_builder_writes_the_walk_reads(sent in sent(), base in 0i64..1 << 50, code in 0u8..5) {
        let codec = Codec::from_code(code).expect("in range");
        let batch = build(base, codec, &sent);
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!(batch.compression(), Ok(codec));
        prop_assert_eq!(batch.header.max_timestamp, sent.iter().map(|s| s.0).max().unwrap_or(-1).max(-1));
        let mut records = batch.records().expect("sound");
        for (i, (timestamp, key, value, headers)) in sent.iter().enumerate() {
            let record = records.try_next().expect("sound").expect("as many as sent");
            prop_assert_eq!((record.offset, record.timestamp), (base + i as i64, *timestamp));
            prop_assert_eq!((record.key, record.value), (key.as_deref(), value.as_deref()));
            prop_assert_eq!(record.headers.len(), headers.len());
            for (found, (key, value)) in record.headers.zip(headers) {
                prop_assert_eq!((found.key, found.value), (&key[..], value.as_deref()));
            }
        }
        prop_assert_eq!(records.try_next(), Ok(None));
        prop_assert_eq!(walked(&batch).expect("sound").len(), sent.len());
    }
}
