//! Truncations that the disk did not let come to their end.

mod common;

use std::{fs, sync::Arc};

use common::{TestDir, batch, partition, read_all, topic_id};
use ottla_records::{Codec, Producer, Stamped};
use ottla_storage::{DirOptions, Fault, LogConfig};
use ottla_types::Offset;

fn of_epoch(epoch: i32, base: Offset) -> Stamped {
    batch(base, epoch, &[0], b"value", Producer::NONE, Codec::None).stamped()
}

/// Were the log written to again, the new batches would lie over the first of those that should have gone, and the
/// next start would take the others to come after them.
#[test]
fn a_log_that_was_not_cut_takes_no_more_writes() {
    for to in [3, 0, 50] {
        let files = TestDir::new();
        let options = || DirOptions { recovery_threads: 1, ..DirOptions::default() };
        let dir = files.open(options());
        let mut log = dir.create_log(&partition(), topic_id(), Arc::default()).expect("creates");
        let old: Vec<Stamped> = (0..9).map(|base| of_epoch(i32::from(base >= 3), base)).collect();
        log.append(&old).expect("appends");
        dir.checkpoint().expect("checkpoints");
        let bytes = read_all(&log.reader(), 0, 1000);

        // Where the file of the epochs is written before it gets its name.
        let in_the_way = files.path().join("topic-0/leader-epoch-checkpoint.tmp");
        fs::create_dir(&in_the_way).expect("creates");
        let cut = |log: &mut ottla_storage::Log| {
            if to > 9 { log.truncate_fully_and_start_at(to) } else { log.truncate_to(to) }
        };
        assert!(matches!(cut(&mut log), Err(Fault::Io { .. })));
        fs::remove_dir(&in_the_way).expect("removes");
        assert!(matches!(cut(&mut log), Err(Fault::Broken { .. })), "the second time it is not done either");
        let end = log.log_end();
        assert!(matches!(log.append(&[of_epoch(2, end)]), Err(Fault::Broken { .. })));

        drop((log, dir));
        let (_dir, log, _) = files.reopen(options(), &LogConfig::default());
        if to < 9 {
            assert_eq!((log.log_end(), read_all(&log.reader(), 0, 1000)), (9, bytes), "as it was");
        } else {
            assert_eq!((log.log_start(), log.log_end()), (to, to), "the store knows that it was emptied");
        }
    }
}
