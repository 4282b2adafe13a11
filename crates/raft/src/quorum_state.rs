//! `quorum-state`: who led last, in Kafka's words, so that a Kafka controller can take the directory over. Our own vote
//! is in raft's store; from this file only the epoch is read, when a Kafka directory is taken over.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use ottla_types::{LeaderEpoch, NodeId};

use crate::Fault;

const NAME: &str = "quorum-state";

/// The epoch of the last known leader; `None` when there is no file or it does not say.
pub(crate) fn epoch(dir: &Path) -> Result<Option<LeaderEpoch>, Fault> {
    let path = dir.join(NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Fault::File { path, source }),
    };
    let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    Ok(value.and_then(|value| value.get("leaderEpoch")?.as_i64()).and_then(|epoch| i32::try_from(epoch).ok()))
}

/// Says who leads. Version 1 of the format, which goes with `kraft.version` 1.
pub(crate) fn write(dir: &Path, leader: NodeId, epoch: LeaderEpoch) -> Result<(), Fault> {
    let path = dir.join(NAME);
    let part = dir.join("quorum-state.tmp");
    let text = format!(
        "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":-1,\
         \"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}}"
    );
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(text.as_bytes())?;
        // Else a power cut may leave the new name with nothing in it.
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    write().map_err(|source| Fault::File { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_survives() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(epoch(dir.path()).expect("no file"), None);
        write(dir.path(), 3, 7).expect("written");
        assert_eq!(epoch(dir.path()).expect("read"), Some(7));
    }
}
