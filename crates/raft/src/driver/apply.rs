//! What raft says is ready: persisted, sent, applied. And what keeps the logs short.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_machine::Machine;
use ottla_records::Batch;
use ottla_types::{LeaderEpoch, Millis, Offset};
use raft::{
    StateRole,
    eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Snapshot},
};

use super::{Driver, epoch_of};
use crate::{
    Fault, SnapshotId, checkpoint, control,
    recover::{batch_of, restore},
    store::Cut,
};

impl<M: Machine> Driver<M> {
    pub(super) fn ready(&mut self) -> Result<(), Fault> {
        let mut ready = self.raw.ready();
        self.transmit(ready.take_messages());
        if !ready.snapshot().is_empty() {
            let hard_state = ready.hs().cloned().unwrap_or_else(|| self.raw.store().hard_state().clone());
            self.install(ready.snapshot(), &hard_state)?;
        }
        let committed = ready.take_committed_entries();
        self.apply(committed)?;
        let (entries, sync) = (ready.take_entries(), ready.must_sync());
        let hard_state = ready.hs().cloned();
        self.raw.mut_store().persist(entries, hard_state.as_ref(), sync)?;
        self.transmit(ready.take_persisted_messages());
        let mut light = self.raw.advance(ready);
        self.transmit(light.take_messages());
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().committed_at_least(commit);
        }
        let committed = light.take_committed_entries();
        self.apply(committed)?;
        self.raw.advance_apply();
        Ok(())
    }

    fn transmit(&mut self, messages: Vec<raft::eraftpb::Message>) {
        if !messages.is_empty() {
            (self.send)(messages);
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), Fault> {
        let Some(last) = entries.last().map(|entry| (entry.index, entry.term)) else { return Ok(()) };
        let mut stamped = Vec::new();
        let mut offset = self.log.end();
        let mut opened = false;
        for entry in &entries {
            if let Some(batch) = batch_of(entry)? {
                let epoch = epoch_of(entry.term);
                let bad = |why| Fault::BadFacts { offset, why };
                for fact in (self.codec.decode)(&batch, epoch).map_err(bad)? {
                    self.machine.commit(&fact);
                }
                opened |= entry.term == self.opened;
                self.last_epoch = epoch;
                self.last_timestamp = Millis(batch.header.max_timestamp);
                self.bytes_since_snapshot += entry.data.len() as u64;
                stamped.push(batch.stamp(offset, epoch));
                offset = stamped.last().expect("just pushed").header.next_offset();
            } else if !entry.data.is_empty() {
                self.reconfigure(entry)?;
            }
        }
        self.applied = last;
        if !stamped.is_empty() {
            self.log.append(&stamped)?;
            (self.publish)(self.machine.committed());
        }
        if opened && !self.machine.in_office() && self.raw.raft.state == StateRole::Leader {
            self.enter_office();
        }
        Ok(())
    }

    fn reconfigure(&mut self, entry: &Entry) -> Result<(), Fault> {
        use prost::Message as _;
        let bad = |_| Fault::BadStore { what: "a change of the configuration" };
        let conf_state = if entry.entry_type == EntryType::EntryConfChange as i32 {
            self.raw.apply_conf_change(&ConfChange::decode(&*entry.data).map_err(bad)?)?
        } else {
            self.raw.apply_conf_change(&ConfChangeV2::decode(&*entry.data).map_err(bad)?)?
        };
        self.raw.mut_store().set_conf_state(conf_state)
    }

    /// Takes the leader's snapshot in place of all that is here.
    fn install(&mut self, snapshot: &Snapshot, hard_state: &raft::eraftpb::HardState) -> Result<(), Fault> {
        let (id, bytes) = parse_snapshot(&snapshot.data)?;
        let batches = checkpoint::parse(bytes.clone())?;
        let state = restore(&self.codec, self.machine.committed(), &batches, id)?;
        // The file first: with it and without the rest, recovery begins the log anew by itself.
        checkpoint::write(&self.options.dir, id, &[bytes])?;
        self.log.reset(id.end_offset)?;
        let metadata = snapshot.get_metadata();
        let cut = Cut { index: metadata.index, term: metadata.term, offset: id.end_offset };
        self.raw.mut_store().install(cut, metadata.get_conf_state().clone(), hard_state)?;
        self.machine.install(state);
        (self.applied, self.last_epoch, self.snapshot) = ((cut.index, cut.term), id.epoch, Some(id));
        self.bytes_since_snapshot = 0;
        (self.publish)(self.machine.committed());
        Ok(())
    }

    /// Snapshots when enough was logged, or when a follower needs one; shortens raft's log.
    pub(super) fn housekeep(&mut self) -> Result<(), Fault> {
        if self.raw.store().snapshot_wanted() {
            let (id, batches) = self.snapshot_now();
            let mut snapshot = Snapshot { data: frame_snapshot(id, &batches), ..Snapshot::default() };
            let metadata = snapshot.mut_metadata();
            (metadata.index, metadata.term) = self.applied;
            metadata.set_conf_state(self.raw.store().conf_state().clone());
            self.raw.mut_store().offer_snapshot(snapshot);
        }
        if self.bytes_since_snapshot > self.options.max_bytes_between_snapshots {
            self.write_snapshot()?;
        }
        let cut = self.raw.store().cut();
        if self.applied.0 - cut.index > self.options.max_entries {
            // What raft forgets, the metadata log must hold through a power cut.
            self.log.sync()?;
            let (index, term) = self.applied;
            self.raw.mut_store().compact(Cut { index, term, offset: self.log.end() })?;
        }
        Ok(())
    }

    /// The committed state as a checkpoint file: a header, batches of facts, a footer.
    fn snapshot_now(&self) -> (SnapshotId, Vec<Bytes>) {
        let id = SnapshotId { end_offset: self.log.end(), epoch: self.last_epoch };
        let at = self.clock.wall();
        let mut batches = vec![control::snapshot_header(&self.options.voters, self.last_timestamp, at)];
        let mut offset = offset_after(&batches[0], 0);
        let facts = (self.codec.snapshot)(self.machine.committed());
        for facts in facts.chunks(SNAPSHOT_BATCH) {
            let batch = place((self.codec.encode)(facts, at), offset);
            offset = offset_after(&batch, offset);
            batches.push(batch);
        }
        batches.push(control::snapshot_footer(offset, at));
        (id, batches)
    }

    pub(super) fn write_snapshot(&mut self) -> Result<(), Fault> {
        let (id, batches) = self.snapshot_now();
        if id.end_offset == 0 || self.snapshot == Some(id) {
            return Ok(());
        }
        self.log.sync()?;
        checkpoint::write(&self.options.dir, id, &batches)?;
        self.snapshot = Some(id);
        self.bytes_since_snapshot = 0;
        Ok(())
    }
}

