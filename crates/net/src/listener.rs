//! Binds listeners and accepts connections.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tracing::{debug, error};

use crate::{
    BufferPool, ConnectionInfo, FrameService, Limits, SecurityProtocol,
    admission::{Admission, Admitted},
    connection::{self, Shared},
    intake::Memory,
    pacing::{self, Remote},
    transport::Transport,
};

/// A listener to be bound.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, upper case, as in `listeners`.
    pub name: Arc<str>,
    /// How it protects connections.
    pub protocol: SecurityProtocol,
    /// Host to bind; empty for all interfaces.
    pub host: String,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address has no meaning here.
    #[error("listener {name}: cannot resolve {host:?}: {source}. Set a host of this machine in `listeners`.")]
    Resolve {
        /// The listener.
        name: Arc<str>,
        /// The host as configured.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Somebody else has the port, or we may not have it.
    #[error("Socket server failed to bind to {addr} (listener {name}): {source}.{remedy}")]
    Bind {
        /// The listener.
        name: Arc<str>,
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// A bound listener that does not yet accept.
pub struct Bound {
    listener: TcpListener,
    name: Arc<str>,
    protocol: SecurityProtocol,
    remote: Remote,
}

impl Bound {
    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The address, with the port that was chosen.
    ///
    /// # Errors
    /// When the kernel does not know it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Binds a listener. An empty host means all interfaces, IPv6 and IPv4.
///
/// # Errors
/// When the host cannot be resolved or the address is taken.
pub async fn bind(listener: &Listener, limits: &Limits) -> Result<Bound, ListenError> {
    let name = listener.name.clone();
    let addrs: Vec<SocketAddr> = if listener.host.is_empty() {
        vec![([0u16; 8], listener.port).into(), ([0, 0, 0, 0], listener.port).into()]
    } else {
        let found = tokio::net::lookup_host((listener.host.as_str(), listener.port)).await;
        let resolve =
            |source| ListenError::Resolve { name: name.clone(), host: listener.host.clone(), source };
        let found: Vec<_> = found.map_err(resolve)?.collect();
        if found.is_empty() {
            return Err(resolve(io::ErrorKind::NotFound.into()));
        }
        found
    };
    let mut last = None;
    for addr in addrs {
        match open(addr, limits) {
            Ok((bound, remote)) => {
                return Ok(Bound { listener: bound, name, protocol: listener.protocol, remote });
            }
            // A taken port is final: the IPv4 twin of a taken address must not be bound instead.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(bind_error(name, addr, e)),
            Err(e) => last = Some((addr, e)),
        }
    }
    let (addr, source) = last.expect("there was at least one address");
    Err(bind_error(name, addr, source))
}

fn bind_error(name: Arc<str>, addr: SocketAddr, source: io::Error) -> ListenError {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => {
            " Another process listens there: stop it, or choose another port in `listeners`."
        }
        io::ErrorKind::PermissionDenied => {
            " Ports below 1024 need privileges: choose a higher one in `listeners`."
        }
        io::ErrorKind::AddrNotAvailable => " The address is not of this machine: correct `listeners`.",
        _ => "",
    };
    ListenError::Bind { name, addr, source, remedy }
}

fn open(addr: SocketAddr, limits: &Limits) -> io::Result<(TcpListener, Remote)> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // Inherited by accepted sockets; unset, the kernel tunes them itself.
    if let Some(size) = limits.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = limits.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    socket.bind(&addr.into())?;
    let remote = pacing::unpaced(&socket);
    socket.listen(i32::try_from(limits.backlog).unwrap_or(i32::MAX))?;
    Ok((TcpListener::from_std(socket.into())?, remote))
}

/// Ends [`serve`]: new connections are refused, requests in flight are answered, then every connection is closed.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Not yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Now.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Accepts on all listeners and serves their connections, until the shutdown.
pub async fn serve<S: FrameService>(
    listeners: Vec<Bound>,
    service: Arc<S>,
    limits: Limits,
    admission: Arc<Admission>,
    pool: Arc<BufferPool>,
    shutdown: &Shutdown,
) {
    let drain = limits.drain;
    let memory = Memory::new(pool, limits.queued_max_bytes);
    let shared = Arc::new(Shared { service, limits, memory, draining: shutdown.0.subscribe() });
    let mut acceptors = JoinSet::new();
    for bound in listeners {
        acceptors.spawn(accept(bound, shared.clone(), admission.clone()));
    }
    let mut draining = shutdown.0.subscribe();
    let _ = draining.wait_for(|draining| *draining).await;
    while acceptors.join_next().await.is_some() {}
    drained(shared, drain).await;
}

/// Waits until the last connection has let go of what they share, but not longer than `bound`.
async fn drained<S>(shared: Arc<Shared<S>>, bound: Duration) {
    let until_last = async {
        while Arc::strong_count(&shared) > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(bound, until_last).await.is_err() {
        debug!(
            "{} connections still had requests in flight when the drain ended",
            Arc::strong_count(&shared) - 1
        );
    }
}

async fn accept<S: FrameService>(bound: Bound, shared: Arc<Shared<S>>, admission: Arc<Admission>) {
    let mut draining = shared.draining.clone();
    loop {
        let next = async {
            let room = admission.room(&bound.name).await;
            (bound.listener.accept().await, room)
        };
        let (accepted, room) = tokio::select! {
            accepted = next => accepted,
            () = connection::drain_begins(&mut draining) => return,
        };
        match accepted {
            Ok((stream, peer)) => match admission.admit(peer.ip().to_canonical(), room) {
                Some(admitted) => start(stream, peer, &bound, shared.clone(), admitted),
                None => debug!(
                    "Connection from {peer} closed: too many from its address (max.connections.per.ip)"
                ),
            },
            Err(e) => {
                // Out of file descriptors, most likely: give those who hold them time to go.
                error!("Error while accepting connection on listener {}: {e}", bound.name);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn start<S: FrameService>(
    stream: TcpStream,
    peer: SocketAddr,
    bound: &Bound,
    shared: Arc<Shared<S>>,
    admitted: Admitted,
) {
    if let Err(e) = stream.set_nodelay(true) {
        debug!("Connection from {peer} lost: {e}");
        return;
    }
    bound.remote.accepted(&stream, peer);
    let info =
        ConnectionInfo { id: admitted.id, listener: bound.name.clone(), protocol: bound.protocol, peer };
    let session = shared.service.open(info);
    tokio::spawn(async move {
        let end = connection::serve(shared, Transport::new(stream), session).await;
        connection::log(&end, peer);
        drop(admitted);
    });
}
