//! Names: of files and directories, as Kafka has them, and of keys in the store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ottla_types::{Offset, TopicPartition};

use crate::fault::Fault;

/// Kafka's marker of a clean shutdown.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Directory of the store. A Kafka that takes the log dir back refuses to start beside any directory that is not named
/// as a partition, and opens those that are, except partitions of the metadata topic; of which there is only number 0.
pub(crate) const STORE: &str = "__cluster_metadata-2147483647";
/// What a damaged store is renamed to: one of Kafka's names for what is not loaded.
pub(crate) fn damaged_store(wall: i64) -> String {
    format!("{STORE}.damaged-{wall}-stray")
}

pub(crate) const LOCK: &str = ".lock";
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// Name of the log file of the segment that begins at `base`.
pub(crate) fn segment(base: Offset) -> String {
    format!("{base:020}.log")
}

/// Splits `00000000000000000042.log` into 42 and `log`.
pub(crate) fn parse_segment(name: &str) -> Option<(Offset, &str)> {
    let (digits, kind) = name.split_once('.')?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    Some((digits.parse().ok()?, kind))
}

/// The partition a directory is named for.
pub(crate) fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    (digits && !topic.is_empty() && topic.bytes().all(valid)).then_some(())?;
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

/// Why a log's directory gets another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// To be deleted.
    Delete,
    /// To be kept for the operator: the cluster does not know it.
    Stray,
}

/// The directory of a log that is to take the place of the one in another log dir, as Kafka names it.
pub(crate) fn future(partition: &TopicPartition, unique: u128) -> String {
    format!("{partition}.{unique:032x}-future")
}

/// The partition of such a directory.
pub(crate) fn parse_future(name: &str) -> Option<TopicPartition> {
    let (partition, unique) = name.strip_suffix("-future")?.rsplit_once('.')?;
    (unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit())).then_some(())?;
    parse_partition(partition).filter(|parsed| parsed.to_string() == partition)
}

/// What a directory that is no log any more is renamed to: at most 255 bytes, ending as Kafka's do. Only the topic is
/// shortened.
pub(crate) fn aside(partition: &TopicPartition, unique: u128, why: Aside) -> String {
    let ending = match why {
        Aside::Delete => "delete",
        Aside::Stray => "stray",
    };
    let suffix = format!("-{}.{unique:032x}-{ending}", partition.partition);
    let mut name = partition.topic.to_string();
    name.truncate(255 - suffix.len());
    name + &suffix
}

/// Removes what Kafka keeps beside segments and what no longer fits a log that ends at `log_end`: indexes of segments
/// that are written to or gone, producer snapshots of offsets there are not any more. Kafka rebuilds them.
pub(crate) fn remove_kafka_leftovers(dir: &Path, log_end: Offset) -> Result<(), Fault> {
    remove_all(kafka_leftovers(dir, None, log_end)?)
}

/// What [`remove_kafka_leftovers`] removes, in a log whose last segment is, or will be, the one at `last_segment`:
/// without it, the last one that is there.
pub(crate) fn kafka_leftovers(
    dir: &Path,
    last_segment: Option<Offset>,
    log_end: Offset,
) -> Result<Vec<PathBuf>, Fault> {
    let mut names: Vec<(Offset, String)> = Vec::new();
    let mut last_found = Offset::MIN;
    for entry in fs::read_dir(dir).map_err(Fault::io("list", dir))? {
        let name = entry.map_err(Fault::io("list", dir))?.file_name();
        let Some((offset, kind)) = name.to_str().and_then(parse_segment) else { continue };
        match kind {
            "log" => last_found = last_found.max(offset),
            "index" | "timeindex" | "txnindex" | "snapshot" => {
                names.push((offset, name.to_string_lossy().into()))
            }
            _ => {}
        }
    }
    let last_segment = last_segment.unwrap_or(last_found);
    names.retain(
        |(offset, name)| {
            if name.ends_with("snapshot") { *offset > log_end } else { *offset >= last_segment }
        },
    );
    Ok(names.into_iter().map(|(_, name)| dir.join(name)).collect())
}

/// Removes files.
pub(crate) fn remove_all(paths: Vec<PathBuf>) -> Result<(), Fault> {
    paths.into_iter().try_for_each(|path| fs::remove_file(&path).map_err(Fault::io("remove", &path)))
}

