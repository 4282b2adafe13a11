//! Disks: logs of partitions with a page cache that survives the process but not the power.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ottla_partition::{BatchFacts, LeaderEpochs, ProducerTable};
use ottla_types::{LeaderEpoch, Millis, Offset, TopicId, TopicPartitionId};

use crate::{chance::Rng, quorum::QuorumDisk};

/// What a batch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A producer's values, numbered by it.
    Values(Vec<u64>),
    /// A coordinator's facts: keys and values.
    Facts(Vec<(Bytes, Option<Bytes>)>),
}

/// A record batch.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// As the partition core sees it.
    pub(crate) facts: BatchFacts,
    /// The partition it was made for.
    pub(crate) tp: TopicPartitionId,
    /// Stamped by the leader that wrote it.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Unique to what was asked to be written; a retry carries the same.
    pub(crate) content: u64,
    pub(crate) payload: Arc<Payload>,
}

/// One record, as far as two logs can differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) content: u64,
    pub(crate) index: Offset,
}

/// A partition's log on one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    batches: Vec<Batch>,
    end: Offset,
    epochs: LeaderEpochs,
    /// Everything before is on the platter.
    synced: Offset,
    /// `replication-offset-checkpoint`.
    high_watermark: Offset,
}

impl Log {
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    pub(crate) fn synced(&self) -> Offset {
        self.synced
    }

    pub(crate) fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    pub(crate) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub(crate) fn checkpoint_high_watermark(&mut self, high_watermark: Offset) {
        self.high_watermark = high_watermark;
    }

    pub(crate) fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.epochs.assign(epoch, start);
    }

    pub(crate) fn append(&mut self, batch: Batch) {
        assert!(batch.facts.base_offset >= self.end, "a log is written at its end");
        self.epochs.assign(batch.leader_epoch, batch.facts.base_offset);
        self.end = batch.facts.last_offset + 1;
        self.batches.push(batch);
    }

    /// As storage does: what holds `offset` or lies behind it goes, that is synced; so do epochs that begin there.
    pub(crate) fn truncate_to(&mut self, offset: Offset) {
        if offset >= self.end {
            return self.epochs.truncate_to(offset);
        }
        self.batches.retain(|batch| batch.facts.last_offset < offset);
        self.end = offset;
        self.synced = self.synced.min(offset);
        self.high_watermark = self.high_watermark.min(offset);
        self.epochs.truncate_to(offset);
    }

    pub(crate) fn sync_to(&mut self, offset: Offset) {
        self.synced = self.synced.max(offset.min(self.end));
    }

    /// A batch that was made for another partition than `tp`.
    pub(crate) fn foreign(&self, tp: TopicPartitionId) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.tp != tp)
    }

    /// Whole batches from the one that holds `from`, below `bound`.
    pub(crate) fn read(&self, from: Offset, bound: Offset, most: usize) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| batch.facts.last_offset < from);
        let below = self.batches[first..].iter().take_while(|batch| batch.facts.last_offset < bound);
        below.take(most).cloned().collect()
    }

    pub(crate) fn entry(&self, offset: Offset) -> Option<Entry> {
        let at = self.batches.partition_point(|batch| batch.facts.last_offset < offset);
        let batch = self.batches.get(at).filter(|batch| batch.facts.base_offset <= offset)?;
        Some(Entry {
            leader_epoch: batch.leader_epoch,
            content: batch.content,
            index: offset - batch.facts.base_offset,
        })
    }

    pub(crate) fn batch_at(&self, offset: Offset) -> Option<&Batch> {
        let at = self.batches.partition_point(|batch| batch.facts.last_offset < offset);
        self.batches.get(at).filter(|batch| batch.facts.base_offset <= offset)
    }

    /// What a start reads out of the log.
    pub(crate) fn producers(&self) -> ProducerTable {
        let mut producers = ProducerTable::default();
        for batch in &self.batches {
            producers.record(&batch.facts, batch.facts.max_timestamp);
        }
        producers
    }

    /// The power goes: of what was not synced the disk has kept a part, perhaps none.
    fn power_cut(&mut self, rng: &mut Rng) {
        let kept = if self.synced >= self.end { self.end } else { rng.between(self.synced, self.end) };
        let torn =
            self.batches.iter().rev().map(|batch| batch.facts.last_offset + 1).find(|end| *end <= kept);
        let kept = torn.unwrap_or(0).max(self.synced.min(self.end));
        if kept < self.end {
            self.batches.retain(|batch| batch.facts.last_offset < kept);
            self.end = kept;
            self.epochs.truncate_to(kept);
        }
        self.synced = self.end;
        self.high_watermark = if rng.permille(500) { 0 } else { self.high_watermark.min(self.end) };
    }
}

/// What a node keeps while it is off.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) logs: BTreeMap<TopicPartitionId, Log>,
    /// Directories have names, and say in `partition.metadata` which topic they are of.
    names: BTreeMap<(Arc<str>, i32), TopicId>,
    /// The broker epoch that a clean shutdown left.
    pub(crate) clean: Option<i64>,
    pub(crate) quorum: QuorumDisk,
}

impl Disk {
    /// The log of a partition, as `ReplicaManager::create` comes by it: found under its name, or made. What is of an
    /// older topic of that name is no log of this one; `by_name` is the fault of not looking.
    pub(crate) fn claim(&mut self, topic: &Arc<str>, tp: TopicPartitionId, by_name: bool) -> &mut Log {
        let before = self.names.insert((Arc::clone(topic), tp.partition), tp.topic);
        let older = before.filter(|id| *id != tp.topic).map(|topic| TopicPartitionId { topic, ..tp });
        if let Some(log) = older.and_then(|older| self.logs.remove(&older))
            && by_name
        {
            self.logs.insert(tp, log);
        }
        self.logs.entry(tp).or_default()
    }

    pub(crate) fn remove_log(&mut self, tp: TopicPartitionId) {
        self.logs.remove(&tp);
        self.names.retain(|(_, partition), topic| (*topic, *partition) != (tp.topic, tp.partition));
    }

    pub(crate) fn power_cut(&mut self, rng: &mut Rng) {
        for log in self.logs.values_mut() {
            log.power_cut(rng);
        }
        self.clean = None;
        self.quorum.power_cut();
    }

    /// What a clean stop does: everything is synced, and a mark says so.
    pub(crate) fn close(&mut self, broker_epoch: i64) {
        for log in self.logs.values_mut() {
            log.synced = log.end;
        }
        self.clean = Some(broker_epoch);
    }
}

/// A batch as a producer or coordinator makes it; the leader gives it its place.
pub(crate) fn unplaced(producer: (i64, i16, i32), count: i32, at: Millis) -> BatchFacts {
    let (producer_id, epoch, first_sequence) = producer;
    BatchFacts {
        producer_id,
        epoch,
        first_sequence,
        last_sequence: if producer_id < 0 { -1 } else { first_sequence + count - 1 },
        base_offset: 0,
        last_offset: i64::from(count) - 1,
        max_timestamp: at,
        transactional: false,
        control: false,
    }
}
