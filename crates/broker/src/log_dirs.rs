//! Opens the log dirs. That they belong together and to this node was checked before (`storage_tool`).

use std::{path::Path, sync::Arc};

use anyhow::Result;
use ottla_config::{BrokerConfig, LogWriteMode};
use ottla_storage::{DirOptions, LogDir, WriteMode};
use ottla_types::Clock;

use crate::{open_files, server::OpenDirs};

pub(crate) fn open(config: &BrokerConfig, clock: &Arc<dyn Clock>) -> Result<OpenDirs> {
    let options = options(config);
    let mut all = Vec::new();
    for path in &config.dirs.log_dirs {
        let dir = LogDir::open(path, options.clone(), clock.clone())?;
        all.push(dir);
    }
    let metadata = Path::new(&config.dirs.metadata_log_dir);
    let metadata = match all.iter().find(|dir| dir.path() == metadata) {
        Some(dir) => dir.clone(),
        None => LogDir::open(metadata, options, clock.clone())?,
    };
    Ok(OpenDirs { all, metadata })
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
