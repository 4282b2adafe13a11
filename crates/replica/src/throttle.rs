//! Throttled replication (KIP-73, KIP-455): while a reassignment copies, the replicas it names stay below a rate.
//!
//! `leader.replication.throttled.replicas` and `follower.replication.throttled.replicas` of a topic name replicas;
//! `leader.replication.throttled.rate` and `follower.replication.throttled.rate` of a broker say how many bytes in a
//! second it sends to, or fetches for, those of them that are not in sync. The rate is measured as Kafka measures it: over
//! a window of samples, and what is above it waits until the average has come down. Replicas in sync are counted and
//! never held back.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use ottla_metadata::Image;
use ottla_types::{Millis, NodeId};
use parking_lot::Mutex;

use crate::{Replica, ReplicaManager};

/// Bytes in the samples of the last while.
#[derive(Debug)]
pub(crate) struct QuotaWindow {
    /// `replication.quota.window.num`.
    samples: usize,
    /// `replication.quota.window.size.seconds`, in milliseconds.
    sample_ms: i64,
    held: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    started: Millis,
    last: Millis,
    bytes: u64,
}

impl QuotaWindow {
    pub(crate) fn new(samples: usize, sample_ms: i64) -> Self {
        Self { samples: samples.max(1), sample_ms: sample_ms.max(1), held: VecDeque::new() }
    }

    /// Bytes went over the wire.
    pub(crate) fn record(&mut self, now: Millis, bytes: u64) {
        self.forget(now);
        match self.held.back_mut() {
            Some(sample) if now.since(sample.started) < self.sample_ms => {
                sample.last = now;
                sample.bytes = sample.bytes.saturating_add(bytes);
            }
            _ => {
                self.held.push_back(Sample { started: now, last: now, bytes });
                // One more than the window has, for the one that is only half in it.
                while self.held.len() > self.samples + 1 {
                    self.held.pop_front();
                }
            }
        }
    }

    /// Whether more than `rate` bytes went in a second, on average since the oldest sample began.
    pub(crate) fn is_above(&mut self, now: Millis, rate: i64) -> bool {
        self.forget(now);
        let Some(oldest) = self.held.front() else { return false };
        let ms = now.since(oldest.started).max(self.sample_ms);
        let bytes: u64 = self.held.iter().fold(0, |sum, sample| sum.saturating_add(sample.bytes));
        u128::from(bytes) * 1000 > u128::from(rate.max(0).unsigned_abs()) * u128::from(ms.unsigned_abs())
    }

    fn forget(&mut self, now: Millis) {
        let span = self.sample_ms.saturating_mul(i64::try_from(self.samples).unwrap_or(i64::MAX));
        while self.held.front().is_some_and(|sample| now.since(sample.last) >= span) {
            self.held.pop_front();
        }
    }
}

/// One direction's rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: AtomicI64,
    window: Mutex<QuotaWindow>,
}

impl Throttle {
    fn new(rate: i64, window: (usize, i64)) -> Self {
        Self { rate: AtomicI64::new(rate), window: Mutex::new(QuotaWindow::new(window.0, window.1)) }
    }

    fn set_rate(&self, rate: i64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    pub(crate) fn is_exceeded(&self, now: Millis) -> bool {
        let rate = self.rate.load(Ordering::Relaxed);
        rate < i64::MAX && self.window.lock().is_above(now, rate)
    }

    pub(crate) fn record(&self, now: Millis, bytes: usize) {
        self.window.lock().record(now, bytes as u64);
    }
}

/// Both directions.
#[derive(Debug)]
pub(crate) struct Throttles {
    /// To followers.
    pub(crate) leader: Throttle,
    /// From leaders.
    pub(crate) follower: Throttle,
}

impl Throttles {
    pub(crate) fn new(settings: &ReplicationSettings, window: (usize, i64)) -> Self {
        Self {
            leader: Throttle::new(settings.leader_throttled_rate, window),
            follower: Throttle::new(settings.follower_throttled_rate, window),
        }
    }
}

/// Settings of replication that may change at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicationSettings {
    /// `leader.replication.throttled.rate`, in bytes a second.
    pub leader_throttled_rate: i64,
    /// `follower.replication.throttled.rate`, in bytes a second.
    pub follower_throttled_rate: i64,
    /// `num.replica.fetchers`.
    pub fetchers: u32,
}

impl Default for ReplicationSettings {
    fn default() -> Self {
        Self { leader_throttled_rate: i64::MAX, follower_throttled_rate: i64::MAX, fetchers: 1 }
    }
}

/// Reads them out of an image.
#[derive(Clone)]
pub struct ReplicationSettingsOf(pub Arc<dyn Fn(&Image) -> ReplicationSettings + Send + Sync>);

impl std::fmt::Debug for ReplicationSettingsOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplicationSettingsOf")
    }
}

/// Replicas of a topic that are throttled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// These: partition and broker.
    Some(Arc<[(i32, NodeId)]>),
}

