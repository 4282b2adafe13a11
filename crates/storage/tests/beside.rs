//! Readers beside a writer that appends, rolls and truncates.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use common::{TestDir, bytes_of, partition, simple, topic_id};
use ottla_records::Stamped;
use ottla_storage::{DirOptions, LogConfig, ReadError};
use ottla_types::Offset;

#[test]
fn readers_see_whole_batches_whatever_the_writer_does() {
    let files = TestDir::new();
    let options = DirOptions { tail_bytes: 8_000, max_open_files: 2, ..DirOptions::default() };
    let dir = files.open(options);
    let config = LogConfig { segment_bytes: 20_000, index_interval_bytes: 1024, ..LogConfig::default() };
    let mut log = dir.create_log(&partition(), topic_id(), Arc::new(config)).expect("creates");
    let (done, safe) = (AtomicBool::new(false), AtomicI64::new(0));
    let reader = log.reader();
    std::thread::scope(|scope| {
        for step in [1, 3_000, 100_000] {
            let (reader, done, safe) = (&reader, &done, &safe);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // Never truncated below: what is read there must be exact.
                    let bound = safe.load(Ordering::Acquire);
                    let mut from = (bound - 200).max(0);
                    while from < bound {
                        let slice = reader.read(from, step, bound, true).expect("reads");
                        for batch in ottla_records::batches(bytes_of(&slice)) {
                            let batch = batch.expect("whole");
                            batch.verify_crc().expect("sound");
                            assert_eq!(batch.header.base_offset, from);
                            from = batch.header.next_offset();
                        }
                    }
                    match reader.read(bound + 40, step, Offset::MAX, true) {
                        Ok(_) | Err(ReadError::OutOfRange { .. }) => {}
                        Err(fault) => panic!("{fault}"),
                    }
                    reader.find_by_timestamp(bound).expect("searches");
                }
            });
        }
        let (reader, done) = (&reader, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                reader.sync_up_to(reader.log_end()).expect("syncs");
            }
        });
        for round in 0..600 {
            let from = log.log_end();
            let batches: Vec<Stamped> =
                (from..from + 20).map(|i| simple(i, usize::try_from(i % 400).expect("small"))).collect();
            log.append(&batches).expect("appends");
            if round % 3 == 0 {
                log.truncate_to(from + 5).expect("truncates");
            }
            if round % 7 == 0 {
                dir.checkpoint().expect("checkpoints");
            }
            // Whatever is more than one round old stays.
            safe.store(from, Ordering::Release);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(log.log_end() > 5_000);
}
