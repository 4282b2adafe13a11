//! `meta.properties`: whose log dir this is.

use std::{collections::BTreeMap, fmt::Write as _, io, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ottla_types::NodeId;
use uuid::Uuid;

use crate::{fault::Fault, text};

const FILE: &str = "meta.properties";

/// For a file that does not say whose the directory is. To format the directory as it is would lose what is in it.
const RESTORE: &str = "Write version=1, node.id and cluster.id as the other log dirs or nodes have them; or move the file \
                       away and run `ottla storage format -g -t CLUSTER_ID` with their cluster.id";

/// The identity written into a log dir when it is formatted (KIP-631, KIP-858), version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`: 22 characters, or whatever the operator chose.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: NodeId,
    /// `directory.id`; drawn anew for every directory. `None` in directories of Kafka before 3.7.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// The file of the directory `dir`; `None` when it is not formatted.
    pub fn read(dir: &Path) -> Result<Option<Self>, Fault> {
        let path = dir.join(FILE);
        let Some(text) = text::read_optional(&path)? else { return Ok(None) };
        let damaged = |what: String| Fault::Damaged { path: path.clone(), what };
        let values = parse_properties(&text);
        let value = |key: &str| {
            values.get(key).cloned().ok_or_else(|| damaged(format!("it has no {key}. {RESTORE}")))
        };
        match value("version")?.as_str() {
            "1" => {}
            "0" => {
                return Err(damaged(
                    "version 0 is of a ZooKeeper cluster; migrate it with Kafka 3.9 first".into(),
                ));
            }
            other => return Err(damaged(format!("version {other} is not known here"))),
        }
        let node_id = value("node.id")?;
        let node_id = node_id
            .parse()
            .map_err(|_| damaged(format!("node.id {node_id:?} is not a number. {RESTORE}")))?;
        let directory_id = match values.get("directory.id") {
            None => None,
            Some(id) => {
                let bad = || {
                    damaged(format!(
                        "directory.id {id:?} is not an id. Remove the line: the next start draws a new id, with which a \
                         controller of a dynamic quorum has to join it again"
                    ))
                };
                Some(parse_id(id).ok_or_else(bad)?)
            }
        };
        Ok(Some(Self { cluster_id: value("cluster.id")?, node_id, directory_id }))
    }

    /// Writes the file, synced, replacing one that is there.
    pub fn write(&self, dir: &Path) -> Result<(), Fault> {
        let mut text = String::from("#\n");
        writeln!(text, "cluster.id={}", self.cluster_id).expect("strings take everything");
        if let Some(id) = self.directory_id {
            writeln!(text, "directory.id={}", URL_SAFE_NO_PAD.encode(id.as_bytes()))
                .expect("strings take everything");
        }
        writeln!(text, "node.id={}\nversion=1", self.node_id).expect("strings take everything");
        text::replace(&dir.join(FILE), text.as_bytes(), true)
    }

    /// Makes `dir` a log dir of this identity: creates the directory if need be and writes the file. A directory
    /// that has one already is refused.
    pub fn format(&self, dir: &Path) -> Result<(), Fault> {
        match std::fs::create_dir_all(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Fault::io("create", dir)(e)),
            _ => {}
        }
        if Self::read(dir)?.is_some() {
            return Err(Fault::AlreadyFormatted { path: dir.to_path_buf() });
        }
        self.write(dir)
    }
}

fn parse_id(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(Uuid::from_bytes(bytes.try_into().ok()?))
}

/// Lines of `key=value`, as Java's properties write them for plain keys.
fn parse_properties(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once(['=', ':']))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().replace("\\:", ":").replace("\\=", "=")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_wrote_and_what_it_wrote_itself() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(MetaProperties::read(dir.path()).expect("no error"), None);
        let kafka = "#\n#Sun Nov 22 19:38:39 UTC 2026\nnode.id=7\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nversion=1\n\
                     cluster.id=4L6g3nShT-eMCtK--X86sw\n";
        std::fs::write(dir.path().join(FILE), kafka).expect("writes");
        let meta = MetaProperties::read(dir.path()).expect("reads").expect("is there");
        assert_eq!(meta.node_id, 7);
        assert_eq!(meta.cluster_id, "4L6g3nShT-eMCtK--X86sw");
        assert_eq!(meta.directory_id, Some(Uuid::from_u128(1)));
        assert!(matches!(meta.format(dir.path()), Err(Fault::AlreadyFormatted { .. })));

        let other = dir.path().join("a/b");
        meta.format(&other).expect("formats");
        assert_eq!(MetaProperties::read(&other).expect("reads"), Some(meta));
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (text, word, remedy) in [
            ("version=1\nnode.id=x\ncluster.id=c\n", "not a number", "Write version=1"),
            ("node.id=1\n", "it has no version", "storage format -g -t"),
            ("version=1\nnode.id=1\n", "it has no cluster.id", "as the other log dirs or nodes"),
            ("version=1\nnode.id=1\ncluster.id=c\ndirectory.id=?\n", "not an id", "Remove the line"),
        ] {
            std::fs::write(dir.path().join(FILE), text).expect("writes");
            let fault = MetaProperties::read(dir.path()).expect_err("refused").to_string();
            assert!(fault.contains(word) && fault.contains(remedy), "{fault}");
            assert!(!fault.contains("anew"), "that would lose what is in it: {fault}");
        }
    }
}
