//! How many connections there may be: in all, and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// `max.connections`, with the prefix of a listener too, `max.connections.per.ip` and its overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// What the process can bear, on all listeners; more wait in the listen queue.
    pub most: Option<usize>,
    /// `max.connections`; more wait in the listen queue.
    pub total: Option<usize>,
    /// The listener that `total` does not limit: brokers' own, beside others, so that clients cannot shut the
    /// followers out.
    pub exempt: Option<Arc<str>>,
    /// Connections on a listener; more wait in its listen queue.
    pub per_listener: HashMap<Arc<str>, usize>,
    /// Connections from one address; more are closed at once.
    pub per_ip: Option<usize>,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
}

/// Counts connections over all listeners that share it. The limits may change meanwhile: they hold for connections to
/// come, those that are there stay.
#[derive(Debug)]
pub struct Admission {
    counts: Mutex<Counts>,
    /// There may be room where there was none.
    roomier: Notify,
    ids: AtomicU64,
}

#[derive(Debug)]
struct Counts {
    limits: ConnectionLimits,
    total: usize,
    by_listener: HashMap<Arc<str>, usize>,
    by_ip: HashMap<IpAddr, usize>,
}

/// Room for one connection, given back when it is dropped.
pub(crate) struct Room {
    admission: Arc<Admission>,
    listener: Arc<str>,
    /// Not yet where the total is no limit: room that waits for somebody is not taken from the other listeners.
    in_total: bool,
}

/// Given back when the connection ends.
pub(crate) struct Admitted {
    room: Room,
    ip: IpAddr,
    pub(crate) id: u64,
}

