//! What raft says is ready: persisted, sent, applied.

use ottla_machine::Machine;
use ottla_types::Millis;
use raft::{
    StateRole,
    eraftpb::{Entry, HardState, Snapshot},
};

use super::{Core, Output, Sink, epoch_of, snapshots::parse_snapshot};
use crate::{
    Fault, checkpoint, control,
    recover::{Marks, batch_of, conf_change, restore},
    store::Cut,
};

/// Ends of entries that are remembered.
const ENDS: usize = 4096;

impl<M: Machine> Core<M> {
    pub(super) fn ready(&mut self, now: Millis, out: &mut Sink<'_, M>) -> Result<(), Fault> {
        let mut ready = self.raw.ready();
        // Of a leader, which writes while its followers do.
        transmit(ready.take_messages(), out);
        if !ready.snapshot().is_empty() {
            let hard_state = ready.hs().cloned().unwrap_or_else(|| self.raw.store().hard_state().clone());
            self.install(ready.snapshot(), hard_state, out)?;
        }
        let committed = ready.take_committed_entries();
        self.apply(committed, now, out)?;
        let (entries, sync) = (ready.take_entries(), ready.must_sync());
        let hard_state = ready.hs().cloned();
        self.raw.mut_store().persist(entries, hard_state.as_ref(), sync)?;
        transmit(ready.take_persisted_messages(), out);
        let mut light = self.raw.advance(ready);
        transmit(light.take_messages(), out);
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().committed_at_least(commit);
        }
        let committed = light.take_committed_entries();
        self.apply(committed, now, out)?;
        self.raw.advance_apply();
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>, now: Millis, out: &mut Sink<'_, M>) -> Result<(), Fault> {
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
                if batch.header.is_control() {
                    control::read(&batch, &mut self.quorum).map_err(bad)?;
                    self.changes.addresses_changed = true;
                }
                opened |= entry.term == self.opened;
                self.last_epoch = epoch;
                self.last_timestamp = Millis(batch.header.max_timestamp);
                self.snapshots.bytes += entry.data.len() as u64;
                stamped.push(batch.stamp(offset, epoch));
                offset = stamped.last().expect("just pushed").header.next_offset();
            }
            if !entry.data.is_empty() && entry.entry_type != 0 {
                self.reconfigure(entry)?;
            }
            self.mark(entry, offset);
        }
        self.applied = last;
        if !stamped.is_empty() {
            self.log.append(&stamped)?;
            out(Output::Committed(self.machine.committed()));
        }
        if opened && !self.machine.in_office() && self.raw.raft.state == StateRole::Leader {
            self.enter_office(now);
        }
        Ok(())
    }

    /// Remembers where an entry ended in the metadata log.
    fn mark(&mut self, entry: &Entry, end: ottla_types::Offset) {
        self.ends.push_back((entry.index, end));
        if self.ends.len() > ENDS {
            self.ends.pop_front();
        }
        self.marks.pass(entry, end);
    }

    fn reconfigure(&mut self, entry: &Entry) -> Result<(), Fault> {
        // Applied once more after a power cut, which the members survived and the metadata log's end did not: on top of
        // later changes an old one would make members of whom there never were any, or leave none.
        if entry.index > self.raw.store().conf_index() {
            let conf_state = self.raw.apply_conf_change(&conf_change(entry)?)?;
            self.raw.mut_store().set_conf_state(conf_state, entry.index)?;
        }
        self.changes.addresses_changed = true;
        Ok(())
    }

    /// Takes the leader's snapshot in place of all that is here.
    fn install(
        &mut self,
        snapshot: &Snapshot,
        mut hard_state: HardState,
        out: &mut Sink<'_, M>,
    ) -> Result<(), Fault> {
        let (id, bytes) = parse_snapshot(&snapshot.data)?;
        let batches = checkpoint::parse(bytes.clone())?;
        let mut quorum = self.options.founding.membership();
        let state = restore(&self.codec, self.machine.committed(), &mut quorum, &batches, id)?;
        // The file first: without the rest it is of no account. Then raft's log begins where it ends; without the last
        // step recovery begins the metadata log anew by itself.
        self.files.write(id, &[bytes])?;
        let metadata = snapshot.get_metadata();
        let cut = Cut { index: metadata.index, term: metadata.term, offset: id.end_offset };
        hard_state.commit = hard_state.commit.max(cut.index);
        self.raw.mut_store().install(cut, metadata.get_conf_state().clone(), &hard_state)?;
        self.log.reset(id.end_offset)?;
        self.machine.install(state);
        self.quorum = quorum;
        (self.applied, self.last_epoch) = ((cut.index, cut.term), id.epoch);
        self.ends.clear();
        self.marks = Marks::new(cut, self.options.max_entries);
        self.ends.push_back((cut.index, cut.offset));
        self.snapshots.installed(id);
        self.changes.addresses_changed = true;
        out(Output::Committed(self.machine.committed()));
        Ok(())
    }
}

fn transmit<M: Machine>(messages: Vec<raft::eraftpb::Message>, out: &mut Sink<'_, M>) {
    if !messages.is_empty() {
        out(Output::Send(messages));
    }
}
