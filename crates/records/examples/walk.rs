//! What validation costs: nanoseconds per record and GB/s, by record size and codec.
//!
//! `cargo run --release -p ottla-records --example walk [megabytes per row]`

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use ottla_records::{
    Batch, BatchBuilder, Codec, ProduceRules, TimestampType, check_produce, validate::TargetCompression,
};
use ottla_types::{Millis, TopicPartition};

const NOW: i64 = 1_700_000_000_000;

fn main() {
    let megabytes: usize = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(256);
    println!("{:24} {:>9} {:>9} {:>9} {:>9}", "", "records", "bytes", "ns/record", "GB/s");
    for size in [10, 100, 1024] {
        let batch = build(size, 1_000_000, Codec::None);
        let rules = rules();
        row(&format!("crc, {size} B"), &batch, megabytes, |bytes| {
            black_box(parse(bytes).verify_crc().is_ok());
        });
        row(&format!("entries, {size} B"), &batch, megabytes, |bytes| walk_entries(&parse(bytes)));
        row(&format!("for_each, {size} B"), &batch, megabytes, |bytes| {
            let mut latest = 0;
            let entries = parse(bytes);
            entries
                .entries()
                .expect("sound")
                .for_each(|_, entry| latest = entry.timestamp.max(latest))
                .expect("sound");
            black_box(latest);
        });
        row(&format!("records, {size} B"), &batch, megabytes, |bytes| walk_records(&parse(bytes)));
        row(&format!("check_produce, {size} B"), &batch, megabytes, |bytes| {
            black_box(check_produce(bytes, &rules).expect("sound").stamp(7, 1));
        });
    }
    for batch_size in [300, 16 << 10] {
        let batch = build(100, batch_size, Codec::None);
        let mut rules = rules();
        row(&format!("check_produce, batch {batch_size}"), &batch, megabytes, |bytes| {
            black_box(check_produce(bytes, &rules).expect("sound").stamp(7, 1));
        });
        rules.timestamp_type = TimestampType::LogAppendTime;
        row(&format!("append time, batch {batch_size}"), &batch, megabytes, |bytes| {
            black_box(check_produce(bytes, &rules).expect("sound").stamp(7, 1));
        });
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for batch_size in [16 << 10, 1_000_000] {
            let batch = build(100, batch_size, codec);
            row(&format!("{codec} check, batch {batch_size}"), &batch, megabytes / 4, |bytes| {
                black_box(check_produce(bytes, &rules()).expect("sound"));
            });
        }
        let batch = build(100, 500_000, Codec::None);
        let mut rules = rules();
        rules.compression = TargetCompression::Codec(codec, None);
        row(&format!("recompress to {codec}"), &batch, megabytes / 8, |bytes| {
            black_box(check_produce(bytes, &rules).expect("sound"));
        });
    }
}

fn rules() -> ProduceRules<'static> {
    let partition = Box::leak(Box::new(TopicPartition::new("bench", 0)));
    ProduceRules::new(partition, 12, Millis(NOW))
}

fn parse(bytes: &Bytes) -> Batch {
    Batch::parse(bytes, 0).expect("sound")
}

fn walk_entries(batch: &Batch) {
    let mut entries = batch.entries().expect("sound");
    while let Some(entry) = entries.try_next().expect("sound") {
        black_box(entry.timestamp);
    }
}

fn walk_records(batch: &Batch) {
    let mut records = batch.records().expect("sound");
    while let Some(record) = records.try_next().expect("sound") {
        black_box(record.value);
    }
}

/// A batch of records of `size` bytes of value and an 8-byte key, up to `limit` bytes before compression.
fn build(size: usize, limit: usize, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(0).compression(codec, None);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut value = vec![0; size];
    while builder.size_in_bytes() + size + 30 < limit {
        for byte in &mut value {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // About half of random text's entropy, so that codecs have something to do.
            *byte = b"etaoin shrdlucmfwypvbgkjqxz, and"[(seed >> 59) as usize];
        }
        let n = i64::from(builder.records_count());
        builder.append(NOW + n / 10, Some(&n.to_be_bytes()), Some(&value), &[]);
    }
    builder.build()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn row(name: &str, batch: &Bytes, megabytes: usize, mut each: impl FnMut(&Bytes)) {
    let records = parse(batch).header.records_count as usize;
    let rounds = (megabytes * 1_000_000 / batch.len()).max(1);
    each(batch);
    let started = Instant::now();
    for _ in 0..rounds {
        each(black_box(batch));
    }
    let seconds = started.elapsed().as_secs_f64();
    let per_record = seconds * 1e9 / (rounds * records) as f64;
    let rate = (rounds * batch.len()) as f64 / seconds / 1e9;
    println!("{name:24} {records:>9} {:>9} {per_record:>9.2} {rate:>9.2}", batch.len());
}
