//! Leader epochs and where they began: a list that only grows in both columns (KIP-101).

use ottla_types::{LeaderEpoch, Offset};

/// Takes note that `epoch` begins at `start`. Entries that contradict it go: later epochs, and those that would begin
/// at or after it. True when the list changed.
pub(crate) fn assign(epochs: &mut Vec<(LeaderEpoch, Offset)>, epoch: LeaderEpoch, start: Offset) -> bool {
    if epoch < 0 || start < 0 {
        return false;
    }
    if let Some(&(last, last_start)) = epochs.last()
        && (last, last_start) <= (epoch, start)
        && last == epoch
    {
        return false;
    }
    let keep = epochs.iter().take_while(|&&(e, s)| e < epoch && s < start).count();
    epochs.truncate(keep);
    epochs.push((epoch, start));
    true
}

/// Forgets epochs that begin at `end` or later. True when the list changed.
pub(crate) fn truncate_from_end(epochs: &mut Vec<(LeaderEpoch, Offset)>, end: Offset) -> bool {
    let before = epochs.len();
    while epochs.last().is_some_and(|&(_, start)| start >= end) {
        epochs.pop();
    }
    epochs.len() != before
}

/// Takes note of a batch, for [`forget_denied`]. An entry of the same or a later epoch denies nothing that this one,
/// further back, does not: it goes, and the list is never longer than there are epochs.
pub(crate) fn note_last(last_of: &mut Vec<(LeaderEpoch, Offset)>, epoch: LeaderEpoch, base: Offset) {
    if epoch < 0 {
        return;
    }
    while last_of.last().is_some_and(|&(last, _)| last >= epoch) {
        last_of.pop();
    }
    last_of.push((epoch, base));
}

/// Forgets epochs that batches deny: one of an older epoch lies where they are said to have begun. `last_of` says where
/// the last batch of each epoch that was read begins. So it is when a leader that had written nothing yet was
/// followed by one that wrote in an older epoch's name, and the process was killed before that was noted.
pub(crate) fn forget_denied(epochs: &mut Vec<(LeaderEpoch, Offset)>, last_of: &[(LeaderEpoch, Offset)]) {
    epochs.retain(|&(epoch, start)| !last_of.iter().any(|&(older, base)| older < epoch && base >= start));
}

/// Forgets epochs that end at or before `start`; the one that holds it now begins there. True when the list changed.
pub(crate) fn truncate_from_start(epochs: &mut Vec<(LeaderEpoch, Offset)>, start: Offset) -> bool {
    let before = epochs.iter().take_while(|&&(_, s)| s <= start).count();
    let Some(holder) = before.checked_sub(1) else { return false };
    if epochs[holder].1 == start && holder == 0 {
        return false;
    }
    epochs.drain(..holder);
    epochs[0].1 = start;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_columns_only_grow() {
        let mut epochs = Vec::new();
        assert!(assign(&mut epochs, 0, 0));
        assert!(!assign(&mut epochs, 0, 10));
        assert!(assign(&mut epochs, 2, 10));
        assert!(assign(&mut epochs, 3, 10));
        assert_eq!(epochs, [(0, 0), (3, 10)]);
        assert!(assign(&mut epochs, 5, 20));
        assert!(assign(&mut epochs, 4, 15));
        assert_eq!(epochs, [(0, 0), (3, 10), (4, 15)]);
        assert!(!assign(&mut epochs, -1, 20));
    }

    #[test]
    fn what_is_noted_of_batches_grows_in_both_columns() {
        let mut last_of = Vec::new();
        for (base, epoch) in [(0, 1), (5, 1), (9, 4), (12, 2), (13, -1), (14, 3), (20, 2)] {
            note_last(&mut last_of, epoch, base);
        }
        assert_eq!(last_of, [(1, 5), (2, 20)]);
        for base in 0..1000 {
            note_last(&mut last_of, (base % 2) as i32, 100 + base);
        }
        assert_eq!(last_of.len(), 2);
    }

    #[test]
    fn batches_know_better() {
        let known = [(0, 0), (2, 10), (3, 13), (5, 16)];
        let after = |last_of: &[(i32, Offset)]| {
            let mut epochs = known.to_vec();
            forget_denied(&mut epochs, last_of);
            epochs
        };
        assert_eq!(after(&[]), known);
        assert_eq!(after(&[(2, 12), (3, 15), (5, 16)]), known);
        assert_eq!(after(&[(2, 13)]), [(0, 0), (2, 10), (5, 16)], "an epoch without records");
        assert_eq!(after(&[(2, 15), (5, 16)]), [(0, 0), (2, 10), (5, 16)]);
        assert_eq!(after(&[(2, 20)]), [(0, 0), (2, 10)]);
        assert_eq!(after(&[(3, 13), (4, 40)]), [(0, 0), (2, 10), (3, 13)]);
    }

    #[test]
    fn cut_at_either_end() {
        let mut epochs = vec![(0, 0), (3, 10), (4, 15)];
        assert!(truncate_from_end(&mut epochs, 15));
        assert_eq!(epochs, [(0, 0), (3, 10)]);
        assert!(!truncate_from_end(&mut epochs, 11));
        assert!(truncate_from_start(&mut epochs, 12));
        assert_eq!(epochs, [(3, 12)]);
        assert!(!truncate_from_start(&mut epochs, 12));
        assert!(!truncate_from_start(&mut epochs, 5));
    }
}
