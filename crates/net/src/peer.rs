//! Connections to other nodes: requests out, answers in.
//!
//! A [`Peer`] is one address. Its connection is made when it is first needed and again after it was lost; the versions
//! that both sides know are agreed on first (ApiVersions). Many requests may be in flight, answers come in their order.
//! What a peer answers is believed no more than what a client asks.

mod link;

use std::{io, ops::RangeInclusive, sync::Arc, time::Duration};

use ottla_protocol::{DecodeError, EncodeError, Request};
use rustix::net::sockopt;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};
use tracing::debug;

use crate::BufferPool;
use link::Link;

/// APIs from this key on are Ottla's own: ApiVersions does not tell of them.
const PRIVATE_KEYS: i16 = 30_000;
/// How long another node's system may be silent before the connection to it is given up.
const CUT_OFF: Duration = Duration::from_secs(4);
/// Buffers of large answers that one peer keeps for reuse.
const KEPT_BUFFERS: usize = 4 << 20;

/// How to talk to a peer.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// What this node calls itself.
    pub client_id: Arc<str>,
    /// A request without an answer for so long fails with [`PeerError::TimedOut`], and its connection is given up.
    /// Making the connection is part of it.
    pub request_timeout: Duration,
    /// A connection has to be made, and versions agreed on, within this.
    pub setup_timeout: Duration,
    /// Wait before the first and (at most) before a later attempt to connect anew; doubled from one to the next.
    pub backoff: (Duration, Duration),
    /// A longer answer is not read: the connection is closed.
    pub max_response_bytes: usize,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            client_id: "ottla".into(),
            request_timeout: Duration::from_secs(30),
            setup_timeout: Duration::from_secs(10),
            backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            max_response_bytes: 100 << 20,
        }
    }
}

/// Why a request has no answer. Whether it was carried out is not known but for [`Connect`](Self::Connect),
/// [`Unsupported`](Self::Unsupported) and [`Unsayable`](Self::Unsayable): then it was not.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No connection could be made.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection was lost or closed.
    #[error("the connection was closed")]
    Disconnected,
    /// No answer came in time.
    #[error("no answer in time")]
    TimedOut,
    /// No version of the API is known to both sides.
    #[error("the peer has no version of API key {api} that is known here")]
    Unsupported {
        /// The API key.
        api: i16,
    },
    /// The answer is malformed, too long, or of another request. The connection was closed.
    #[error("the answer cannot be read: {0}")]
    Corrupt(#[from] DecodeError),
    /// The request has something set that its version lacks: a mistake of ours.
    #[error(transparent)]
    Unsayable(#[from] EncodeError),
}

/// A node that requests are sent to. Clones share the connection.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    host: Box<str>,
    port: u16,
    options: PeerOptions,
    pool: Arc<BufferPool>,
    /// Held while a connection is being made, so that there is one.
    state: Mutex<Attempts>,
    /// The newest connection, if there was any.
    link: parking_lot::Mutex<Option<Arc<Link>>>,
}

#[derive(Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Instant>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peer({}:{})", self.0.host, self.0.port)
    }
}

impl Peer {
    /// A peer at an address. Nothing is connected yet.
    #[must_use]
    pub fn new(host: &str, port: u16, options: PeerOptions) -> Self {
        Self::with_pool(host, port, options, BufferPool::new(KEPT_BUFFERS))
    }

