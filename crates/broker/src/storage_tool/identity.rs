//! Who a process is: one cluster and one node id in all its log directories.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ottla_config::BrokerConfig;
use ottla_storage::MetaProperties;
use rand::RngCore;
use uuid::Uuid;

use super::{directories, random_id, show_id};

/// Where a node that joins a cluster has its `cluster.id` from.
const FIND_CLUSTER_ID: &str = "It is the cluster.id in meta.properties of the cluster's other nodes";

/// What to do with a node that is formatted for another cluster than the one it should join.
pub(crate) const JOIN_REMEDY: &str = "To let this node join them, empty its log directories and format them with their \
                                      cluster.id (ottla storage format -t)";

/// What the log directories say about the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// The id of each directory, in the order of `log.dirs`; none for one that is offline.
    pub directory_ids: Vec<Option<Uuid>>,
    /// The id of the directory of the metadata log.
    pub metadata_directory_id: Option<Uuid>,
    /// Directories that were formatted just now.
    pub formatted: Vec<String>,
}

/// Reads the log directories when the broker starts, and formats those that are not formatted: all of them when
/// `on_the_way` says so (with the cluster id given, or a new one), else only where the directory of the metadata is
/// formatted already, as Kafka does for a disk that was added or replaced. The directory of the metadata is never
/// formatted on the way beside another one that is in use: what is in that one would belong to nobody. A directory that
/// was formatted before there were directory ids (by Kafka before 3.7) gets one.
///
/// # Errors
/// One line: a directory that is not formatted, of another cluster or node, or there twice; or that of the metadata can
/// not be read.
pub fn ensure_formatted(
    config: &BrokerConfig,
    on_the_way: bool,
    cluster_id: Option<&str>,
    rng: &mut dyn RngCore,
) -> Result<Identity, String> {
    let mut dirs = directories(config);
    distinct(&dirs)?;
    let mut found = read_all(&mut dirs)?;
    let known = agree(&dirs, &found, config.node_id, None)?;
    if found[0].is_none()
        && let Some(used) = in_use(&dirs, &found)?
    {
        return Err(format!(
            "log directory {} of the metadata is not formatted, but {used} is, and is in use: the cluster's metadata \
             is lost or not mounted. Restore or mount it. If it is lost for good, format the directory by hand with \
             ottla storage format --ignore-formatted -t {} -c with this configuration file; partitions that the \
             cluster does not know then are kept as strays",
            dirs[0],
            known.unwrap_or_default()
        ));
    }
    if found[0].is_none() && !on_the_way {
        let unsaid = config.is_controller
            && config.quorum.voters.is_empty()
            && !config.quorum.bootstrap_servers.is_empty();
        let how =
            if unsaid { " --standalone (or --initial-controllers, --no-initial-controllers)" } else { "" };
        if !config.is_controller {
            return Err(format!(
                "log directory {} is not formatted: run ottla storage format -t CLUSTER_ID -c with this configuration \
                 file, or start with --auto-format and CLUSTER_ID in the environment. {FIND_CLUSTER_ID}",
                dirs[0]
            ));
        }
        return Err(format!(
            "log directory {} is not formatted: run ottla storage format{how} -t $(ottla storage random-uuid) -c with \
             this configuration file, or start with --auto-format. A node that joins others takes their cluster.id \
             instead of a random one",
            dirs[0]
        ));
    }
    let cluster_id = match (known, cluster_id.filter(|id| !id.is_empty())) {
        (Some(known), Some(given)) if on_the_way && known != given => {
            return Err(format!(
                "CLUSTER_ID is {given}, but log directory {} is formatted for cluster {known}: unset it, or give this \
                 node empty directories",
                dirs[0]
            ));
        }
        (Some(known), _) => known,
        (None, Some(given)) => given.to_owned(),
        (None, None) => show_id(random_id(rng)),
    };
    complete(&dirs, &mut found, rng)?;
    let mut formatted = Vec::new();
    for (at, dir) in dirs.iter().enumerate() {
        if found[at].is_some() {
            continue;
        }
        match format_one(dir, &cluster_id, config.node_id, random_id(rng)).and_then(|()| read_one(dir)) {
            Ok(meta) => {
                found[at] = meta;
                formatted.push(dir.clone());
            }
            // Of others it is offline: the broker says so when it opens them.
            Err(problem) if at == 0 => return Err(problem),
            Err(_) => {}
        }
    }
    let id = |dir: &String| {
        let at = dirs.iter().position(|known| known == dir)?;
        found[at].as_ref()?.directory_id
    };
    Ok(Identity {
        cluster_id,
        directory_ids: config.dirs.log_dirs.iter().map(id).collect(),
        metadata_directory_id: id(&dirs[0]),
        formatted,
    })
}

