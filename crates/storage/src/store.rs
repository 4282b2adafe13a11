//! The small RocksDB of a log dir: what can be rebuilt from segments, and raft's log.
//!
//! Tuned for little memory and a quick start: memtables of 2 MiB, one background thread, no statistics, no info
//! log. Writes go through its write-ahead log, so they survive a kill of the process; [`Changes::commit_synced`]
//! also makes them survive a power cut.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, IteratorMode,
    Options, ReadOptions, WriteBatch, WriteOptions,
};

use crate::{damaged, fault::Fault};

/// What the block caches of one store may hold, in bytes.
const BLOCK_CACHE: usize = 512 << 10;
/// Size of a memtable, in bytes.
const MEMTABLE: usize = 2 << 20;

/// A set of keys kept apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Indexes, checkpoints, producer snapshots: this crate's own.
    Index,
    /// Raft's entries and hard state.
    Raft,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A RocksDB instance, shared by cloning.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: DB,
    path: PathBuf,
    #[cfg(test)]
    syncs: std::sync::atomic::AtomicUsize,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens or creates the store in the directory `path`.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |source| Fault::Store { path: path.to_path_buf(), source };
        Self::open_with(path, &db_options().map_err(fault)?)
    }

    fn open_with(path: &Path, options: &Options) -> Result<Self, Fault> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE);
        let families =
            ["default", "raft"].map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)));
        let db = DB::open_cf_descriptors(options, path, families)
            .map_err(|source| Fault::Store { path: path.to_path_buf(), source })?;
        let inner = Inner {
            db,
            path: path.to_path_buf(),
            #[cfg(test)]
            syncs: Default::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the store lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The value of `key`.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.inner.db.get_cf(self.family(family), key).map_err(|e| self.fault(e))
    }

    /// Hands every pair with `from <= key < to` to `visit`, in order of keys, until it breaks.
    pub fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        options.set_auto_readahead_size(false);
        let mode = IteratorMode::From(from, rocksdb::Direction::Forward);
        for pair in self.inner.db.iterator_cf_opt(self.family(family), options, mode) {
            let (key, value) = pair.map_err(|e| self.fault(e))?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The pair with the greatest key in `from <= key < to`.
    pub fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Pair>, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut pairs = self.inner.db.iterator_cf_opt(self.family(family), options, IteratorMode::End);
        let pair = pairs.next().transpose().map_err(|e| self.fault(e))?;
        Ok(pair.map(|(key, value)| (key.into_vec(), value.into_vec())))
    }

    /// Begins a set of changes that is written as one, or not at all.
    #[must_use]
    pub fn changes(&self) -> Changes<'_> {
        Changes { store: self, batch: WriteBatch::default() }
    }

    /// A table that the store counts on and that is not there, or not whole.
    pub(crate) fn lost_table(&self) -> Result<Option<PathBuf>, Fault> {
        let tables = self.inner.db.live_files().map_err(|e| self.fault(e))?;
        let paths = tables
            .into_iter()
            .map(|table| (self.inner.path.join(table.name.trim_start_matches('/')), table.size as u64));
        let mut lost =
            paths.filter(|(path, size)| !std::fs::metadata(path).is_ok_and(|file| file.len() == *size));
        Ok(lost.next().map(|(path, _)| path))
    }

    /// Waits until background work has ended. Called before the process leaves.
    pub fn quiesce(&self) {
        self.inner.db.cancel_all_background_work(true);
    }

    /// Writes that were synced.
    #[cfg(test)]
    pub(crate) fn syncs(&self) -> usize {
        self.inner.syncs.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        let name = match family {
            Family::Index => "default",
            Family::Raft => "raft",
        };
        self.inner.db.cf_handle(name).expect("opened with both families")
    }

    fn fault(&self, source: rocksdb::Error) -> Fault {
        if damaged::is_damage(&source) {
            damaged::mark(&self.inner.path);
        }
        Fault::Store { path: self.inner.path.clone(), source }
    }
}

/// Changes to a [`Store`], applied together.
pub struct Changes<'a> {
    store: &'a Store,
    batch: WriteBatch,
}

