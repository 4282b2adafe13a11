//! Brokers that went away a moment ago: what clients are told until all is settled.
//!
//! A client that loses a broker asks another one who leads now. It asks at once, while the controller is still deciding;
//! one that is told yesterday's leader may ask again as late as a second after (librdkafka looks round once a second).
//! So an answer that would name a broker which this one has just seen going away waits for the decision: milliseconds,
//! half a second at most.
//!
//! And a broker that went away is still listed for a while, though it leads nothing: librdkafka forgets the leaders of
//! partitions that have just moved away from a broker which the same answer no longer lists, for another second.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ottla_metadata::{BrokerRegistration, Image, ImageCell};
use ottla_types::NodeId;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// How long an answer waits for the decision about a broker, counted from its loss.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a broker that went away is listed.
const LINGER: Duration = Duration::from_secs(5);

/// A start of a broker: its id and its epoch.
type Start = (NodeId, i64);

/// Who is missed, and who has just gone. Told by whoever watches the other brokers, asked by handlers.
#[derive(Debug)]
pub struct Losses {
    image: Arc<ImageCell>,
    known: Mutex<Known>,
    /// Whether anyone is missed: asked before the lock is taken.
    any_missing: AtomicBool,
    found: Notify,
}

#[derive(Debug, Default)]
struct Known {
    missing: HashMap<Start, Instant>,
    gone: HashMap<Start, Instant>,
}

impl Losses {
    /// Nobody is missed.
    #[must_use]
    pub fn new(image: Arc<ImageCell>) -> Self {
        let (known, any_missing) = (Mutex::default(), AtomicBool::new(false));
        Self { image, known, any_missing, found: Notify::new() }
    }

    /// A broker of this epoch went away without a word: nobody listens where it did.
    pub fn missing(&self, id: NodeId, epoch: i64) {
        let mut known = self.known.lock();
        known.missing.entry((id, epoch)).or_insert_with(Instant::now);
        self.any_missing.store(true, Ordering::Release);
    }

    /// It is there (again), or the matter is closed.
    pub fn found(&self, id: NodeId, epoch: i64) {
        let mut known = self.known.lock();
        if known.missing.remove(&(id, epoch)).is_some() {
            self.any_missing.store(!known.missing.is_empty(), Ordering::Release);
            self.found.notify_waiters();
        }
    }

    /// Whether a broker of this epoch is missed.
    #[must_use]
    pub fn is_missing(&self, id: NodeId, epoch: i64) -> bool {
        self.known.lock().missing.contains_key(&(id, epoch))
    }

    /// Whether a broker of this epoch went away a moment ago.
    #[must_use]
    pub fn has_just_gone(&self, id: NodeId, epoch: i64) -> bool {
        self.known.lock().gone.get(&(id, epoch)).is_some_and(|at| at.elapsed() < LINGER)
    }

    /// A broker of this epoch was fenced because it went away or is stopping: those who try to reach it are refused at
    /// once, so it does no harm to list it a little longer.
    pub fn gone(&self, id: NodeId, epoch: i64) {
        let now = Instant::now();
        let mut known = self.known.lock();
        known.gone.retain(|_, at| now.duration_since(*at) < LINGER);
        known.gone.insert((id, epoch), now);
    }

    /// Whether clients are to see a broker among the others.
    pub(crate) fn is_listed(&self, broker: &BrokerRegistration) -> bool {
        let (id, epoch) = (broker.id, broker.epoch);
        // One that is missed has been fenced this moment: the news of it are on their way here.
        !broker.fenced || self.has_just_gone(id, epoch) || self.is_missing(id, epoch)
    }

    /// When `concerns` says that an answer would name a broker that is missed: ends when that has been decided on, or it
    /// is there after all, or was waited for long enough. `None` when there is nothing to wait for.
    pub(crate) fn decision(
        self: &Arc<Self>,
        concerns: &mut dyn FnMut(NodeId) -> bool,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !self.any_missing.load(Ordering::Acquire) {
            return None;
        }
        let now = Instant::now();
        let image = self.image.get();
        let waits_for = |(start, since): (&Start, &Instant)| {
            let until = *since + PATIENCE;
            (until > now && undecided(&image, *start) && concerns(start.0)).then_some(until)
        };
        let until = self.known.lock().missing.iter().filter_map(waits_for).max()?;
        let losses = self.clone();
        Some(async move {
            let mut watch = losses.image.watch();
            let decided = async {
                loop {
                    let found = losses.found.notified();
                    if !losses.is_undecided() {
                        return;
                    }
                    tokio::select! {
                        () = found => {}
                        _ = watch.changed() => {}
                    }
                }
            };
            let _ = timeout_at(until, decided).await;
        })
    }

