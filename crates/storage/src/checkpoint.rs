//! What a checkpoint says about a log, and how it is written.
//!
//! A checkpoint speaks of bytes that were in the kernel when it was written, and names the boot of the machine that this
//! was in. In the same boot everything it says holds, and only what came later is checked. In another one only what lies
//! before its recovery point does: the machine may have lost the rest, and others may have been written in its place since.

use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::{
    codec::{Reader, put_count},
    fault::Fault,
    files::{Handle, SealedIndex},
    index::{CHUNK, Index},
    names,
    reader::LogReader,
    state::{Segment, State, Stored},
    store::{Changes, Family, Store},
    text,
};

/// Version of the encoding.
const VERSION: u8 = 2;
/// Without the boot, and with a quiet snapshot told to be of the log's end.
const VERSION_WITHOUT_BOOT: u8 = 1;

/// A log as the last checkpoint knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The boot it was written in; empty where it is not known.
    pub(crate) boot: String,
    pub(crate) topic_id: TopicId,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) recovery_point: Offset,
    /// Offsets of the two producer snapshots.
    pub(crate) latest_snapshot: Option<Offset>,
    pub(crate) synced_snapshot: Option<Offset>,
    /// No batch of a producer with an id came after the latest snapshot.
    pub(crate) quiet: bool,
    /// Of the active segment's index, which is stored in pieces.
    pub(crate) index_entries: usize,
    pub(crate) index_interval: u32,
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
    /// The last one is active.
    pub(crate) segments: Vec<SegmentRecord>,
}

/// A segment as the last checkpoint knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    pub(crate) base: Offset,
    pub(crate) size: u64,
    pub(crate) max_timestamp: i64,
    pub(crate) first_timestamp: i64,
    pub(crate) created: i64,
}

impl Checkpoint {
    fn of(state: &State, topic_id: TopicId, boot: &str) -> Self {
        let segments = state.segments.iter().map(|s| SegmentRecord {
            base: s.base,
            size: s.size,
            max_timestamp: s.max_timestamp,
            first_timestamp: s.first_timestamp,
            created: s.created,
        });
        let snapshots = &state.snapshots;
        Self {
            boot: boot.to_owned(),
            topic_id,
            log_start: state.log_start,
            log_end: state.log_end,
            recovery_point: state.recovery_point,
            latest_snapshot: snapshots.latest.as_ref().map(|(offset, _)| *offset),
            synced_snapshot: snapshots.synced.as_ref().map(|(offset, _)| *offset),
            quiet: snapshots.quiet,
            index_entries: state.index.len(),
            index_interval: state.index.interval(),
            epochs: state.epochs.clone(),
            segments: segments.collect(),
        }
    }

    /// Up to which offset it holds in the boot `boot`.
    pub(crate) fn holds_to(&self, boot: &str) -> Offset {
        if !boot.is_empty() && self.boot == boot { self.log_end } else { self.recovery_point }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(144 + self.epochs.len() * 12 + self.segments.len() * 40);
        out.push(VERSION);
        put_count(&mut out, self.boot.len());
        out.extend_from_slice(self.boot.as_bytes());
        out.push(u8::from(self.quiet));
        out.extend_from_slice(self.topic_id.0.as_bytes());
        let snapshots = [self.latest_snapshot, self.synced_snapshot].map(|offset| offset.unwrap_or(-1));
        for number in [self.log_start, self.log_end, self.recovery_point, snapshots[0], snapshots[1]] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_count(&mut out, self.index_entries);
        out.extend_from_slice(&self.index_interval.to_le_bytes());
        put_count(&mut out, self.epochs.len());
        for (epoch, start) in &self.epochs {
            out.extend_from_slice(&epoch.to_le_bytes());
            out.extend_from_slice(&start.to_le_bytes());
        }
        put_count(&mut out, self.segments.len());
        for s in &self.segments {
            out.extend_from_slice(&s.base.to_le_bytes());
            out.extend_from_slice(&s.size.to_le_bytes());
            for number in [s.max_timestamp, s.first_timestamp, s.created] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    /// `None` for bytes of another version, or damaged ones.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (boot, quiet) = match reader.u8()? {
            VERSION => {
                let len = reader.count(1)?;
                (std::str::from_utf8(reader.bytes(len)?).ok()?.to_owned(), reader.u8()? == 1)
            }
            VERSION_WITHOUT_BOOT => (String::new(), false),
            _ => return None,
        };
        let topic_id = TopicId(uuid::Uuid::from_slice(reader.bytes(16)?).ok()?);
        let (log_start, log_end, recovery_point) = (reader.i64()?, reader.i64()?, reader.i64()?);
        let known = |offset: Offset| (offset >= 0).then_some(offset);
        let (latest_snapshot, synced_snapshot) = (known(reader.i64()?), known(reader.i64()?));
        let (index_entries, index_interval) = (usize::try_from(reader.u32()?).ok()?, reader.u32()?);
        let epochs =
            (0..reader.count(12)?).map(|_| Some((reader.i32()?, reader.i64()?))).collect::<Option<_>>()?;
        let segment = |reader: &mut Reader<'_>| {
            Some(SegmentRecord {
                base: reader.i64()?,
                size: reader.u64()?,
                max_timestamp: reader.i64()?,
                first_timestamp: reader.i64()?,
                created: reader.i64()?,
            })
        };
        let segments: Vec<_> = (0..reader.count(40)?).map(|_| segment(&mut reader)).collect::<Option<_>>()?;
        (!segments.is_empty() && reader.0.is_empty()).then_some(())?;
        Some(Self {
            boot,
            topic_id,
            log_start,
            log_end,
            recovery_point,
            latest_snapshot,
            synced_snapshot,
            quiet,
            index_entries,
            index_interval,
            epochs,
            segments,
        })
    }
}

