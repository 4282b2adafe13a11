//! Loading the logs of a dir, with the producers that their batches tell of.

use std::sync::Arc;

use ottla_partition::{BatchFacts, ProducerTable};
use ottla_records::{Batch, BatchHeader};
use ottla_storage::{Fault, Loader, Log, LogConfig, PartitionLoader};
use ottla_types::{Millis, Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use crate::append::transaction_end;

/// A log that was found, before the metadata image has said whether it belongs here.
pub(crate) struct Found {
    pub(crate) log: Log,
    pub(crate) producers: ProducerTable,
}

/// Collects what a dir holds. Used by several threads at a time.
pub(crate) struct Finder {
    config: Arc<LogConfig>,
    now: Millis,
    found: Arc<Mutex<Vec<Found>>>,
    futures: Arc<Mutex<Vec<Found>>>,
    damaged: Mutex<Vec<TopicPartition>>,
}

/// What a dir holds.
pub(crate) struct Loaded {
    pub(crate) found: Vec<Found>,
    /// Copies of logs in other dirs.
    pub(crate) futures: Vec<Found>,
    /// Partitions whose logs cannot be opened.
    pub(crate) damaged: Vec<TopicPartition>,
}

impl Finder {
    pub(crate) fn new(config: Arc<LogConfig>, now: Millis) -> Self {
        Self { config, now, found: Arc::default(), futures: Arc::default(), damaged: Mutex::default() }
    }

    /// What was found.
    pub(crate) fn into_loaded(self) -> Loaded {
        Loaded {
            found: std::mem::take(&mut *self.found.lock()),
            futures: std::mem::take(&mut *self.futures.lock()),
            damaged: self.damaged.into_inner(),
        }
    }

    fn one(&self, into: &Arc<Mutex<Vec<Found>>>) -> Box<dyn PartitionLoader> {
        Box::new(OneLog {
            config: Arc::clone(&self.config),
            now: self.now,
            producers: ProducerTable::default(),
            found: Arc::clone(into),
        })
    }
}

impl Loader for Finder {
    fn begin(&self, _: &TopicPartition, _: TopicId) -> Box<dyn PartitionLoader> {
        self.one(&self.found)
    }

    fn begin_future(&self, _: &TopicPartition, _: TopicId) -> Option<Box<dyn PartitionLoader>> {
        Some(self.one(&self.futures))
    }

    fn failed(&self, partition: &TopicPartition, fault: Fault) -> Result<(), Fault> {
        if !fault.is_damage() {
            return Err(fault);
        }
        tracing::error!("{partition} stays offline on this broker, its directory as it is: {fault}");
        self.damaged.lock().push(partition.clone());
        Ok(())
    }
}

struct OneLog {
    config: Arc<LogConfig>,
    now: Millis,
    producers: ProducerTable,
    found: Arc<Mutex<Vec<Found>>>,
}

impl PartitionLoader for OneLog {
    fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config)
    }

    fn restore(&mut self, _: Offset, snapshot: &[u8]) -> bool {
        if snapshot.is_empty() {
            return true;
        }
        match ProducerTable::from_snapshot(snapshot) {
            Ok(producers) => {
                self.producers = producers;
                true
            }
            Err(error) => {
                tracing::warn!("{error}: the log is read from its start instead");
                false
            }
        }
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<&Batch>) {
        learn(&mut self.producers, header, control, self.now);
    }

    fn done(self: Box<Self>, log: Log) {
        self.found.lock().push(Found { log, producers: self.producers });
    }
}

/// A batch that is in the log. It was appended at its newest timestamp, as far as can be told, but not after `now`.
fn learn(producers: &mut ProducerTable, header: &BatchHeader, control: Option<&Batch>, now: Millis) {
    let facts = BatchFacts::from(header);
    let appended = facts.max_timestamp.min(now);
    if facts.control {
        if let Some(end) = control.and_then(transaction_end) {
            producers.record_end(&facts, end, appended);
        }
    } else {
        producers.record(&facts, appended);
    }
}

/// The producers that a log tells of which was cut: from the newest snapshot that still holds.
pub(crate) fn replay(log: &Log) -> ProducerTable {
    let reader = log.reader();
    let snapshot = log.producer_snapshot();
    let restored = snapshot.and_then(|(offset, bytes)| {
        let table = if bytes.is_empty() {
            Ok(ProducerTable::default())
        } else {
            ProducerTable::from_snapshot(&bytes)
        };
        Some((offset, table.ok()?))
    });
    let (from, mut producers) = restored.unwrap_or((reader.log_start(), ProducerTable::default()));
    for batch in reader.batches_from(from.max(reader.log_start())).map_while(Result::ok) {
        learn(&mut producers, &batch.header, Some(&batch), Millis(i64::MAX));
    }
    producers
}
