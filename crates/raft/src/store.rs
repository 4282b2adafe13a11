//! Raft's own log and hard state, as keys: in the product the family `Raft` of a log dir's RocksDB.
//!
//! Keys: `e` + index (8 bytes, big-endian) an entry; `h` the hard state; `c` the configuration; `d` the index of the entry
//! that made it so; `t` where the log was cut: index, term, and the metadata log's offset at which the first entry's batch
//! goes; `n` what this member was called when it was founded.

use std::{collections::VecDeque, ops::ControlFlow};

use ottla_types::Offset;
use prost::Message;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
};

use crate::{
    Fault,
    disk::{Change, Keys},
};

const HARD_STATE: &[u8] = b"h";
const CONF_STATE: &[u8] = b"c";
/// Index of the entry that made the configuration what it is.
const CONF_INDEX: &[u8] = b"d";
const CUT: &[u8] = b"t";
const NAME: &[u8] = b"n";

/// Entries kept in memory: what was just written is read again when it is committed.
const CACHE_ENTRIES: usize = 256;
const CACHE_BYTES: usize = 256 << 10;

fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Where raft's log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Index of the last entry that is gone (or never was).
    pub(crate) index: u64,
    /// Its term.
    pub(crate) term: u64,
    /// The offset in the metadata log that the batch of the entry after it gets.
    pub(crate) offset: Offset,
}

impl Cut {
    fn encode(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.index.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.term.to_be_bytes());
        bytes[16..].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes: &[u8; 24] = bytes.try_into().map_err(|_| Fault::BadStore { what: "the cut" })?;
        let part = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Ok(Self { index: part(0), term: part(8), offset: part(16).cast_signed() })
    }
}

/// Raft's storage. Reads come from memory where they can; writes are gathered by the driver, one synced write a turn.
pub(crate) struct RaftStore {
    keys: Box<dyn Keys>,
    hard_state: HardState,
    conf_state: ConfState,
    /// The last entry whose change is in `conf_state`.
    conf_index: u64,
    cut: Cut,
    name: Option<u64>,
    last: u64,
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    snapshot: Option<Snapshot>,
    snapshot_wanted: std::cell::Cell<bool>,
}

fn put(key: &[u8], value: Vec<u8>) -> Change {
    Change::Put(key.to_vec(), value)
}

fn delete_entries(from: u64, to: u64) -> Change {
    Change::DeleteRange(entry_key(from).to_vec(), entry_key(to).to_vec())
}

fn decoded<T: Message + Default>(bytes: Option<Vec<u8>>, what: &'static str) -> Result<Option<T>, Fault> {
    bytes.map(|bytes| T::decode(&*bytes).map_err(|_| Fault::BadStore { what })).transpose()
}

fn number(bytes: Option<Vec<u8>>, what: &'static str) -> Result<Option<u64>, Fault> {
    let number = |bytes: Vec<u8>| bytes.try_into().map(u64::from_be_bytes);
    bytes.map(|bytes| number(bytes).map_err(|_| Fault::BadStore { what })).transpose()
}

impl RaftStore {
    /// Opens what is there; gives the keys back when raft never ran on them.
    pub(crate) fn open(keys: Box<dyn Keys>) -> Result<Result<Self, Box<dyn Keys>>, Fault> {
        let Some(cut) = keys.get(CUT)? else { return Ok(Err(keys)) };
        let cut = Cut::decode(&cut)?;
        let hard_state = decoded(keys.get(HARD_STATE)?, "the hard state")?.unwrap_or_default();
        let conf_state = decoded(keys.get(CONF_STATE)?, "the configuration")?
            .ok_or(Fault::BadStore { what: "the configuration" })?;
        let name = number(keys.get(NAME)?, "this member's name")?;
        // A store of before it was written down has none.
        let conf_index = number(keys.get(CONF_INDEX)?, "the configuration's index")?.unwrap_or(0);
        let last = match keys.last(&entry_key(0), &entry_key(u64::MAX))? {
            Some((key, _)) => {
                let index = key.get(1..9).and_then(|index| index.try_into().ok());
                u64::from_be_bytes(index.ok_or(Fault::BadStore { what: "a key of an entry" })?)
            }
            None => cut.index,
        };
        Ok(Ok(Self { name, ..Self::with(keys, hard_state, (conf_state, conf_index), cut, last) }))
    }

