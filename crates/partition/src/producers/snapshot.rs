//! The producer table as bytes, kept beside a log's recovery point so that a start need not read the whole log.
//!
//! Version 1, big-endian: `u8` version; `u32` count of producers, each `i64` id, `i16` epoch, `i32` coordinator epoch,
//! `i64` last append (ms), `i64` first offset of the open transaction or -1, `u8` count of batches, each `i32` first and
//! last sequence, `i64` last offset, `i32` offset delta, `i64` timestamp (ms); `u32` count of unreplicated ends, each
//! `i64` first and last offset; `u32` count of aborted transactions, each `i64` producer, first, last, last stable.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_types::Millis;

use super::{
    AbortedTransaction, ProducerTable,
    entry::{ProducerState, Remembered},
};

const VERSION: u8 = 1;
const PRODUCER_MIN: usize = 8 + 2 + 4 + 8 + 8 + 1;
const BATCH: usize = 4 + 4 + 8 + 4 + 8;
const UNREPLICATED: usize = 16;
const ABORTED: usize = 32;

/// A snapshot that cannot be used: the log is to be replayed from its start instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version.
    #[error("producer snapshot of unknown version {0}")]
    Version(u8),
    /// Shorter than its own counts say, or longer.
    #[error("producer snapshot is damaged")]
    Damaged,
}

impl ProducerTable {
    /// Everything, as bytes. The same table gives the same bytes.
    #[must_use]
    pub fn snapshot(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.producers.len() * (PRODUCER_MIN + BATCH));
        out.put_u8(VERSION);
        let mut ids: Vec<_> = self.producers.keys().copied().collect();
        ids.sort_unstable();
        put_count(&mut out, ids.len());
        for id in ids {
            out.put_i64(id);
            put_producer(&mut out, &self.producers[&id]);
        }
        put_count(&mut out, self.transactions.unreplicated.len());
        for (first, last) in &self.transactions.unreplicated {
            out.put_i64(*first);
            out.put_i64(*last);
        }
        put_count(&mut out, self.transactions.aborted.len());
        for ended in &self.transactions.aborted {
            out.put_i64(ended.producer_id);
            out.put_i64(ended.first_offset);
            out.put_i64(ended.last_offset);
            out.put_i64(ended.last_stable_offset);
        }
        out.freeze()
    }

    /// Reads what [`snapshot`](Self::snapshot) wrote.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of a known version. Nothing is allocated beyond what the bytes hold.
    pub fn from_snapshot(mut bytes: &[u8]) -> Result<Self, SnapshotError> {
        match bytes.try_get_u8() {
            Ok(VERSION) => {}
            Ok(other) => return Err(SnapshotError::Version(other)),
            Err(_) => return Err(SnapshotError::Damaged),
        }
        let from = &mut bytes;
        let mut table = Self::default();
        for _ in 0..count(from, PRODUCER_MIN)? {
            let (id, producer) = producer(from)?;
            if let Some(first) = producer.transaction_start {
                table.transactions.begin(id, first);
            }
            table.producers.insert(id, producer);
        }
        for _ in 0..count(from, UNREPLICATED)? {
            let first = from.get_i64();
            table.transactions.unreplicated.insert(first, from.get_i64());
        }
        for _ in 0..count(from, ABORTED)? {
            table.transactions.aborted.push(AbortedTransaction {
                producer_id: from.get_i64(),
                first_offset: from.get_i64(),
                last_offset: from.get_i64(),
                last_stable_offset: from.get_i64(),
            });
        }
        if from.is_empty() { Ok(table) } else { Err(SnapshotError::Damaged) }
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).expect("a table of four billion producers does not fit into memory"));
}

fn put_producer(out: &mut BytesMut, producer: &ProducerState) {
    out.put_i16(producer.epoch);
    out.put_i32(producer.coordinator_epoch);
    out.put_i64(producer.last_append.0);
    out.put_i64(producer.transaction_start.unwrap_or(-1));
    out.put_u8(u8::try_from(producer.batches().len()).expect("five at most"));
    for batch in producer.batches() {
        out.put_i32(batch.first_sequence);
        out.put_i32(batch.last_sequence);
        out.put_i64(batch.last_offset);
        out.put_i32(batch.offset_delta);
        out.put_i64(batch.timestamp.0);
    }
}

/// Reads a count of things of at least `size` bytes, and checks that so many can be there.
fn count(from: &mut &[u8], size: usize) -> Result<usize, SnapshotError> {
    let count = from.try_get_u32().map_err(|_| SnapshotError::Damaged)? as usize;
    if count.checked_mul(size).is_some_and(|bytes| bytes <= from.len()) {
        Ok(count)
    } else {
        Err(SnapshotError::Damaged)
    }
}

fn producer(from: &mut &[u8]) -> Result<(i64, ProducerState), SnapshotError> {
    if from.len() < PRODUCER_MIN {
        return Err(SnapshotError::Damaged);
    }
    let id = from.get_i64();
    let mut producer = ProducerState::new(from.get_i16());
    producer.coordinator_epoch = from.get_i32();
    producer.last_append = Millis(from.get_i64());
    let start = from.get_i64();
    producer.transaction_start = (start >= 0).then_some(start);
    let batches = usize::from(from.get_u8());
    if batches * BATCH > from.len() {
        return Err(SnapshotError::Damaged);
    }
    for _ in 0..batches {
        producer.remember(Remembered {
            first_sequence: from.get_i32(),
            last_sequence: from.get_i32(),
            last_offset: from.get_i64(),
            offset_delta: from.get_i32(),
            timestamp: Millis(from.get_i64()),
        });
    }
    Ok((id, producer))
}
