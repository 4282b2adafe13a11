//! Timers as data: a heap of deadlines, one per key, with lazy removal.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::Hash,
};

use ottla_types::Millis;

/// One deadline per key. Setting a key again moves its deadline; the heap forgets the old one when it comes up.
#[derive(Clone, Debug)]
pub struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Millis, u64)>>,
    by_key: HashMap<K, (Millis, u64)>,
    by_id: HashMap<u64, K>,
    next_id: u64,
}

impl<K> Default for TimerQueue<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), by_key: HashMap::new(), by_id: HashMap::new(), next_id: 0 }
    }
}

impl<K: Hash + Eq + Clone> TimerQueue<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Millis) {
        self.cancel(&key);
        let id = self.next_id;
        self.next_id += 1;
        self.heap.push(Reverse((at, id)));
        self.by_key.insert(key.clone(), (at, id));
        self.by_id.insert(id, key);
        if self.heap.len() > 64 && self.heap.len() > 4 * self.by_key.len() {
            let live = &self.by_id;
            self.heap.retain(|Reverse((_, id))| live.contains_key(id));
        }
    }

    /// Forgets `key`.
    pub fn cancel(&mut self, key: &K) {
        if let Some((_, id)) = self.by_key.remove(key) {
            self.by_id.remove(&id);
        }
        while let Some(Reverse((_, id))) = self.heap.peek()
            && !self.by_id.contains_key(id)
        {
            self.heap.pop();
        }
    }

    /// The deadline of `key`, if it has one.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<Millis> {
        self.by_key.get(key).map(|(at, _)| *at)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest key whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Millis) -> Option<K> {
        let Reverse((at, id)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        let key = self.by_id.get(&id).cloned().expect("cancel and pop leave a live timer on top");
        self.cancel(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_and_cancelled_timers_do_not_fire() {
        let mut timers = TimerQueue::default();
        timers.set("a", Millis(10));
        timers.set("b", Millis(20));
        timers.set("a", Millis(30));
        timers.set("c", Millis(5));
        timers.cancel(&"c");
        assert_eq!(timers.deadline(), Some(Millis(20)));
        assert_eq!(timers.pop_due(Millis(19)), None);
        assert_eq!(timers.pop_due(Millis(30)), Some("b"));
        assert_eq!(timers.pop_due(Millis(30)), Some("a"));
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn the_heap_stays_small_when_one_key_moves_often() {
        let mut timers = TimerQueue::default();
        for i in 0..10_000 {
            timers.set("session", Millis(i));
            timers.set("other", Millis(0));
        }
        assert!(timers.heap.len() <= 128);
    }
}
