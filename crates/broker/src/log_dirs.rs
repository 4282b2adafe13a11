//! Opens the log dirs, and what it means for the process when they fail. That they belong together and to this node was
//! checked before (`storage_tool`).

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use ottla_config::{BrokerConfig, LogWriteMode, Settings};
use ottla_replica::ReplicaManager;
use ottla_storage::{DirOptions, Fault, LogDir, WriteMode};
use ottla_types::Clock;
use tokio::{sync::watch, time::Instant};
use tracing::error;

use crate::{open_files, server::OpenDirs};

/// Opens them all. One that cannot be opened is offline, as Kafka has it, while another one can be: but not the one of
/// the metadata, nor one that another process has.
pub(crate) fn open(config: &BrokerConfig, clock: &Arc<dyn Clock>) -> Result<OpenDirs> {
    let options = options(config);
    let (mut all, mut offline) = (Vec::new(), Vec::new());
    let metadata_path = absolute(&config.dirs.metadata_log_dir);
    for path in config.dirs.log_dirs.iter().map(|path| absolute(path)) {
        match LogDir::open(&path, options.clone(), clock.clone()) {
            Ok(dir) => all.push(dir),
            Err(fault) if path == metadata_path || is_fatal(&fault) => return Err(fault.into()),
            Err(fault) => {
                error!("Log dir {} is offline: {fault}", path.display());
                offline.push(path);
            }
        }
    }
    if all.is_empty() {
        bail!(
            "Shutdown broker because none of the specified log dirs from {} can be created or validated",
            config.dirs.log_dirs.join(", ")
        );
    }
    let metadata = match all.iter().find(|dir| dir.path() == metadata_path) {
        Some(dir) => dir.clone(),
        None => LogDir::open(metadata_path, options, clock.clone())?,
    };
    Ok(OpenDirs { all, offline, metadata })
}

/// Whatever is wrong is not wrong with the disk.
fn is_fatal(fault: &Fault) -> bool {
    matches!(fault, Fault::Locked { .. }) || fault.is_want_of_files()
}

/// The path as Kafka's tools name it.
pub(crate) fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}

fn options(config: &BrokerConfig) -> DirOptions {
    DirOptions {
        write_mode: match config.dirs.write_mode {
            LogWriteMode::Buffered => WriteMode::Buffered,
            LogWriteMode::DontCache | LogWriteMode::Auto => WriteMode::DontCache,
        },
        tail_bytes: usize::try_from(config.dirs.tail_cache_bytes).unwrap_or(0),
        recovery_threads: usize::try_from(config.dirs.num_recovery_threads_per_data_dir).unwrap_or(0),
        max_open_files: open_files::for_segments(config.dirs.log_dirs.len()),
        ..DirOptions::default()
    }
}

/// Watches the log dirs of a broker.
pub(crate) struct DirWatch {
    replicas: Arc<ReplicaManager>,
    changed: watch::Receiver<usize>,
    all: Vec<String>,
    metadata: PathBuf,
    /// `log.dir.failure.timeout.ms`.
    patience: Duration,
    /// Dirs that the controller has heard of, and since when it has not heard of others.
    told: usize,
    untold: Option<Instant>,
}

impl DirWatch {
    pub(crate) fn new(replicas: Arc<ReplicaManager>, config: &BrokerConfig, settings: &Settings) -> Self {
        let patience = settings.text("log.dir.failure.timeout.ms").and_then(|text| text.trim().parse().ok());
        Self {
            changed: replicas.watch_failed_dirs(),
            replicas,
            all: config.dirs.log_dirs.clone(),
            metadata: absolute(&config.dirs.metadata_log_dir),
            patience: Duration::from_millis(patience.unwrap_or(30_000)),
            told: 0,
            untold: None,
        }
    }

    /// This broker's replicas.
    pub(crate) fn replicas(&self) -> &ReplicaManager {
        &self.replicas
    }

    /// Returns when a log dir has failed.
    pub(crate) async fn failed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The controller has heard of so many dirs that failed.
    pub(crate) fn heard(&mut self, dirs: usize) {
        self.told = self.told.max(dirs);
    }

    /// Why the process is of no use any more, if it is: in Kafka's words.
    pub(crate) fn fatal(&mut self, now: Instant) -> Option<String> {
        let failed = self.replicas.failed_dirs();
        if failed >= self.all.len() {
            return Some(format!(
                "Shutdown broker because all log dirs in {} have failed",
                self.all.join(", ")
            ));
        }
        if self.replicas.is_dir_offline(&self.metadata) {
            let dir = self.metadata.display();
            return Some(format!("Shutdown broker because the metadata log dir {dir} has failed"));
        }
        if self.replicas.offline_dir_ids().len() <= self.told {
            self.untold = None;
            return None;
        }
        let since = *self.untold.get_or_insert(now);
        (now.duration_since(since) >= self.patience).then(|| {
            "Shutdown broker because the controller could not be told of failed log dirs within \
             log.dir.failure.timeout.ms"
                .to_owned()
        })
    }
}

/// The paths of `cordoned.log.dirs`, `*` being all.
pub(crate) fn cordoned(named: &[String], all: &[String]) -> Vec<PathBuf> {
    let named = if named.iter().any(|dir| dir == "*") { all } else { named };
    named.iter().map(|dir| absolute(dir)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_star_cordons_all() {
        let all = ["/a".to_owned(), "/b".to_owned()];
        assert_eq!(cordoned(&[], &all), Vec::<PathBuf>::new());
        assert_eq!(cordoned(&["/b".to_owned()], &all), [Path::new("/b")]);
        assert_eq!(cordoned(&["*".to_owned()], &all), [Path::new("/a"), Path::new("/b")]);
    }
}