/// What must be told to a log once its changes are in the store.
pub(crate) struct Written {
    stored: Stored,
    snapshots: u32,
    sealed: Vec<(Arc<Handle>, Arc<Index>)>,
}

/// Adds everything the store should know about a log. The caller holds the dir's checkpoint lock until the changes
/// are committed and [`written`] was called.
pub(crate) fn describe(reader: &LogReader, state: &State, changes: &mut Changes<'_>) -> Written {
    let partition = reader.partition();
    let checkpoint = Checkpoint::of(state, reader.topic_id(), &reader.shared.boot);
    changes.put(Family::Index, &names::checkpoint_key(partition), &checkpoint.to_bytes());
    describe_index(reader, state, changes);
    let snapshots = &state.snapshots;
    if snapshots.version != snapshots.stored_version {
        for (slot, snapshot) in [(0, &snapshots.latest), (1, &snapshots.synced)] {
            let key = names::snapshot_key(partition, slot);
            match snapshot {
                Some((_, bytes)) => changes.put(Family::Index, &key, bytes),
                None => changes.delete(Family::Index, &key),
            }
        }
    }
    let mut sealed = Vec::new();
    let (_, all_but_active) = state.segments.split_last().expect("a log has a segment");
    for Segment { handle, .. } in all_but_active {
        if let SealedIndex::Held(index) = &*handle.index.lock() {
            changes.put(Family::Index, &names::sealed_key(partition, handle.base), &index.to_bytes());
            sealed.push((Arc::clone(handle), Arc::clone(index)));
        }
    }
    let active = state.active();
    let stored =
        Stored { base: active.base, entries: state.index.len(), generation: state.index.generation() };
    Written { stored, snapshots: snapshots.version, sealed }
}

/// The active index goes in pieces, so that a checkpoint writes the last few kilobytes of it only.
fn describe_index(reader: &LogReader, state: &State, changes: &mut Changes<'_>) {
    let partition = reader.partition();
    let base = state.active().base;
    let usable =
        state.stored.filter(|stored| stored.base == base && stored.generation == state.index.generation());
    let from = match usable {
        Some(stored) => {
            if stored.entries == state.index.len() {
                return;
            }
            stored.entries / CHUNK
        }
        None => {
            let (from, to) = names::all_of(b'a', partition);
            changes.delete_range(Family::Index, &from, &to);
            if state.segments.len() == 1 {
                let (from, to) = names::all_of(b's', partition);
                changes.delete_range(Family::Index, &from, &to);
            }
            0
        }
    };
    for chunk in from..state.index.len().div_ceil(CHUNK) {
        let number = u32::try_from(chunk).expect("an index has few pieces");
        changes.put(
            Family::Index,
            &names::chunk_key(partition, base, number),
            &state.index.chunk_bytes(chunk),
        );
    }
}

/// The changes of [`describe`] are in the store.
pub(crate) fn written(reader: &LogReader, written: Written) {
    {
        let mut state = reader.state.write();
        state.stored = Some(written.stored);
        state.snapshots.stored_version = written.snapshots;
    }
    for (handle, index) in written.sealed {
        reader.shared.keep_index(&index);
        *handle.index.lock() = SealedIndex::Stored(Arc::downgrade(&index));
    }
}

/// Writes one log's checkpoint now. The caller holds the dir's checkpoint lock. `log_start` also writes the start
/// offset, which may then be lower than it was.
pub(crate) fn write_one(reader: &LogReader, log_start: bool, synced: bool) -> Result<(), Fault> {
    store_one(reader, log_start, synced)?;
    write_epochs(reader)
}

/// The part of [`write_one`] that goes to the store.
pub(crate) fn store_one(reader: &LogReader, log_start: bool, synced: bool) -> Result<(), Fault> {
    let mut changes = reader.shared.store.changes();
    let done = {
        let state = reader.state.read();
        if log_start {
            put_log_start(reader, state.log_start, &mut changes);
        }
        describe(reader, &state, &mut changes)
    };
    if synced {
        changes.commit_synced()?
    } else {
        changes.commit()?
    }
    written(reader, done);
    Ok(())
}