    /// Founds raft on empty keys: a member of this name, these voters, terms after `term`, the first batch at `offset`.
    /// Without voters it waits for a leader that takes it in.
    pub(crate) fn found(
        mut keys: Box<dyn Keys>,
        name: u64,
        voters: Vec<u64>,
        term: u64,
        offset: Offset,
    ) -> Result<Self, Fault> {
        // Index 1 stands for what was before, so that a node without it is brought up by a snapshot.
        let cut = if voters.is_empty() {
            Cut { index: 0, term: 0, offset: 0 }
        } else {
            Cut { index: 1, term, offset }
        };
        let conf_state = ConfState { voters, ..ConfState::default() };
        let hard_state = HardState { term: cut.term, vote: 0, commit: cut.index };
        let changes = vec![
            put(CUT, cut.encode().to_vec()),
            put(NAME, name.to_be_bytes().to_vec()),
            put(CONF_STATE, conf_state.encode_to_vec()),
            put(CONF_INDEX, cut.index.to_be_bytes().to_vec()),
            put(HARD_STATE, hard_state.encode_to_vec()),
        ];
        // Not synced: the first vote or entry is, in the same write-ahead log, and nothing counts before it.
        keys.write(changes, false)?;
        let store = Self::with(keys, hard_state, (conf_state, cut.index), cut, cut.index);
        Ok(Self { name: Some(name), ..store })
    }

    /// The keys, emptied for good: what they said is past.
    pub(crate) fn forget(mut self) -> Result<Box<dyn Keys>, Fault> {
        self.keys.write(vec![Change::DeleteRange(Vec::new(), vec![u8::MAX; 16])], true)?;
        Ok(self.keys)
    }

    fn with(
        keys: Box<dyn Keys>,
        hard_state: HardState,
        (conf_state, conf_index): (ConfState, u64),
        cut: Cut,
        last: u64,
    ) -> Self {
        Self {
            keys,
            hard_state,
            conf_state,
            conf_index,
            cut,
            name: None,
            last,
            cache: VecDeque::new(),
            cache_bytes: 0,
            snapshot: None,
            snapshot_wanted: std::cell::Cell::new(false),
        }
    }

    pub(crate) fn cut(&self) -> Cut {
        self.cut
    }

    /// What this member was called when it was founded; unknown where that was not written down yet.
    pub(crate) fn name(&self) -> Option<u64> {
        self.name
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// The last entry whose change of the members is in the configuration. After a power cut it may lie behind what the
    /// metadata log kept: the changes up to it were made.
    pub(crate) fn conf_index(&self) -> u64 {
        self.conf_index
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Notes that entries up to `index` are known to be committed, so that raft does not ask for less.
    pub(crate) fn committed_at_least(&mut self, index: u64) {
        self.hard_state.commit = self.hard_state.commit.max(index);
    }

    /// Writes what a turn brings, in one write; synced when anything must not be lost.
    pub(crate) fn persist(
        &mut self,
        entries: Vec<Entry>,
        hard_state: Option<&HardState>,
        sync: bool,
    ) -> Result<(), Fault> {
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state.clone();
        }
        if entries.is_empty() && !sync {
            // Only the commit index moved: it is found again from the entries, and goes with the next write.
            return Ok(());
        }
        let mut changes = vec![put(HARD_STATE, self.hard_state.encode_to_vec())];
        if let Some(first) = entries.first().map(|entry| entry.index)
            && first <= self.last
        {
            // A new leader's entries replace ours from there on.
            changes.push(delete_entries(first, self.last + 1));
            self.forget_cached_from(first);
        }
        for entry in entries {
            changes.push(put(&entry_key(entry.index), entry.encode_to_vec()));
            self.last = entry.index;
            self.cache_bytes += entry.data.len();
            self.cache.push_back(entry);
        }
        self.keys.write(changes, sync)?;
        self.trim_cache();
        Ok(())
    }

    fn forget_cached_from(&mut self, index: u64) {
        while self.cache.back().is_some_and(|entry| entry.index >= index) {
            let gone = self.cache.pop_back().expect("there is a last one");
            self.cache_bytes -= gone.data.len();
        }
    }

    fn trim_cache(&mut self) {
        while self.cache.len() > CACHE_ENTRIES || (self.cache.len() > 1 && self.cache_bytes > CACHE_BYTES) {
            let gone = self.cache.pop_front().expect("more than one");
            self.cache_bytes -= gone.data.len();
        }
    }

    /// Writes a configuration that the entry at `index` has changed.
    pub(crate) fn set_conf_state(&mut self, conf_state: ConfState, index: u64) -> Result<(), Fault> {
        (self.conf_state, self.conf_index) = (conf_state, index);
        // A snapshot says who the members are: one of before would not be taken by who is new.
        self.snapshot = None;
        let state = put(CONF_STATE, self.conf_state.encode_to_vec());
        self.keys.write(vec![state, put(CONF_INDEX, index.to_be_bytes().to_vec())], true)
    }

    /// Forgets entries up to `cut`, which the metadata log holds durably.
    pub(crate) fn compact(&mut self, cut: Cut) -> Result<(), Fault> {
        let changes =
            vec![put(CUT, cut.encode().to_vec()), delete_entries(self.cut.index + 1, cut.index + 1)];
        self.cut = cut;
        while self.cache.front().is_some_and(|entry| entry.index <= cut.index) {
            let gone = self.cache.pop_front().expect("there is a first one");
            self.cache_bytes -= gone.data.len();
        }
        // Not synced: losing it keeps entries that are not needed.
        self.keys.write(changes, false)
    }

    /// Starts over at a snapshot from the leader.
    pub(crate) fn install(
        &mut self,
        cut: Cut,
        conf_state: ConfState,
        hard_state: &HardState,
    ) -> Result<(), Fault> {
        let changes = vec![
            delete_entries(0, u64::MAX),
            put(CUT, cut.encode().to_vec()),
            put(CONF_INDEX, cut.index.to_be_bytes().to_vec()),
            put(CONF_STATE, conf_state.encode_to_vec()),
            put(HARD_STATE, hard_state.encode_to_vec()),
        ];
        self.keys.write(changes, true)?;
        (self.cut, self.last, self.conf_state, self.hard_state) =
            (cut, cut.index, conf_state, hard_state.clone());
        self.conf_index = cut.index;
        self.cache.clear();
        self.cache_bytes = 0;
        Ok(())
    }

    /// Whether a follower needs a snapshot since it was last asked.
    pub(crate) fn snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    /// Whether a snapshot is kept for followers.
    pub(crate) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Lets go of the snapshot that was kept for followers.
    pub(crate) fn drop_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// The snapshot that followers are sent.
    pub(crate) fn offer_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
    }

