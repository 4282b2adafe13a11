//! Logs come, are set aside, and go.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ottla_types::{TopicId, TopicPartition};

use super::LogDir;
use crate::{
    config::LogConfig,
    fault::Fault,
    leftovers,
    load::{LoadReport, PartitionLoader},
    log::Log,
    names::{self, Aside},
    recover::{self, Place},
    state::State,
    text,
};

impl LogDir {
    /// Opens one log, or creates it: how the metadata log is opened. `loader` is given the log at once.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        loader: Box<dyn PartitionLoader>,
    ) -> Result<LoadReport, Fault> {
        if self.shared.path.join(partition.to_string()).is_dir() {
            recover::load_one(&self.shared, &Place::of(partition), loader, topic_id)
        } else {
            let config = loader.config();
            loader.done(self.create_log(partition, topic_id, config)?);
            Ok(LoadReport { logs: 1, ..LoadReport::default() })
        }
    }

    /// Creates a log: a directory and its `partition.metadata`, neither synced: that comes with the first sync of the
    /// log. Its first segment comes with the first append. A directory that a creation left unfinished is used.
    ///
    /// # Errors
    /// [`Fault::Exists`]; when the disk fails.
    pub fn create_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
    ) -> Result<Log, Fault> {
        let path = self.shared.path.join(partition.to_string());
        match fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                if recover::identity(&self.shared, &Place::of(partition))?.is_some() {
                    return Err(Fault::Exists { path });
                }
                leftovers::clear(&path)?;
            }
            created => created.map_err(Fault::io("create", &path))?,
        }
        self.shared.forget_another(partition)?;
        self.begin_log(&path, partition, topic_id, config, None)
    }

    /// Creates a log that is to take the place of the partition's log in another dir, beside it: see
    /// [`promote`](Self::promote). Its directory is named as Kafka names it.
    ///
    /// # Errors
    /// [`Fault::Exists`] when the partition has a log here; when the disk fails.
    pub fn create_future(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
    ) -> Result<Log, Fault> {
        let own = self.shared.path.join(partition.to_string());
        if self.shared.is_open(partition) || own.exists() {
            return Err(Fault::Exists { path: own });
        }
        let future = names::future(partition, self.shared.unique(topic_id));
        let path = self.shared.path.join(&future);
        fs::create_dir(&path).map_err(Fault::io("create", &path))?;
        self.shared.forget_another(partition)?;
        self.begin_log(&path, partition, topic_id, config, Some(future))
    }

    fn begin_log(
        &self,
        path: &Path,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        future: Option<String>,
    ) -> Result<Log, Fault> {
        let file = path.join(names::PARTITION_METADATA);
        let text = text::partition_metadata_text(topic_id);
        self.shared.files.with_room(|| text::replace(&file, text.as_bytes(), false))?;
        let state = State::empty(0, self.shared.clock.wall().0);
        let log = Log::new(&self.shared, partition, topic_id, (state, future), config);
        log.reader().mark_dirty();
        Ok(log)
    }

    /// Makes a log of [`create_future`](Self::create_future) the partition's own: its directory gets the partition's
    /// name, durably. What is in it should have been synced.
    ///
    /// # Errors
    /// [`Fault::Exists`] when the partition has a log here; when the disk fails.
    pub fn promote(&self, log: &Log) -> Result<(), Fault> {
        let reader = log.reader();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        if !reader.is_future() {
            return Ok(());
        }
        let (from, to) = (reader.path(), self.shared.path.join(reader.partition().to_string()));
        if to.exists() {
            return Err(Fault::Exists { path: to });
        }
        fs::rename(&from, &to).map_err(Fault::io("rename", &from))?;
        if let Err(fault) = text::sync_path(&self.shared.path) {
            // As far as anybody can tell it is a copy still, and the log is elsewhere.
            let _ = fs::rename(&to, &from);
            return Err(fault);
        }
        reader.promoted();
        reader.mark_dirty();
        Ok(())
    }

    /// Removes a log: its directory is renamed at once, so that one of the same name can be created, and deleted in
    /// the background. Readers that hold parts of it can finish.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn remove_log(&self, log: Log) -> Result<(), Fault> {
        let to = self.set_aside(&log, Aside::Delete)?;
        self.shared.deleter.delete(to);
        Ok(())
    }

    /// Takes a log out of the way of another that takes its place in another dir, durably: its directory is renamed so that
    /// the next start deletes it. Until [`put_back`](Self::put_back) it counts as removed. Gives its new path.
    ///
    /// # Errors
    /// When the disk fails; the log is where it was then, as far as anybody can tell.
    pub fn put_aside(&self, log: &Log) -> Result<PathBuf, Fault> {
        let reader = log.reader();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        let name = names::aside(reader.partition(), self.shared.unique(reader.topic_id()), Aside::Delete);
        let (from, to) = (reader.path(), self.shared.path.join(name));
        reader.set_removed(true);
        let renamed = fs::rename(&from, &to).map_err(Fault::io("rename", &from));
        if let Err(fault) = renamed.and_then(|()| text::sync_path(&self.shared.path)) {
            let _ = fs::rename(&to, &from);
            reader.set_removed(false);
            return Err(fault);
        }
        Ok(to)
    }

    /// Takes [`put_aside`](Self::put_aside) back: nothing took the log's place.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_back(&self, log: &Log, aside: &Path) -> Result<(), Fault> {
        let reader = log.reader();
        fs::rename(aside, reader.path()).map_err(Fault::io("rename", aside))?;
        reader.set_removed(false);
        text::sync_path(&self.shared.path)
    }

    /// Removes a log that was [`put_aside`](Self::put_aside): what is known of it is forgotten, and its directory is
    /// deleted in the background. Readers that hold parts of it can finish.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_aside(&self, log: Log, aside: PathBuf) -> Result<(), Fault> {
        let reader = log.reader();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        self.shared.logs.lock().remove(reader.partition());
        reader.remove();
        self.shared.deleter.delete(aside);
        self.shared.forget(reader.partition())
    }

    /// Takes a log that the cluster does not know out of the way, as Kafka does: its directory is renamed to
    /// `<topic>-<partition>.<unique>-stray`, which no start opens, and everything in it is kept. Gives its new path.
    ///
    /// # Errors
    /// When the disk or the store fails.
    pub fn stray_log(&self, log: Log) -> Result<PathBuf, Fault> {
        self.set_aside(&log, Aside::Stray)
    }

    fn set_aside(&self, log: &Log, why: Aside) -> Result<PathBuf, Fault> {
        let reader = log.reader();
        let partition = reader.partition();
        let _checkpoint = self.shared.checkpointing.lock();
        let _sync = reader.syncing.lock();
        let to = self.shared.path.join(names::aside(partition, self.shared.unique(reader.topic_id()), why));
        let from = reader.path();
        fs::rename(&from, &to).map_err(Fault::io("rename", &from))?;
        self.shared.logs.lock().remove(partition);
        self.shared.forget(partition)?;
        reader.remove();
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::SystemClock;

    use super::*;
    use crate::{DirOptions, MetaProperties};

    /// A power cut would bring back what was known of a removed log, and the new one's records would be held against it.
    #[test]
    fn what_was_forgotten_is_synced_before_a_name_is_used_again() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let meta = MetaProperties { cluster_id: "c".into(), node_id: 1, directory_id: None };
        meta.format(temporary.path()).expect("formats");
        let clock = Arc::new(SystemClock::new());
        let dir = LogDir::open(temporary.path(), DirOptions::default(), clock).expect("opens");
        let (id, name) = (TopicId::METADATA, |n| TopicPartition::new("t", n));
        let syncs_of = |work: &mut dyn FnMut() -> Result<Log, Fault>| {
            let before = dir.store().syncs();
            let log = work().expect("creates");
            (dir.store().syncs() - before, log)
        };
        let create = |n| syncs_of(&mut || dir.create_log(&name(n), id, Arc::default()));
        let create_future = |n| syncs_of(&mut || dir.create_future(&name(n), id, Arc::default()));

        let (syncs, first) = create(0);
        assert_eq!(syncs, 1, "a run that was killed may have forgotten something");
        let (syncs, second) = create(1);
        assert_eq!(syncs, 0, "nothing is known of it");
        dir.checkpoint().expect("checkpoints");

        dir.remove_log(first).expect("removes");
        dir.remove_log(second).expect("removes");
        let (syncs, first) = create(0);
        assert_eq!(syncs, 1);
        assert_eq!(create(1).0, 0, "one sync is for both");

        // As a move to another dir and back has it.
        dir.checkpoint().expect("checkpoints");
        let aside = dir.put_aside(&first).expect("renames");
        dir.remove_aside(first, aside).expect("removes");
        let (syncs, first) = create_future(0);
        assert_eq!(syncs, 1);
        dir.remove_log(first).expect("removes");

        // In a directory that a creation has left.
        fs::create_dir(temporary.path().join("t-0")).expect("creates");
        assert_eq!(create(0).0, 1);

        // As of a copy that was damaged and is a stray now.
        dir.shared().forget_checkpoint(&name(2)).expect("forgets");
        assert_eq!([create_future(2).0, create_future(3).0], [1, 0]);
    }
}