/// Writes the one fact that segments cannot tell, synced.
pub(crate) fn write_log_start(reader: &LogReader, offset: Offset) -> Result<(), Fault> {
    let mut changes = reader.shared.store.changes();
    put_log_start(reader, offset, &mut changes);
    changes.commit_synced()
}

fn put_log_start(reader: &LogReader, offset: Offset, changes: &mut Changes<'_>) {
    let mut value = reader.topic_id().0.as_bytes().to_vec();
    value.extend_from_slice(&offset.to_le_bytes());
    changes.put(Family::Index, &names::log_start_key(reader.partition()), &value);
}

/// The log start that was written last, for this topic and not one of the same name before it. For
/// [`TopicId::ZERO`], when the topic is not known: for whatever topic it was.
pub(crate) fn read_log_start(
    store: &Store,
    partition: &TopicPartition,
    topic_id: TopicId,
) -> Result<Option<Offset>, Fault> {
    let value = store.get(Family::Index, &names::log_start_key(partition))?.unwrap_or_default();
    let mut reader = Reader(&value);
    let id = reader.bytes(16);
    let meant = topic_id == TopicId::ZERO || id == Some(topic_id.0.as_bytes().as_slice());
    Ok(reader.i64().filter(|_| meant))
}

/// Brings `leader-epoch-checkpoint` up to date. Not synced: batches carry their epochs, recovery finds them.
pub(crate) fn write_epochs(reader: &LogReader) -> Result<(), Fault> {
    let epochs = {
        let mut state = reader.state.write();
        if !state.epochs_changed {
            return Ok(());
        }
        state.epochs_changed = false;
        state.epochs.clone()
    };
    let (path, text) = (reader.path().join(names::EPOCHS), text::epochs_text(&epochs));
    let replaced = reader.shared.files.with_room(|| text::replace(&path, text.as_bytes(), false));
    // It stays to be written.
    replaced.inspect_err(|_| reader.state.write().epochs_changed = true)
}

/// A producer snapshot of Kafka's with no producers in it, as of the log start. With it Kafka rebuilds its producers
/// from the whole log; without any it would take a cleanly closed log to have none.
pub(crate) fn leave_kafka_snapshot(reader: &LogReader) -> Result<(), Fault> {
    let (start, none_ever) = {
        let state = reader.state.read();
        let none =
            state.snapshots.quiet && state.snapshots.latest.as_ref().is_some_and(|(_, blob)| blob.is_empty());
        (state.log_start, none || state.log_end == state.log_start)
    };
    if none_ever || names::has_snapshot(&reader.path())? {
        return Ok(());
    }
    let entries = 0i32.to_be_bytes();
    let mut bytes = 1i16.to_be_bytes().to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&entries).to_be_bytes());
    bytes.extend_from_slice(&entries);
    text::replace(&reader.path().join(format!("{start:020}.snapshot")), &bytes, false)
}

/// Reads a producer snapshot of ours.
pub(crate) fn read_snapshot(
    store: &Store,
    partition: &TopicPartition,
    slot: u8,
) -> Result<Option<Bytes>, Fault> {
    Ok(store.get(Family::Index, &names::snapshot_key(partition, slot))?.map(Bytes::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_come_back_and_damage_is_noticed() {
        let checkpoint = example();
        let bytes = checkpoint.to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes), Some(checkpoint));
        for len in 0..bytes.len() {
            assert_eq!(Checkpoint::from_bytes(&bytes[..len]), None);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 0xff;
            let _ = Checkpoint::from_bytes(&damaged);
        }
    }

    #[test]
    fn only_the_boot_that_wrote_it_believes_what_is_not_synced() {
        let checkpoint = example();
        assert_eq!(["one", "two", ""].map(|boot| checkpoint.holds_to(boot)), [90, 80, 80]);
        let nameless = Checkpoint { boot: String::new(), ..checkpoint.clone() };
        assert_eq!(nameless.holds_to(""), 80, "two boots without a name are not the same");

        // What was written before the boot was noted: neither length, text nor flag behind the version.
        let mut bytes = checkpoint.to_bytes();
        bytes.drain(1..1 + 4 + 3 + 1);
        bytes[0] = VERSION_WITHOUT_BOOT;
        let old = Checkpoint { boot: String::new(), quiet: false, ..checkpoint };
        assert_eq!(Checkpoint::from_bytes(&bytes), Some(old));
    }

    fn example() -> Checkpoint {
        Checkpoint {
            boot: "one".into(),
            topic_id: TopicId::METADATA,
            log_start: 3,
            log_end: 90,
            recovery_point: 80,
            latest_snapshot: Some(85),
            synced_snapshot: None,
            quiet: true,
            index_entries: 7,
            index_interval: 4096,
            epochs: vec![(0, 3), (4, 50)],
            segments: vec![
                SegmentRecord { base: 0, size: 5, max_timestamp: 9, first_timestamp: 8, created: 7 },
                SegmentRecord { base: 60, size: 15, max_timestamp: -1, first_timestamp: -1, created: 7 },
            ],
        }
    }
}
