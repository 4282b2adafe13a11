//! How many connections there may be: in all, and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// `max.connections`, `max.connections.per.ip` and its overrides.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLimits {
    /// Connections in all; more wait in the listen queue.
    pub total: Option<usize>,
    /// Connections from one address; more are closed at once.
    pub per_ip: Option<usize>,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
}

/// Counts connections over all listeners.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: ConnectionLimits,
    room: Arc<Semaphore>,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    ids: AtomicU64,
}

/// Given back when the connection ends.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
    pub(crate) id: u64,
    _room: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let total = limits.total.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            limits,
            room: Arc::new(Semaphore::new(total)),
            by_ip: Mutex::default(),
            ids: AtomicU64::new(1),
        })
    }

    /// Waits until one more connection may be accepted.
    pub(crate) async fn room(&self) -> OwnedSemaphorePermit {
        self.room.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Counts a connection from `ip`; `None` when there are too many from there.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, room: OwnedSemaphorePermit) -> Option<Admitted> {
        let limit = self.limits.per_ip_overrides.get(&ip).copied().or(self.limits.per_ip);
        let mut by_ip = self.by_ip.lock();
        let count = by_ip.entry(ip).or_insert(0);
        if limit.is_some_and(|limit| *count >= limit) {
            if *count == 0 {
                by_ip.remove(&ip);
            }
            return None;
        }
        *count += 1;
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { admission: self.clone(), ip, id, _room: room })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_ip = self.admission.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&self.ip);
            }
        }
    }
}
