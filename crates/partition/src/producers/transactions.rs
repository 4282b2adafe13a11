//! Transactions as one partition sees them: which are open, which were aborted, how far everything is decided.

use std::collections::BTreeMap;

use ottla_types::{Offset, ProducerId};

/// How a transaction ended: the type in the key of a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Its records do not count.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of a transaction, as its control record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionEnd {
    /// Committed or aborted.
    pub marker: Marker,
    /// Fences older transaction coordinators.
    pub coordinator_epoch: i32,
}

/// The extent of a transaction on this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// The last stable offset once its marker was written: no later transaction can concern readers below it.
    pub last_stable_offset: Offset,
}

/// Open, undecided-for-readers and aborted transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// First offset → producer.
    pub(super) open: BTreeMap<Offset, ProducerId>,
    /// First offset → marker offset, for markers not yet below the high watermark.
    pub(super) unreplicated: BTreeMap<Offset, Offset>,
    /// By marker offset.
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl Transactions {
    pub(super) fn begin(&mut self, producer: ProducerId, first_offset: Offset) {
        self.open.insert(first_offset, producer);
    }

    pub(super) fn end(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        last_offset: Offset,
        marker: Marker,
    ) -> AbortedTransaction {
        self.open.remove(&first_offset);
        self.unreplicated.insert(first_offset, last_offset);
        let last_stable_offset =
            self.open.keys().next().map_or(last_offset + 1, |open| (last_offset + 1).min(*open));
        let ended = AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
        if marker == Marker::Abort {
            self.aborted.push(ended);
        }
        ended
    }

    pub(super) fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.keys().next().copied();
        let unreplicated = self.unreplicated.keys().next().copied();
        [open, unreplicated].into_iter().flatten().min()
    }

    pub(super) fn high_watermark_moved(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, last| *last >= high_watermark);
        }
    }

    pub(super) fn log_start_moved(&mut self, log_start: Offset) {
        self.aborted.retain(|ended| ended.last_offset >= log_start);
        self.unreplicated.retain(|_, last| *last >= log_start);
    }

    pub(super) fn aborted(
        &self,
        from: Offset,
        upper_bound: Offset,
    ) -> impl Iterator<Item = AbortedTransaction> {
        let first = self.aborted.partition_point(|ended| ended.last_offset < from);
        let mut done = false;
        self.aborted[first..]
            .iter()
            .take_while(move |ended| {
                let past = done;
                done |= ended.last_stable_offset >= upper_bound;
                !past
            })
            .filter(move |ended| ended.first_offset < upper_bound)
            .copied()
    }
}