impl Changes<'_> {
    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.store.family(family), key, value);
    }

    /// Removes `key`.
    pub fn delete(&mut self, family: Family, key: &[u8]) {
        self.batch.delete_cf(self.store.family(family), key);
    }

    /// Removes every key with `from <= key < to`.
    pub fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        self.batch.delete_range_cf(self.store.family(family), from, to);
    }

    /// Bytes gathered so far, about.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Writes; survives a kill of the process.
    pub fn commit(self) -> Result<(), Fault> {
        self.commit_with(false)
    }

    /// Writes and syncs; survives a power cut.
    pub fn commit_synced(self) -> Result<(), Fault> {
        self.commit_with(true)
    }

    fn commit_with(self, sync: bool) -> Result<(), Fault> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let store = self.store;
        #[cfg(test)]
        store.inner.syncs.fetch_add(usize::from(sync), std::sync::atomic::Ordering::Relaxed);
        store.inner.db.write_opt(self.batch, &options).map_err(|e| store.fault(e))
    }
}

impl std::fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("len", &self.batch.len()).finish_non_exhaustive()
    }
}

fn db_options() -> Result<Options, rocksdb::Error> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_background_jobs(1);
    options.set_max_file_opening_threads(1);
    options.set_max_open_files(32);
    options.set_table_cache_num_shard_bits(0);
    options.set_keep_log_file_num(1);
    options.set_log_level(rocksdb::LogLevel::Fatal);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.set_manifest_preallocation_size(64 << 10);
    options.set_max_total_wal_size(8 << 20);
    options.set_db_write_buffer_size(2 * MEMTABLE);
    options.set_enable_write_thread_adaptive_yield(false);
    options.set_allow_concurrent_memtable_write(false);
    // What the typed interface lacks: no table is written (and synced) at every start, no file for the id.
    options.get_options_from_string("avoid_flush_during_recovery=true;write_identity_file=false")
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(MEMTABLE);
    options.set_arena_block_size(32 << 10);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(4 << 20);
    options.set_max_bytes_for_level_base(16 << 20);
    options
}

#[cfg(test)]
mod tests {
    use rocksdb::statistics::Ticker;

    use super::*;

    /// RocksDB counts what it syncs: a power cut itself cannot be had in a test of the real thing.
    #[test]
    fn what_is_to_survive_a_power_cut_is_synced_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut options = db_options().expect("good options");
        options.enable_statistics();
        let store = Store::open_with(dir.path(), &options).expect("opens");
        let syncs = || options.get_ticker_count(Ticker::WalFileSynced);
        let before = syncs();
        for round in 1..=3_u8 {
            let mut changes = store.changes();
            changes.put(Family::Raft, &[round], b"entry");
            changes.commit().expect("commits");
            assert_eq!(syncs(), before + u64::from(round) - 1, "a plain write leaves it to the system");
            let mut changes = store.changes();
            changes.put(Family::Raft, &[round], b"hard state");
            changes.delete_range(Family::Raft, b"x", b"y");
            changes.commit_synced().expect("commits");
            assert_eq!(syncs(), before + u64::from(round), "the log was synced when the write returned");
        }
    }

    #[test]
    fn families_are_apart_and_survive_reopening() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(dir.path()).expect("opens");
        let mut changes = store.changes();
        changes.put(Family::Index, b"a1", b"x");
        changes.put(Family::Index, b"a2", b"y");
        changes.put(Family::Raft, b"a1", b"z");
        changes.commit_synced().expect("commits");
        drop(store);

        let store = Store::open(dir.path()).expect("opens again");
        assert_eq!(store.get(Family::Raft, b"a1").expect("reads"), Some(b"z".to_vec()));
        let last = store.last(Family::Index, b"a", b"b").expect("reads");
        assert_eq!(last, Some((b"a2".to_vec(), b"y".to_vec())));
        let mut seen = Vec::new();
        let mut changes = store.changes();
        changes.delete_range(Family::Index, b"a1", b"a2");
        changes.commit().expect("commits");
        store
            .scan(Family::Index, b"a", b"b", |key, _| {
                seen.push(key.to_vec());
                ControlFlow::Continue(())
            })
            .expect("scans");
        assert_eq!(seen, vec![b"a2".to_vec()]);
        assert_eq!(store.get(Family::Raft, b"a2").expect("reads"), None);
    }
}