impl ThrottledReplicas {
    /// Reads `*` or `partition:broker,...`. What is neither was refused when it was set, and names nobody.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "" => Self::None,
            "*" => Self::All,
            list => {
                let replica = |item: &str| {
                    let (partition, broker) = item.split_once(':')?;
                    Some((partition.trim().parse().ok()?, broker.trim().parse().ok()?))
                };
                Self::Some(list.split(',').filter_map(replica).collect())
            }
        }
    }

    /// Whether the replica of this partition on this broker is one of them.
    #[must_use]
    pub fn contains(&self, partition: i32, broker: NodeId) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(replicas) => replicas.contains(&(partition, broker)),
        }
    }
}

impl ReplicaManager {
    /// Takes over what was set on brokers.
    pub(crate) fn follow_replication_settings(&self, image: &Image) {
        let Some(ReplicationSettingsOf(of)) = &self.options.replication_of else { return };
        let settings = of(image);
        self.throttles.leader.set_rate(settings.leader_throttled_rate);
        self.throttles.follower.set_rate(settings.follower_throttled_rate);
        if let Some(replication) = self.replication.get() {
            replication.set_fetchers(settings.fetchers, self);
        }
    }

    /// Whether a follower gets nothing of this partition for now, because it is not in sync, is one of those that are
    /// throttled, and this broker has sent as much to them as it may.
    #[must_use]
    pub fn holds_back(&self, replica: &Replica, follower: NodeId) -> bool {
        self.is_leader_throttled(replica)
            && self.throttles.leader.is_exceeded(self.clock.ticks())
            && !replica.in_sync_followers().iter().any(|remote| remote.broker == follower)
    }

    /// Bytes of this partition were sent to a follower.
    pub fn sent_to_follower(&self, replica: &Replica, bytes: usize) {
        if bytes > 0 && self.is_leader_throttled(replica) {
            self.throttles.leader.record(self.clock.ticks(), bytes);
        }
    }

    fn is_leader_throttled(&self, replica: &Replica) -> bool {
        replica.settings.load().leader_throttled.contains(replica.name.partition, self.options.node)
    }

    pub(crate) fn is_follower_throttled(&self, replica: &Replica) -> bool {
        replica.settings.load().follower_throttled.contains(replica.name.partition, self.options.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_an_average_over_the_samples_there_are() {
        let mut window = QuotaWindow::new(11, 1000);
        assert!(!window.is_above(Millis(0), 0), "nothing was sent");
        window.record(Millis(0), 1000);
        // A window is never shorter than a sample.
        assert!(!window.is_above(Millis(0), 1000) && window.is_above(Millis(0), 999));
        window.record(Millis(500), 1000);
        assert!(window.is_above(Millis(999), 1999) && !window.is_above(Millis(999), 2000));
        // It comes down with time.
        assert!(window.is_above(Millis(1999), 1000) && !window.is_above(Millis(2000), 1000));
        window.record(Millis(2000), 1);
        assert!(window.is_above(Millis(2000), 1000) && !window.is_above(Millis(2001), 1000));
        assert!(window.is_above(Millis(10_000), 0));
    }

    #[test]
    fn samples_leave_the_window_and_their_bytes_with_them() {
        let mut window = QuotaWindow::new(3, 1000);
        window.record(Millis(0), 90_000);
        for second in 1..3 {
            window.record(Millis(second * 1000), 1000);
        }
        assert!(window.is_above(Millis(2999), 30_000));
        // The first one's last byte is three seconds old.
        assert!(!window.is_above(Millis(3000), 1000));
        // After silence everything begins anew.
        assert!(!window.is_above(Millis(60_000), 0));
        window.record(Millis(60_000), 500);
        assert!(!window.is_above(Millis(60_000), 500));
        // No more samples than there are places for, whatever the clock does.
        for at in 0..1000 {
            window.record(Millis(70_000 + at * 1000), u64::MAX);
            assert!(window.held.len() <= 4);
        }
        assert!(window.is_above(Millis(1_069_000), i64::MAX), "a sum stays where it can be counted");
    }

    #[test]
    fn a_steady_stream_settles_at_the_rate() {
        let (mut window, mut sent, rate) = (QuotaWindow::new(11, 1000), 0u64, 10_000);
        for now in 0..60_000 {
            if !window.is_above(Millis(now), rate) {
                window.record(Millis(now), 700);
                sent += 700;
            }
        }
        assert!((595_000..=650_000).contains(&sent), "{sent} bytes in a minute at {rate} a second");
    }

    #[test]
    fn replicas_are_named_as_the_tools_name_them() {
        let named = ThrottledReplicas::parse(" 0:1, 2:3,rubbish,4:");
        assert!(named.contains(0, 1) && named.contains(2, 3));
        assert!(!named.contains(0, 3) && !named.contains(4, 0));
        assert!(ThrottledReplicas::parse("*").contains(7, 7));
        assert_eq!(ThrottledReplicas::parse(""), ThrottledReplicas::None);
        assert!(!ThrottledReplicas::None.contains(0, 1));
    }
}
