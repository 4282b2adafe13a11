//! The first byte chooses rules and what is put right (length, checksum, compression), the rest is a record batch.
//! What passes validation must be a batch that can be read to its end.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_records::{
    Batch, BatchHeader, Codec, ProduceRules, TimestampType, batches, batches_lenient, check_produce,
    compression, time,
    validate::{TargetCompression, is_transactional, request_fault},
};
use ottla_types::{Millis, TopicPartition};

const NOW: i64 = 1_700_000_000_000;
/// Nothing holds more than this of one record.
const RECORD_LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [choice, batch @ ..] = data else { return };
    let bytes = put_right(*choice, batch);
    walk(&bytes);
    let partition = TopicPartition::new("topic", 0);
    let mut rules = ProduceRules::new(&partition, 12, Millis(NOW));
    rules.max_uncompressed_bytes = 8 << 20;
    rules.timestamp_after_max_ms = i64::MAX;
    check(&bytes, &rules);
    rules.compacted = choice & 0x40 != 0;
    rules.timestamp_type = TimestampType::LogAppendTime;
    let target = Codec::from_code(choice >> 3 & 7).unwrap_or_default();
    rules.compression = TargetCompression::Codec(target, None);
    check(&bytes, &rules);
});

/// Mostly the checksum is made to fit, or hardly an input would get past it. Bits 0 to 2 choose a codec that the
/// payload is compressed with first, so that the walk behind the decompressor is reached as well.
fn put_right(choice: u8, batch: &[u8]) -> Bytes {
    let mut bytes = batch.to_vec();
    if bytes.len() < BatchHeader::LEN || choice & 0x80 != 0 {
        return Bytes::from(bytes);
    }
    if let Some(codec) = Codec::from_code(choice & 7).filter(|codec| *codec != Codec::None) {
        let payload = compression::compress(codec, None, &bytes[BatchHeader::LEN..]);
        bytes.truncate(BatchHeader::LEN);
        bytes[22] = bytes[22] & !7 | codec.code();
        bytes.extend_from_slice(&payload);
    }
    let length = i32::try_from(bytes.len() - BatchHeader::LOG_OVERHEAD).unwrap_or(i32::MAX);
    bytes[..8].fill(0);
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c::crc32c(&bytes[BatchHeader::CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn walk(bytes: &Bytes) {
    let _ = (request_fault(bytes), is_transactional(bytes));
    for batch in batches(bytes.clone()).chain(batches_lenient(bytes.clone())).flatten() {
        let header = batch.header;
        assert_eq!(BatchHeader::parse(&header.to_bytes()), Ok(header));
        let _ =
            (time::find(&batch, NOW), time::find_max(&batch), header.last_sequence(), header.next_offset());
        if let Ok(mut records) = batch.records_within(RECORD_LIMIT) {
            while let Ok(Some(record)) = records.try_next() {
                let announced = record.headers.len();
                assert_eq!(record.headers.count(), announced);
            }
        }
    }
}

fn check(bytes: &Bytes, rules: &ProduceRules<'_>) {
    let Ok(validated) = check_produce(bytes, rules) else { return };
    let batch = validated.stamp(1 << 40, 7).to_batch();
    assert_eq!(Batch::parse(&batch.bytes, 0), Ok(batch.clone()));
    assert_eq!(batch.verify_crc(), Ok(()));
    let mut count = 0;
    let mut entries = batch.entries().expect("a codec that exists");
    while entries.try_next().expect("validated records").is_some() {
        count += 1;
    }
    assert_eq!(count, batch.header.records_count);
    assert!((0..count).contains(&validated.offset_of_max_timestamp));
    assert!(time::try_find(&batch, validated.max_timestamp).expect("sound").is_some() || count > 0);
}
