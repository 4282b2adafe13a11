//! Time lookup inside batches, at every codec.

use super::*;
use crate::{BatchBuilder, testing::*};

const TIMES: [i64; 5] = [100, 300, 200, 300, 50];

fn batch(codec: crate::Codec, append_time: Option<i64>) -> Batch {
    let mut builder = BatchBuilder::new(1000).compression(codec, None);
    if let Some(now) = append_time {
        builder = builder.log_append_time(now);
    }
    for timestamp in TIMES {
        builder.append(timestamp, None, Some(b"value"), &[]);
    }
    Batch::parse(&builder.build(), 0).expect("a batch")
}

#[test]
fn first_record_at_or_after() {
    for codec in ALL {
        let batch = batch(codec, None);
        assert_eq!(find(&batch, i64::MIN), Some((1000, 100)));
        assert_eq!(find(&batch, 100), Some((1000, 100)));
        assert_eq!(find(&batch, 101), Some((1001, 300)));
        assert_eq!(find(&batch, 300), Some((1001, 300)));
        assert_eq!(find(&batch, 301), None);
        assert_eq!(find_max(&batch), Ok(Some((1001, 300))));
    }
}

#[test]
fn append_time_holds_for_every_record() {
    for codec in ALL {
        let batch = batch(codec, Some(77));
        assert_eq!(find(&batch, 77), Some((1000, 77)));
        assert_eq!(find(&batch, 78), None);
        assert_eq!(find_max(&batch), Ok(Some((1000, 77))));
    }
}

#[test]
fn holes_left_by_compaction() {
    let mut builder = BatchBuilder::new(10);
    builder.append_at(12, 5, None, None, &[]);
    builder.append_at(19, 9, None, None, &[]);
    let batch = Batch::parse(&builder.last_offset(30).build(), 0).expect("a batch");
    assert_eq!(find(&batch, 6), Some((19, 9)));
    let empty = Batch::parse(&BatchBuilder::new(10).last_offset(30).build(), 0).expect("a batch");
    assert_eq!((find(&empty, i64::MIN), find_max(&empty)), (None, Ok(None)));
}

#[test]
fn a_broken_batch_has_nothing() {
    let batch = Batch::parse(&raw(&[record(0)]).payload(vec![1]).build(), 0).expect("a batch");
    assert_eq!(find(&batch, 0), None);
    assert!(try_find(&batch, 0).is_err() && find_max(&batch).is_err());
}
