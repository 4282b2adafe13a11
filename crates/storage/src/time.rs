//! Finds records by time, exact to the record.

use ottla_records::{Batch, BatchHeader};
use ottla_types::Offset;

use crate::{
    fault::Fault,
    reader::{LogReader, TimestampHit},
    scan::{HEADERS, Scanner},
    seek::View,
    state::NONE,
};

impl LogReader {
    /// The first record (by offset, from the log start on) with a timestamp of `timestamp` or later (KIP-79). Looks
    /// inside batches, compressed ones too. `None` when there is none.
    ///
    /// # Errors
    /// When the disk fails, or a batch in question is damaged.
    pub fn find_by_timestamp(&self, timestamp: i64) -> Result<Option<TimestampHit>, Fault> {
        self.retrying(|| {
            let log_start = self.log_start();
            for view in self.views() {
                if view.max_timestamp >= timestamp
                    && view.end > log_start
                    && let Some(hit) = self.search(&view, timestamp, log_start)?
                {
                    return Ok(Some(hit));
                }
            }
            Ok(None)
        })
    }

    /// The first record with the greatest timestamp of the log (KIP-734); `None` when no record has one.
    ///
    /// # Errors
    /// As [`LogReader::find_by_timestamp`].
    pub fn max_timestamp(&self) -> Result<Option<TimestampHit>, Fault> {
        let max = self.views().iter().map(|view| view.max_timestamp).max().unwrap_or(NONE);
        if max == NONE { Ok(None) } else { self.find_by_timestamp(max) }
    }

    /// Runs a walk over files again if a truncation came between.
    fn retrying<R>(&self, walk: impl Fn() -> Result<R, Fault>) -> Result<R, Fault> {
        loop {
            let truncations = self.state.read().truncations;
            let result = walk();
            if self.state.read().truncations == truncations {
                return result;
            }
        }
    }

    fn search(&self, view: &View, timestamp: i64, log_start: Offset) -> Result<Option<TimestampHit>, Fault> {
        let entry = self.with_index(view, |index| index.before_time(timestamp))?;
        let file = self.open_segment(&view.handle)?;
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, view.size, HEADERS, &mut window);
        let mut at = entry.map_or(0, |entry| u64::from(entry.position));
        while let Some(header) = self.header(&mut scanner, view, at)? {
            if header.max_timestamp >= timestamp && header.next_offset() > log_start {
                let path = self.segment_path(view.handle.base);
                let bytes = scanner.whole(at, &header).map_err(Fault::io("read", &path))?;
                let batch = Batch { header, bytes };
                let hit = first_at(&batch, timestamp, log_start).map_err(|_| Fault::Segment {
                    path,
                    position: at,
                    what: "a record does not parse: the disk is damaged",
                })?;
                if hit.is_some() {
                    return Ok(hit);
                }
            }
            at += header.size_in_bytes() as u64;
        }
        Ok(None)
    }
}

fn first_at(
    batch: &Batch,
    timestamp: i64,
    log_start: Offset,
) -> Result<Option<TimestampHit>, ottla_records::BatchError> {
    let hit = |offset, timestamp, header: &BatchHeader| {
        let leader_epoch = header.partition_leader_epoch;
        Ok(Some(TimestampHit { offset, timestamp, leader_epoch }))
    };
    let mut entries = batch.entries()?;
    while let Some(entry) = entries.try_next()? {
        if entry.timestamp >= timestamp && entry.offset >= log_start {
            return hit(entry.offset, entry.timestamp, &batch.header);
        }
    }
    Ok(None)
}
