//! Kafka's small text files: offset checkpoints, `leader-epoch-checkpoint`, `partition.metadata`.

use std::{fmt::Write as _, fs, io, path::Path};

use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::fault::Fault;

/// The file's text, `None` when there is no file. Bytes that are not UTF-8 are damage the parsers find.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>, Fault> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fault::io("read", path)(e)),
    }
}

/// Replaces the file by a renamed one, so that a reader or a crash sees the old text or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8], sync: bool) -> Result<(), Fault> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    fs::write(temporary, bytes).map_err(Fault::io("write", temporary))?;
    if sync {
        sync_path(temporary)?;
    }
    fs::rename(temporary, path).map_err(Fault::io("rename", temporary))?;
    if sync && let Some(parent) = path.parent() {
        sync_path(parent)?;
    }
    Ok(())
}

/// Syncs a file or a directory by name.
pub(crate) fn sync_path(path: &Path) -> Result<(), Fault> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(Fault::io("sync", path))
}

/// Syncs what is in a file. One that is not there is left so.
pub(crate) fn sync_data_if_there(path: &Path) -> Result<(), Fault> {
    match fs::File::open(path).and_then(|file| file.sync_data()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::io("sync", path)(e)),
        _ => Ok(()),
    }
}

/// Text of `recovery-point-offset-checkpoint` and its like: version, count, `topic partition offset` lines.
pub(crate) fn offsets_text<'a>(
    entries: impl ExactSizeIterator<Item = (&'a TopicPartition, Offset)>,
) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for (partition, offset) in entries {
        writeln!(text, "{} {} {offset}", partition.topic, partition.partition)
            .expect("strings take everything");
    }
    text
}

/// The entries of such a text. `None` when any of it is not as it should be.
pub(crate) fn parse_offsets(text: &str) -> Option<Vec<(TopicPartition, Offset)>> {
    let lines = body(text)?;
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let partition = TopicPartition::new(words.next()?, words.next()?.parse().ok()?);
            Some((partition, words.next()?.parse().ok()?))
        })
        .collect()
}

/// Text of `leader-epoch-checkpoint`: version, count, `epoch start-offset` lines.
pub(crate) fn epochs_text(epochs: &[(LeaderEpoch, Offset)]) -> String {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        writeln!(text, "{epoch} {start}").expect("strings take everything");
    }
    text
}

/// The epochs of such a text, if both columns only grow.
pub(crate) fn parse_epochs(text: &str) -> Option<Vec<(LeaderEpoch, Offset)>> {
    let epochs: Vec<(LeaderEpoch, Offset)> = body(text)?
        .map(|line| {
            let (epoch, start) = line.split_once(' ')?;
            Some((epoch.parse().ok()?, start.parse().ok()?))
        })
        .collect::<Option<_>>()?;
    epochs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1).then_some(epochs)
}

/// The lines after version and count, if there are as many as the count says.
fn body(text: &str) -> Option<impl Iterator<Item = &str>> {
    let mut lines = text.lines();
    (lines.next()? == "0").then_some(())?;
    let count: usize = lines.next()?.parse().ok()?;
    (lines.clone().count() == count).then_some(lines)
}

/// Text of `partition.metadata` (KIP-516).
pub(crate) fn partition_metadata_text(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// The topic id of such a text.
pub(crate) fn parse_partition_metadata(text: &str) -> Option<TopicId> {
    text.lines().find_map(|line| line.strip_prefix("topic_id:")).and_then(|id| id.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let entries = [(TopicPartition::new("a.b", 0), 5), (TopicPartition::new("c", 12), 0)];
        let text = offsets_text(entries.iter().map(|(partition, offset)| (partition, *offset)));
        assert_eq!(text, "0\n2\na.b 0 5\nc 12 0\n");
        assert_eq!(parse_offsets(&text), Some(entries.to_vec()));
        assert_eq!(parse_offsets("0\n3\na 0 5\n"), None);
        assert_eq!(parse_offsets(""), None);

        assert_eq!(parse_epochs(&epochs_text(&[(0, 0), (3, 17)])), Some(vec![(0, 0), (3, 17)]));
        assert_eq!(parse_epochs("0\n2\n3 17\n0 0\n"), None);
        assert_eq!(
            parse_partition_metadata(&partition_metadata_text(TopicId::METADATA)),
            Some(TopicId::METADATA)
        );
        assert_eq!(parse_partition_metadata("version: 0\n"), None);
    }
}
