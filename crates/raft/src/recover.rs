//! From what a crash left to a state: checkpoint, then the metadata log, then what only raft's log has.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_machine::Machine;
use ottla_records::Batch;
use ottla_types::{LeaderEpoch, Millis, Offset};
use raft::eraftpb::{ConfChange, ConfChangeSingle, ConfChangeV2, Entry, EntryType};

use crate::{
    Codec, Disk, FactLog, Fault, Founding, Membership, Options, SnapshotId, checkpoint, control,
    disk::{Files, Keys},
    raft_id,
    store::{Cut, RaftStore},
};

/// What recovery found.
pub(crate) struct Recovered<S> {
    pub(crate) state: S,
    pub(crate) store: RaftStore,
    pub(crate) log: Box<dyn FactLog>,
    pub(crate) files: Box<dyn Files>,
    /// Index of the last entry whose batch the metadata log holds.
    pub(crate) applied: u64,
    /// Epoch and time of the last batch.
    pub(crate) position: (LeaderEpoch, Millis),
    /// The last snapshot on disk.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Bytes in the metadata log after it.
    pub(crate) bytes: u64,
    /// The voters at the end of the metadata log.
    pub(crate) quorum: Membership,
    /// Where raft's log may be cut.
    pub(crate) marks: Marks,
}

/// Facts of batches applied to a state.
pub(crate) fn replay<M: Machine>(
    codec: &Codec<M>,
    state: &mut M::State,
    quorum: &mut Membership,
    batch: &Batch,
    epoch: LeaderEpoch,
) -> Result<(), Fault> {
    let bad = |why| Fault::BadFacts { offset: batch.header.base_offset, why };
    let facts = (codec.decode)(batch, epoch).map_err(bad)?;
    facts.iter().for_each(|fact| M::apply(state, fact));
    control::read(batch, quorum).map_err(bad)
}

/// A state from the bytes of a snapshot.
pub(crate) fn restore<M: Machine>(
    codec: &Codec<M>,
    like: &M::State,
    quorum: &mut Membership,
    batches: &[Batch],
    id: SnapshotId,
) -> Result<M::State, Fault> {
    let mut state = (codec.empty)(like);
    batches.iter().try_for_each(|batch| replay(codec, &mut state, quorum, batch, id.epoch))?;
    (codec.place)(&mut state, id.end_offset, id.epoch);
    Ok(state)
}

/// Reads everything. `options` begin the quorum when raft never ran here.
pub(crate) fn recover<M: Machine>(
    codec: &Codec<M>,
    initial: M::State,
    disk: Disk,
    options: &Options,
) -> Result<Recovered<M::State>, Fault> {
    let founding = &options.founding;
    let Disk { keys, mut log, files } = disk;
    let raft = RaftStore::open(keys)?;
    let snapshot = begin(raft.as_ref().ok(), &mut *log, &*files)?;
    let (mut state, mut quorum, mut next) = (initial, founding.membership(), 0);
    if let Some(id) = snapshot {
        let batches = checkpoint::parse(files.read(id)?)?;
        state = restore(codec, &state, &mut quorum, &batches, id)?;
        next = id.end_offset;
    }
    if log.start() > next {
        return Err(Fault::Gap { log_end: next, raft_start: log.start() });
    }
    let mut epoch = snapshot.map_or(0, |id| id.epoch);
    let mut timestamp = Millis(-1);
    let (mut headers, mut bytes) = (Vec::new(), 0);
    let mut read = log.read(next, &mut |batch| {
        check(&batch, next, headers.is_empty())?;
        next = batch.header.next_offset();
        epoch = batch.header.partition_leader_epoch;
        timestamp = Millis(batch.header.max_timestamp);
        bytes += batch.header.size_in_bytes() as u64;
        headers.push((batch.header.base_offset, epoch, batch.header.crc));
        replay(codec, &mut state, &mut quorum, &batch, epoch)
    });
    if read.is_ok() && next != log.end() {
        read = Err(Fault::Damaged { offset: next, why: "no batch is there".into() });
    }
    if let Err(fault) = read {
        mend(fault, raft.as_ref().ok(), &mut *log)?;
    }
    let raft = match raft {
        Ok(raft) if is_past(&raft, epoch) => Err(give_up(raft, options, &quorum, log.end())?),
        other => other,
    };
    let mut raft = match raft {
        Ok(raft) => raft,
        Err(keys) => {
            let epoch = epoch.max(files.noted_epoch()?.unwrap_or(0)).max(0);
            found(keys, options, &quorum, u64::from(epoch.unsigned_abs()), log.end())?
        }
    };
    let mut marks = Marks::new(raft.cut(), options.max_entries);
    let applied = align(&raft, log.end(), &headers, &mut marks)?;
    raft.committed_at_least(applied);
    let position = (epoch, timestamp);
    Ok(Recovered { state, store: raft, log, files, applied, position, snapshot, bytes, quorum, marks })
}

/// Whether somebody else has led from this directory since raft was here. What raft's log does not have never gets into the
/// metadata log, and a term is synced before anything is written in it: a later epoch is a Kafka controller's.
fn is_past(raft: &RaftStore, epoch: LeaderEpoch) -> bool {
    u64::try_from(epoch).is_ok_and(|epoch| epoch > raft.hard_state().term)
}

