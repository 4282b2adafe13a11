//! Which leader wrote which offsets (KIP-101, KIP-279, KIP-320).

use ottla_types::{LeaderEpoch, Offset};

/// Where an epoch ends, as OffsetForLeaderEpoch and diverging Fetch answers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch not after the one asked for; -1 when unknown.
    pub epoch: LeaderEpoch,
    /// The offset after its last record; -1 when unknown.
    pub end_offset: Offset,
}

impl EpochEnd {
    /// "I do not know this epoch."
    pub const UNKNOWN: Self = Self { epoch: -1, end_offset: -1 };
}

/// The epochs of a log with their first offsets, both strictly growing.
///
/// A copy of what storage keeps in `leader-epoch-checkpoint`; the driver keeps the two in step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// Takes over `(epoch, start offset)` pairs. Pairs that are out of order are dropped, as a log never has them.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (LeaderEpoch, Offset)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs
    }

    /// All pairs, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest pair.
    #[must_use]
    pub fn latest(&self) -> Option<(LeaderEpoch, Offset)> {
        self.entries.last().copied()
    }

    /// Records that `epoch` starts at `start`. Returns false when that was known or is out of date.
    /// Later epochs that claim offsets from `start` on had no records and are forgotten.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch < 0 || start < 0 || self.latest().is_some_and(|(latest, _)| latest >= epoch) {
            return false;
        }
        while self.latest().is_some_and(|(_, latest_start)| latest_start >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// The log was cut at `end`: epochs that start there or later are gone.
    pub fn truncate_to(&mut self, end: Offset) {
        self.entries.retain(|(_, start)| *start < end);
    }

    /// The log now starts at `start`: of the epochs wholly before it only the one that covers `start` stays.
    pub fn advance_start(&mut self, start: Offset) {
        let covering = self.entries.partition_point(|(_, first)| *first <= start);
        if covering > 0 {
            self.entries.drain(..covering - 1);
            let first = self.entries.first_mut().expect("the covering epoch stays");
            first.1 = first.1.max(start);
        }
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// Kafka's answer to OffsetForLeaderEpoch on a log that ends at `log_end`: the largest epoch not after `epoch`
    /// and where it ends; [`EpochEnd::UNKNOWN`] for an epoch of the future.
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> EpochEnd {
        let Some((latest, _)) = self.latest() else { return EpochEnd::UNKNOWN };
        if epoch < 0 || epoch > latest {
            return EpochEnd::UNKNOWN;
        }
        if epoch == latest {
            return EpochEnd { epoch, end_offset: log_end };
        }
        let after = self.entries.partition_point(|(known, _)| *known <= epoch);
        let end_offset = self.entries[after].1;
        match after.checked_sub(1) {
            Some(at) => EpochEnd { epoch: self.entries[at].0, end_offset },
            // Older than anything here: all that is here came after it.
            None => EpochEnd { epoch, end_offset },
        }
    }

    /// Whether a reader that last saw `epoch` and wants `offset` next has a different history (KIP-595's rule for
    /// Fetch): then what it must cut back to.
    #[must_use]
    pub fn divergence(&self, epoch: LeaderEpoch, offset: Offset, log_end: Offset) -> Option<EpochEnd> {
        let end = self.end_of(epoch, log_end);
        (end == EpochEnd::UNKNOWN || end.epoch < epoch || end.end_offset < offset).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> LeaderEpochs {
        LeaderEpochs::new([(2, 0), (4, 10), (7, 30)])
    }

    #[test]
    fn ends_are_kafkas() {
        let end = |epoch| {
            let end = epochs().end_of(epoch, 42);
            (end.epoch, end.end_offset)
        };
        assert_eq!(end(-1), (-1, -1));
        assert_eq!(end(1), (1, 0));
        assert_eq!(end(2), (2, 10));
        assert_eq!(end(3), (2, 10));
        assert_eq!(end(4), (4, 30));
        assert_eq!(end(6), (4, 30));
        assert_eq!(end(7), (7, 42));
        assert_eq!(end(8), (-1, -1));
        assert_eq!(LeaderEpochs::default().end_of(0, 0), EpochEnd::UNKNOWN);
    }

    #[test]
    fn divergence_is_told_with_the_offset_to_cut_back_to() {
        assert_eq!(epochs().divergence(4, 30, 42), None);
        assert_eq!(epochs().divergence(4, 31, 42), Some(EpochEnd { epoch: 4, end_offset: 30 }));
        assert_eq!(epochs().divergence(5, 12, 42), Some(EpochEnd { epoch: 4, end_offset: 30 }));
        assert_eq!(epochs().divergence(7, 42, 42), None);
        assert_eq!(epochs().divergence(9, 1, 42), Some(EpochEnd::UNKNOWN));
    }

    #[test]
    fn both_ends_move() {
        let mut cut = epochs();
        cut.truncate_to(30);
        assert_eq!(cut.entries(), [(2, 0), (4, 10)]);
        assert!(!cut.assign(4, 20), "known");
        assert!(cut.assign(9, 10), "replaces the epoch that had no records");
        assert_eq!(cut.entries(), [(2, 0), (9, 10)]);
        let mut moved = epochs();
        moved.advance_start(12);
        assert_eq!(moved.entries(), [(4, 12), (7, 30)]);
        assert_eq!(moved.epoch_of(11), None);
        assert_eq!(moved.epoch_of(29), Some(4));
        assert_eq!(moved.epoch_of(1000), Some(7));
    }
}