impl Admission {
    /// No connections yet.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            counts: Mutex::new(Counts {
                limits,
                total: 0,
                by_listener: HashMap::new(),
                by_ip: HashMap::new(),
            }),
            roomier: Notify::new(),
            ids: AtomicU64::new(1),
        })
    }

    /// Other limits from now on.
    pub fn limit(&self, limits: ConnectionLimits) {
        self.counts.lock().limits = limits;
        self.roomier.notify_waiters();
    }

    /// Waits until one more connection may be accepted on this listener.
    pub(crate) async fn room(self: &Arc<Self>, listener: &Arc<str>) -> Room {
        loop {
            let mut roomier = pin!(self.roomier.notified());
            // Before looking, so that what happens in between is not missed.
            roomier.as_mut().enable();
            if let Some(room) = self.take_room(listener) {
                return room;
            }
            roomier.await;
        }
    }

    fn take_room(self: &Arc<Self>, listener: &Arc<str>) -> Option<Room> {
        let mut counts = self.counts.lock();
        let exempt = counts.limits.exempt.as_ref() == Some(listener);
        let is_full = |limit: Option<usize>| limit.is_some_and(|most| counts.total >= most);
        if is_full(counts.limits.most) || (!exempt && is_full(counts.limits.total)) {
            return None;
        }
        let here = counts.by_listener.get(listener).copied().unwrap_or(0);
        if counts.limits.per_listener.get(listener).is_some_and(|most| here >= *most) {
            return None;
        }
        counts.total += usize::from(!exempt);
        counts.by_listener.insert(Arc::clone(listener), here + 1);
        Some(Room { admission: Arc::clone(self), listener: Arc::clone(listener), in_total: !exempt })
    }

    /// Counts a connection from `ip`; `None` when there are too many from there.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, mut room: Room) -> Option<Admitted> {
        let mut counts = self.counts.lock();
        let limit = counts.limits.per_ip_overrides.get(&ip).copied().or(counts.limits.per_ip);
        let count = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if limit.is_some_and(|limit| count >= limit) {
            // Before the room is given back, which takes the lock.
            drop(counts);
            return None;
        }
        counts.by_ip.insert(ip, count + 1);
        counts.total += usize::from(!std::mem::replace(&mut room.in_total, true));
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { room, ip, id })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.total -= usize::from(self.in_total);
        if let Some(count) = counts.by_listener.get_mut(&self.listener) {
            *count -= 1;
        }
        drop(counts);
        self.admission.roomier.notify_waiters();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.room.admission.counts.lock();
        if let Some(count) = counts.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::FutureExt;

    use super::*;

    fn limits(total: usize, per_ip: usize) -> ConnectionLimits {
        ConnectionLimits { total: Some(total), per_ip: Some(per_ip), ..ConnectionLimits::default() }
    }

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, last).into()
    }

    fn open_on(admission: &Arc<Admission>, listener: &str, last: u8) -> Option<Admitted> {
        let room = admission.room(&listener.into()).now_or_never()?;
        admission.admit(ip(last), room)
    }

    fn open(admission: &Arc<Admission>, last: u8) -> Option<Admitted> {
        open_on(admission, "A", last)
    }

    #[test]
    fn a_listener_has_a_limit_of_its_own_and_clients_do_not_shut_the_brokers_out() {
        let limits = ConnectionLimits {
            exempt: Some("B".into()),
            per_listener: HashMap::from([("A".into(), 2), ("B".into(), 3)]),
            ..limits(3, 99)
        };
        let admission = Admission::new(limits);
        let a: Vec<_> = (0..3).filter_map(|_| open(&admission, 1)).collect();
        let c: Vec<_> = (0..3).filter_map(|_| open_on(&admission, "C", 1)).collect();
        assert_eq!((a.len(), c.len()), (2, 1));
        let b: Vec<_> = (0..4).filter_map(|_| open_on(&admission, "B", 1)).collect();
        assert_eq!(b.len(), 3);
        drop((a, b));
        // What waits for a broker takes nothing from the clients.
        let _waiting = admission.room(&"B".into()).now_or_never().expect("there is room");
        let more: Vec<_> = (0..3).filter_map(|_| open_on(&admission, "C", 1)).collect();
        assert_eq!(more.len(), 3 - c.len());
        // What the process cannot bear, brokers do not get either.
        admission.limit(ConnectionLimits { most: Some(4), exempt: Some("B".into()), ..self::limits(3, 99) });
        assert_eq!(
            (0..4).map(|_| open_on(&admission, "B", 1)).collect::<Vec<_>>().iter().flatten().count(),
            1
        );
    }

    #[test]
    fn whoever_waits_for_room_gets_it_when_the_limit_is_raised_or_one_leaves() {
        let (admission, a) = (Admission::new(limits(1, 9)), Arc::from("A"));
        let first = open(&admission, 1).expect("there is room");
        let mut second = Box::pin(admission.room(&a));
        assert!(second.as_mut().now_or_never().is_none());
        admission.limit(limits(2, 9));
        let second = second.now_or_never().expect("there is room now");
        let mut third = Box::pin(admission.room(&a));
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        let third = third.now_or_never().expect("one has left");
        // Lowered below what is there: those stay, and nobody comes before enough of them have left.
        admission.limit(limits(1, 9));
        drop(first);
        assert!(open(&admission, 1).is_none());
        drop(third);
        assert!(open(&admission, 1).is_some());
    }

    #[test]
    fn an_address_has_the_limit_of_now() {
        let admission = Admission::new(limits(9, 1));
        let _first = open(&admission, 1).expect("the first");
        assert!(open(&admission, 1).is_none() && open(&admission, 2).is_some());
        let overrides = HashMap::from([(ip(1), 2)]);
        admission.limit(ConnectionLimits { per_ip_overrides: overrides, ..limits(9, 0) });
        let second = open(&admission, 1).expect("two, of this address");
        assert!(open(&admission, 1).is_none() && open(&admission, 2).is_none());
        drop(second);
        assert!(open(&admission, 1).is_some(), "refused and gone ones are not counted");
        assert_eq!(admission.counts.lock().total, 1);
    }
}
