//! No pacing within the machine.
//!
//! BBR, where it is the system's congestion control, waits between the packets of a connection, by a timer for each.
//! Clients and followers on this machine get their records over a wire that cannot be congested: there those timers are
//! most of what an answer costs (docs/benchmarks.md). Everybody else keeps what the system had chosen when the listener
//! was bound, or what their route says.
//!
//! A socket that BBR once had is paced for ever, whatever it is told later. So the listener is told, its connections
//! inherit that, and those that come from elsewhere are given back to the system's choice.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::TcpStream;
use tracing::debug;

/// Congestion controls without timers, the better one first.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// What to do with connections from elsewhere; `None` where the system's choice does not pace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote(Option<Change>);

#[derive(Clone, Debug)]
struct Change {
    /// What the listener was told, and its connections inherited.
    told: &'static str,
    /// What the system had chosen.
    chosen: Arc<str>,
}

/// Sees to it that the connections which `socket` will accept are not paced. To be called before it listens.
pub(crate) fn unpaced(socket: impl AsFd) -> Remote {
    let chosen = match sockopt::tcp_congestion(&socket) {
        Ok(chosen) if paces(&chosen) => chosen,
        _ => return Remote::default(),
    };
    let told = UNPACED.into_iter().find(|name| there_and_back(name, &chosen).is_ok());
    let told = told.filter(|name| sockopt::set_tcp_congestion(&socket, name).is_ok());
    Remote(told.map(|told| Change { told, chosen: chosen.into() }))
}

/// Who may have the one may not be allowed to have the other back.
fn there_and_back(there: &str, back: &str) -> io::Result<()> {
    let scratch: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_tcp_congestion(&scratch, there)?;
    Ok(sockopt::set_tcp_congestion(&scratch, back)?)
}

impl Remote {
    /// To be called for each connection before anything is sent.
    pub(crate) fn accepted(&self, stream: &TcpStream, peer: SocketAddr) {
        let Some(Change { told, chosen }) = &self.0 else { return };
        let local = stream.local_addr().is_ok_and(|local| within_machine(peer, local));
        // A route may have a congestion control of its own.
        if local || !sockopt::tcp_congestion(stream).is_ok_and(|has| has == *told) {
            return;
        }
        if let Err(e) = sockopt::set_tcp_congestion(stream, chosen) {
            debug!("Connection from {peer} cannot have the congestion control {chosen}: {e}");
        }
    }
}

fn paces(congestion_control: &str) -> bool {
    congestion_control.starts_with("bbr")
}

/// Both ends have the same address, or both are loopback ones.
fn within_machine(peer: SocketAddr, local: SocketAddr) -> bool {
    let (peer, local) = (peer.ip().to_canonical(), local.ip().to_canonical());
    peer == local || (peer.is_loopback() && local.is_loopback())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn who_is_within_the_machine() {
        let within = |peer: &str, local: &str| {
            let addr = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 9092);
            within_machine(addr(peer), addr(local))
        };
        assert!(within("127.0.0.1", "127.0.0.1"));
        assert!(within("127.0.0.2", "127.0.0.1"));
        assert!(within("::ffff:127.0.0.1", "127.0.0.1"));
        assert!(within("10.0.0.7", "::ffff:10.0.0.7"));
        assert!(!within("10.0.0.8", "10.0.0.7"));
        assert!(!within("10.0.0.8", "127.0.0.1"));
    }

    /// A connection of this machine, and what it has after it was taken for one from `peer`.
    async fn congestion(listener: &TcpListener, remote: &Remote, peer: Option<&str>) -> String {
        let client = TcpStream::connect(listener.local_addr().expect("bound"));
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (_client, (stream, own)) = (client.expect("connects"), accepted.expect("accepts"));
        remote.accepted(&stream, peer.map_or(own, |peer| peer.parse().expect("an address")));
        sockopt::tcp_congestion(&stream).expect("has one")
    }

    /// Where the system's choice is BBR, this is the case that matters; elsewhere nothing may change.
    #[tokio::test]
    async fn connections_of_this_machine_are_not_paced_and_others_are_as_the_system_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let system = sockopt::tcp_congestion(&listener).expect("has one");
        let remote = unpaced(&listener);
        assert!(remote.0.is_none() || paces(&system));
        let own = congestion(&listener, &remote, None).await;
        assert!(!paces(&own) || remote.0.is_none(), "{own}");
        assert_eq!(congestion(&listener, &remote, Some("192.0.2.1:9")).await, system);
    }

    /// Shows something wherever the system's choice is not reno.
    #[tokio::test]
    async fn only_connections_from_elsewhere_are_given_back_and_only_from_what_they_inherited() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let system = sockopt::tcp_congestion(&listener).expect("has one");
        let remote = |told| Remote(Some(Change { told, chosen: system.as_str().into() }));
        sockopt::set_tcp_congestion(&listener, "reno").expect("everybody may");
        assert_eq!(congestion(&listener, &remote("reno"), None).await, "reno");
        assert_eq!(congestion(&listener, &remote("reno"), Some("192.0.2.1:9")).await, system);
        assert_eq!(congestion(&listener, &remote("cubic"), Some("192.0.2.1:9")).await, "reno");
    }
}
