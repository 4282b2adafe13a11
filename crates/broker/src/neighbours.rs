//! The other brokers, each watched over a connection that carries nothing.
//!
//! A process that ends closes its connections: whoever holds one knows at once. This is only used to have clients wait
//! for the controller's decision instead of being told what no longer holds (see [`Losses`]); who is fenced is the
//! controller's business, which watches for itself. A process that stands still, or is cut off, closes nothing.

use std::{
    collections::HashMap,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ottla_metadata::{BrokerRegistration, Endpoint, Image, ImageCell};
use ottla_net::peer::contact;
use ottla_router::Losses;
use ottla_types::NodeId;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep, timeout},
};
use tracing::debug;

/// A connection has to be made within this.
const SETUP: Duration = Duration::from_secs(5);
/// Wait before it is tried anew, when it could not be made.
const RETRY: Duration = Duration::from_millis(200);
/// A connection that lasts so long is to somebody who lives: one that ends takes less to close all it has.
const LIVES: Duration = Duration::from_millis(30);
/// A connection that ended sooner than this was perhaps never wanted: not made anew at once a third time.
const SHORT: Duration = Duration::from_secs(1);

/// Watches all brokers but this one, until it is dropped.
pub(crate) struct Neighbours(JoinHandle<()>);

impl Neighbours {
    /// `listener` is where brokers reach each other.
    pub(crate) fn watch(
        node_id: NodeId,
        listener: &str,
        image: &Arc<ImageCell>,
        losses: &Arc<Losses>,
    ) -> Self {
        let mut round =
            Round { node_id, listener: listener.into(), losses: losses.clone(), watched: HashMap::new() };
        let mut watch = image.watch();
        Self(tokio::spawn(async move {
            loop {
                round.look(&watch.get());
                watch.changed().await;
            }
        }))
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who is watched.
struct Round {
    node_id: NodeId,
    listener: Arc<str>,
    losses: Arc<Losses>,
    watched: HashMap<NodeId, Watched>,
}

struct Watched {
    epoch: i64,
    at: Endpoint,
    /// It has said that it is stopping.
    stopping: bool,
    connected: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Round {
    fn look(&mut self, image: &Image) {
        let Self { listener, losses, watched, .. } = self;
        watched.retain(|id, known| {
            let now = image.broker(*id).filter(|now| now.epoch == known.epoch);
            if now.is_some_and(|now| !now.fenced && now.listener(listener) == Some(&known.at)) {
                return true;
            }
            // Whoever answers no calls may be listed a little longer. One that may still be there must not.
            if now.is_some_and(|now| now.fenced)
                && (known.stopping || !known.connected.load(Ordering::Acquire))
            {
                losses.gone(*id, known.epoch);
            }
            losses.found(*id, known.epoch);
            false
        });
        for broker in image.alive_brokers().filter(|broker| broker.id != self.node_id) {
            if let Some(known) = self.watched.get_mut(&broker.id) {
                known.stopping |= broker.in_controlled_shutdown;
            } else if let Some(watched) = self.attend(broker) {
                self.watched.insert(broker.id, watched);
            }
        }
    }

    fn attend(&self, broker: &BrokerRegistration) -> Option<Watched> {
        let at = broker.listener(&self.listener)?.clone();
        let connected = Arc::new(AtomicBool::new(false));
        let attending = attend((broker.id, broker.epoch), at.clone(), connected.clone(), self.losses.clone());
        let task = tokio::spawn(attending).abort_handle();
        Some(Watched { epoch: broker.epoch, at, stopping: broker.in_controlled_shutdown, connected, task })
    }
}

async fn attend(start: (NodeId, i64), at: Endpoint, connected: Arc<AtomicBool>, losses: Arc<Losses>) {
    let (id, epoch) = start;
    let mut short = 0;
    loop {
        match contact(&at.host, at.port, SETUP).await {
            Ok(mut contact) => {
                let since = Instant::now();
                connected.store(true, Ordering::Release);
                if timeout(LIVES, contact.lost()).await.is_err() {
                    losses.found(id, epoch);
                    contact.lost().await;
                }
                // At once: its clients know it by now, too.
                losses.missing(id, epoch);
                connected.store(false, Ordering::Release);
                short = if since.elapsed() < SHORT { short + 1 } else { 0 };
                // It may have been idle too long; or the process ends, and has not closed its listener yet.
                if short < 3 {
                    continue;
                }
            }
            // Nobody is there, or whoever took the call was ending.
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
                losses.missing(id, epoch);
            }
            Err(e) => debug!("Broker {id} cannot be called: {e}"),
        }
        sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn image(port: u16, fenced: bool) -> Arc<Image> {
        let at = Endpoint { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port, security_protocol: 0 };
        let broker = BrokerRegistration {
            id: 2,
            epoch: 20,
            incarnation_id: uuid::Uuid::nil(),
            listeners: vec![at],
            features: Vec::new(),
            rack: None,
            fenced,
            in_controlled_shutdown: false,
            log_dirs: Vec::new(),
            cordoned_log_dirs: None,
        };
        Arc::new(Image { brokers: Arc::new([(2, Arc::new(broker))].into()), ..Image::new() })
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let wait = async {
            while !holds() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("never {what}"));
    }

    #[tokio::test]
    async fn a_broker_whose_process_ended_is_missed_until_it_is_fenced_then_lingers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let cell = Arc::new(ImageCell::new(image(port, false)));
        let losses = Arc::new(Losses::new(cell.clone()));
        let _watching = Neighbours::watch(1, "PLAINTEXT", &cell, &losses);
        let (held, _) = listener.accept().await.expect("it calls");
        // One connection that is lost says nothing: it calls again.
        drop(held);
        until("missed", || losses.is_missing(2, 20)).await;
        let (held, _) = listener.accept().await.expect("it calls again");
        until("found", || !losses.is_missing(2, 20)).await;
        drop(listener);
        drop(held);
        until("missed", || losses.is_missing(2, 20)).await;
        cell.publish(image(port, true));
        until("settled", || !losses.is_missing(2, 20)).await;
        assert!(losses.has_just_gone(2, 20));
    }

    #[tokio::test]
    async fn a_broker_that_stands_still_is_not_missed_and_does_not_linger() {
        // Nobody accepts, but the connection is made.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let cell = Arc::new(ImageCell::new(image(port, false)));
        let losses = Arc::new(Losses::new(cell.clone()));
        let watching = Neighbours::watch(1, "PLAINTEXT", &cell, &losses);
        let (_held, _) = listener.accept().await.expect("it calls");
        sleep(Duration::from_millis(20)).await;
        cell.publish(image(port, true));
        sleep(Duration::from_millis(20)).await;
        assert!(!losses.is_missing(2, 20) && !losses.has_just_gone(2, 20));
        drop(watching);
    }
}
