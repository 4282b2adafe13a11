//! What keeps the logs short: snapshots, and what may go once there is one.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_machine::{Ctx, Machine};
use ottla_records::{Batch, batches};
use ottla_types::{LeaderEpoch, Millis, Offset};
use raft::eraftpb::Snapshot;

use super::Core;
use crate::{Fault, Membership, SnapshotId, control};

/// Facts in one batch of a snapshot.
const SNAPSHOT_BATCH: usize = 1000;

pub(super) struct Upkeep {
    newest: Option<SnapshotId>,
    /// Bytes in the metadata log since then.
    pub(super) bytes: u64,
    /// When it was written, or this start.
    since: Millis,
    /// Index of the snapshot that is kept for followers.
    offered: u64,
    wanted: bool,
}

impl Upkeep {
    pub(super) fn new(newest: Option<SnapshotId>, bytes: u64, now: Millis) -> Self {
        Self { newest, bytes, since: now, offered: 0, wanted: false }
    }

    pub(super) fn installed(&mut self, id: SnapshotId) {
        (self.newest, self.bytes) = (Some(id), 0);
    }
}

impl<M: Machine> Core<M> {
    /// Asks for a snapshot of what is committed.
    pub fn snapshot(&mut self) {
        self.snapshots.wanted = true;
    }

    /// When the next snapshot is due by time alone.
    pub(super) fn snapshot_due(&self) -> Option<Millis> {
        let interval = self.options.max_snapshot_interval_ms;
        (interval > 0 && self.snapshots.bytes > 0).then(|| self.snapshots.since.plus(interval))
    }

    /// Snapshots when enough was logged, or when a follower needs one; shortens the logs.
    pub(super) fn housekeep(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Fault> {
        if self.raw.store().snapshot_wanted() {
            self.offer_snapshot(ctx);
        }
        let due = self.snapshot_due().is_some_and(|at| at <= ctx.now);
        if self.snapshots.wanted || due || self.snapshots.bytes > self.options.max_bytes_between_snapshots {
            self.write_snapshot(ctx)?;
        }
        if let Some(cut) = self.marks.due() {
            // What raft forgets, the metadata log must hold through a power cut.
            self.log.sync()?;
            self.raw.mut_store().compact(cut)?;
        }
        if self.raw.store().has_snapshot()
            && self.applied.0 > self.snapshots.offered + self.options.max_entries
        {
            self.raw.mut_store().drop_snapshot();
        }
        Ok(())
    }

    fn offer_snapshot(&mut self, ctx: &Ctx<'_>) {
        if self.raw.store().conf_index() > self.applied.0 {
            // The members are those of later: raft asks again.
            return;
        }
        let (id, batches) = self.snapshot_now(ctx.wall);
        let mut snapshot = Snapshot { data: frame_snapshot(id, &batches), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = self.applied;
        metadata.set_conf_state(self.raw.store().conf_state().clone());
        self.snapshots.offered = self.applied.0;
        self.raw.mut_store().offer_snapshot(snapshot);
    }

    /// The committed state as a checkpoint file: a header, batches of facts, a footer.
    fn snapshot_now(&self, at: Millis) -> (SnapshotId, Vec<Bytes>) {
        let id = SnapshotId { end_offset: self.log.end(), epoch: self.last_epoch };
        let facts = (self.codec.snapshot)(self.machine.committed());
        let batches = facts.chunks(SNAPSHOT_BATCH).map(|facts| (self.codec.encode)(facts, at));
        let batches = assemble(&self.quorum, batches, self.last_timestamp, at);
        (id, batches)
    }

    fn write_snapshot(&mut self, ctx: &Ctx<'_>) -> Result<(), Fault> {
        self.snapshots.wanted = false;
        self.snapshots.since = ctx.now;
        let (id, batches) = self.snapshot_now(ctx.wall);
        if id.end_offset == 0 || self.snapshots.newest == Some(id) {
            return Ok(());
        }
        self.log.sync()?;
        self.files.write(id, &batches)?;
        (self.snapshots.newest, self.snapshots.bytes) = (Some(id), 0);
        self.retain(ctx.wall)
    }

    /// Deletes snapshots, and with each the log before the next one, while there is more than may stay.
    fn retain(&mut self, wall: Millis) -> Result<(), Fault> {
        let mut all: std::collections::VecDeque<SnapshotId> = self.files.snapshots()?.into();
        while let (Some(oldest), Some(next)) = (all.front().copied(), all.get(1).copied()) {
            if !self.is_too_old(oldest, wall)? && !self.is_too_much(&all)? {
                break;
            }
            // No more than the newest snapshot stands for: recovery begins with that one.
            self.log.advance_start(next.end_offset)?;
            self.files.remove(oldest)?;
            all.pop_front();
        }
        Ok(())
    }

    fn is_too_much(&self, all: &std::collections::VecDeque<SnapshotId>) -> Result<bool, Fault> {
        let Ok(most) = u64::try_from(self.options.retention_bytes) else { return Ok(false) };
        let mut bytes = self.log.size();
        for id in all {
            bytes += self.files.size(*id)?;
        }
        Ok(bytes > most)
    }

    /// A snapshot is as old as the last record in it, which its header names.
    fn is_too_old(&self, id: SnapshotId, wall: Millis) -> Result<bool, Fault> {
        if self.options.retention_ms < 0 {
            return Ok(false);
        }
        let written = batches(self.files.read(id)?).next().and_then(Result::ok);
        let written = written.as_ref().and_then(control::last_contained).unwrap_or(wall);
        Ok(wall.since(written) > self.options.retention_ms)
    }
}

/// A snapshot of batches of facts: a header, the facts, a footer. `last` is when the last of them was appended.
pub(crate) fn assemble(
    quorum: &Membership,
    facts: impl IntoIterator<Item = Bytes>,
    last: Millis,
    at: Millis,
) -> Vec<Bytes> {
    let mut batches = vec![control::snapshot_header(quorum, last, at)];
    let mut offset = offset_after(&batches[0], 0);
    for facts in facts {
        let batch = place(facts, offset);
        offset = offset_after(&batch, offset);
        batches.push(batch);
    }
    batches.push(control::snapshot_footer(offset, at));
    batches
}

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

pub(super) fn parse_snapshot(data: &[u8]) -> Result<(SnapshotId, Bytes), Fault> {
    let bad = || Fault::BadFacts { offset: -1, why: "a snapshot shorter than its head".into() };
    let (end_offset, rest) = data.split_first_chunk::<8>().ok_or_else(bad)?;
    let (epoch, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
    let id = SnapshotId {
        end_offset: Offset::from_be_bytes(*end_offset),
        epoch: LeaderEpoch::from_be_bytes(*epoch),
    };
    Ok((id, Bytes::copy_from_slice(rest)))
}
