//! Whatever a client sends in whatever order, a sequence is appended once, in order, also over restarts.

use ottla_partition::{BatchFacts, Origin, ProducerTable, Verdict, next_sequence};
use ottla_types::Millis;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// The next new batch, of so many records.
    Next(u8),
    /// One sent before, so many batches ago, again.
    Again(u8),
    /// A batch that leaves a gap.
    Skip(u8),
    /// The broker restarts from a snapshot.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..20u8).prop_map(Step::Next),
        3 => (0..9u8).prop_map(Step::Again),
        1 => (1..9u8).prop_map(Step::Skip),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

fn facts(first: i32, count: i32, at: i64) -> BatchFacts {
    BatchFacts {
        producer_id: 7,
        epoch: 0,
        first_sequence: first,
        last_sequence: next_sequence(first, count - 1),
        base_offset: at,
        last_offset: at + i64::from(count) - 1,
        max_timestamp: Millis(1),
        transactional: false,
        control: false,
    }
}

proptest! {
    #[test]
    fn nothing_is_appended_twice_or_out_of_order(steps in steps(), first in prop_oneof![Just(0), Just(i32::MAX - 30), Just(i32::MAX)]) {
        let mut table = ProducerTable::default();
        let (mut end, mut next) = (0i64, first);
        // (first sequence, count, base offset)
        let mut log: Vec<(i32, i32, i64)> = Vec::new();
        for step in steps {
            match step {
                Step::Next(count) => {
                    let batch = facts(next, i32::from(count), end);
                    prop_assert_eq!(table.check(&batch, Origin::Client), Ok(Verdict::Append));
                    table.record(&batch, Millis(1));
                    log.push((next, i32::from(count), end));
                    next = next_sequence(next, i32::from(count));
                    end += i64::from(count);
                }
                Step::Again(back) => {
                    let Some(at) = log.len().checked_sub(1 + usize::from(back)) else { continue };
                    let (first, count, base) = log[at];
                    match table.check(&facts(first, count, end), Origin::Client) {
                        Ok(Verdict::Duplicate { base_offset, last_offset, .. }) => {
                            prop_assert!(back < 5);
                            prop_assert_eq!((base_offset, last_offset), (base, base + i64::from(count) - 1));
                        }
                        Ok(Verdict::Append) => prop_assert!(false, "appended twice"),
                        Err(_) => prop_assert!(back >= 5),
                    }
                }
                Step::Skip(by) => {
                    if log.is_empty() { continue }
                    let batch = facts(next_sequence(next, i32::from(by)), 1, end);
                    prop_assert!(table.check(&batch, Origin::Client).is_err());
                }
                Step::Restart => table = ProducerTable::from_snapshot(&table.snapshot()).expect("own snapshot"),
            }
        }
    }

    #[test]
    fn damaged_snapshots_are_refused_or_read_but_never_believed_blindly(mut bytes in prop::collection::vec(any::<u8>(), 0..300), version in any::<bool>()) {
        if version && !bytes.is_empty() { bytes[0] = 1; }
        if let Ok(table) = ProducerTable::from_snapshot(&bytes) {
            prop_assert!(table.len() <= bytes.len());
        }
    }
}
