//! DescribeLogDirs: what is in each log dir.

use std::path::PathBuf;

use ottla_types::TopicPartition;

use crate::ReplicaManager;

/// A log dir that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedDir {
    /// Its path.
    pub path: PathBuf,
    /// Logs and copies in it, by name.
    pub logs: Vec<DescribedLog>,
    /// Bytes of its volume; `None` when the system does not say.
    pub total_bytes: Option<u64>,
    /// Bytes of it that may still be written.
    pub usable_bytes: Option<u64>,
    /// It takes no new replicas (KIP-1066).
    pub is_cordoned: bool,
}

/// A log in a log dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedLog {
    /// Whose.
    pub name: TopicPartition,
    /// Bytes of its segments.
    pub size: u64,
    /// How far it is behind: a log behind the high watermark, a copy behind the log.
    pub lag: i64,
    /// It is a copy that will take the log's place.
    pub is_future: bool,
}

impl ReplicaManager {
    /// What is in the log dirs that work, of the partitions that `wanted` picks; in the order of `log.dirs`.
    #[must_use]
    pub fn describe_dirs(&self, wanted: impl Fn(&TopicPartition) -> bool) -> Vec<DescribedDir> {
        let settings = self.dir_settings.load();
        let mut places = vec![None; self.dirs.len()];
        let mut described = Vec::with_capacity(self.dirs.len());
        for dir in self.dirs.iter().filter(|dir| !dir.is_offline()) {
            let space = dir.dir.space().inspect_err(|fault| tracing::warn!("{fault}")).ok();
            places[dir.number] = Some(described.len());
            described.push(DescribedDir {
                path: dir.dir.path().to_path_buf(),
                logs: Vec::new(),
                total_bytes: space.map(|(total, _)| total),
                usable_bytes: space.map(|(_, usable)| usable),
                is_cordoned: settings.is_cordoned(dir.dir.path()),
            });
        }
        self.each(|replica| {
            if !wanted(&replica.name) {
                return;
            }
            let (view, place) = (replica.view(), replica.place());
            let log =
                |size, lag, is_future| DescribedLog { name: replica.name.clone(), size, lag, is_future };
            if let Some(at) = places[place.dir.number] {
                let lag = (view.high_watermark - view.log_end).max(0);
                described[at].logs.push(log(place.reader.size(), lag, false));
            }
            if let Some(future) = replica.with(|owned| owned.future.clone())
                && let Some(at) = places[future.dir.number]
            {
                let lag = (view.log_end - future.reader.log_end()).max(0);
                described[at].logs.push(log(future.reader.size(), lag, true));
            }
        });
        for dir in &mut described {
            dir.logs.sort_by(|a, b| a.name.cmp(&b.name));
        }
        described
    }
}
