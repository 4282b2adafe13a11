//! News of brokers: a broker whose connection was closed has probably died, and need not be waited for.
//!
//! The active controller knows over which connection a broker's last heartbeat came. When it has been closed,
//! the broker is called at its own listener; if nobody is there, the controller is told. A broker that only lost its
//! connections answers the call, and is left to its session, unless the call ends too before it is heard of again. A
//! controller that becomes the active one calls all.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_controller::{Command, Controller};
use ottla_metadata::{Endpoint, ImageCell};
use ottla_net::{
    ConnectionInfo, FrameService, Outcome,
    peer::{Contact, contact},
};
use ottla_raft::{Handle, Speakers, SubmitError};
use ottla_router::{BrokerConnections, Router, Session};
use ottla_types::{Clock, Millis, NodeId};
use parking_lot::Mutex;
use tracing::{debug, info};

/// How long a broker has to take the call.
const PROBE: Duration = Duration::from_millis(500);
/// How often it is looked whether who has taken the call was heard of again.
const LOOK: Duration = Duration::from_secs(1);
/// Wait before it is called again when a call has ended: a process that ends does not close everything at once.
const AGAIN: Duration = Duration::from_millis(5);

/// Who is connected.
pub(crate) struct Presence {
    /// This node, whose own broker ends with it.
    node_id: NodeId,
    quorum: Handle<Controller>,
    image: Arc<ImageCell>,
    clock: Arc<dyn Clock>,
    /// `inter.broker.listener.name`, where it is known here.
    listener: Option<String>,
    /// With their broker epochs.
    speakers: Mutex<Speakers<i64>>,
}

impl Presence {
    pub(crate) fn new(
        node_id: NodeId,
        quorum: Handle<Controller>,
        image: Arc<ImageCell>,
        clock: Arc<dyn Clock>,
        listener: Option<String>,
    ) -> Arc<Self> {
        let presence = Arc::new(Self { node_id, quorum, image, clock, listener, speakers: Mutex::default() });
        tokio::spawn(presence.clone().call_all_in_new_terms());
        presence
    }

    fn closed(self: &Arc<Self>, connection: u64) {
        // The same news about a leader: the voters need not wait for it.
        self.quorum.connection_closed(connection);
        let Some((broker, epoch)) = self.speakers.lock().closed(connection) else { return };
        let (since, presence) = (self.clock.ticks(), self.clone());
        debug!("The connection that broker {broker} was heard over last is closed");
        // Connections end also when the process does, and there is no runtime any more.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { presence.call(broker, epoch, since).await });
        }
    }

    /// Calls every broker whenever this controller becomes the active one: whoever died with the one before it has nobody
    /// else to miss it. Connections of an earlier term say nothing: who went over to another controller left them, and
    /// where the network was cut they are open still.
    async fn call_all_in_new_terms(self: Arc<Self>) {
        let mut status = self.quorum.status();
        let mut last = None;
        // An error says that the quorum's driver is gone.
        while let Ok(term) =
            status.wait_for(|now| now.in_office && Some(now.epoch) != last).await.map(|now| now.epoch)
        {
            last = Some(term);
            *self.speakers.lock() = Speakers::default();
            let since = self.clock.ticks();
            let image = self.image.get();
            for known in image.alive_brokers().filter(|known| known.id != self.node_id) {
                let (presence, broker, epoch) = (self.clone(), known.id, known.epoch);
                tokio::spawn(async move { presence.call(broker, epoch, since).await });
            }
        }
    }

    async fn call(&self, broker: NodeId, epoch: i64, since: Millis) {
        loop {
            let endpoints = self.listeners_of(broker, epoch);
            if endpoints.is_empty() {
                return;
            }
            match reach(&endpoints).await {
                Some(Ok(mut taken)) => {
                    if tokio::time::timeout(LOOK, taken.lost()).await.is_ok() {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                // Taken by a process that was ending.
                Some(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => tokio::time::sleep(AGAIN).await,
                Some(Err(e)) => {
                    debug!("Broker {broker} was not heard of, and cannot be called: {e}");
                    return;
                }
                None => break,
            }
        }
        if self.listeners_of(broker, epoch).is_empty() {
            return;
        }
        info!("Broker {broker} is gone: its connection is closed and nobody listens for it");
        // It is told by the facts whether this counted.
        while let Err(SubmitError::Busy) =
            self.quorum.submit(Command::BrokerLost { id: broker, epoch, since }).await
        {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Where to call a broker; nowhere when there is no need to.
    fn listeners_of(&self, broker: NodeId, epoch: i64) -> Vec<Endpoint> {
        if self.is_connected(broker) || !self.quorum.status().borrow().in_office {
            return Vec::new();
        }
        match self.image.get().broker(broker) {
            Some(known) if known.epoch == epoch && known.is_active() => {
                let own = self.listener.as_deref().and_then(|name| known.listener(name));
                own.map_or_else(|| known.listeners.clone(), |own| vec![own.clone()])
            }
            _ => Vec::new(),
        }
    }
}

/// Whoever listens at any of these places; why it cannot be told; `None` when nobody does.
async fn reach(endpoints: &[Endpoint]) -> Option<io::Result<Contact>> {
    for at in endpoints {
        match contact(&at.host, at.port, PROBE).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            outcome => return Some(outcome),
        }
    }
    None
}

impl BrokerConnections for Presence {
    fn heartbeat(&self, connection: u64, broker: NodeId, epoch: i64) {
        // One that lives on after it was replaced speaks for nobody, and no more does who makes an epoch up.
        if self.image.get().broker(broker).is_some_and(|known| known.epoch == epoch) {
            self.speakers.lock().heard(connection, broker, epoch);
        }
    }

    fn is_connected(&self, broker: NodeId) -> bool {
        self.speakers.lock().get(broker).is_some()
    }
}

/// The controller listener's router, which notices when a connection ends.
pub(crate) struct Watched {
    pub(crate) router: Router,
    pub(crate) presence: Arc<Presence>,
}

/// One connection of the controller listener.
pub(crate) struct WatchedSession {
    session: Session,
    presence: Arc<Presence>,
}

impl Drop for WatchedSession {
    fn drop(&mut self) {
        self.presence.closed(self.session.connection);
    }
}

impl FrameService for Watched {
    type Session = WatchedSession;

    fn open(&self, connection: ConnectionInfo) -> WatchedSession {
        WatchedSession { session: self.router.open(connection), presence: self.presence.clone() }
    }

    fn call(&self, session: &mut WatchedSession, frame: Bytes) -> Outcome {
        self.router.call(&mut session.session, frame)
    }
}