/// Facts in one batch of a snapshot.
const SNAPSHOT_BATCH: usize = 1000;

/// A batch we just built, at its place in a snapshot (whose batches have epoch 0).
fn place(batch: Bytes, offset: Offset) -> Bytes {
    Batch::parse(&batch, 0).expect("it was just built").stamp(offset, 0).to_bytes()
}

fn offset_after(batch: &Bytes, offset: Offset) -> Offset {
    let batch = Batch::parse(batch, 0).expect("it was just built");
    offset + i64::from(batch.header.last_offset_delta) + 1
}

/// A snapshot on its way to a follower: end offset, epoch, then the checkpoint file.
fn frame_snapshot(id: SnapshotId, batches: &[Bytes]) -> Vec<u8> {
    let mut data = BytesMut::new();
    data.put_i64(id.end_offset);
    data.put_i32(id.epoch);
    batches.iter().for_each(|batch| data.put_slice(batch));
    data.into()
}

fn parse_snapshot(data: &[u8]) -> Result<(SnapshotId, Bytes), Fault> {
    let bad = || Fault::BadFacts { offset: -1, why: "a snapshot shorter than its head".into() };
    let (end_offset, rest) = data.split_first_chunk::<8>().ok_or_else(bad)?;
    let (epoch, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    let id = SnapshotId {
        end_offset: Offset::from_be_bytes(*end_offset),
        epoch: LeaderEpoch::from_be_bytes(*epoch),
    };
    Ok((id, Bytes::copy_from_slice(rest)))
}
