//! The driver over a real log dir: what is in `__cluster_metadata-0` after a start, topics, a kill and a restart.

mod common;

use std::{path::Path, sync::Arc};

use common::{Node, Setup};
use ottla_raft::SegmentLog;
use ottla_storage::{DirOptions, LogConfig, LogDir, MetaProperties};
use ottla_types::SystemClock;
use uuid::Uuid;

fn format(dir: &Path) {
    let properties = MetaProperties {
        cluster_id: "5L6g3nShT-eMCtK--X86sw".into(),
        node_id: 1,
        directory_id: Some(Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef)),
    };
    properties.format(dir).expect("formatted");
}

fn start(dir: &Path) -> (LogDir, Node) {
    let logs = LogDir::open(dir, DirOptions::default(), Arc::new(SystemClock::new())).expect("opens");
    let log = SegmentLog::open(&logs, LogConfig::default()).expect("a metadata log");
    let setup = Setup { dir: log.path(), ..Setup::alone(dir) };
    let node = setup.start_on(logs.store().clone(), log, |_| {});
    (logs, node)
}

/// With `OTTLA_KEEP_METADATA` set to a directory the log stays there, for Kafka's own tools to be pointed at.
#[test]
fn a_log_dir_is_founded_and_found_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    #[expect(clippy::disallowed_methods, reason = "a test that a developer may ask to leave its files")]
    let keep = std::env::var("OTTLA_KEEP_METADATA");
    let dir = keep.as_deref().map_or(temporary.path(), Path::new);
    format(dir);
    let (logs, node) = start(dir);
    let epoch = node.join(-1);
    node.create("orders", 3);
    node.create("payments", 1);
    let before = node.image();
    node.running.handle.snapshot().expect("queued");
    node.create("after-the-snapshot", 1);
    node.running.stop();
    drop(logs);

    let (logs, node) = start(dir);
    // The epoch is not the one that is registered: the end was not a clean one.
    node.join(epoch - 1);
    let after = node.image();
    assert_eq!(after.topics.len(), 3);
    let id = |image: &ottla_metadata::Image| image.topic("orders").map(|topic| topic.id);
    assert_eq!(id(&after), id(&before));
    let orders = after.partition("orders", 0).expect("there");
    assert_eq!((orders.leader, &orders.isr[..]), (1, &[1][..]));
    assert!(orders.leader_epoch > 0 && orders.partition_epoch > 0);
    node.running.stop();
    drop(logs);
}
