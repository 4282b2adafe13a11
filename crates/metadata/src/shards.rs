//! A map that is cheap to clone and cheap to change while clones exist: a fixed number of small shared maps.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// A clone costs this many reference counts, a change at most one shard's copy.
const SHARDS: usize = 64;

/// A hash-sharded map. Iteration order depends on the keys only.
#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    shards: Arc<[Arc<BTreeMap<K, V>>]>,
    len: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Self { shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(), len: 0 }
    }
}

/// FNV-1a: the same in every process, so that two replicas walk their maps in the same order.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn shard_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).expect("below the number of shards")
}

impl<K: Hash + Ord + Clone, V: Clone> Shards<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        self.shards[shard_of(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let at = shard_of(&key);
        let before = Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[at]).insert(key, value);
        self.len += usize::from(before.is_none());
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Ord + ?Sized,
    {
        let at = shard_of(key);
        if !self.shards[at].contains_key(key) {
            return None;
        }
        self.len -= 1;
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[at]).remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// Every key that stands in a shard which is not shared with `old`: (before, after). Values may be equal.
    pub(crate) fn differences<'a>(
        &'a self,
        old: &'a Self,
        mut each: impl FnMut(Option<&'a V>, Option<&'a V>),
    ) {
        for (new, old) in self.shards.iter().zip(old.shards.iter()) {
            if Arc::ptr_eq(new, old) {
                continue;
            }
            for (key, before) in old.iter() {
                each(Some(before), new.get(key));
            }
            new.iter()
                .filter(|(key, _)| !old.contains_key(*key))
                .for_each(|(_, after)| each(None, Some(after)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_not_changed_and_differences_are_found() {
        let mut a = Shards::default();
        for i in 0..1000 {
            a.insert(i, i);
        }
        let b = a.clone();
        a.insert(7, 70);
        a.insert(2000, 1);
        assert_eq!(a.remove(&9), Some(9));
        assert_eq!((a.len(), b.len()), (1000, 1000));
        let mut seen = Vec::new();
        a.differences(&b, |before, after| {
            if before != after {
                seen.push((before.copied(), after.copied()));
            }
        });
        seen.sort_unstable();
        assert_eq!(seen, vec![(None, Some(1)), (Some(7), Some(70)), (Some(9), None)]);
    }
}
