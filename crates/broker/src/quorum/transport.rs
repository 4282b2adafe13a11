//! Raft's messages on their way to other controllers.
//!
//! Each member has a queue of its own and a task that empties it over one connection, as much as there is in one request
//! at a time. A queue that is full drops, and so does one whose connection fails: raft sends again what matters, and what
//! is old matters least.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use ottla_controller::Controller;
use ottla_net::peer::{Peer, PeerError, PeerOptions};
use ottla_protocol::{
    StrBytes,
    messages::{OttlaRaftEndpoint, OttlaRaftRequest},
};
use ottla_raft::{Handle, Message, MessageType, Transport, VoterEndpoint, encode_message, node_of};
use ottla_types::{ErrorCode, NodeId};
use parking_lot::Mutex;
use tokio::{runtime::Handle as Runtime, sync::mpsc};
use tracing::{debug, warn};
use uuid::Uuid;

use self::announce::announce;
use crate::storage_tool::JOIN_REMEDY;

mod announce;

/// Messages that may wait for a member.
const QUEUE: usize = 512;
/// Bytes of messages in one request, unless one is longer.
const REQUEST_BYTES: usize = 4 << 20;
/// A member that takes longer to answer is not there.
const PATIENCE: Duration = Duration::from_secs(1);
/// The slowest line that a snapshot still passes, in bytes per second: were it given up before, it would be sent again, and
/// never arrive.
const SLOWEST: u64 = 256 << 10;

/// Who this node is, as it tells the others.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) node_id: NodeId,
    pub(crate) directory_id: Uuid,
    pub(crate) endpoints: Vec<VoterEndpoint>,
}

impl Identity {
    /// `speaks_as`: raft's name of this member.
    fn request(&self, speaks_as: u64, to: NodeId, messages: Vec<Bytes>) -> OttlaRaftRequest {
        let endpoint = |at: &VoterEndpoint| OttlaRaftEndpoint {
            name: StrBytes::from_string(at.name.to_string()),
            host: StrBytes::from_string(at.host.to_string()),
            port: at.port,
            ..OttlaRaftEndpoint::default()
        };
        OttlaRaftRequest {
            cluster_id: StrBytes::from_string(self.cluster_id.to_string()),
            from: self.node_id,
            from_directory_id: self.directory_id,
            to,
            endpoints: self.endpoints.iter().map(endpoint).collect(),
            messages,
            speaks_as,
            ..OttlaRaftRequest::default()
        }
    }
}

/// The lines to the other members.
pub(crate) struct Lines(Arc<Inner>);

struct Inner {
    identity: Identity,
    runtime: Runtime,
    queues: Mutex<HashMap<u64, mpsc::Sender<Message>>>,
    addresses: Mutex<HashMap<u64, Vec<VoterEndpoint>>>,
    /// `controller.quorum.bootstrap.servers`.
    bootstrap: Vec<(String, u16)>,
    /// Set as soon as the driver runs.
    quorum: OnceLock<Handle<Controller>>,
}

pub(super) fn options(identity: &Identity) -> PeerOptions {
    PeerOptions {
        client_id: format!("raft-client-{}", identity.node_id).into(),
        request_timeout: PATIENCE,
        setup_timeout: PATIENCE,
        backoff: (Duration::from_millis(10), Duration::from_millis(60)),
        max_response_bytes: 1 << 20,
    }
}

impl Lines {
    /// Lines that carry nothing yet. Must be called within the runtime.
    pub(crate) fn new(identity: Identity, bootstrap: Vec<(String, u16)>) -> Self {
        Self(Arc::new(Inner {
            identity,
            runtime: Runtime::current(),
            queues: Mutex::default(),
            addresses: Mutex::default(),
            bootstrap,
            quorum: OnceLock::new(),
        }))
    }

    /// The side that the driver sends by.
    pub(crate) fn transport(&self) -> impl Transport {
        Sending(self.0.clone())
    }

    /// Tells the lines whom to tell what did not arrive, and begins to look for a leader when there is none.
    pub(crate) fn connect(&self, quorum: &Handle<Controller>) {
        let _ = self.0.quorum.set(quorum.clone());
        self.0.runtime.spawn(announce(Arc::downgrade(&self.0), quorum.clone()));
    }
}

struct Sending(Arc<Inner>);

impl Transport for Sending {
    fn send(&mut self, messages: Vec<Message>) {
        let mut queues = self.0.queues.lock();
        for message in messages {
            let (to, is_snapshot) = (message.to, is_snapshot(&message));
            let queue = queues.entry(to).or_insert_with(|| {
                let (queue, waiting) = mpsc::channel(QUEUE);
                self.0.runtime.spawn(line(Arc::downgrade(&self.0), to, waiting));
                queue
            });
            if queue.try_send(message).is_err()
                && is_snapshot
                && let Some(quorum) = self.0.quorum.get()
            {
                quorum.snapshot_sent(to, false);
            }
        }
    }

    fn addresses(&mut self, addresses: Vec<(u64, Vec<VoterEndpoint>)>) {
        let addresses: HashMap<_, _> = addresses.into_iter().collect();
        // Who is no member any more has no line: its task ends when its queue is empty.
        self.0.queues.lock().retain(|name, _| addresses.contains_key(name));
        *self.0.addresses.lock() = addresses;
    }
}