/// Gives an id to each formatted directory that has none, as Kafka does: without it no broker can register.
fn complete(
    dirs: &[String],
    found: &mut [Option<MetaProperties>],
    rng: &mut dyn RngCore,
) -> Result<(), String> {
    for (at, (dir, meta)) in dirs.iter().zip(found).enumerate() {
        let Some(meta) = meta.as_mut().filter(|meta| meta.directory_id.is_none()) else { continue };
        let with_id = MetaProperties { directory_id: Some(random_id(rng)), ..meta.clone() };
        match with_id.write(Path::new(dir)) {
            Ok(()) => *meta = with_id,
            Err(fault) if at == 0 => return Err(fault.to_string()),
            // Of others it is offline: the broker says so when it opens them.
            Err(_) => {}
        }
    }
    Ok(())
}

/// Refuses two names of one directory: its lock would be said to be another process's.
pub(super) fn distinct(dirs: &[String]) -> Result<(), String> {
    let places: Vec<PathBuf> = dirs.iter().map(|dir| canonical(Path::new(dir))).collect();
    for (at, place) in places.iter().enumerate() {
        if let Some(first) = places[..at].iter().position(|other| other == place) {
            return Err(format!(
                "log directories {} and {} are one directory, {}: name it once in log.dirs, and in the same way in \
                 metadata.log.dir",
                dirs[first],
                dirs[at],
                place.display()
            ));
        }
    }
    Ok(())
}

/// Where a directory really is, also when it is yet to be made.
fn canonical(dir: &Path) -> PathBuf {
    let real = dir.canonicalize().or_else(|fault| {
        let (parent, name) = dir.parent().zip(dir.file_name()).ok_or(fault)?;
        Ok::<_, std::io::Error>(parent.canonicalize()?.join(name))
    });
    real.or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_owned())
}

/// Writes a directory's identity.
pub(super) fn format_one(
    dir: &str,
    cluster_id: &str,
    node_id: i32,
    directory_id: Uuid,
) -> Result<(), String> {
    let meta =
        MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id: Some(directory_id) };
    meta.format(Path::new(dir)).map_err(|fault| fault.to_string())
}

/// A directory's identity; `None` when it has none or is not there.
pub(super) fn read_one(dir: &str) -> Result<Option<MetaProperties>, String> {
    MetaProperties::read(Path::new(dir)).map_err(|fault| fault.to_string())
}

/// A formatted directory that holds more than its identity.
fn in_use<'a>(dirs: &'a [String], found: &[Option<MetaProperties>]) -> Result<Option<&'a String>, String> {
    for (dir, _) in dirs.iter().zip(found).filter(|(_, meta)| meta.is_some()) {
        let failed = |error: std::io::Error| format!("cannot list {dir}: {error}");
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What a file system has of itself.
            if name != "meta.properties" && name != "lost+found" {
                return Ok(Some(dir));
            }
        }
    }
    Ok(None)
}

/// What the directories say. One that cannot be read is left out, as Kafka does it, but not that of the metadata.
fn read_all(dirs: &mut Vec<String>) -> Result<Vec<Option<MetaProperties>>, String> {
    let (mut kept, mut found) = (Vec::new(), Vec::new());
    for (at, dir) in dirs.drain(..).enumerate() {
        match read_one(&dir) {
            Ok(meta) => {
                kept.push(dir);
                found.push(meta);
            }
            Err(problem) if at == 0 => return Err(problem),
            Err(_) => {}
        }
    }
    *dirs = kept;
    Ok(found)
}

/// The cluster all formatted directories belong to; `None` when none is formatted.
///
/// # Errors
/// Kafka's message when one of them belongs elsewhere, or two of them are said to be one.
pub(super) fn agree(
    dirs: &[String],
    found: &[Option<MetaProperties>],
    node_id: i32,
    expected: Option<&str>,
) -> Result<Option<String>, String> {
    let mut cluster: Option<String> = expected.map(str::to_owned);
    let mut ids: BTreeMap<Uuid, &String> = BTreeMap::new();
    for (dir, meta) in dirs.iter().zip(found).filter_map(|(dir, meta)| Some((dir, meta.as_ref()?))) {
        let file = format!("{dir}/meta.properties");
        let known = cluster.get_or_insert_with(|| meta.cluster_id.clone());
        if *known != meta.cluster_id {
            return Err(format!(
                "Invalid cluster.id in: {file}. Expected {known}, but read {}",
                meta.cluster_id
            ));
        }
        if meta.node_id != node_id {
            return Err(format!("Invalid node.id in: {file}. Expected {node_id}, but read {}", meta.node_id));
        }
        if let Some(id) = meta.directory_id
            && let Some(first) = ids.insert(id, dir)
        {
            return Err(format!(
                "Duplicate directory ID {}. It was the ID of {first}, but also of {dir}: one is a copy of the other. \
                 Take the copy out of log.dirs, or empty it",
                show_id(id)
            ));
        }
    }
    Ok(cluster)
}
