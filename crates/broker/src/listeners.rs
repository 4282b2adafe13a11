//! From configured listeners to bound ones, and the limits of the front end.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use ottla_config::{
    BrokerConfig, ConnectionLimits as ConfiguredLimits, Layers, SecurityProtocol as Configured, Settings,
};
use ottla_metadata::{Image, ImageCell};
use ottla_net::{Admission, Bound, ConnectionLimits, Limits, Listener, SecurityProtocol};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::{cli::unsupported, open_files, settings};

/// The listeners of this process, bound.
pub(crate) struct AllBound {
    /// Those of the broker.
    pub(crate) broker: Vec<Bound>,
    /// Those of the controller.
    pub(crate) controller: Vec<Bound>,
}

/// Binds every listener.
pub(crate) async fn bind(config: &BrokerConfig) -> Result<AllBound> {
    // The process has checked it before; whoever else comes here must not get plaintext instead.
    if let Some(rule) = unsupported(config, true).first() {
        bail!("{}", rule.problem);
    }
    let limits = limits(config);
    let mut all = AllBound { broker: Vec::new(), controller: Vec::new() };
    for configured in &config.listeners.listeners {
        let protocol = protocol(configured.protocol);
        let listener = Listener {
            name: Arc::from(configured.endpoint.name.as_str()),
            protocol,
            host: configured.endpoint.host.clone(),
            port: configured.endpoint.port,
        };
        let bound = ottla_net::bind(&listener, &limits).await?;
        if configured.is_controller { all.controller.push(bound) } else { all.broker.push(bound) }
    }
    Ok(all)
}

/// What others are told when `listeners` names no host: the machine's name where it resolves, as Kafka does.
pub(crate) fn own_host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let resolves = !name.is_empty() && std::net::ToSocketAddrs::to_socket_addrs(&(name, 0)).is_ok();
    if resolves { name.to_owned() } else { "localhost".to_owned() }
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

/// Connections of this process, within the limits that were set on it (`max.connections*`), at the start and since.
pub(crate) struct Connections {
    pub(crate) admission: Arc<Admission>,
    following: JoinHandle<()>,
}

impl Connections {
    /// Limits as they are in the newest image, and in every one after it, for these listeners.
    pub(crate) async fn follow(
        started_with: Arc<Settings>,
        image: &Arc<ImageCell>,
        config: &BrokerConfig,
        listeners: Vec<Arc<str>>,
    ) -> Self {
        let mut images = image.watch();
        let node_id = config.node_id;
        let several = listeners.len() > 1;
        let own = |name: &Arc<str>| several && config.listeners.inter_broker.as_deref() == Some(&**name);
        let exempt = listeners.iter().find(|name| own(name)).cloned();
        let set = move |image: &Image| {
            let layers = settings::layers(image, &started_with, node_id);
            (ConfiguredLimits::of(&layers), limits_by_listener(&layers, &listeners))
        };
        let limits = async move |configured: &Configurable| ConnectionLimits {
            exempt: exempt.clone(),
            per_listener: configured.1.clone(),
            ..connection_limits(&configured.0).await
        };
        let mut image = images.get();
        let mut configured = set(&image);
        let admission = Admission::new(limits(&configured).await);
        let following = tokio::spawn({
            let admission = admission.clone();
            async move {
                loop {
                    let newest = images.changed().await;
                    if !Arc::ptr_eq(&newest.configs, &image.configs) {
                        let now = set(&newest);
                        if now != configured {
                            info!("Limits of connections are now {now:?}");
                            admission.limit(limits(&now).await);
                            configured = now;
                        }
                    }
                    image = newest;
                }
            }
        });
        Self { admission, following }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// What can be changed at run time.
type Configurable = (ConfiguredLimits, HashMap<Arc<str>, usize>);

/// `listener.name.NAME.max.connections`, where it is set.
fn limits_by_listener(layers: &Layers, listeners: &[Arc<str>]) -> HashMap<Arc<str>, usize> {
    let limit = |name: &Arc<str>| {
        let text = layers.set_text(&format!("listener.name.{}.max.connections", name.to_lowercase()))?;
        Some((Arc::clone(name), text.trim().parse().ok()?))
    };
    listeners.iter().filter_map(limit).collect()
}

/// How many connections there may be: never so many that the logs could not open their files.
async fn connection_limits(configured: &ConfiguredLimits) -> ConnectionLimits {
    let limit = |n: i32| usize::try_from(n).ok().filter(|_| n != i32::MAX);
    let mut limits = ConnectionLimits {
        most: open_files::for_connections(),
        total: limit(configured.max_connections),
        per_ip: limit(configured.max_connections_per_ip),
        ..ConnectionLimits::default()
    };
    for (host, limit) in &configured.max_connections_per_ip_overrides {
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