    /// The same, with buffers for large answers that it shares with others.
    #[must_use]
    pub fn with_pool(host: &str, port: u16, options: PeerOptions, pool: Arc<BufferPool>) -> Self {
        let (state, link) = (Mutex::default(), parking_lot::Mutex::default());
        Self(Arc::new(Inner { host: host.into(), port, options, pool, state, link }))
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.0.host, self.0.port)
    }

    /// Asks in the highest version that both sides know and that is within `versions`. `request` is told it. The answer
    /// comes with it.
    ///
    /// While the wait after a failed connection is not over, this waits too. A future that is dropped takes nothing
    /// back: the request may have been sent.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ask<R: Request>(
        &self,
        versions: RangeInclusive<i16>,
        request: impl FnOnce(i16) -> R,
    ) -> Result<(i16, R::Response), PeerError> {
        self.ask_within(self.0.options.request_timeout, versions, request).await
    }

    /// As [`ask`](Self::ask), with another patience: for a request that takes long to send.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ask_within<R: Request>(
        &self,
        patience: Duration,
        versions: RangeInclusive<i16>,
        request: impl FnOnce(i16) -> R,
    ) -> Result<(i16, R::Response), PeerError> {
        let deadline = Instant::now() + patience;
        let Ok(link) = tokio::time::timeout_at(deadline, self.link()).await else {
            return Err(PeerError::TimedOut);
        };
        let link = link?;
        let version = link.version(R::KEY, &versions).ok_or(PeerError::Unsupported { api: R::KEY })?;
        let request = request(version);
        let answer = link.ask(version, &self.0.options.client_id, &request);
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(answer) => Ok((version, answer?)),
            Err(_) => {
                // Answers come in order: nothing behind this one would come either.
                debug!("{self:?}: no answer to API key {} in time", R::KEY);
                link.close();
                Err(PeerError::TimedOut)
            }
        }
    }

    /// Drops the connection: requests in flight fail with [`PeerError::Disconnected`], the next one connects anew.
    pub fn close(&self) {
        if let Some(link) = self.0.link.lock().take() {
            link.close();
        }
    }

    fn open_link(&self) -> Option<Arc<Link>> {
        self.0.link.lock().clone().filter(|link| link.is_open())
    }

    async fn link(&self) -> Result<Arc<Link>, PeerError> {
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        let mut attempts = self.0.state.lock().await;
        // Somebody else may have made it while we waited.
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        if let Some(until) = attempts.not_before {
            sleep_until(until).await;
        }
        match self.connect().await {
            Ok(link) => {
                *attempts = Attempts::default();
                *self.0.link.lock() = Some(link.clone());
                Ok(link)
            }
            Err(error) => {
                let (first, most) = self.0.options.backoff;
                let wait = first.saturating_mul(1 << attempts.failed.min(16)).min(most);
                attempts.failed = attempts.failed.saturating_add(1);
                attempts.not_before = Some(Instant::now() + wait);
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Arc<Link>, PeerError> {
        let Inner { host, port, options, pool, .. } = &*self.0;
        let made = timeout(options.setup_timeout, async {
            let stream = TcpStream::connect((&**host, *port)).await.map_err(PeerError::Connect)?;
            stream.set_nodelay(true).map_err(PeerError::Connect)?;
            give_up_when_cut_off(&stream).map_err(PeerError::Connect)?;
            Link::open(stream, &options.client_id, options.max_response_bytes, pool.clone()).await
        });
        let too_long = || PeerError::Connect(io::ErrorKind::TimedOut.into());
        made.await.unwrap_or_else(|_| Err(too_long()))
    }
}

/// Without a sign of life for [`CUT_OFF`] a connection is lost. Otherwise TCP would wait longer and longer before it
/// tries again, and find out that a network is whole again only as long after that as it was cut.
fn give_up_when_cut_off(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_user_timeout(stream, u32::try_from(CUT_OFF.as_millis()).unwrap_or(u32::MAX))?;
    sockopt::set_tcp_keepidle(stream, CUT_OFF / 2)?;
    sockopt::set_tcp_keepintvl(stream, CUT_OFF / 4)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(link) = self.link.get_mut().take() {
            link.close();
        }
    }
}

/// A connection to an address over which nothing is asked.
///
/// # Errors
/// What the system says, or `TimedOut`. `ConnectionReset`: somebody took the call, and it ended in the same instant, as
/// it does where the process just ends.
pub async fn contact(host: &str, port: u16, within: Duration) -> io::Result<Contact> {
    match timeout(within, TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map(Contact),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A connection that carries nothing: it lasts as long as somebody is there.
#[derive(Debug)]
pub struct Contact(TcpStream);

impl Contact {
    /// Returns when the other side has closed it, or says what nobody asked for.
    pub async fn lost(&mut self) {
        let _ = self.0.read(&mut [0; 1]).await;
    }
}

#[cfg(test)]
mod tests;
