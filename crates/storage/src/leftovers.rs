//! Lists a partition's directory, and tidies what Kafka may have left in the middle of a compaction.

use std::{fs, path::Path};

use ottla_types::Offset;

use crate::{
    fault::Fault,
    names,
    scan::{At, HEADERS, Scanner},
};

/// What a partition's directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Base offset and size of the log files, oldest first.
    pub(crate) segments: Vec<(Offset, u64)>,
    /// Base offset of the newest `.index` file: only Kafka writes those.
    pub(crate) newest_kafka_index: Option<Offset>,
}

/// Lists `dir`. Half-written results of compaction are removed, complete ones take the place of what they replace, as
/// Kafka does it.
pub(crate) fn list(dir: &Path) -> Result<Listing, Fault> {
    let mut listing = Listing::default();
    let (mut swaps, mut cleaned, mut rubbish) = (Vec::new(), Offset::MAX, Vec::new());
    for entry in fs::read_dir(dir).map_err(Fault::io("list", dir))? {
        let entry = entry.map_err(Fault::io("list", dir))?;
        let name = entry.file_name();
        let Some((base, kind)) = name.to_str().and_then(names::parse_segment) else { continue };
        match kind {
            "log" => {
                let size = entry.metadata().map_err(Fault::io("look at", entry.path()))?.len();
                listing.segments.push((base, size));
            }
            "index" => listing.newest_kafka_index = listing.newest_kafka_index.max(Some(base)),
            "log.swap" => swaps.push(base),
            kind if kind.ends_with(".cleaned") => {
                cleaned = cleaned.min(base);
                rubbish.push(entry.path());
            }
            kind if kind.ends_with(".deleted") || kind.ends_with(".swap") => rubbish.push(entry.path()),
            _ => {}
        }
    }
    for path in rubbish {
        fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
    }
    swaps.sort_unstable();
    for base in swaps {
        swap(dir, base, base < cleaned, &mut listing)?;
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

/// Clears what a creation that did not end has left in `dir`, which holds no batches; other files stay.
pub(crate) fn clear(dir: &Path) -> Result<(), Fault> {
    for entry in fs::read_dir(dir).map_err(Fault::io("list", dir))? {
        let entry = entry.map_err(Fault::io("list", dir))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let plain = name.strip_suffix(".tmp").unwrap_or(name);
        if matches!(plain, names::PARTITION_METADATA | names::EPOCHS) || names::parse_segment(name).is_some()
        {
            fs::remove_file(entry.path()).map_err(Fault::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

/// Puts the compacted segment in the place of those it was made from; one of an incomplete set is removed.
fn swap(dir: &Path, base: Offset, complete: bool, listing: &mut Listing) -> Result<(), Fault> {
    let path = dir.join(format!("{base:020}.log.swap"));
    if !complete {
        return fs::remove_file(&path).map_err(Fault::io("remove", &path));
    }
    let (end, size) = end_of(&path)?;
    let mut kept = Vec::new();
    for &(old, old_size) in &listing.segments {
        if (base..end.max(base + 1)).contains(&old) {
            let replaced = dir.join(names::segment(old));
            fs::remove_file(&replaced).map_err(Fault::io("remove", &replaced))?;
        } else {
            kept.push((old, old_size));
        }
    }
    fs::rename(&path, dir.join(names::segment(base))).map_err(Fault::io("rename", &path))?;
    kept.push((base, size));
    listing.segments = kept;
    Ok(())
}

/// The offset behind the last batch of a file, and the file's size.
fn end_of(path: &Path) -> Result<(Offset, u64), Fault> {
    let file = fs::File::open(path).map_err(Fault::io("open", path))?;
    let size = file.metadata().map_err(Fault::io("look at", path))?.len();
    let mut window = Vec::new();
    let mut scanner = Scanner::new(&file, size, HEADERS, &mut window);
    let (mut at, mut end) = (0, 0);
    while let At::Batch(header) = scanner.at(at).map_err(Fault::io("read", path))? {
        end = header.next_offset();
        at += header.size_in_bytes() as u64;
    }
    Ok((end, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_left_is_tidied() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let touch = |name: &str| fs::write(dir.path().join(name), b"").expect("writes");
        for name in [
            "00000000000000000000.log",
            "00000000000000000005.log",
            "00000000000000000000.index",
            "00000000000000000005.log.swap",
            "00000000000000000009.log.cleaned",
            "00000000000000000003.log.deleted",
            "partition.metadata",
        ] {
            touch(name);
        }
        let listing = list(dir.path()).expect("lists");
        assert_eq!(listing.segments, [(0, 0), (5, 0)]);
        assert_eq!(listing.newest_kafka_index, Some(0));
        let left = fs::read_dir(dir.path()).expect("lists").count();
        assert_eq!(left, 4);
    }
}
