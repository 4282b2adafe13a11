//! Measures what an append costs, by write mode and size, and what a sync costs, with and without preallocation.
//!
//! `cargo run --release -p ottla-storage --example append -- [directory [gigabytes [pause]]]`
//!
//! `pause` is the seconds to wait before each row: after some 20 of them many virtual machines give free memory back
//! to their host, and every page that is written to is a costly first touch, as it is for a log that grows.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_records::{Batch, BatchBuilder, Stamped};
use ottla_storage::{DirOptions, Log, LogConfig, LogDir, MetaProperties, WriteMode};
use ottla_types::{Clock, SystemClock, TopicId, TopicPartition};

/// Seconds of CPU this process has used, and all processors have.
fn cpu_seconds() -> (f64, f64) {
    let ticks = |text: &str, fields: &[usize]| -> f64 {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        fields.iter().filter_map(|&at| words.get(at)?.parse::<f64>().ok()).sum::<f64>() / 100.0
    };
    let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let own = own.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let all = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    (ticks(own, &[11, 12]), ticks(all.lines().next().unwrap_or_default(), &[1, 2, 3, 6, 7]))
}

fn percentile(sorted: &[Duration], per_mille: usize) -> f64 {
    sorted[(sorted.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6
}

fn batch_of(size: usize) -> Batch {
    let mut builder = BatchBuilder::with_capacity(0, size);
    let value: Vec<u8> = (0..1024u32).map(|i| u8::try_from(i * 7 % 251).expect("small")).collect();
    loop {
        builder.append(1_700_000_000_000, None, Some(&value[..size.saturating_sub(80).min(1024)]), &[]);
        let built = builder.clone().build();
        if built.len() + 1100 > size {
            return Batch::parse(&built, 0).expect("parses");
        }
    }
}

fn open(path: &Path, mode: WriteMode, clock: &Arc<SystemClock>, config: LogConfig) -> (LogDir, Log) {
    let _ = std::fs::remove_dir_all(path);
    let meta = MetaProperties { cluster_id: "measure".into(), node_id: 1, directory_id: None };
    meta.format(path).expect("formats");
    let options = DirOptions { write_mode: mode, ..DirOptions::default() };
    let dir = LogDir::open(path, options, Arc::clone(clock) as Arc<dyn Clock>).expect("opens");
    let partition = TopicPartition::new("append", 0);
    let log = dir.create_log(&partition, TopicId::METADATA, Arc::new(config)).expect("creates");
    (dir, log)
}

fn stamp(batch: &Batch, log: &Log) -> Stamped {
    batch.stamp(log.log_end(), 0)
}

fn throughput(path: &Path, mode: WriteMode, size: usize, gigabytes: f64, clock: &Arc<SystemClock>) {
    let batch = batch_of(size);
    let (dir, mut log) = open(path, mode, clock, LogConfig::default());
    // A few payloads in turn, as buffers of connections would be.
    let payloads: Vec<Bytes> =
        (0..(4 << 20) / size.max(1)).map(|_| Bytes::copy_from_slice(&batch.bytes)).collect();
    let rounds = (gigabytes * 1e9 / batch.bytes.len() as f64) as usize;
    let mut times = Vec::with_capacity(rounds);
    let (own, all) = cpu_seconds();
    let begun = clock.monotonic();
    for round in 0..rounds {
        let bytes = payloads[round % payloads.len()].clone();
        let stamped = stamp(&Batch { header: batch.header, bytes }, &log);
        let before = clock.monotonic();
        log.append(std::slice::from_ref(&stamped)).expect("appends");
        times.push(clock.monotonic() - before);
    }
    let took = (clock.monotonic() - begun).as_secs_f64();
    let after = cpu_seconds();
    let bytes = (rounds * batch.bytes.len()) as f64;
    times.sort_unstable();
    println!(
        "{:<10} {:>8} {:>9.0} {:>10.3} {:>10.3} {:>9.1} {:>9.1}",
        format!("{mode:?}"),
        batch.bytes.len(),
        bytes / took / 1e6,
        (after.0 - own) / bytes * 1e9,
        (after.1 - all) / bytes * 1e9,
        percentile(&times, 500),
        percentile(&times, 990),
    );
    drop((log, dir));
    std::fs::remove_dir_all(path).expect("removes");
}

fn syncs(path: &Path, preallocate: bool, size: usize, clock: &Arc<SystemClock>) {
    let batch = batch_of(size);
    let config = LogConfig { preallocate, segment_bytes: 256 << 20, ..LogConfig::default() };
    let (dir, mut log) = open(path, WriteMode::Buffered, clock, config);
    let mut times = Vec::new();
    for round in 0..4200 {
        log.append(&[stamp(&batch, &log)]).expect("appends");
        let before = clock.monotonic();
        log.flush().expect("syncs");
        if round >= 200 {
            times.push(clock.monotonic() - before);
        }
    }
    times.sort_unstable();
    println!(
        "{:<12} {:>8} {:>9.0} {:>9.0} {:>9.0}",
        if preallocate { "preallocated" } else { "extending" },
        batch.bytes.len(),
        percentile(&times, 500),
        percentile(&times, 990),
        percentile(&times, 999),
    );
    drop((log, dir));
    std::fs::remove_dir_all(path).expect("removes");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/tmp/ottla-append".into());
    let gigabytes = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let pause =
        arguments.next().and_then(|text| text.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    let path = Path::new(&path);
    let clock = Arc::new(SystemClock::new());
    println!("append     batch, B      MB/s   own s/GB   all s/GB   p50, us   p99, us");
    for round in 0..2 {
        for size in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
            let gigabytes = if size < 4096 { gigabytes / 8.0 } else { gigabytes };
            for mode in [WriteMode::Buffered, WriteMode::DontCache] {
                std::thread::sleep(pause);
                throughput(path, mode, size, gigabytes, &clock);
            }
        }
        println!("-- round {} done", round + 1);
    }
    println!("fdatasync    batch, B   p50, us   p99, us p99.9, us");
    for _ in 0..3 {
        for preallocate in [false, true] {
            syncs(path, preallocate, 1 << 10, &clock);
        }
    }
}