fn is_snapshot(message: &Message) -> bool {
    message.msg_type == MessageType::MsgSnapshot as i32
}

/// A member's line.
async fn line(lines: Weak<Inner>, to: u64, mut queue: mpsc::Receiver<Message>) {
    let mut peer: Option<Peer> = None;
    // Said once, not with every message that is sent in vain.
    let mut told = None;
    while let Some(first) = queue.recv().await {
        let Some(lines) = lines.upgrade() else { return };
        let (snapshot, messages) = gather(first, &mut queue);
        let patience = patience(snapshot, &messages);
        let node = node_of(to).unwrap_or(-1);
        let sent = match lines.peer(to, &mut peer) {
            Some(peer) => {
                // Nothing is sent before the driver runs, so the name is known but for a moment.
                let name = lines.quorum.get().map_or(0, Handle::name);
                let request = lines.identity.request(name, node, messages);
                let answer = peer.ask_within::<OttlaRaftRequest>(patience, 0..=0, |_| request).await;
                answer.map(|(_, answer)| answer.error_code)
            }
            None => Err(PeerError::Disconnected),
        };
        let Some(quorum) = lines.quorum.get() else { continue };
        let delivered = matches!(sent, Ok(0));
        if snapshot {
            quorum.snapshot_sent(to, delivered);
        }
        match sent {
            Ok(0) => told = None,
            Ok(code) => {
                if told.replace(code) != Some(code) {
                    let why = words(ErrorCode(code));
                    warn!("Controller {node} refused messages of the metadata quorum: {why}");
                }
                quorum.unreachable(to);
                // It will not think better of it soon.
                tokio::time::sleep(PATIENCE).await;
            }
            Err(error) => {
                debug!("Controller {node} cannot be reached: {error}");
                if matches!(error, PeerError::Disconnected | PeerError::Connect(_)) && peer.is_some() {
                    quorum.lost(node);
                }
                quorum.unreachable(to);
            }
        }
        if !delivered {
            // What waited is old by now.
            while let Ok(message) = queue.try_recv() {
                if is_snapshot(&message) {
                    quorum.snapshot_sent(to, false);
                }
            }
        }
    }
}

/// What a refusal means.
fn words(code: ErrorCode) -> String {
    match code {
        ErrorCode::INCONSISTENT_CLUSTER_ID => {
            format!(
                "it belongs to another cluster than the one this node was formatted for ({code}). {JOIN_REMEDY}"
            )
        }
        ErrorCode::INVALID_VOTER_KEY => {
            format!("another process with this node.id is a member of the quorum ({code})")
        }
        ErrorCode::VOTER_NOT_FOUND => format!(
            "the voter with this node.id has another directory id ({code}); if its disk was replaced, start this node on an \
             empty one with controller.quorum.bootstrap.servers instead of controller.quorum.voters, and let it take the \
             voter's place: by itself with controller.quorum.auto.join.enable=true, or by kafka-metadata-quorum.sh \
             remove-controller and add-controller"
        ),
        code => code.to_string(),
    }
}

/// How long an answer is waited for: who is sent a snapshot has to receive it first.
fn patience(snapshot: bool, messages: &[Bytes]) -> Duration {
    let bytes: usize = messages.iter().map(Bytes::len).sum();
    let sending = if snapshot { bytes as u64 * 1000 / SLOWEST } else { 0 };
    PATIENCE + Duration::from_millis(sending)
}

/// As many messages as go into one request, and whether a snapshot is among them.
fn gather(first: Message, queue: &mut mpsc::Receiver<Message>) -> (bool, Vec<Bytes>) {
    let mut snapshot = is_snapshot(&first);
    let mut messages = vec![encode_message(&first)];
    let mut bytes = messages[0].len();
    while bytes < REQUEST_BYTES
        && let Ok(next) = queue.try_recv()
    {
        snapshot |= is_snapshot(&next);
        let next = encode_message(&next);
        bytes += next.len();
        messages.push(next);
    }
    (snapshot, messages)
}

impl Inner {
    /// The connection to where the member is now.
    fn peer(&self, to: u64, peer: &mut Option<Peer>) -> Option<Peer> {
        let addresses = self.addresses.lock();
        let at = addresses.get(&to).and_then(|places| place(places, &self.identity))?;
        let same = peer.as_ref().is_some_and(|peer| peer.address() == (&*at.host, at.port));
        if !same {
            *peer = Some(Peer::new(&at.host, at.port, options(&self.identity)));
        }
        peer.clone()
    }
}

/// The endpoint of the listener that this node has too, else the first.
pub(super) fn place<'a>(places: &'a [VoterEndpoint], identity: &Identity) -> Option<&'a VoterEndpoint> {
    let own = identity.endpoints.first().map(|own| &own.name);
    places.iter().find(|place| Some(&place.name) == own).or(places.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_the_time_that_a_slow_line_takes() {
        let large = [Bytes::from(vec![0; 14 << 20]), Bytes::from(vec![0; 100])];
        assert_eq!(patience(false, &large), PATIENCE);
        assert_eq!(patience(true, &large).as_secs(), 57);
        assert_eq!(patience(true, &large[1..]), PATIENCE);
    }
}
