//! Registrations of brokers and controllers.

use std::sync::Arc;

use ottla_types::NodeId;
use uuid::Uuid;

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name.
    pub name: Arc<str>,
    /// Advertised host.
    pub host: Arc<str>,
    /// Advertised port.
    pub port: u16,
    /// Kafka's id of the security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// Feature name, as `metadata.version`.
    pub name: Arc<str>,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its node id.
    pub id: NodeId,
    /// Its epoch: the offset of the record that registered it.
    pub epoch: i64,
    /// New with every start of the process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub listeners: Vec<Endpoint>,
    /// The features it can work with.
    pub features: Vec<FeatureRange>,
    /// Its rack.
    pub rack: Option<Arc<str>>,
    /// Fenced: it has not caught up, or its session ran out. Fenced brokers are hidden from clients.
    pub fenced: bool,
    /// It is shutting down and its leaders are being moved.
    pub in_controlled_shutdown: bool,
    /// Ids of its online log dirs.
    pub log_dirs: Vec<Uuid>,
    /// Ids of log dirs that take no new replicas; `None` until the broker has said.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// The listener of this name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|listener| &*listener.name == name)
    }

    /// Neither fenced nor on its way out: may lead, may be in sync.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// A registered controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Its node id.
    pub id: NodeId,
    /// New with every start of the process.
    pub incarnation_id: Uuid,
    /// A relic of the move from ZooKeeper, kept because the record has it.
    pub zk_migration_ready: bool,
    /// Its listeners.
    pub listeners: Vec<Endpoint>,
    /// The features it can work with.
    pub features: Vec<FeatureRange>,
}
