//! The local copy of the metadata log, its snapshots, and the image they add up to.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use ottla_metadata::{Image, records};
use ottla_protocol::DecodeError;
use ottla_raft::{FactLog, Fault, Membership, SegmentLog, SnapshotId, checkpoint};
use ottla_records::{Batch, batches_lenient};
use ottla_storage::{LogConfig, LogDir};
use ottla_types::{LeaderEpoch, Millis, Offset};
use tracing::{info, warn};

use super::observer::{LogEnd, cut};

/// Whether what a controller sent could be used; if not, nothing of it is kept. (Other errors are this node's disk.)
pub(super) type FromPeer = Result<(), String>;

/// What an observer has.
pub(super) struct Store {
    log: SegmentLog,
    dir: PathBuf,
    applied: Applied,
    snapshot: Option<SnapshotId>,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    snapshot_bytes: u64,
    /// Bytes that were applied since the newest snapshot.
    since_snapshot: u64,
    /// Bytes written to the log since it was last synced.
    unsynced: usize,
}

/// What the batches that are known to be committed add up to.
#[derive(Default)]
struct Applied {
    image: Image,
    /// What they say about the quorum: a snapshot has to repeat it.
    quorum: Membership,
    /// The first offset that is not in the image.
    next: Offset,
}

/// Facts in one batch of a snapshot.
const SNAPSHOT_BATCH: usize = 1000;

/// The log is synced when this much was appended: a crash of the machine costs fetching it again, nothing else.
const SYNC_BYTES: usize = 1 << 20;

impl Store {
    /// Opens the log; the image is what the newest snapshot says. What lies behind it in the log is applied when the
    /// controllers say that it is committed.
    pub(super) fn open(dir: &LogDir, config: LogConfig, snapshot_bytes: u64) -> Result<Self> {
        let log = SegmentLog::open(dir, config)?;
        let dir = log.path();
        let snapshot = checkpoint::newest(&dir)?;
        let applied = Applied::default();
        let mut store = Self { applied, snapshot, snapshot_bytes, since_snapshot: 0, unsynced: 0, dir, log };
        if let Some(id) = snapshot {
            if store.log.end() < id.end_offset {
                store.log.reset(id.end_offset)?;
            }
            store
                .load(id)
                .with_context(|| format!("Reading the snapshot {}", id.path(&store.dir).display()))?;
        }
        if store.log.start() > store.applied.next {
            // Nothing here is worth more than what the controllers have.
            warn!(
                "The metadata log begins at offset {} without a snapshot: fetching it anew",
                store.log.start()
            );
            store.log.reset(0)?;
        }
        store.drop_damage()?;
        Ok(store)
    }

