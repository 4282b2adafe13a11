//! From configured listeners to bound ones, and the limits of the front end.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use ottla_config::{BrokerConfig, SecurityProtocol as Configured};
use ottla_net::{Bound, ConnectionLimits, Limits, Listener, SecurityProtocol};
use tracing::{info, warn};

use crate::open_files;

/// Binds every listener of the broker. Those of the controller are bound when there are other nodes to hear.
pub(crate) async fn bind(config: &BrokerConfig) -> Result<Vec<Bound>> {
    let limits = limits(config);
    for listener in config.listeners.listeners.iter().filter(|listener| listener.is_controller) {
        info!("listener {} is not served by a cluster of one node", listener.endpoint.name);
    }
    let mut bound = Vec::new();
    for listener in config.listeners.listeners.iter().filter(|listener| !listener.is_controller) {
        let protocol = protocol(listener.protocol);
        if protocol != SecurityProtocol::Plaintext {
            bail!(
                "listener {}: {protocol:?} is not supported yet; map it to PLAINTEXT in \
                 listener.security.protocol.map",
                listener.endpoint.name
            );
        }
        let listener = Listener {
            name: Arc::from(listener.endpoint.name.as_str()),
            protocol,
            host: listener.endpoint.host.clone(),
            port: listener.endpoint.port,
        };
        bound.push(ottla_net::bind(&listener, &limits).await?);
    }
    Ok(bound)
}

fn protocol(configured: Configured) -> SecurityProtocol {
    match configured {
        Configured::Plaintext => SecurityProtocol::Plaintext,
        Configured::Ssl => SecurityProtocol::Ssl,
        Configured::SaslPlaintext => SecurityProtocol::SaslPlaintext,
        Configured::SaslSsl => SecurityProtocol::SaslSsl,
    }
}

/// What one frame, one connection and all of them may take.
pub(crate) fn limits(config: &BrokerConfig) -> Limits {
    let defaults = Limits::default();
    let sockets = &config.sockets;
    let idle = u64::try_from(config.connections.connections_max_idle_ms);
    Limits {
        request_max_bytes: usize::try_from(sockets.request_max_bytes).unwrap_or(defaults.request_max_bytes),
        queued_max_bytes: sockets
            .queued_max_request_bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(defaults.queued_max_bytes),
        // A negative value means never; a century is that.
        idle: idle.map_or(Duration::from_secs(100 * 365 * 86_400), Duration::from_millis),
        send_buffer: usize::try_from(sockets.send_buffer_bytes)
            .ok()
            .filter(|_| !stock_buffer(sockets.send_buffer_bytes)),
        receive_buffer: usize::try_from(sockets.receive_buffer_bytes)
            .ok()
            .filter(|_| !stock_buffer(sockets.receive_buffer_bytes)),
        backlog: backlog(sockets.listen_backlog_size),
        ..defaults
    }
}

/// Kafka's default of 100 KiB is left to the kernel, which tunes the buffer to the connection: a fixed one is slower.
fn stock_buffer(bytes: i32) -> bool {
    bytes == 102_400
}

/// Kafka's default of 50 gives way to what the kernel allows: it is full after a millisecond of a cluster's clients coming
/// back at once, and a connection that finds it full is tried again only after a second.
fn backlog(configured: i32) -> u32 {
    // The kernel cuts it down to `net.core.somaxconn`.
    if configured == 50 { u16::MAX.into() } else { configured.unsigned_abs() }
}

/// How many connections there may be: never so many that the logs could not open their files.
pub(crate) async fn connection_limits(config: &BrokerConfig) -> ConnectionLimits {
    let limit = |n: i32| usize::try_from(n).ok().filter(|_| n != i32::MAX);
    let mut limits = ConnectionLimits {
        total: [limit(config.connections.max_connections), open_files::for_connections()]
            .into_iter()
            .flatten()
            .min(),
        per_ip: limit(config.connections.max_connections_per_ip),
        ..ConnectionLimits::default()
    };
    for (host, limit) in &config.connections.max_connections_per_ip_overrides {
        let addresses: Vec<IpAddr> = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => match tokio::net::lookup_host((host.as_str(), 0)).await {
                Ok(found) => found.map(|address| address.ip()).collect(),
                Err(e) => {
                    warn!(
                        "max.connections.per.ip.overrides: {host} cannot be resolved and has no limit of its own: {e}"
                    );
                    continue;
                }
            },
        };
        for address in addresses {
            limits.per_ip_overrides.insert(address.to_canonical(), usize::try_from(*limit).unwrap_or(0));
        }
    }
    limits
}
