//! Gives the owner of a log its producers back: a snapshot that is of the log's history, and the batches after it.

use bytes::Bytes;
use ottla_records::Batch;
use ottla_types::Offset;

use crate::{
    checkpoint::{self, Checkpoint},
    fault::Fault,
    load::PartitionLoader,
    reader::LogReader,
    scan::{HEADERS, Scanner},
    state::Snapshots,
};

/// The slot of the latest snapshot in the store, and that of the latest one whose batches were synced.
const LATEST: u8 = 0;
const SYNCED: u8 = 1;

/// Gives the owner its snapshot back, and the batches that came after it. The checkpoint comes with the offset up to which
/// it holds.
pub(crate) fn restore(
    reader: &LogReader,
    known: Option<(&Checkpoint, Offset)>,
    loader: &mut dyn PartitionLoader,
) -> Result<(), Fault> {
    let (log_start, log_end) = (reader.log_start(), reader.log_end());
    let mut snapshots = match known {
        Some((checkpoint, holds_to)) => kept(reader, checkpoint, holds_to.min(log_end))?,
        None => Snapshots::default(),
    };
    let restored = snapshots.latest.as_ref().filter(|(offset, bytes)| loader.restore(*offset, bytes));
    let from = restored.map_or(log_start, |(offset, _)| *offset);
    let whole = restored.is_none();
    let seen = visit(reader, from, loader)?;
    if whole {
        snapshots.latest = (!seen).then(|| (log_end, Bytes::new()));
        snapshots.synced = None;
        snapshots.version = 1;
    }
    snapshots.quiet = !seen;
    reader.state.write().snapshots = snapshots;
    Ok(())
}

/// The snapshots of the checkpoint that know of nothing behind `holds_to`: the log may have other batches there than those
/// that they count.
fn kept(reader: &LogReader, checkpoint: &Checkpoint, holds_to: Offset) -> Result<Snapshots, Fault> {
    let mut snapshots = Snapshots::default();
    let mut newest = None;
    for (slot, offset) in [(SYNCED, checkpoint.synced_snapshot), (LATEST, checkpoint.latest_snapshot)] {
        let Some(offset) = offset else { continue };
        let Some(bytes) = checkpoint::read_snapshot(&reader.shared.store, reader.partition(), slot)? else {
            continue;
        };
        let quiet = slot == LATEST && checkpoint.quiet;
        let offset = match offset <= holds_to {
            true if quiet => offset.max(checkpoint.log_end.min(holds_to)),
            true => offset,
            // No producer before an offset is none before an earlier one.
            false if bytes.is_empty() => holds_to,
            false => continue,
        };
        if slot == SYNCED {
            snapshots.synced = Some((offset, bytes.clone()));
        }
        (snapshots.latest, newest) = (Some((offset, bytes)), Some(slot));
    }
    // Only then has the store each of them where the next checkpoint will say that it is.
    snapshots.version = u32::from(newest != Some(LATEST));
    Ok(snapshots)
}

/// Hands every batch from `from` on to the loader. True when one of them came from a producer with an id.
fn visit(reader: &LogReader, from: Offset, loader: &mut dyn PartitionLoader) -> Result<bool, Fault> {
    let mut seen = false;
    for view in reader.views() {
        if view.end <= from || view.size == 0 {
            continue;
        }
        let file = reader.open_segment(&view.handle)?;
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, view.size, HEADERS, &mut window);
        let mut at = reader.start_for(&view, from)?.map_or(0, |(position, _)| position);
        while let Some(header) = reader.header(&mut scanner, &view, at)? {
            if header.next_offset() > from {
                seen |= header.has_producer_id();
                let control = if header.is_control() {
                    let path = || reader.segment_path(view.handle.base);
                    let bytes = scanner.whole(at, &header).map_err(|e| Fault::io("read", path())(e))?;
                    Some(Batch { header, bytes })
                } else {
                    None
                };
                loader.batch(&header, control.as_ref());
            }
            at += header.size_in_bytes() as u64;
        }
    }
    Ok(seen)
}
