//! Durability: one fdatasync for everything that waits.

use std::{fs::File, sync::Arc};

use ottla_types::Offset;
use smallvec::SmallVec;

use crate::{fault::Fault, files::Handle, names, reader::LogReader, text};

impl LogReader {
    /// Makes everything before `offset` durable and gives the recovery point reached, which is the log's end as it was
    /// when the call began: one fdatasync per segment that needs it, usually one, and the directories when a file is
    /// new. Callers that come while another one syncs wait for it, and find that theirs is done too or do the rest.
    ///
    /// # Errors
    /// When the disk fails. What is on it is unknown then, so the log takes no more writes. A want of file descriptors
    /// is no such failure.
    pub fn sync_up_to(&self, offset: Offset) -> Result<Offset, Fault> {
        {
            let state = self.state.read();
            if state.recovery_point >= offset {
                return Ok(state.recovery_point);
            }
        }
        let _one_at_a_time = self.syncing.lock();
        let (targets, end, names_too) = {
            let mut state = self.state.write();
            if state.broken {
                return Err(Fault::Broken { path: self.path() });
            }
            if state.recovery_point >= offset {
                return Ok(state.recovery_point);
            }
            let from = state.segment_of(state.recovery_point);
            let targets: SmallVec<[Arc<Handle>; 2]> = state.segments[from..]
                .iter()
                .filter(|segment| segment.size > 0)
                .map(|segment| Arc::clone(&segment.handle))
                .collect();
            (targets, state.log_end, std::mem::take(&mut state.names_unsynced))
        };
        let files: Result<Vec<_>, Fault> = targets
            .iter()
            .map(|handle| self.shared.files.get(handle, false, || self.segment_path(handle.base)))
            .collect();
        let files = files.inspect_err(|_| {
            // Nothing was tried: what is on the disk is as sound as before, and the next call tries again.
            self.state.write().names_unsynced |= names_too;
        })?;
        let synced = self.sync_files(&targets, &files, names_too);
        let mut state = self.state.write();
        match synced {
            Ok(()) => {
                state.recovery_point = state.recovery_point.max(end);
                Ok(state.recovery_point)
            }
            Err(fault) if fault.is_want_of_files() => {
                // The next call tries again, the directories too.
                state.names_unsynced |= names_too;
                Err(fault)
            }
            Err(fault) => {
                state.broken = true;
                Err(fault)
            }
        }
    }

    fn sync_files(&self, targets: &[Arc<Handle>], files: &[Arc<File>], names_too: bool) -> Result<(), Fault> {
        for (handle, file) in targets.iter().zip(files) {
            rustix::fs::fdatasync(&**file)
                .map_err(|e| Fault::os("sync", self.segment_path(handle.base))(e))?;
        }
        if names_too {
            // Nothing is acknowledged as synced whose topic would not be known after a power cut.
            let (path, room) = (self.path(), &self.shared.files);
            room.with_room(|| text::sync_data_if_there(&path.join(names::PARTITION_METADATA)))?;
            room.with_room(|| text::sync_path(&path))?;
            room.with_room(|| text::sync_path(&self.shared.path))?;
        }
        Ok(())
    }
}
