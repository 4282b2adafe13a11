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
    Controllers, Handler, Losses, Reply, RequestContext,
    api::{self as apis, broker_changes::OwnConfig, voters::Voters},
    ask::PassedOn,
    handler::{Erase, Erased, Inner},
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
    /// Brokers that went away a moment ago.
    pub losses: Arc<Losses>,
}

/// What is served of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// API key.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// Versions that are served.
    pub versions: RangeInclusive<i16>,
    /// Versions that ApiVersions tells of.
    pub advertised: RangeInclusive<i16>,
}

impl Served {
    /// What a handler says of itself.
    ///
    /// # Panics
    /// When a version is claimed that Kafka does not have.
    fn by<H: Handler>() -> Self {
        let key = H::Request::KEY;
        let known = api::by_key(key).expect("every request type has a key of Kafka's");
        let schema = <H::Request as Message>::VERSIONS;
        let (from, to) = (*H::VERSIONS.start(), *H::VERSIONS.end());
        assert!(
            schema.min <= from && to <= schema.max,
            "{} {from}-{to} is more than its schema has",
            known.name
        );
        assert!(
            known.has(from) && to <= known.max_stable(),
            "{} {from}-{to} is more than Kafka serves",
            known.name
        );
        Self { key, name: known.name, versions: H::VERSIONS, advertised: H::ADVERTISED_FROM..=to }
    }
}

/// One API, with who serves it.
pub struct Entry {
    /// What is served of it.
    pub served: Served,
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

    /// Decodes a body that came in an Envelope and hands it over.
    pub(crate) fn serve_inner(&self, ctx: &RequestContext, body: Bytes) -> Result<Reply<Inner>, DecodeError> {
        self.handler.serve_inner(ctx, body)
    }
}

/// All APIs, by key.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<i16, Entry>,
}

impl Table {
    /// The table of these lines, its handlers made of `services`.
    pub(crate) fn of<S>(lines: Vec<Line<S>>, services: &S) -> Self {
        let entries = lines.into_iter().map(|line| {
            let handler = (line.handler)(services);
            (line.served.key, Entry { served: line.served, handler })
        });
        Self { entries: entries.collect() }
    }

