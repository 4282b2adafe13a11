//! One task that sleeps until the earliest deadline of all shards.

use std::{
    sync::{
        Weak,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ottla_types::Millis;
use tokio::sync::Notify;

use crate::Coordinators;

/// When the task means to wake next, and how to wake it sooner.
#[derive(Debug)]
pub(crate) struct Alarm {
    planned: AtomicI64,
    sooner: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { planned: AtomicI64::new(i64::MAX), sooner: Notify::new() }
    }
}

impl Alarm {
    /// There is a deadline at `at`: wakes the task if it sleeps longer than that.
    pub(crate) fn at(&self, at: Option<Millis>) {
        if at.is_some_and(|at| at.0 < self.planned.load(Ordering::Acquire)) {
            self.sooner.notify_one();
        }
    }

    /// The coordinators are gone, or something else has changed that the task does not see by itself.
    pub(crate) fn wake(&self) {
        self.sooner.notify_one();
    }
}

/// Runs until the coordinators are dropped or closed.
pub(crate) async fn run(coordinators: Weak<Coordinators>, alarm: std::sync::Arc<Alarm>) {
    loop {
        let sleep = {
            let Some(coordinators) = coordinators.upgrade() else { return };
            if coordinators.is_closed() {
                return;
            }
            // Set before the deadlines are read: one that comes in between finds it and wakes us.
            alarm.planned.store(i64::MAX, Ordering::Release);
            let next = coordinators.deadline();
            alarm.planned.store(next.map_or(i64::MAX, |at| at.0), Ordering::Release);
            next.map(|at| at.since(coordinators.now()))
        };
        match sleep {
            Some(ms) if ms <= 0 => {
                let Some(coordinators) = coordinators.upgrade() else { return };
                coordinators.on_deadline();
            }
            Some(ms) => {
                let sleep = tokio::time::sleep(Duration::from_millis(ms.unsigned_abs()));
                tokio::select! {
                    () = sleep => {}
                    () = alarm.sooner.notified() => {}
                }
            }
            None => alarm.sooner.notified().await,
        }
    }
}