/// True when a partition's directory holds a producer snapshot of Kafka's.
pub(crate) fn has_snapshot(dir: &Path) -> Result<bool, Fault> {
    for entry in fs::read_dir(dir).map_err(Fault::io("list", dir))? {
        let name = entry.map_err(Fault::io("list", dir))?.file_name();
        if matches!(name.to_str().and_then(parse_segment), Some((_, "snapshot"))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True for directories of removed logs.
pub(crate) fn is_deleted(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.ends_with("-delete"))
}

/// Key of the dir's own record.
pub(crate) const DIR_KEY: &[u8] = b"d";

fn key(family: u8, partition: &TopicPartition, rest: &[u8]) -> Vec<u8> {
    let name = partition.to_string();
    let mut key = Vec::with_capacity(3 + name.len() + rest.len());
    key.push(family);
    key.extend_from_slice(&u16::try_from(name.len()).expect("a directory's name is short").to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key.extend_from_slice(rest);
    key
}

/// The two ends of the keys of all checkpoints.
pub(crate) const CHECKPOINTS: (&[u8], &[u8]) = (b"c", b"d");

/// Key of a log's checkpoint.
pub(crate) fn checkpoint_key(partition: &TopicPartition) -> Vec<u8> {
    key(b'c', partition, &[])
}

/// Key of a log's synced start offset.
pub(crate) fn log_start_key(partition: &TopicPartition) -> Vec<u8> {
    key(b'l', partition, &[])
}

/// Key of a producer snapshot; slot 0 is the latest, 1 the latest one whose batches are synced.
pub(crate) fn snapshot_key(partition: &TopicPartition, slot: u8) -> Vec<u8> {
    key(b'p', partition, &[slot])
}

/// Key of a sealed segment's index.
pub(crate) fn sealed_key(partition: &TopicPartition, base: Offset) -> Vec<u8> {
    key(b's', partition, &base.to_be_bytes())
}

/// Key of a piece of the active segment's index.
pub(crate) fn chunk_key(partition: &TopicPartition, base: Offset, chunk: u32) -> Vec<u8> {
    let mut rest = base.to_be_bytes().to_vec();
    rest.extend_from_slice(&chunk.to_be_bytes());
    key(b'a', partition, &rest)
}

/// The two ends of all keys of one family of a log: sealed indexes (`s`) or pieces (`a`).
pub(crate) fn all_of(family: u8, partition: &TopicPartition) -> (Vec<u8>, Vec<u8>) {
    (key(family, partition, &[]), key(family, partition, &[0xff; 13]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(segment(42), "00000000000000000042.log");
        assert_eq!(parse_segment("00000000000000000042.log"), Some((42, "log")));
        assert_eq!(parse_segment("00000000000000000042.log.deleted"), Some((42, "log.deleted")));
        assert_eq!(parse_segment("42.log"), None);
        assert_eq!(parse_partition("a-b-3"), Some(TopicPartition::new("a-b", 3)));
        for bad in ["a-b", "-3", "a-", "a-3.x-delete", "a-99999999999", ".ottla-index", "lost+found"] {
            assert_eq!(parse_partition(bad), None, "{bad}");
        }
        let long = TopicPartition::new("x".repeat(249), 0);
        for why in [Aside::Delete, Aside::Stray] {
            let name = aside(&long, 1, why);
            assert_eq!(name.len(), 255);
            assert_eq!(parse_partition(&name), None, "not opened as a log");
            assert_eq!(is_deleted(Path::new(&name)), why == Aside::Delete);
        }
        let name = aside(&TopicPartition::new("a-b", 3), 1, Aside::Stray);
        let future = future(&TopicPartition::new("a.b-c", 3), 1);
        assert_eq!(future, "a.b-c-3.00000000000000000000000000000001-future");
        assert_eq!(
            (parse_future(&future), parse_partition(&future)),
            (Some(TopicPartition::new("a.b-c", 3)), None)
        );
        for bad in
            ["a-3-future", "a-3.1-future", "a-03.00000000000000000000000000000001-future", name.as_str()]
        {
            assert_eq!(parse_future(bad), None, "{bad}");
        }
        assert_eq!(name, "a-b-3.00000000000000000000000000000001-stray");
    }

    #[test]
    fn keys_of_one_log_are_together_and_in_order() {
        let (a, b) = (TopicPartition::new("t", 1), TopicPartition::new("t", 11));
        let (from, to) = all_of(b'a', &a);
        for key in [chunk_key(&a, 0, 0), chunk_key(&a, i64::MAX, u32::MAX)] {
            assert!(from <= key && key < to);
        }
        let other = chunk_key(&b, 0, 0);
        assert!(other < from || other >= to);
        assert!(chunk_key(&a, 5, 300) < chunk_key(&a, 6, 0));
    }
}
