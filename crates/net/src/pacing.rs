//! No pacing within the machine.
//!
//! BBR, where it is the system's congestion control, waits between the packets of a connection, by a timer for each.
//! Clients and followers on this machine get their records over a wire that cannot be congested: there those timers are
//! most of what an answer costs (docs/benchmarks.md). Everybody else keeps what the system chose.
//!
//! A socket that BBR once had is paced for ever, whatever it is told later. So the listener is told, its connections
//! inherit that, and those that come from elsewhere are given back to the system's choice.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc};

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tracing::debug;

/// Congestion controls without timers, the better one first. The second is allowed everywhere.
const UNPACED: [&str; 2] = ["cubic", "reno"];

/// What connections from elsewhere are given back to; `None` where the system's choice does not pace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote(Option<Arc<str>>);

/// Sees to it that the connections which `listener` will accept are not paced.
pub(crate) fn unpaced(listener: impl AsFd) -> Remote {
    let Ok(chosen) = sockopt::tcp_congestion(&listener) else { return Remote::default() };
    let told =
        paces(&chosen) && UNPACED.iter().any(|name| sockopt::set_tcp_congestion(&listener, name).is_ok());
    Remote(told.then(|| chosen.into()))
}

impl Remote {
    /// To be called for each connection before anything is sent.
    pub(crate) fn accepted(&self, stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
        let Some(chosen) = &self.0 else { return Ok(()) };
        if within_machine(peer, stream.local_addr()?) {
            return Ok(());
        }
        sockopt::set_tcp_congestion(stream, chosen)
            .inspect_err(|e| {
                debug!("Connection from {peer} cannot have the congestion control {chosen}: {e}")
            })
            .or(Ok(()))
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

    /// Whatever the system's choice is: where it is BBR, this is the case that matters.
    #[tokio::test]
    async fn connections_of_this_machine_are_not_paced_and_others_are_as_the_system_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let system = sockopt::tcp_congestion(&listener).expect("has one");
        let remote = unpaced(&listener);
        assert_eq!(remote.0.is_some(), paces(&system));
        let client = TcpStream::connect(listener.local_addr().expect("bound"));
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (_client, (stream, peer)) = (client.expect("connects"), accepted.expect("accepts"));
        remote.accepted(&stream, peer).expect("nothing to do");
        assert!(!paces(&sockopt::tcp_congestion(&stream).expect("has one")));
        remote.accepted(&stream, "192.0.2.1:9".parse().expect("an address")).expect("is told");
        assert_eq!(sockopt::tcp_congestion(&stream).expect("has one"), system);
    }
}
