//! Listeners: `NAME://host:port`, which protocol each speaks, which of them belong to the controller.

use std::fmt;

use crate::{broker::Rule, settings::Layers};

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    /// Bytes in the clear, no authentication.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL in the clear.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Reads Kafka's name of it, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol's number in metadata records (`RegisterBrokerRecord`).
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }
}

/// A named address. An empty host stands for all addresses where one listens, and for the machine's own name where
/// one is advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, in capitals.
    pub name: String,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port; 0 lets the system choose, for listeners only.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, host, port } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

impl Endpoint {
    /// Reads `NAME://host:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, address) = text.split_once("://")?;
        let (host, port) = parse_host_port(address)?;
        (!name.is_empty()).then(|| Self { name: name.to_uppercase(), host, port })
    }
}

/// Reads `host:port`, the host of an IPv6 address in brackets or not; the host may be empty.
#[must_use]
fn parse_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None => host,
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = host.chars().all(|c| c == ':' || is_of_a_name(c));
    if is_number && is_host { Some((host.to_owned(), port.parse().ok()?)) } else { None }
}

/// Reads the address of another server: `host:port`, before which Kafka lets a name stand, as in `PLAINTEXT://host:port`.
#[must_use]
pub(crate) fn parse_server(text: &str) -> Option<(String, u16)> {
    let behind_name = text.split_once("://").filter(|(name, _)| name.chars().all(is_of_a_name));
    parse_host_port(behind_name.map_or(text, |(_, address)| address))
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-%._".contains(c)
}

/// A socket the process accepts connections on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name and address.
    pub endpoint: Endpoint,
    /// What is spoken on it.
    pub protocol: SecurityProtocol,
    /// Whether it belongs to the controller.
    pub is_controller: bool,
}

/// All listeners of the process, and who uses which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// What the process listens on, in the order given.
    pub listeners: Vec<Listener>,
    /// What clients and brokers are told, one entry per listener that is advertised.
    pub advertised: Vec<Endpoint>,
    /// Name of the listener brokers use among themselves; `None` on a controller.
    pub inter_broker: Option<String>,
    /// Names of the controllers' listeners; the first is what brokers connect to.
    pub controllers: Vec<String>,
    /// Which protocol each name speaks.
    pub protocols: Vec<(String, SecurityProtocol)>,
}

impl Listeners {
    /// The protocol a listener of that name speaks.
    #[must_use]
    pub fn protocol(&self, name: &str) -> Option<SecurityProtocol> {
        self.protocols.iter().find(|(known, _)| known == name).map(|(_, protocol)| *protocol)
    }

    pub(crate) fn read(layers: &Layers, is_broker: bool, rules: &mut Vec<Rule>) -> Self {
        let controllers = names(&layers.list("controller.listener.names"));
        let protocols = read_protocols(layers, &controllers, rules);
        let protocol =
            |name: &str| protocols.iter().find(|(known, _)| known == name).map(|(_, protocol)| *protocol);
        let endpoints = read_endpoints(layers, "listeners", rules);
        let mut listeners = Vec::new();
        for endpoint in &endpoints {
            let Some(protocol) = protocol(&endpoint.name) else {
                rules.push(Rule::new(
                    "listeners",
                    format!("No security protocol defined for listener {}", endpoint.name),
                    format!("add {}:PLAINTEXT to listener.security.protocol.map", endpoint.name),
                ));
                continue;
            };
            listeners.push(Listener {
                endpoint: endpoint.clone(),
                protocol,
                is_controller: controllers.contains(&endpoint.name),
            });
        }
        let advertised =
            if layers.set_text("advertised.listeners").is_some_and(|text| !text.trim().is_empty()) {
                read_endpoints(layers, "advertised.listeners", rules)
            } else {
                endpoints.iter().filter(|endpoint| !controllers.contains(&endpoint.name)).cloned().collect()
            };
        let inter_broker = is_broker.then(|| inter_broker(layers, &protocols, rules)).flatten();
        Self { listeners, advertised, inter_broker, controllers, protocols }
    }
}