    fn is_undecided(&self) -> bool {
        let image = self.image.load();
        self.known.lock().missing.keys().any(|start| undecided(&image, *start))
    }
}

/// Whether the cluster still counts on this start of a broker.
fn undecided(image: &Image, (id, epoch): Start) -> bool {
    image.broker(id).is_some_and(|broker| broker.epoch == epoch && !broker.fenced)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_metadata::Image;
    use tokio::time::{advance, timeout};

    use super::*;

    fn broker(id: NodeId, epoch: i64, fenced: bool) -> BrokerRegistration {
        BrokerRegistration {
            id,
            epoch,
            incarnation_id: uuid::Uuid::nil(),
            listeners: Vec::new(),
            features: Vec::new(),
            rack: None,
            fenced,
            in_controlled_shutdown: false,
            log_dirs: Vec::new(),
            cordoned_log_dirs: None,
        }
    }

    fn image(brokers: &[(NodeId, i64, bool)]) -> Arc<Image> {
        let brokers = brokers.iter().map(|one| (one.0, Arc::new(broker(one.0, one.1, one.2))));
        Arc::new(Image { brokers: Arc::new(brokers.collect()), ..Image::new() })
    }

    fn losses(brokers: &[(NodeId, i64, bool)]) -> (Arc<ImageCell>, Arc<Losses>) {
        let cell = Arc::new(ImageCell::new(image(brokers)));
        (cell.clone(), Arc::new(Losses::new(cell)))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_wait_until_a_missing_broker_is_fenced() {
        let (cell, losses) = losses(&[(1, 10, false), (2, 20, false)]);
        assert!(losses.decision(&mut |_| true).is_none());
        losses.missing(2, 20);
        assert!(losses.decision(&mut |id| id == 1).is_none());
        let decision = losses.decision(&mut |id| id == 2).expect("it is missed");
        let mut decision = std::pin::pin!(decision);
        assert!(timeout(Duration::from_millis(100), &mut decision).await.is_err());
        // Something else.
        cell.publish(image(&[(1, 10, false), (2, 20, false)]));
        assert!(timeout(Duration::from_millis(100), &mut decision).await.is_err());
        cell.publish(image(&[(1, 10, false), (2, 20, true)]));
        timeout(Duration::from_millis(1), decision).await.expect("it is decided");
        assert!(losses.decision(&mut |id| id == 2).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_wait_no_longer_than_half_a_second_after_the_loss() {
        let (_cell, losses) = losses(&[(1, 10, false), (2, 20, false)]);
        losses.missing(2, 20);
        advance(Duration::from_millis(300)).await;
        // Told twice: the first time counts.
        losses.missing(2, 20);
        let began = Instant::now();
        losses.decision(&mut |_| true).expect("it is missed").await;
        assert!(began.elapsed() <= Duration::from_millis(201), "{:?}", began.elapsed());
        assert!(losses.decision(&mut |_| true).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_was_found_is_not_waited_for() {
        let (cell, losses) = losses(&[(1, 10, false), (2, 20, false)]);
        losses.missing(2, 20);
        let waiting = tokio::spawn(losses.decision(&mut |_| true).expect("it is missed"));
        advance(Duration::from_millis(10)).await;
        losses.found(2, 20);
        timeout(Duration::from_millis(1), waiting).await.expect("it was found").expect("no panic");
        // The next start of a broker is another one.
        losses.missing(2, 20);
        cell.publish(image(&[(1, 10, false), (2, 30, false)]));
        assert!(losses.decision(&mut |_| true).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_went_away_is_listed_a_while() {
        let (_cell, losses) = losses(&[]);
        assert!(losses.is_listed(&broker(2, 20, false)));
        assert!(!losses.is_listed(&broker(2, 20, true)));
        losses.missing(2, 20);
        assert!(losses.is_listed(&broker(2, 20, true)));
        losses.gone(2, 20);
        losses.found(2, 20);
        assert!(losses.is_listed(&broker(2, 20, true)));
        assert!(!losses.is_listed(&broker(2, 30, true)));
        advance(LINGER).await;
        assert!(!losses.is_listed(&broker(2, 20, true)));
    }
}
