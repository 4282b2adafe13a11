//! Which APIs there are: one line each in [`table`]. ApiVersions and `docs/API-SUPPORT.md` come from here.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use ottla_config::{BrokerConfig, Settings};
use ottla_coordinator::Coordinators;
use ottla_metadata::ImageCell;
use ottla_net::Frame;
use ottla_protocol::{DecodeError, EncodeError, Message, Request, api};
use ottla_replica::ReplicaManager;
use ottla_types::NodeId;

use crate::{
    Controllers, Handler, Reply, RequestContext, api as apis,
    handler::{Erase, Erased},
};

/// What handlers are made of. Each takes what it needs, by its constructor.
pub struct Services {
    /// This broker.
    pub node_id: NodeId,
    /// This cluster.
    pub cluster_id: Arc<str>,
    /// The static configuration.
    pub config: Arc<BrokerConfig>,
    /// Every value of it, with its origin.
    pub settings: Arc<Settings>,
    /// Chance, for fetch session ids.
    pub seed: u64,
    /// The cluster's metadata, as far as this broker has applied it.
    pub image: Arc<ImageCell>,
    /// This broker's replicas.
    pub replicas: Arc<ReplicaManager>,
    /// This broker's group coordinators.
    pub coordinators: Arc<Coordinators>,
    /// The way to the active controller.
    pub controllers: Arc<Controllers>,
}

/// One API.
pub struct Entry {
    /// API key.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// Versions that are served.
    pub versions: RangeInclusive<i16>,
    /// Versions that ApiVersions tells of.
    pub advertised: RangeInclusive<i16>,
    handler: Box<dyn Erased>,
}

impl Entry {
    /// Decodes a body and hands it over.
    pub(crate) fn serve(
        &self,
        ctx: &RequestContext,
        body: Bytes,
    ) -> Result<Reply<Result<Frame, EncodeError>>, DecodeError> {
        self.handler.serve(ctx, body)
    }
}

/// All APIs, by key.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<i16, Entry>,
}

impl Table {
    /// Adds an API.
    ///
    /// # Panics
    /// When the API is there already, or a version is claimed that Kafka does not have.
    #[must_use]
    pub fn with<H: Handler>(mut self, handler: H) -> Self {
        let key = H::Request::KEY;
        let known = api::by_key(key).expect("every request type has a key of Kafka's");
        let schema = <H::Request as Message>::VERSIONS;
        let (from, to) = (*H::VERSIONS.start(), *H::VERSIONS.end());
        assert!(schema.min <= from && to <= schema.max, "{} {from}-{to} is more than its schema has", known.name);
        assert!(known.has(from) && to <= known.max_stable(), "{} {from}-{to} is more than Kafka serves", known.name);
        let entry = Entry {
            key,
            name: known.name,
            versions: H::VERSIONS,
            advertised: H::ADVERTISED_FROM..=to,
            handler: Box::new(Erase::new(handler)),
        };
        assert!(self.entries.insert(key, entry).is_none(), "two handlers for {}", known.name);
        self
    }

    /// The API of a key.
    #[must_use]
    pub fn get(&self, key: i16) -> Option<&Entry> {
        self.entries.get(&key)
    }

    /// All APIs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

/// Everything this broker serves on its client listeners.
#[must_use]
pub fn table(s: &Services) -> Table {
    let config = &s.config;
    let auto_create = config.new_topics.auto_create_topics_enable;
    let fetch_limits = (
        usize::try_from(config.fetch_max_bytes).unwrap_or(0),
        usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0),
        s.seed,
    );
    let table = Table::default()
        .with(apis::produce::Produce::new(s.replicas.clone(), s.image.clone()))
        .with(apis::fetch::Fetch::new(s.replicas.clone(), s.image.clone(), fetch_limits))
        .with(apis::list_offsets::ListOffsets::new(s.replicas.clone(), s.image.clone()))
        .with(apis::metadata::Metadata::new(s.image.clone(), s.controllers.clone(), &s.cluster_id, auto_create))
        .with(apis::offset_commit::OffsetCommit::new(s.image.clone(), s.coordinators.clone()))
        .with(apis::offset_fetch::OffsetFetch::new(s.image.clone(), s.coordinators.clone()))
        .with(apis::find_coordinator::FindCoordinator::new(s.image.clone(), s.controllers.clone()))
        .with(apis::join_group::JoinGroup::new(s.coordinators.clone()))
        .with(apis::heartbeat::Heartbeat::new(s.coordinators.clone()))
        .with(apis::leave_group::LeaveGroup::new(s.coordinators.clone()))
        .with(apis::sync_group::SyncGroup::new(s.coordinators.clone()))
        .with(apis::describe_groups::DescribeGroups::new(s.coordinators.clone()))
        .with(apis::list_groups::ListGroups::new(s.coordinators.clone()))
        .with(apis::create_topics::CreateTopics::new(s.controllers.clone()))
        .with(apis::delete_topics::DeleteTopics::new(s.controllers.clone(), config.new_topics.delete_topic_enable))
        .with(apis::init_producer_id::InitProducerId::new(s.controllers.clone(), s.image.clone(), s.node_id))
        .with(apis::describe_configs::DescribeConfigs::new(s.image.clone(), s.settings.clone(), s.node_id))
        .with(apis::create_partitions::CreatePartitions::new(s.controllers.clone()))
        .with(apis::incremental_alter_configs::IncrementalAlterConfigs::new(s.controllers.clone(), s.node_id))
        .with(apis::describe_cluster::DescribeCluster::new(s.image.clone(), &s.cluster_id))
        .with(apis::describe_topic_partitions::DescribeTopicPartitions::new(
            s.image.clone(),
            config.max_request_partition_size_limit,
        ));
    let advertised: Vec<_> = table.iter().map(|entry| (entry.key, entry.advertised.clone())).collect();
    // Last, because it tells of all others.
    table.with(apis::api_versions::ApiVersions::new(advertised.into_iter(), s.image.clone(), &s.cluster_id, s.node_id))
}
