//! Segment files as a Kafka 4.4 broker wrote them for librdkafka 1.8 (kcat) and the Java producer: read, and written
//! again to the same bytes.

use bytes::Bytes;
use ottla_records::{Batch, BatchBuilder, Codec, Header, Producer, RecordView, TimestampType, batches, time};

const VALUE: &[u8] = b"value of a record that is long enough to compress, compress, compress";
const HEADERS: [Header<'static>; 2] =
    [Header { key: b"name", value: Some(b"one") }, Header { key: b"name", value: Some(b"two") }];

/// The batches of a file, their checksums verified.
fn load(hex: &str) -> Vec<Batch> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    let bytes: Bytes = digits.chunks(2).map(byte).collect();
    let batches: Vec<_> = batches(bytes).map(|batch| batch.expect("a batch")).collect();
    batches.iter().for_each(|batch| assert_eq!(batch.verify_crc(), Ok(())));
    batches
}

fn for_each(batch: &Batch, mut each: impl FnMut(RecordView<'_>)) {
    let mut records = batch.records().expect("sound");
    while let Some(record) = records.try_next().expect("sound") {
        each(record);
    }
}

/// Three records with the keys key-1 to key-3.
fn check(hex: &str, codec: Codec) -> Batch {
    let batch = load(hex).into_iter().next().expect("one batch");
    let header = batch.header;
    assert_eq!(batch.compression(), Ok(codec));
    assert_eq!((header.base_offset, header.last_offset_delta, header.records_count), (0, 2, 3));
    assert_eq!((header.partition_leader_epoch, header.is_control()), (0, false));
    let mut found = Vec::new();
    for_each(&batch, |record| {
        assert_eq!(record.offset, found.len() as i64);
        assert_eq!(record.key, Some(format!("key-{}", found.len() + 1).as_bytes()));
        assert_eq!(record.value, Some(VALUE));
        assert!(record.headers.eq(HEADERS));
        found.push(record.timestamp);
    });
    assert_eq!(found.iter().max(), Some(&header.max_timestamp));
    if header.timestamp_type() == TimestampType::CreateTime {
        assert_eq!(found[0], header.base_timestamp);
    }
    let first = found.iter().position(|t| *t == header.max_timestamp).map(|i| i as i64);
    assert_eq!(time::find(&batch, header.max_timestamp).map(|found| found.0), first);
    batch
}

/// The builder writes what the client wrote.
fn rebuilt(batch: &Batch, codec: Codec) -> Bytes {
    let h = batch.header;
    let mut builder = BatchBuilder::new(0)
        .leader_epoch(h.partition_leader_epoch)
        .compression(codec, None)
        .producer(Producer { id: h.producer_id, epoch: h.producer_epoch, base_sequence: h.base_sequence })
        .transactional(h.is_transactional())
        .control(h.is_control());
    for_each(batch, |record| {
        builder.append(record.timestamp, record.key, record.value, &record.headers.collect::<Vec<_>>());
    });
    builder.build()
}

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("golden/", $name, ".hex"))
    };
}

#[test]
fn librdkafka() {
    let batch = check(file!("librdkafka-none"), Codec::None);
    assert_eq!(batch.header.producer_id, -1);
    assert_eq!(rebuilt(&batch, Codec::None), batch.bytes);
    check(file!("librdkafka-gzip"), Codec::Gzip);
    check(file!("librdkafka-snappy"), Codec::Snappy);
    check(file!("librdkafka-lz4"), Codec::Lz4);
    check(file!("librdkafka-zstd"), Codec::Zstd);
}

#[test]
fn java() {
    let batch = check(file!("java-none"), Codec::None);
    assert_eq!((batch.header.producer_epoch, batch.header.base_sequence), (0, 0));
    assert_eq!(rebuilt(&batch, Codec::None), batch.bytes);
    check(file!("java-gzip"), Codec::Gzip);
    check(file!("java-snappy"), Codec::Snappy);
    check(file!("java-lz4"), Codec::Lz4);
    check(file!("java-zstd"), Codec::Zstd);
}

#[test]
fn what_we_compress_has_the_same_records() {
    let batch = check(file!("java-none"), Codec::None);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let ours = Batch::parse(&rebuilt(&batch, codec), 0).expect("a batch");
        assert_eq!(ours.verify_crc(), Ok(()));
        assert_eq!(rebuilt(&ours, Codec::None), batch.bytes);
    }
}

#[test]
fn append_time() {
    let batch = check(file!("java-append-time"), Codec::None);
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    for_each(&batch, |record| assert_eq!(record.timestamp, batch.header.max_timestamp));
}

#[test]
fn a_transaction_and_its_marker() {
    let batches = load(file!("java-transaction"));
    let [data, marker] = &batches[..] else { panic!("two batches") };
    assert!(data.header.is_transactional() && !data.header.is_control());
    assert_eq!(rebuilt(data, Codec::None), data.bytes);
    assert!(marker.header.is_transactional() && marker.header.is_control());
    assert_eq!((marker.header.base_offset, marker.header.base_sequence), (3, -1));
    for_each(marker, |record| {
        // Version 0, type 1: commit; then version and coordinator epoch.
        assert_eq!(record.key, Some(&[0, 0, 0, 1][..]));
        assert_eq!(record.value, Some(&[0, 0, 0, 0, 0, 0][..]));
    });
}