    /// Entries of `[low, high)` from wherever they are.
    pub(crate) fn read(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        let mut bytes = 0u64;
        // The first is always given; raft would not get on without it.
        let mut take = |entry: Entry| {
            bytes += entry.encoded_len() as u64;
            if !entries.is_empty() && bytes > max_bytes {
                return ControlFlow::Break(());
            }
            entries.push(entry);
            ControlFlow::Continue(())
        };
        if self.cache.front().is_some_and(|entry| entry.index <= low) {
            let first = self.cache.front().map_or(0, |entry| entry.index);
            let skip = usize::try_from(low - first).expect("within the cache");
            let count = usize::try_from(high - low).expect("within the cache");
            let _ = self.cache.iter().skip(skip).take(count).cloned().try_for_each(take);
            return Ok(entries);
        }
        let mut damaged = false;
        self.keys.scan(&entry_key(low), &entry_key(high), &mut |_, value| match Entry::decode(value) {
            Ok(entry) => take(entry),
            Err(_) => {
                damaged = true;
                ControlFlow::Break(())
            }
        })?;
        if damaged {
            return Err(Fault::BadStore { what: "an entry" });
        }
        Ok(entries)
    }
}

fn other(fault: Fault) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(fault)))
}

impl Storage for RaftStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.cut.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last + 1, "raft asks for entries that were never written");
        self.read(low, high, max_size.into().unwrap_or(u64::MAX)).map_err(other)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.cut.index {
            return Ok(self.cut.term);
        }
        if index < self.cut.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(first) = self.cache.front().map(|entry| entry.index)
            && index >= first
            && let Some(entry) = self.cache.get(usize::try_from(index - first).expect("within the cache"))
        {
            return Ok(entry.term);
        }
        let entries = self.read(index, index + 1, u64::MAX).map_err(other)?;
        entries.first().map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.cut.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        match &self.snapshot {
            Some(snapshot) if snapshot.get_metadata().index >= request_index.max(self.cut.index) => {
                Ok(snapshot.clone())
            }
            _ => {
                self.snapshot_wanted.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    #[test]
    fn numbers_of_a_wrong_length_are_no_numbers() {
        let founded = || {
            let mut disk = MemoryDisk::default();
            RaftStore::found(Box::new(disk.clone()), 7, vec![7, 8], 3, 0).expect("memory");
            let opened = RaftStore::open(Box::new(disk.clone())).expect("whole").ok().expect("founded");
            assert_eq!((opened.name(), opened.conf_index()), (Some(7), 1));
            move |key: &[u8], value: &[u8]| {
                Keys::write(&mut disk, vec![put(key, value.to_vec())], true).expect("memory");
                RaftStore::open(Box::new(disk.clone())).err()
            }
        };
        for key in [NAME, CONF_INDEX] {
            for wrong in [&b""[..], &[0; 7], &[0; 9]] {
                assert!(matches!(founded()(key, wrong), Some(Fault::BadStore { .. })), "{key:?} {wrong:?}");
            }
            assert!(founded()(key, &[0; 8]).is_none());
        }
    }
}
