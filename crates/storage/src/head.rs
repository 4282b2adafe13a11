//! Deletion at the head of a log: of segments that nobody may read any more.

use std::{fs, io, path::Path, sync::Arc};

use ottla_types::Offset;

use crate::{checkpoint, fault::Fault, log::Log, names, reader::LogReader, state::Segment, store::Family};

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadDeletion {
    /// Segments that are gone.
    pub segments: usize,
    /// Their size together.
    pub bytes: u64,
}

impl Log {
    /// Deletes the segments that lie below the log start as a whole; the active one stays in any case, as with Kafka.
    /// The start itself is moved by [`Log::advance_log_start`], which is synced: a crash at any moment leaves a log
    /// that begins at the same offset, with all, some or none of these files, and those that are left go at the next
    /// start or with the next call. Whoever reads one of them keeps it until it is done.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn delete_below_start(&mut self) -> Result<HeadDeletion, Fault> {
        let dropped = self.reader.drop_head()?;
        let mut done = HeadDeletion::default();
        for segment in &dropped {
            remove_if_there(&self.reader.segment_path(segment.base).with_extension("log.deleted"))?;
            done.segments += 1;
            done.bytes += segment.size;
        }
        if let Some(last) = dropped.last() {
            remove_kafka_files(&self.reader.path(), last.base)?;
            tracing::debug!(
                partition = %self.partition(), segments = done.segments, bytes = done.bytes,
                "segments below the log start were deleted"
            );
        }
        Ok(done)
    }
}

impl LogReader {
    /// Takes the segments below the log start out of the log and renames their files, so that nothing takes them for
    /// segments again.
    fn drop_head(&self) -> Result<Vec<Segment>, Fault> {
        let shared = Arc::clone(&self.shared);
        let _checkpoint = shared.checkpointing.lock();
        let _sync = self.syncing.lock();
        let dropped: Vec<Segment> = {
            let mut state = self.state.write();
            let first = state.segment_of(state.log_start);
            if first == 0 {
                return Ok(Vec::new());
            }
            // A reader that is on its way to one of these looks again, and finds the log's start.
            state.truncations = state.truncations.wrapping_add(1);
            state.names_unsynced = true;
            state.recovery_point = state.recovery_point.max(state.segments[first].base);
            state.segments.drain(..first).collect()
        };
        // The oldest first: what is left after a crash is one run of segments.
        for segment in &dropped {
            segment.handle.close();
            let path = self.segment_path(segment.base);
            match fs::rename(&path, path.with_extension("log.deleted")) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Fault::io("rename", &path)(e)),
                _ => {}
            }
        }
        let mut changes = shared.store.changes();
        for segment in &dropped {
            changes.delete(Family::Index, &names::sealed_key(self.partition(), segment.base));
        }
        changes.commit()?;
        checkpoint::write_one(self, false, false)?;
        Ok(dropped)
    }
}

/// Indexes and producer snapshots that Kafka kept for segments up to the one at `last`.
fn remove_kafka_files(dir: &Path, last: Offset) -> Result<(), Fault> {
    for entry in fs::read_dir(dir).map_err(Fault::io("list", dir))? {
        let entry = entry.map_err(Fault::io("list", dir))?;
        let name = entry.file_name();
        let Some((offset, kind)) = name.to_str().and_then(names::parse_segment) else { continue };
        if offset <= last && matches!(kind, "index" | "timeindex" | "txnindex" | "snapshot") {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::io("remove", path)(e)),
        _ => Ok(()),
    }
}
