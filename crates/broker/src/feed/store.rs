//! The local copy of the metadata log, its snapshots, and the image they add up to.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use ottla_metadata::{Image, records};
use ottla_protocol::DecodeError;
use ottla_raft::{FactLog, Fault, SegmentLog, SnapshotId, checkpoint};
use ottla_records::{Batch, batches_lenient};
use ottla_storage::{LogConfig, LogDir};
use ottla_types::{LeaderEpoch, Offset};
use tracing::{info, warn};

use super::observer::{LogEnd, cut};

/// What an observer has.
pub(super) struct Store {
    log: SegmentLog,
    dir: PathBuf,
    image: Image,
    /// The first offset that is not in the image.
    applied: Offset,
    snapshot: Option<SnapshotId>,
    /// Bytes written to the log since it was last synced.
    unsynced: usize,
}

/// The log is synced when this much was appended: a crash of the machine costs fetching it again, nothing else.
const SYNC_BYTES: usize = 1 << 20;

impl Store {
    /// Opens the log; the image is what the newest snapshot says. What lies behind it in the log is applied when the
    /// controllers say that it is committed.
    pub(super) fn open(dir: &LogDir, config: LogConfig) -> Result<Self> {
        let log = SegmentLog::open(dir, config)?;
        let dir = log.path();
        let snapshot = checkpoint::newest(&dir)?;
        let mut store = Self { image: Image::new(), applied: 0, snapshot, unsynced: 0, dir, log };
        if let Some(id) = snapshot {
            if store.log.end() < id.end_offset {
                store.log.reset(id.end_offset)?;
            }
            store
                .load(id)
                .with_context(|| format!("Reading the snapshot {}", id.path(&store.dir).display()))?;
        }
        if store.log.start() > store.applied {
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
        let mut next = self.applied;
        let read = self.log.read(self.applied, &mut |batch| {
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
        &self.image
    }

    /// Appends what a leader sent. A batch that is not whole, or that is there already, is passed over.
    pub(super) fn append(&mut self, records: Bytes) -> Result<()> {
        let mut stamped = Vec::new();
        let mut end = self.log.end();
        for batch in batches_lenient(records) {
            let batch = batch.context("The controller sent a batch that cannot be read")?;
            if batch.header.next_offset() <= end {
                continue;
            }
            batch.verify_crc().context("The controller sent a damaged batch")?;
            if batch.header.base_offset != end {
                bail!(
                    "The controller sent a batch of offset {} where {end} was due",
                    batch.header.base_offset
                );
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
        Ok(())
    }

    /// Applies what lies below the high watermark. True when the image has changed.
    pub(super) fn apply_to(&mut self, high_watermark: Offset) -> Result<bool> {
        let before = self.applied;
        let Self { log, image, applied, .. } = self;
        if *applied >= high_watermark.min(log.end()) {
            return Ok(false);
        }
        let read = log.read(*applied, &mut |batch| {
            if batch.header.next_offset() > high_watermark {
                return Err(Fault::Log(ENOUGH.into()));
            }
            *applied = batch.header.next_offset();
            replay(image, &batch, batch.header.partition_leader_epoch)
                .map_err(|why| Fault::BadFacts { offset: batch.header.base_offset, why })
        });
        match read {
            Err(Fault::Log(why)) if why == ENOUGH => {}
            read => read?,
        }
        Ok(self.applied != before)
    }

    /// Agrees with a leader that has nothing of `epoch` from `end` on.
    pub(super) fn truncate(&mut self, epoch: LeaderEpoch, end: Offset) -> Result<()> {
        let log_end = self.log.end();
        let to = cut(&self.log.reader().epochs(), log_end, epoch, end);
        if to < self.applied {
            bail!(
                "The controller's log differs from this one below offset {}, which was committed: it ends epoch \
                 {epoch} at offset {end}",
                self.applied
            );
        }
        // A leader that differs and cannot say where would be asked the same for ever.
        let to = if to >= log_end { self.applied.max(self.log.start()) } else { to };
        info!("The metadata log is truncated from offset {log_end} to {to} (epoch {epoch} ends at {end})");
        Ok(self.log.truncate(to)?)
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
    pub(super) fn piece(&mut self, id: SnapshotId, bytes: &[u8], last: bool) -> Result<()> {
        let part = self.part(id);
        let mut file = OpenOptions::new().append(true).open(&part).context("Writing a snapshot")?;
        file.write_all(bytes).context("Writing a snapshot")?;
        if !last {
            return Ok(());
        }
        let whole = Bytes::from(std::fs::read(&part).context("Reading a snapshot")?);
        std::fs::remove_file(&part).context("Removing the parts of a snapshot")?;
        // Whole and sound, or nothing of it is kept.
        let batches = checkpoint::parse(whole.clone())?;
        let image = restored(&batches, id)?;
        checkpoint::write(&self.dir, id, &[whole])?;
        self.log.reset(id.end_offset)?;
        (self.image, self.applied, self.snapshot) = (image, id.end_offset, Some(id));
        Ok(())
    }

    fn load(&mut self, id: SnapshotId) -> Result<()> {
        self.image = restored(&checkpoint::read(&self.dir, id)?, id)?;
        self.applied = id.end_offset;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        self.unsynced = 0;
        Ok(self.log.sync()?)
    }
}

/// Said by who reads as far as it wants.
const ENOUGH: &str = "the high watermark";

fn restored(batches: &[Batch], id: SnapshotId) -> Result<Image> {
    let mut image = Image::new();
    for batch in batches {
        replay(&mut image, batch, id.epoch).map_err(anyhow::Error::msg)?;
    }
    image.position.offset = id.end_offset - 1;
    image.position.epoch = id.epoch;
    Ok(image)
}

fn replay(image: &mut Image, batch: &Batch, epoch: LeaderEpoch) -> Result<(), String> {
    let mut skipped = |error: &DecodeError| {
        warn!("A record of the metadata log is passed over, it is of a newer release: {error}");
    };
    for fact in records::decode_known(batch, epoch, &mut skipped)? {
        image.apply(&fact);
    }
    // Also when a batch has fewer records than offsets.
    image.position.offset = batch.header.last_offset();
    Ok(())
}