    /// The table with one more API: for what only this cluster's own nodes speak, and nobody is told of.
    #[must_use]
    pub fn with<H: Handler>(mut self, handler: H) -> Self {
        let served = Served::by::<H>();
        self.entries.insert(served.key, Entry { served, handler: Box::new(Erase::new(handler)) });
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
pub fn table(services: &Services) -> Table {
    Table::of(lines(), services)
}

/// What [`table`] serves, in the order of the keys: known without any service.
#[must_use]
pub fn served() -> Vec<Served> {
    all_served(lines())
}

/// What is served of the APIs of these lines, in the order of the keys.
pub(crate) fn all_served<S>(lines: Vec<Line<S>>) -> Vec<Served> {
    let mut served: Vec<_> = lines.into_iter().map(|line| line.served).collect();
    served.sort_by_key(|api| api.key);
    served
}

/// A line of a table: what is served, and how its handler is made of services `S`.
pub(crate) struct Line<S> {
    pub(crate) served: Served,
    handler: MakeHandler<S>,
}

type MakeHandler<S> = Box<dyn Fn(&S) -> Box<dyn Erased>>;

impl<S: 'static> Line<S> {
    pub(crate) fn new<H: Handler>(handler: impl Fn(&S) -> H + 'static) -> Self {
        Self {
            served: Served::by::<H>(),
            handler: Box::new(move |services| Box::new(Erase::new(handler(services)))),
        }
    }
}

fn line<H: Handler>(handler: impl Fn(&Services) -> H + 'static) -> Line<Services> {
    Line::new(handler)
}

fn own_config(s: &Services) -> OwnConfig {
    OwnConfig::new(s.image.clone(), s.settings.clone(), s.node_id)
}

/// The table. A line says how an API's handler is made; all else the handler says itself.
fn lines() -> Vec<Line<Services>> {
    vec![
        line(|s| apis::produce::Produce::new(s.replicas.clone(), s.image.clone())),
        line(|s| {
            let by_rack = s.settings.text("replica.selector.class") == Some(apis::fetch::RACK_AWARE);
            apis::fetch::Fetch::new(s.replicas.clone(), s.image.clone(), fetch_limits(s), by_rack)
        }),
        line(|s| apis::list_offsets::ListOffsets::new(s.replicas.clone(), s.image.clone())),
        line(|s| {
            let auto_create = s.config.new_topics.auto_create_topics_enable;
            apis::metadata::Metadata::new(
                s.image.clone(),
                s.controllers.clone(),
                s.losses.clone(),
                &s.cluster_id,
                auto_create,
            )
        }),
        line(|s| apis::offset_commit::OffsetCommit::new(s.image.clone(), s.coordinators.clone())),
        line(|s| apis::offset_fetch::OffsetFetch::new(s.image.clone(), s.coordinators.clone())),
        line(|s| {
            apis::find_coordinator::FindCoordinator::new(
                s.image.clone(),
                s.controllers.clone(),
                s.losses.clone(),
            )
        }),
        line(|s| apis::join_group::JoinGroup::new(s.coordinators.clone())),
        line(|s| apis::heartbeat::Heartbeat::new(s.coordinators.clone())),
        line(|s| apis::leave_group::LeaveGroup::new(s.coordinators.clone())),
        line(|s| apis::sync_group::SyncGroup::new(s.coordinators.clone())),
        line(|s| apis::describe_groups::DescribeGroups::new(s.coordinators.clone())),
        line(|s| apis::list_groups::ListGroups::new(s.coordinators.clone())),
        line(|s| {
            let (image, kraft_version) = (s.image.clone(), s.controllers.kraft_version());
            apis::api_versions::ApiVersions::new(&served(), image, &s.cluster_id, s.node_id, kraft_version)
        }),
        line(|s| apis::create_topics::CreateTopics::new(s.controllers.clone())),
        line(|s| {
            let enabled = s.config.new_topics.delete_topic_enable;
            apis::delete_topics::DeleteTopics::new(s.controllers.clone(), enabled)
        }),
        line(|s| {
            apis::init_producer_id::InitProducerId::new(s.controllers.clone(), s.image.clone(), s.node_id)
        }),
        line(|s| {
            apis::describe_configs::DescribeConfigs::new(s.image.clone(), s.settings.clone(), s.node_id)
        }),
        line(|s| apis::alter_replica_log_dirs::AlterReplicaLogDirs::new(s.replicas.clone())),
        line(|s| {
            let dirs = &s.config.dirs.log_dirs;
            apis::describe_log_dirs::DescribeLogDirs::new(s.replicas.clone(), dirs)
        }),
        line(|s| apis::create_partitions::CreatePartitions::new(s.controllers.clone())),
        line(|s| {
            let controllers = s.controllers.clone();
            apis::incremental_alter_configs::IncrementalAlterConfigs::on_broker(
                controllers,
                s.node_id,
                own_config(s),
            )
        }),
        line(|s| {
            apis::offset_for_leader_epoch::OffsetForLeaderEpoch::new(s.replicas.clone(), s.image.clone())
        }),
        line(|s| PassedOn::new(s.controllers.clone(), apis::describe_quorum::DescribeQuorum::new)),
        line(|s| {
            PassedOn::new(s.controllers.clone(), |quorum| {
                apis::add_raft_voter::AddRaftVoter(Voters::new(quorum, &s.cluster_id, &s.config))
            })
        }),
        line(|s| {
            PassedOn::new(s.controllers.clone(), |quorum| {
                apis::remove_raft_voter::RemoveRaftVoter(Voters::new(quorum, &s.cluster_id, &s.config))
            })
        }),
        line(|s| apis::list_config_resources::ListConfigResources::new(s.image.clone())),
        line(|s| apis::alter_configs::AlterConfigs::on_broker(s.controllers.clone(), own_config(s))),
        line(|s| apis::elect_leaders::ElectLeaders::new(s.controllers.clone())),
        line(|s| {
            let controllers = s.controllers.clone();
            apis::alter_partition_reassignments::AlterPartitionReassignments::new(controllers)
        }),
        line(|s| apis::list_partition_reassignments::ListPartitionReassignments::new(s.controllers.clone())),
        line(|s| apis::update_features::UpdateFeatures::new(s.controllers.clone())),
        line(|s| apis::unregister_broker::UnregisterBroker::new(s.controllers.clone())),
        line(|s| apis::unregister_controller::UnregisterController::new(s.controllers.clone())),
        line(|s| apis::describe_cluster::DescribeCluster::new(s.image.clone(), &s.cluster_id)),
        line(|s| {
            let limit = s.config.max_request_partition_size_limit;
            apis::describe_topic_partitions::DescribeTopicPartitions::new(s.image.clone(), limit)
        }),
    ]
}

/// Bytes of a Fetch, sessions that are kept, and chance for their ids.
fn fetch_limits(s: &Services) -> (usize, usize, u64) {
    let config = &s.config;
    (
        usize::try_from(config.fetch_max_bytes).unwrap_or(0),
        usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0),
        s.seed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_has_one_line_and_claims_what_kafka_has() {
        // Making the list checks the versions.
        let served = served();
        assert!(served.windows(2).all(|two| two[0].key < two[1].key), "two lines for one API");
        assert!(served.iter().all(|api| api.advertised.start() <= api.versions.start()));
        assert!(served.iter().all(|api| api.advertised.end() == api.versions.end()));
    }
}