fn names(list: &[String]) -> Vec<String> {
    list.iter().map(|name| name.to_uppercase()).collect()
}

fn read_endpoints(layers: &Layers, key: &'static str, rules: &mut Vec<Rule>) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for text in layers.list(key) {
        match Endpoint::parse(&text) {
            Some(endpoint) => endpoints.push(endpoint),
            None => rules.push(Rule::new(
                key,
                format!("Unable to parse {text} to a broker endpoint"),
                "write it as NAME://host:port, for example PLAINTEXT://localhost:9092",
            )),
        }
    }
    endpoints
}

fn read_protocols(
    layers: &Layers,
    controllers: &[String],
    rules: &mut Vec<Rule>,
) -> Vec<(String, SecurityProtocol)> {
    const KEY: &str = "listener.security.protocol.map";
    let text = layers.text(KEY).unwrap_or_default();
    let mut protocols = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parsed =
            entry.rsplit_once(':').map(|(name, protocol)| (name, SecurityProtocol::parse(protocol.trim())));
        match parsed {
            Some((name, Some(protocol))) => protocols.push((name.trim().to_uppercase(), protocol)),
            Some((_, None)) => {
                let protocol = entry.rsplit(':').next().unwrap_or_default();
                rules.push(Rule::new(
                    KEY,
                    format!("Invalid security protocol `{protocol}` defined in {KEY}"),
                    "use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
                ));
            }
            None => rules.push(Rule::new(
                KEY,
                format!("Unable to parse {entry}"),
                "write entries as NAME:PROTOCOL",
            )),
        }
    }
    if layers.set_text(KEY).is_none() {
        // As Kafka: controller listeners nobody mapped speak plaintext.
        let unmapped = controllers.iter().filter(|name| protocols.iter().all(|(known, _)| known != *name));
        let added: Vec<_> = unmapped.map(|name| (name.clone(), SecurityProtocol::Plaintext)).collect();
        protocols.extend(added);
    }
    protocols
}

fn inter_broker(
    layers: &Layers,
    protocols: &[(String, SecurityProtocol)],
    rules: &mut Vec<Rule>,
) -> Option<String> {
    let named = layers.text("inter.broker.listener.name").filter(|name| !name.is_empty());
    if named.is_some() && layers.set_text("security.inter.broker.protocol").is_some() {
        rules.push(Rule::new(
            "security.inter.broker.protocol",
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
            "remove security.inter.broker.protocol",
        ));
    }
    let Some(name) = named else { return layers.text("security.inter.broker.protocol") };
    let name = name.to_uppercase();
    if protocols.iter().all(|(known, _)| *known != name) {
        rules.push(Rule::new(
            "inter.broker.listener.name",
            format!(
                "Listener with name {name} defined in inter.broker.listener.name not found in \
                 listener.security.protocol.map."
            ),
            format!("add {name}:PLAINTEXT to the map, or name one of its listeners"),
        ));
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_parse_and_print() {
        for text in ["PLAINTEXT://:9092", "TC-0://localhost:0", "A://[::1]:9093", "B://0.0.0.0:1"] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::parse("plain://h:1").unwrap().name, "PLAIN");
        assert_eq!(Endpoint::parse("A://::1:9093").unwrap().host, "::1");
        for text in [
            "",
            "A",
            "A://",
            "A://h",
            "A:h:1",
            "://h:1",
            "A://h:70000",
            "A://h:-1",
            "A://h h:1",
            "A://[::1:9",
            "A://h:+1",
            "A://B://h:1",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn servers_may_have_a_name_before_them() {
        let server = |host: &str, port| Some((host.to_owned(), port));
        for text in ["localhost:1", "CONTROLLER://localhost:1", "://localhost:1"] {
            assert_eq!(parse_server(text), server("localhost", 1), "{text}");
        }
        assert_eq!(parse_server("A-1://[::1]:9093"), server("::1", 9093));
        for text in ["a:1;2@b:2", "a b:1", "A B://h:1", "A://B://h:1", "h", "h:", "h:+1", "h:70000"] {
            assert_eq!(parse_server(text), None, "{text}");
        }
    }
}
