//! One connection to a peer: a task that writes what is asked and hands out what is answered.

use std::{
    collections::{HashMap, VecDeque},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use bytes::{Buf, Bytes};
use ottla_protocol::{
    Decodable, DecodeError, HeaderVersion, Request, StrBytes, api, encode_request,
    guard::{Limits, tag_section_len},
    messages::{ApiVersionsRequest, ApiVersionsResponse},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};
use tracing::debug;

use super::{PRIVATE_KEYS, PeerError};
use crate::{BufferPool, pool::POOLED_MIN};

/// Requests that may wait to be written; those who ask wait beyond that.
const QUEUE: usize = 64;
/// Requests written and not answered, at most.
const IN_FLIGHT: usize = 1024;
/// Small answers are read through a buffer of this size.
const READ: usize = 8 << 10;
/// `UNSUPPORTED_VERSION`.
const UNSUPPORTED_VERSION: i16 = 35;

type Answer = Result<Bytes, PeerError>;

/// A request on its way.
struct Outgoing {
    frame: Bytes,
    waiting: Waiting,
}

/// Who waits for an answer.
struct Waiting {
    correlation_id: i32,
    reply: oneshot::Sender<Answer>,
}

/// Written and not answered, oldest first.
#[derive(Default)]
struct InFlight(Mutex<VecDeque<Waiting>>);

/// An open connection whose versions are agreed on.
pub(super) struct Link {
    outgoing: mpsc::Sender<Outgoing>,
    correlation_ids: AtomicI32,
    versions: HashMap<i16, (i16, i16)>,
    closed: watch::Sender<bool>,
}

impl Link {
    /// Starts the task of a connection and asks for the peer's versions.
    pub(super) async fn open(
        stream: TcpStream,
        client_id: &str,
        max_response_bytes: usize,
        pool: Arc<BufferPool>,
    ) -> Result<Arc<Self>, PeerError> {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let (closed, closing) = watch::channel(false);
        let (read, write) = stream.into_split();
        let reader = Reader { read: BufReader::with_capacity(READ, read), max: max_response_bytes, pool };
        tokio::spawn(run(reader, write, queue, closing));
        let correlation_ids = AtomicI32::new(0);
        let mut link = Self { outgoing, correlation_ids, versions: HashMap::new(), closed };
        match link.agree(client_id).await {
            Ok(versions) => {
                link.versions = versions;
                Ok(Arc::new(link))
            }
            Err(error) => {
                link.close();
                Err(error)
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !*self.closed.borrow() && !self.outgoing.is_closed()
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// The highest version of an API that both know.
    pub(super) fn version(&self, key: i16, ours: &RangeInclusive<i16>) -> Option<i16> {
        if key >= PRIVATE_KEYS {
            return Some(*ours.end());
        }
        let (from, to) = *self.versions.get(&key)?;
        let version = to.min(*ours.end());
        (version >= from && ours.contains(&version)).then_some(version)
    }

    /// Sends a request in a version, and waits for its answer.
    pub(super) async fn ask<R: Request>(
        &self,
        version: i16,
        client_id: &str,
        request: &R,
    ) -> Result<R::Response, PeerError> {
        let mut body = self.exchange(version, client_id, request).await?;
        let answer = ottla_protocol::decode_response(R::KEY, version, &mut body);
        Ok(answer.inspect_err(|_| self.close())?)
    }

    /// The body of the answer.
    async fn exchange<R: Request>(
        &self,
        version: i16,
        client_id: &str,
        request: &R,
    ) -> Result<Bytes, PeerError> {
        let correlation_id = self.correlation_ids.fetch_add(1, Ordering::Relaxed);
        let frame = encode_request(version, correlation_id, Some(client_id), request)?;
        let (reply, answer) = oneshot::channel();
        let outgoing = Outgoing { frame, waiting: Waiting { correlation_id, reply } };
        self.outgoing.send(outgoing).await.map_err(|_| PeerError::Disconnected)?;
        // The task is gone, and whoever waited with it.
        let mut frame = answer.await.unwrap_or(Err(PeerError::Disconnected))?;
        if R::Response::header_version(version) >= 1 {
            let tags = tag_section_len(&frame, &Limits::KAFKA).inspect_err(|_| self.close());
            frame.advance(tags.map_err(DecodeError::from)?);
        }
        Ok(frame)
    }

    async fn agree(&self, client_id: &str) -> Result<HashMap<i16, (i16, i16)>, PeerError> {
        let newest = api::by_key(api::API_VERSIONS).map_or(0, api::Api::max_stable);
        let mut answer = self.ask_versions(newest, client_id).await?;
        if answer.error_code == UNSUPPORTED_VERSION {
            // KIP-511: it says in version 0 what it has.
            let theirs = answer.api_keys.iter().find(|one| one.api_key == api::API_VERSIONS);
            let version = theirs.map_or(0, |one| one.max_version).clamp(0, newest);
            answer = self.ask_versions(version, client_id).await?;
        }
        if answer.error_code != 0 {
            return Err(PeerError::Unsupported { api: api::API_VERSIONS });
        }
        Ok(answer.api_keys.iter().map(|one| (one.api_key, (one.min_version, one.max_version))).collect())
    }

    async fn ask_versions(&self, version: i16, client_id: &str) -> Result<ApiVersionsResponse, PeerError> {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request = request
                .with_client_software_name(StrBytes::from_static_str("ottla"))
                .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        }
        if version >= 5 {
            request = request.with_node_id(-1);
        }
        let mut body = self.exchange(version, client_id, &request).await?;
        let refused =
            body.first_chunk::<2>().is_some_and(|code| i16::from_be_bytes(*code) == UNSUPPORTED_VERSION);
        let version = if refused { 0 } else { version };
        Ok(decode_versions(version, &mut body)?)
    }
}

fn decode_versions<T: Decodable>(version: i16, body: &mut Bytes) -> Result<T, DecodeError> {
    ottla_protocol::decode_response(api::API_VERSIONS, version, body)
}

/// Writes and reads until the peer, an error or [`Link::close`] ends it. Whoever still waits is told by being dropped.
async fn run(
    reader: Reader,
    write: OwnedWriteHalf,
    queue: mpsc::Receiver<Outgoing>,
    mut closing: watch::Receiver<bool>,
) {
    let peer = write.peer_addr();
    let in_flight = InFlight::default();
    let room = tokio::sync::Notify::new();
    let why = tokio::select! {
        why = reader.read_all(&in_flight, &room) => why,
        why = write_all(write, queue, &in_flight, &room) => why,
        // An error says that the link itself was dropped.
        _ = closing.wait_for(|closed| *closed) => return,
    };
    match why {
        Ok(()) => debug!("The connection to {peer:?} was closed"),
        Err(error) => debug!("The connection to {peer:?} was lost: {error}"),
    }
}

async fn write_all(
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    in_flight: &InFlight,
    room: &tokio::sync::Notify,
) -> std::io::Result<()> {
    while let Some(Outgoing { frame, waiting }) = queue.recv().await {
        // Nobody waits for it any more, and it was not sent.
        if waiting.reply.is_closed() {
            continue;
        }
        while in_flight.0.lock().len() >= IN_FLIGHT {
            room.notified().await;
        }
        in_flight.0.lock().push_back(waiting);
        write.write_all(&frame).await?;
    }
    Ok(())
}

struct Reader {
    read: BufReader<OwnedReadHalf>,
    max: usize,
    pool: Arc<BufferPool>,
}

impl Reader {
    async fn read_all(mut self, in_flight: &InFlight, room: &tokio::sync::Notify) -> std::io::Result<()> {
        loop {
            let announced = self.read.read_i32().await?;
            let length = usize::try_from(announced).ok().filter(|length| (4..=self.max).contains(length));
            let front = |in_flight: &InFlight| in_flight.0.lock().pop_front();
            let Some(length) = length else {
                let text = "its length is out of bounds";
                return refuse(front(in_flight), text);
            };
            let mut frame = self.frame(length).await?;
            let correlation_id = frame.get_i32();
            let waiting = front(in_flight);
            room.notify_one();
            match waiting {
                Some(waiting) if waiting.correlation_id == correlation_id => {
                    // Whoever asked may have gone away.
                    let _ = waiting.reply.send(Ok(frame));
                }
                other => return refuse(other, "it answers another request"),
            }
        }
    }

    /// The length is within bounds, and memory that nothing was written to is none: it is taken as the bytes come.
    async fn frame(&mut self, length: usize) -> std::io::Result<Bytes> {
        if length < POOLED_MIN {
            let mut frame = vec![0; length];
            self.read.read_exact(&mut frame).await?;
            return Ok(frame.into());
        }
        let mut frame = self.pool.take(length);
        self.read.read_exact(&mut frame.as_mut()[..length]).await?;
        Ok(frame.freeze(length))
    }
}

fn refuse(waiting: Option<Waiting>, why: &'static str) -> std::io::Result<()> {
    if let Some(waiting) = waiting {
        let _ = waiting.reply.send(Err(DecodeError::Head(why).into()));
    }
    Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why))
}
