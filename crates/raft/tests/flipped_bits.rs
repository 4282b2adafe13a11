//! Every byte of a batch's header in the metadata log, changed on disk: the start mends it or refuses, and never serves
//! metadata that lack something.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{Node, Setup};
use ottla_raft::{Fault, SegmentLog};
use ottla_storage::{DirOptions, LogConfig, LogDir, MetaProperties};
use ottla_types::SystemClock;
use uuid::Uuid;

/// Bytes of a batch before its records.
const HEADER: usize = 61;

fn start(dir: &Path) -> (LogDir, Result<Node, Fault>) {
    let logs = LogDir::open(dir, DirOptions::default(), Arc::new(SystemClock::new())).expect("opens");
    let node = SegmentLog::open(&logs, LogConfig::default()).and_then(|log| {
        let setup = Setup { dir: log.path(), ..Setup::alone(dir) };
        setup.try_start_on(logs.store().clone(), log, |_| {})
    });
    (logs, node)
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("__cluster_metadata-0/00000000000000000000.log")
}

/// Where the batch begins that holds `name`.
fn batch_with(log: &[u8], name: &str) -> usize {
    let name = log.windows(name.len()).position(|bytes| bytes == name.as_bytes()).expect("it is there");
    let mut at = 0;
    loop {
        let length: [u8; 4] = log[at + 8..at + 12].try_into().expect("four bytes");
        let next = at + 12 + usize::try_from(u32::from_be_bytes(length)).expect("a length");
        if next > name {
            return at;
        }
        at = next;
    }
}

#[test]
fn no_byte_of_a_header_is_believed_blindly() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    let properties = MetaProperties {
        cluster_id: "5L6g3nShT-eMCtK--X86sw".into(),
        node_id: 1,
        directory_id: Some(Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef)),
    };
    properties.format(dir).expect("formatted");
    let (logs, node) = start(dir);
    let node = node.expect("recovers");
    let mut epoch = node.join(-1);
    node.create("orders", 1);
    node.create("payments", 1);
    logs.checkpoint().expect("written");
    node.running.stop();
    drop(logs);

    for at in 0..HEADER {
        let mut log = fs::read(segment(dir)).expect("a segment");
        let begin = batch_with(&log, "orders");
        log[begin + at] ^= 1;
        fs::write(segment(dir), &log).expect("written");
        let (logs, node) = start(dir);
        match node {
            Ok(node) => {
                epoch = node.join(epoch - 1);
                let image = node.image();
                let both = image.topic("orders").is_some() && image.topic("payments").is_some();
                assert!(both, "byte {at}: {:?}", image.topics);
                logs.checkpoint().expect("written");
                node.running.stop();
            }
            Err(fault) => {
                // Length, leader epoch and format are not under the checksum.
                assert!((8..=16).contains(&at), "byte {at}: {fault}");
                log[begin + at] ^= 1;
                fs::write(segment(dir), &log).expect("written");
            }
        }
    }
}