    /// Cuts the log off where it cannot be read: the rest is fetched again.
    fn drop_damage(&mut self) -> Result<()> {
        let mut next = self.applied.next;
        let read = self.log.read(next, &mut |batch| {
            let damaged = |why: String| Fault::Damaged { offset: next, why };
            batch.verify_crc().map_err(|error| damaged(error.to_string()))?;
            if batch.header.next_offset() <= next {
                return Err(damaged("offsets go back".into()));
            }
            next = batch.header.next_offset();
            Ok(())
        });
        match read {
            Ok(()) => Ok(()),
            Err(Fault::Damaged { offset, why }) => {
                warn!("The metadata log is damaged at offset {offset} ({why}): fetching it again from there");
                self.log.truncate(offset).context("Cutting off damage")
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// The log, to be served or looked at.
    pub(super) fn end(&self) -> LogEnd {
        let epochs = self.log.reader().epochs();
        let epoch = epochs.last().map(|(epoch, _)| *epoch).or(self.snapshot.map(|id| id.epoch)).unwrap_or(0);
        LogEnd { offset: self.log.end(), epoch }
    }

    /// The cluster, as far as it was applied.
    pub(super) fn image(&self) -> &Image {
        &self.applied.image
    }

    /// `kraft.version`, as far as it was applied.
    pub(super) fn kraft_version(&self) -> i16 {
        self.applied.quorum.kraft_version
    }

    /// Appends what a leader sent. A batch that is not whole, or that is there already, is passed over.
    pub(super) fn append(&mut self, records: Bytes) -> Result<FromPeer> {
        let mut stamped = Vec::new();
        let mut end = self.log.end();
        for batch in batches_lenient(records) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(e) => return Ok(Err(format!("The controller sent a batch that cannot be read: {e}"))),
            };
            if batch.header.next_offset() <= end {
                continue;
            }
            if let Err(e) = batch.verify_crc() {
                return Ok(Err(format!("The controller sent a damaged batch: {e}")));
            }
            if batch.header.base_offset != end {
                let came = batch.header.base_offset;
                return Ok(Err(format!("The controller sent a batch of offset {came} where {end} was due")));
            }
            end = batch.header.next_offset();
            self.unsynced += batch.header.size_in_bytes();
            stamped.push(batch.stamped());
        }
        if !stamped.is_empty() {
            self.log.append(&stamped)?;
        }
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(Ok(()))
    }

    /// Applies what lies below the high watermark. True when the image has changed.
    pub(super) fn apply_to(&mut self, high_watermark: Offset) -> Result<bool> {
        let Self { log, applied, since_snapshot, .. } = self;
        let before = applied.next;
        if before >= high_watermark.min(log.end()) {
            return Ok(false);
        }
        let read = log.read(before, &mut |batch| {
            if batch.header.next_offset() > high_watermark {
                return Err(Fault::Log(ENOUGH.into()));
            }
            *since_snapshot += batch.header.size_in_bytes() as u64;
            applied
                .replay(&batch, batch.header.partition_leader_epoch)
                .map_err(|why| Fault::BadFacts { offset: batch.header.base_offset, why })
        });
        match read {
            Err(Fault::Log(why)) if why == ENOUGH => {}
            read => read?,
        }
        if self.since_snapshot > self.snapshot_bytes && self.applied.image.open_transaction.is_none() {
            self.write_snapshot()?;
        }
        Ok(self.applied.next != before)
    }

    /// Writes what was applied as a snapshot; the log before it goes, as far as whole segments do.
    fn write_snapshot(&mut self) -> Result<()> {
        let Applied { image, quorum, next } = &self.applied;
        let id = SnapshotId { end_offset: *next, epoch: image.position.epoch };
        // The time of the last record: nothing here depends on when the snapshot was written.
        let at: Millis = image.position.timestamp;
        let facts = image.snapshot();
        let batches = facts.chunks(SNAPSHOT_BATCH).map(|facts| records::encode(facts, at));
        self.log.sync()?;
        checkpoint::write(&self.dir, id, &checkpoint::assemble(quorum, batches, at, at))?;
        self.log.advance_start(id.end_offset)?;
        (self.snapshot, self.since_snapshot) = (Some(id), 0);
        info!("Wrote the metadata snapshot {}-{}", id.end_offset, id.epoch);
        Ok(())
    }

    /// Agrees with a leader that has nothing of `epoch` from `end` on.
    pub(super) fn truncate(&mut self, epoch: LeaderEpoch, end: Offset) -> Result<FromPeer> {
        let log_end = self.log.end();
        let to = cut(&self.log.reader().epochs(), log_end, epoch, end);
        if to < self.applied.next {
            return Ok(Err(format!(
                "The controller's log differs from this one below offset {}, which was committed: it ends epoch \
                 {epoch} at offset {end}",
                self.applied.next
            )));
        }
        // A leader that differs and cannot say where would be asked the same for ever.
        let to = if to >= log_end { self.applied.next.max(self.log.start()) } else { to };
        info!("The metadata log is truncated from offset {log_end} to {to} (epoch {epoch} ends at {end})");
        Ok(Ok(self.log.truncate(to)?))
    }

    fn part(&self, id: SnapshotId) -> PathBuf {
        id.path(&self.dir).with_extension("checkpoint.part")
    }

    /// A snapshot is about to come in pieces.
    pub(super) fn begin_snapshot(&self, id: SnapshotId) -> Result<()> {
        info!("Fetching the metadata snapshot {}-{}", id.end_offset, id.epoch);
        File::create(self.part(id)).context("Creating a snapshot").map(drop)
    }

    /// The next piece of a snapshot. With the last, it takes the place of all that is here.
    pub(super) fn piece(&mut self, id: SnapshotId, bytes: &[u8], last: bool) -> Result<FromPeer> {
        let part = self.part(id);
        let mut file = OpenOptions::new().append(true).open(&part).context("Writing a snapshot")?;
        file.write_all(bytes).context("Writing a snapshot")?;
        if !last {
            return Ok(Ok(()));
        }
        let whole = Bytes::from(std::fs::read(&part).context("Reading a snapshot")?);
        std::fs::remove_file(&part).context("Removing the parts of a snapshot")?;
        // Whole and sound, or nothing of it is kept.
        let parsed = checkpoint::parse(whole.clone()).map_err(anyhow::Error::from);
        let applied = match parsed.and_then(|batches| Applied::restored(&batches, id)) {
            Ok(applied) => applied,
            Err(e) => return Ok(Err(format!("The controller sent a snapshot that cannot be read: {e}"))),
        };
        checkpoint::write(&self.dir, id, &[whole])?;
        self.log.reset(id.end_offset)?;
        (self.applied, self.snapshot, self.since_snapshot) = (applied, Some(id), 0);
        Ok(Ok(()))
    }

    fn load(&mut self, id: SnapshotId) -> Result<()> {
        self.applied = Applied::restored(&checkpoint::read(&self.dir, id)?, id)?;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        self.unsynced = 0;
        Ok(self.log.sync()?)
    }
}

/// Said by who reads as far as it wants.
const ENOUGH: &str = "the high watermark";

impl Applied {
    fn restored(batches: &[Batch], id: SnapshotId) -> Result<Self> {
        let mut applied = Self::default();
        for batch in batches {
            applied.replay(batch, id.epoch).map_err(anyhow::Error::msg)?;
        }
        applied.image.position.offset = id.end_offset - 1;
        applied.image.position.epoch = id.epoch;
        applied.next = id.end_offset;
        Ok(applied)
    }

    fn replay(&mut self, batch: &Batch, epoch: LeaderEpoch) -> Result<(), String> {
        let mut skipped = |error: &DecodeError| {
            warn!("A record of the metadata log is passed over, it is of a newer release: {error}");
        };
        self.quorum.learn(batch)?;
        for fact in records::decode_known(batch, epoch, &mut skipped)? {
            self.image.apply(&fact);
        }
        // Also when a batch has fewer records than offsets.
        self.image.position.offset = batch.header.last_offset();
        self.next = batch.header.next_offset();
        Ok(())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
