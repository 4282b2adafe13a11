//! From what a crash left to a state: checkpoint, then the metadata log, then what only raft's log has.

use std::path::Path;

use bytes::Bytes;
use ottla_machine::Machine;
use ottla_records::Batch;
use ottla_storage::Store;
use ottla_types::{LeaderEpoch, Millis, Offset};
use raft::eraftpb::Entry;

use crate::{Codec, FactLog, Fault, RaftStore, SnapshotId, checkpoint, quorum_state};

/// What recovery found.
pub(crate) struct Recovered<S> {
    pub(crate) state: S,
    pub(crate) store: RaftStore,
    /// Index of the last entry whose batch the metadata log holds.
    pub(crate) applied: u64,
    /// Epoch and time of the last batch.
    pub(crate) position: (LeaderEpoch, Millis),
    /// The last snapshot on disk.
    pub(crate) snapshot: Option<SnapshotId>,
}

/// Facts of batches applied to a state.
pub(crate) fn replay<M: Machine>(
    codec: &Codec<M>,
    state: &mut M::State,
    batch: &Batch,
    epoch: LeaderEpoch,
) -> Result<(), Fault> {
    let offset = batch.header.base_offset;
    let facts = (codec.decode)(batch, epoch).map_err(|why| Fault::BadFacts { offset, why })?;
    facts.iter().for_each(|fact| M::apply(state, fact));
    Ok(())
}

/// A state from the bytes of a snapshot.
pub(crate) fn restore<M: Machine>(
    codec: &Codec<M>,
    like: &M::State,
    batches: &[Batch],
    id: SnapshotId,
) -> Result<M::State, Fault> {
    let mut state = (codec.empty)(like);
    batches.iter().try_for_each(|batch| replay(codec, &mut state, batch, id.epoch))?;
    (codec.place)(&mut state, id.end_offset, id.epoch);
    Ok(state)
}

/// Reads everything. `voters` found the quorum when raft never ran here.
pub(crate) fn recover<M: Machine>(
    codec: &Codec<M>,
    initial: M::State,
    store: &Store,
    log: &mut dyn FactLog,
    dir: &Path,
    voters: Vec<u64>,
) -> Result<Recovered<M::State>, Fault> {
    let snapshot = checkpoint::newest(dir)?;
    let mut state = initial;
    let mut next: Offset = 0;
    if let Some(id) = snapshot {
        state = restore(codec, &state, &checkpoint::read(dir, id)?, id)?;
        next = id.end_offset;
        if log.end() < next {
            // Installed from the leader, and the log not yet begun anew.
            log.reset(next)?;
        }
    }
    if log.start() > next {
        return Err(Fault::Gap { log_end: next, raft_start: log.start() });
    }
    let mut epoch = snapshot.map_or(0, |id| id.epoch);
    let mut timestamp = Millis(-1);
    let mut headers = Vec::new();
    let mut read = log.read(next, &mut |batch| {
        check(&batch, next, headers.is_empty())?;
        next = batch.header.next_offset();
        epoch = batch.header.partition_leader_epoch;
        timestamp = Millis(batch.header.max_timestamp);
        headers.push((batch.header.base_offset, epoch, batch.header.crc));
        replay(codec, &mut state, &batch, epoch)
    });
    if read.is_ok() && next != log.end() {
        read = Err(Fault::Damaged { offset: next, why: "no batch is there".into() });
    }
    let raft = RaftStore::open(store)?;
    if let Err(fault) = read {
        mend(fault, raft.as_ref(), log)?;
    }
    let mut raft = match raft {
        Some(raft) => raft,
        None => {
            let epoch = epoch.max(quorum_state::epoch(dir)?.unwrap_or(0)).max(0);
            RaftStore::found(store, voters, u64::from(epoch.unsigned_abs()), log.end())?
        }
    };
    let applied = align(&raft, log.end(), &headers)?;
    raft.committed_at_least(applied);
    Ok(Recovered { state, store: raft, applied, position: (epoch, timestamp), snapshot })
}

