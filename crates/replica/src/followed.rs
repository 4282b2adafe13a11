//! The leaders that other brokers follow: the only replicas whose time passes.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use ottla_types::TopicPartitionId;
use parking_lot::Mutex;

/// Leaders that others follow, and for a while those that have led.
pub(crate) struct Followed<T>(Mutex<HashMap<TopicPartitionId, Weak<T>>>);

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Followed<T> {
    /// It leads, and others follow it. To be said when it does already: who looks meanwhile sees that, or has let it go
    /// before.
    pub(crate) fn add(&self, id: TopicPartitionId, leader: &Arc<T>) {
        self.0.lock().insert(id, Arc::downgrade(leader));
    }

    /// Those that lead; the others are let go, under the same lock: one that is about to be added again is not lost.
    pub(crate) fn those_that(&self, lead: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let mut leaders = Vec::new();
        self.0.lock().retain(|_, held| {
            let leader = held.upgrade().filter(|held| lead(held));
            let leads = leader.is_some();
            leaders.extend(leader);
            leads
        });
        leaders
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use ottla_types::TopicId;

    use super::*;

    const ID: TopicPartitionId = TopicPartitionId { topic: TopicId::METADATA, partition: 0 };

    fn leads(one: &AtomicBool) -> bool {
        one.load(Ordering::Acquire)
    }

    #[test]
    fn who_leads_no_more_is_let_go_and_comes_back() {
        let (followed, one) = (Followed::default(), Arc::new(AtomicBool::new(true)));
        followed.add(ID, &one);
        followed.add(ID, &one);
        assert_eq!(followed.those_that(leads).len(), 1);
        one.store(false, Ordering::Release);
        assert_eq!(followed.those_that(leads).len(), 0);
        one.store(true, Ordering::Release);
        assert_eq!(followed.those_that(leads).len(), 0);
        followed.add(ID, &one);
        assert_eq!(followed.those_that(leads).len(), 1);
        drop(one);
        assert_eq!(followed.those_that(leads).len(), 0);
    }

    #[test]
    fn who_leads_again_while_it_is_let_go_is_kept() {
        let (followed, one) = (Followed::default(), Arc::new(AtomicBool::new(false)));
        followed.add(ID, &one);
        let (look, looked) = mpsc::channel();
        let (done, added) = mpsc::channel();
        std::thread::scope(|scope| {
            let (followed, one) = (&followed, &one);
            scope.spawn(move || {
                looked.recv().expect("looked at");
                one.store(true, Ordering::Release);
                followed.add(ID, one);
                done.send(()).expect("it is waited for");
            });
            followed.those_that(|one| {
                let led = leads(one);
                look.send(()).expect("somebody leads");
                // It has every chance to be added before what was seen has its effect.
                let _ = added.recv_timeout(Duration::from_millis(50));
                led
            });
            added.recv().expect("added");
        });
        assert_eq!(followed.those_that(leads).len(), 1);
    }
}
