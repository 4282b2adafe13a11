//! Pages that a power cut took while later ones came to the disk.

mod common;

use std::{fs, os::unix::fs::FileExt, sync::Arc};

use common::{TestDir, partition, read_all, simple, topic_id};
use ottla_records::BatchHeader;
use ottla_storage::{DirOptions, Fault, LogConfig, LogDir};

const PAGE: usize = 4096;
const SEGMENT: &str = "topic-0/00000000000000000000.log";

fn power_cut() -> DirOptions {
    DirOptions { recovery_threads: 1, assume_power_cut: true, ..DirOptions::default() }
}

/// The size of the batch is there, its format reads as 0: it was taken for a message that an old Kafka wrote, and the
/// partition stayed offline.
#[test]
fn a_hole_that_begins_anywhere_in_a_header_ends_the_log() {
    let overhead = simple(0, 1000).size_in_bytes() - 1000;
    for kept in 0..=BatchHeader::LEN {
        let files = TestDir::new();
        let dir = files.open(power_cut());
        let mut log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
        // A page ends behind the first `kept` bytes of the second batch.
        let first = simple(0, PAGE - kept - overhead);
        assert_eq!(first.size_in_bytes(), PAGE - kept);
        log.append(&[first.clone(), simple(1, 3 * PAGE), simple(2, 10)]).expect("appends");
        drop((log, dir));
        let file = fs::File::options().write(true).open(files.path().join(SEGMENT)).expect("opens");
        file.write_all_at(&[0; PAGE], PAGE as u64).expect("writes");
        let (_dir, log, report) = files.reopen(power_cut(), &LogConfig::default());
        assert_eq!((log.log_end(), report.recovered), (1, 1), "{kept}");
        let left = [&first.head[..], &first.rest[..]].concat();
        assert_eq!(read_all(&log.reader(), 0, 1000), left);
        assert_eq!(fs::metadata(files.path().join(SEGMENT)).expect("is there").len(), left.len() as u64);
    }
}

/// What an old Kafka did write is nothing to be cut off.
#[test]
fn a_log_of_an_old_format_is_left_as_it_is() {
    let files = TestDir::new();
    let dir = files.open(power_cut());
    drop(dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates"));
    drop(dir);
    // Offset 0, 19 bytes, checksum, format 0, attributes, no key, 5 bytes of value.
    let mut message = vec![0; 12];
    message[11] = 19;
    message.extend_from_slice(&[1, 2, 3, 4, 0, 0, 255, 255, 255, 255, 0, 0, 0, 5]);
    message.extend_from_slice(b"value");
    fs::write(files.path().join(SEGMENT), &message).expect("writes");
    let dir = files.open(power_cut());
    let fault = load_fault(&dir);
    assert!(
        matches!(&fault, Fault::Segment { position: 0, .. }) && fault.to_string().contains("convert"),
        "{fault}"
    );
    assert_eq!(fs::read(files.path().join(SEGMENT)).expect("reads"), message);
}

fn load_fault(dir: &LogDir) -> Fault {
    dir.load(&ottla_storage::Collect::new(LogConfig::default())).expect_err("is refused")
}