/// Whether a batch is what was written, and where it has to be: `next` is the first offset that is not known yet.
fn check(batch: &Batch, next: Offset, first: bool) -> Result<(), Fault> {
    let damaged = |why| Fault::Damaged { offset: next, why };
    batch.verify_crc().map_err(|error| damaged(error.to_string()))?;
    // Only the first may begin before: a snapshot need not end where a batch does. Offsets are not under the checksum.
    let base = batch.header.base_offset;
    if base > next || (base < next && !first) || batch.header.next_offset() <= next {
        return Err(damaged(format!("the batch there says that its offset is {base}")));
    }
    Ok(())
}

/// Cuts the log off at its damage if raft's log has all that goes: it is written again from there.
fn mend(fault: Fault, raft: Option<&RaftStore>, log: &mut dyn FactLog) -> Result<(), Fault> {
    let Fault::Damaged { offset, why } = &fault else { return Err(fault) };
    let Some(raft) = raft else { return Err(fault) };
    if raft.cut().offset > *offset || end_of(raft)? < log.end() {
        return Err(fault);
    }
    tracing::warn!(
        "The metadata log is damaged at offset {offset} ({why}); it is written again from there, out of raft's log"
    );
    log.truncate(*offset)
}

/// The metadata log's end once all that raft's log holds is written to it.
fn end_of(raft: &RaftStore) -> Result<Offset, Fault> {
    let cut = raft.cut();
    let (mut index, mut end) = (cut.index, cut.offset);
    while index < raft.last() {
        let entries = raft.read(index + 1, raft.last() + 1, 1 << 20)?;
        index = entries.last().ok_or(Fault::BadStore { what: "an entry" })?.index;
        for entry in &entries {
            end += batch_of(entry)?.map_or(0, |batch| i64::from(batch.header.last_offset_delta) + 1);
        }
    }
    Ok(end)
}

/// How many records an entry adds to the metadata log.
pub(crate) fn batch_of(entry: &Entry) -> Result<Option<Batch>, Fault> {
    if entry.data.is_empty() || entry.entry_type != raft::eraftpb::EntryType::EntryNormal as i32 {
        return Ok(None);
    }
    Batch::parse(&Bytes::copy_from_slice(&entry.data), 0)
        .map(Some)
        .map_err(|error| Fault::BadFacts { offset: -1, why: error.to_string() })
}

/// The last entry whose batch is in the metadata log already; whatever raft's log has after it is written again.
fn align(raft: &RaftStore, log_end: Offset, headers: &[(Offset, LeaderEpoch, u32)]) -> Result<u64, Fault> {
    let cut = raft.cut();
    if log_end < cut.offset {
        return Err(Fault::Gap { log_end, raft_start: cut.offset });
    }
    let (mut applied, mut offset) = (cut.index, cut.offset);
    while applied < raft.last() && offset < log_end {
        let entries = raft.read(applied + 1, raft.last() + 1, 1 << 20)?;
        if entries.is_empty() {
            return Err(Fault::BadStore { what: "an entry" });
        }
        for entry in entries {
            if offset >= log_end {
                break;
            }
            if let Some(batch) = batch_of(&entry)? {
                let at = headers.binary_search_by_key(&offset, |(base, _, _)| *base);
                let same = at.is_ok_and(|at| {
                    let (_, epoch, crc) = headers[at];
                    u64::from(epoch.unsigned_abs()) == entry.term && crc == batch.header.crc
                });
                // Before the newest snapshot the log is not read, so there is nothing to compare with.
                if !same && headers.first().is_some_and(|(first, _, _)| offset >= *first) {
                    return Err(Fault::Contradiction { offset });
                }
                offset += i64::from(batch.header.last_offset_delta) + 1;
            }
            applied = entry.index;
        }
    }
    if offset != log_end {
        return Err(Fault::Contradiction { offset });
    }
    Ok(applied)
}