/// Raft's log is of a past that the metadata log has left behind. A lone voter begins anew from there.
fn give_up(
    raft: RaftStore,
    options: &Options,
    quorum: &Membership,
    log_end: Offset,
) -> Result<Box<dyn Keys>, Fault> {
    let voters = match &options.founding {
        Founding::Static(voters) => voters.len(),
        Founding::Dynamic(_) | Founding::Join => quorum.voters.len(),
    };
    if voters != 1 {
        return Err(Fault::Overtaken { log_end });
    }
    raft.forget()
}

/// The snapshot to begin with. One that ends after all that raft knows was being installed when the node stopped, and
/// does not count; one that ends after the metadata log was installed, and the log not yet begun anew.
fn begin(
    raft: Option<&RaftStore>,
    log: &mut dyn FactLog,
    files: &dyn Files,
) -> Result<Option<SnapshotId>, Fault> {
    let mut snapshots = files.snapshots()?;
    if let Some(raft) = raft {
        let end = end_of(raft)?;
        snapshots.retain(|id| id.end_offset <= end);
    }
    let newest = snapshots.last().copied();
    if let Some(id) = newest.filter(|id| log.end() < id.end_offset) {
        log.reset(id.end_offset)?;
    }
    Ok(newest)
}

fn found(
    keys: Box<dyn Keys>,
    options: &Options,
    quorum: &Membership,
    epoch: u64,
    log_end: Offset,
) -> Result<RaftStore, Fault> {
    let voters: Vec<u64> = match &options.founding {
        Founding::Join => Vec::new(),
        Founding::Static(voters) => voters.iter().map(|voter| raft_id(voter.id, uuid::Uuid::nil())).collect(),
        Founding::Dynamic(_) => {
            quorum.voters.iter().map(|voter| raft_id(voter.id, voter.directory_id)).collect()
        }
    };
    // What only one of several wrote may not be on the others: raft would take different logs for the same.
    if log_end > 0 && voters.len() != 1 {
        return Err(Fault::TakeOver { log_end });
    }
    let plain = raft_id(options.node_id, uuid::Uuid::nil());
    let name = if voters.contains(&plain) { plain } else { raft_id(options.node_id, options.directory_id) };
    RaftStore::found(keys, name, voters, epoch, log_end)
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

/// The batch that an entry adds to the metadata log, if it does.
pub(crate) fn batch_of(entry: &Entry) -> Result<Option<Batch>, Fault> {
    let bad = |why| Fault::BadFacts { offset: -1, why };
    let change;
    let data: &[u8] = if entry.data.is_empty() || entry.entry_type == EntryType::EntryNormal as i32 {
        &entry.data
    } else {
        change = conf_change(entry)?;
        &change.context
    };
    if data.is_empty() {
        return Ok(None);
    }
    Batch::parse(&Bytes::copy_from_slice(data), 0).map(Some).map_err(|error| bad(error.to_string()))
}

/// The change of the members that an entry is.
pub(crate) fn conf_change(entry: &Entry) -> Result<ConfChangeV2, Fault> {
    use prost::Message as _;
    let bad = |_| Fault::BadStore { what: "a change of the members" };
    if entry.entry_type == EntryType::EntryConfChange as i32 {
        let old = ConfChange::decode(&*entry.data).map_err(bad)?;
        let single = ConfChangeSingle { change_type: old.change_type, node_id: old.node_id };
        Ok(ConfChangeV2 { changes: vec![single], context: old.context, ..ConfChangeV2::default() })
    } else {
        ConfChangeV2::decode(&*entry.data).map_err(bad)
    }
}

/// Where raft's log may be cut: index, term and offset of every so many entries.
pub(crate) struct Marks {
    last: u64,
    step: u64,
    marks: VecDeque<Cut>,
}

impl Marks {
    /// Marks after `cut`, two for every `max_entries`.
    pub(crate) fn new(cut: Cut, max_entries: u64) -> Self {
        Self { last: cut.index, step: (max_entries / 2).max(1), marks: VecDeque::new() }
    }

    /// An entry was applied, and the metadata log ends at `offset` with it.
    pub(crate) fn pass(&mut self, entry: &Entry, offset: Offset) {
        if entry.index >= self.last + self.step {
            self.last = entry.index;
            self.marks.push_back(Cut { index: entry.index, term: entry.term, offset });
        }
    }

    /// The newest mark that leaves as many entries as followers that lag may need.
    pub(crate) fn due(&mut self) -> Option<Cut> {
        let mut cut = None;
        while self.marks.len() > 2 {
            cut = self.marks.pop_front();
        }
        cut
    }
}

/// The last entry whose batch is in the metadata log already; whatever raft's log has after it is written again.
fn align(
    raft: &RaftStore,
    log_end: Offset,
    headers: &[(Offset, LeaderEpoch, u32)],
    marks: &mut Marks,
) -> Result<u64, Fault> {
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
            marks.pass(&entry, offset);
        }
    }
    if offset != log_end {
        return Err(Fault::Contradiction { offset });
    }
    Ok(applied)
}
