//! Opens the log dirs, and sees to it that they belong together and to this node.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use ottla_config::{BrokerConfig, LogWriteMode};
use ottla_storage::{DirOptions, LogDir, WriteMode};
use ottla_types::Clock;

use crate::server::OpenDirs;

pub(crate) fn open(config: &BrokerConfig, clock: &Arc<dyn Clock>) -> Result<OpenDirs> {
    let options = options(config);
    let mut all = Vec::new();
    for path in &config.dirs.log_dirs {
        let dir = LogDir::open(path, options.clone(), clock.clone())?;
        check(config, &dir, all.first())?;
        all.push(dir);
    }
    let metadata = Path::new(&config.dirs.metadata_log_dir);
    let metadata = match all.iter().find(|dir| dir.path() == metadata) {
        Some(dir) => dir.clone(),
        None => {
            let dir = LogDir::open(metadata, options, clock.clone())?;
            check(config, &dir, all.first())?;
            dir
        }
    };
    Ok(OpenDirs { all, metadata })
}

fn check(config: &BrokerConfig, dir: &LogDir, first: Option<&LogDir>) -> Result<()> {
    let (path, meta) = (dir.path().display(), dir.meta());
    if meta.node_id != config.node_id {
        bail!(
            "Stored node id {} doesn't match previous node id {} in {path}/meta.properties. \
             If you moved your data, make sure your configured node id matches. \
             If you intend to create a new node, you should remove all data in your data directories.",
            meta.node_id,
            config.node_id
        );
    }
    if let Some(first) = first
        && first.meta().cluster_id != meta.cluster_id
    {
        bail!(
            "{path} belongs to cluster {} but {} to cluster {}: a node's log dirs must be of one cluster; \
             correct log.dirs",
            meta.cluster_id,
            first.path().display(),
            first.meta().cluster_id
        );
    }
    Ok(())
}

fn options(config: &BrokerConfig) -> DirOptions {
    DirOptions {
        write_mode: match config.dirs.write_mode {
            LogWriteMode::Buffered => WriteMode::Buffered,
            LogWriteMode::DontCache | LogWriteMode::Auto => WriteMode::DontCache,
        },
        tail_bytes: usize::try_from(config.dirs.tail_cache_bytes).unwrap_or(0),
        recovery_threads: usize::try_from(config.dirs.num_recovery_threads_per_data_dir).unwrap_or(0),
        ..DirOptions::default()
    }
}

/// Formats every log dir that is not: what `--auto-format` and a start without a file do.
pub fn format_missing(config: &BrokerConfig, random: &mut dyn FnMut() -> u64) -> Result<()> {
    let mut dirs = config.dirs.log_dirs.clone();
    if !dirs.contains(&config.dirs.metadata_log_dir) {
        dirs.push(config.dirs.metadata_log_dir.clone());
    }
    let mut found = Vec::new();
    for dir in &dirs {
        found.push(ottla_storage::MetaProperties::read(Path::new(dir))?);
    }
    let known = found.iter().flatten().next().map(|meta| meta.cluster_id.clone());
    let cluster_id = known.unwrap_or_else(|| ottla_types::TopicId(uuid(random)).to_string());
    for (dir, found) in dirs.iter().zip(found) {
        if found.is_none() {
            let meta = ottla_storage::MetaProperties {
                cluster_id: cluster_id.clone(),
                node_id: config.node_id,
                directory_id: Some(uuid(random)),
            };
            meta.format(Path::new(dir)).with_context(|| format!("Formatting {dir}"))?;
            tracing::info!("Formatting {dir}, cluster {cluster_id}");
        }
    }
    Ok(())
}

/// A random id whose text does not begin with a dash, which tools would take for an option.
fn uuid(random: &mut dyn FnMut() -> u64) -> uuid::Uuid {
    loop {
        let bits = (u128::from(random()) << 64) | u128::from(random());
        let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        if !ottla_types::TopicId(id).to_string().starts_with('-') {
            return id;
        }
    }
}
