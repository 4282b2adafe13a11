//! Measures opening: an empty dir, and one of many partitions after a kill.
//!
//! `cargo run --release -p ottla-storage --example open -- [directory [partitions]]`

use std::{path::Path, process::Command, sync::Arc};

use ottla_records::{Batch, BatchBuilder};
use ottla_storage::{Collect, DirOptions, LogConfig, LogDir, MetaProperties};
use ottla_types::{Clock, SystemClock, TopicId, TopicPartition};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let anonymous = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default();
    anonymous.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/tmp/ottla-open".into());
    let partitions: i32 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let path = Path::new(&path);
    let clock = Arc::new(SystemClock::new());
    if let Some(step) = arguments.next() {
        return match step.as_str() {
            "build" => build(path, partitions, &clock),
            _ => measure(path, &step, &clock),
        };
    }
    let _ = std::fs::remove_dir_all(path);
    MetaProperties { cluster_id: "measure".into(), node_id: 1, directory_id: None }
        .format(path)
        .expect("formats");
    for step in ["empty dir", "build", "after a kill", "once more", "close", "after a clean end"] {
        let own = std::env::current_exe().expect("this example");
        let done = Command::new(own).arg(path).arg(partitions.to_string()).arg(step).status().expect("runs");
        assert!(done.success());
    }
    std::fs::remove_dir_all(path).expect("removes");
}

fn build(path: &Path, partitions: i32, clock: &Arc<SystemClock>) {
    let dir = LogDir::open(path, DirOptions::default(), Arc::clone(clock) as Arc<dyn Clock>).expect("opens");
    let begun = clock.monotonic();
    let mut logs: Vec<_> = (0..partitions)
        .map(|p| {
            dir.create_log(&TopicPartition::new("open", p), TopicId::METADATA, Arc::default())
                .expect("creates")
        })
        .collect();
    let created = clock.monotonic() - begun;
    let mut builder = BatchBuilder::new(0);
    for i in 0..16 {
        builder.append(1_700_000_000_000 + i, None, Some(&[7; 1000]), &[]);
    }
    let batch = Batch::parse(&builder.build(), 0).expect("parses");
    for round in 0..40 {
        for log in &mut logs {
            log.append(&[batch.stamp(log.log_end(), 0)]).expect("appends");
        }
        if round == 35 {
            let before = clock.monotonic();
            let report = dir.checkpoint().expect("checkpoints");
            println!(
                "checkpoint of {} logs: {} bytes, {:?}",
                report.logs,
                report.bytes,
                clock.monotonic() - before
            );
        }
    }
    println!(
        "{partitions} logs created in {created:?}; {} KiB each resident with a 32 MiB tail",
        resident_kib() / u64::try_from(partitions).expect("positive")
    );
    // As a kill would: nothing is closed.
    std::process::exit(0);
}

fn measure(path: &Path, step: &str, clock: &Arc<SystemClock>) {
    let before = resident_kib();
    let begun = clock.monotonic();
    let dir = LogDir::open(path, DirOptions::default(), Arc::clone(clock) as Arc<dyn Clock>).expect("opens");
    let opened = clock.monotonic() - begun;
    let collect = Collect::new(LogConfig::default());
    let report = dir.load(&collect).expect("loads");
    let loaded = clock.monotonic() - begun;
    println!(
        "{step}: opened in {opened:?}, loaded in {loaded:?}, {} KiB more resident, {report:?}",
        resident_kib() - before
    );
    if step == "close" {
        for log in collect.into_logs() {
            log.close().expect("closes");
        }
        dir.close(-1).expect("closes");
    } else {
        dir.checkpoint().expect("checkpoints");
        std::process::exit(0);
    }
}
