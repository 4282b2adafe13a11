//! Which APIs there are on a controller's listener: one line each in [`controller_table`].

use std::sync::Arc;

use ottla_config::{BrokerConfig, Settings};
use ottla_controller::supported_features;
use ottla_metadata::ImageCell;
use ottla_types::{Clock, NodeId};

use crate::{
    BrokerConnections, Handler, MetadataLogView, Quorum, Served, Table,
    api::{self as apis, controller, voters::Voters},
    ask::{Ask, Here},
    table::{Line, all_served},
};

/// What the handlers of a controller's listener are made of. Each takes what it needs, by its constructor.
pub struct ControllerServices {
    /// This controller.
    pub node_id: NodeId,
    /// This cluster.
    pub cluster_id: Arc<str>,
    /// The static configuration.
    pub config: Arc<BrokerConfig>,
    /// Every value of it, with its origin.
    pub settings: Arc<Settings>,
    /// The cluster's metadata, as far as this node has applied it.
    pub image: Arc<ImageCell>,
    /// This node's member of the metadata quorum.
    pub quorum: Arc<dyn Quorum>,
    /// The metadata log on this node, for those who observe it.
    pub metadata_log: Arc<dyn MetadataLogView>,
    /// Time: observers are shown with when they last fetched.
    pub clock: Arc<dyn Clock>,
    /// Told over which connections brokers send heartbeats; `()` when nobody wants to know.
    pub broker_connections: Arc<dyn BrokerConnections>,
}

/// Everything this node serves on its controller listeners.
#[must_use]
pub fn controller_table(services: &ControllerServices) -> Table {
    let mut inner = lines();
    inner.retain(|line| apis::envelope::is_forwarded(line.served.key));
    let inner = Arc::new(Table::of(inner, services));
    let mut lines = lines();
    lines.push(line(move |_| apis::envelope::Envelope::new(inner.clone())));
    // Not among what is served: ApiVersions does not tell of it.
    lines.push(line(|s| apis::ottla_raft::OttlaRaft::new(s.quorum.clone(), s.cluster_id.clone(), s.node_id)));
    Table::of(lines, services)
}

/// What [`controller_table`] serves, in the order of the keys: known without any service.
#[must_use]
pub fn controller_served() -> Vec<Served> {
    let mut lines = lines();
    lines.push(line(|_| apis::envelope::Envelope::new(Arc::default())));
    all_served(lines)
}

fn line<H: Handler>(handler: impl Fn(&ControllerServices) -> H + 'static) -> Line<ControllerServices> {
    Line::new(handler)
}

fn here(s: &ControllerServices) -> Arc<dyn Ask> {
    Arc::new(Here(s.quorum.clone()))
}

fn voters(s: &ControllerServices) -> Voters {
    Voters::new(s.quorum.clone(), &s.cluster_id, &s.config)
}

/// The table, but for Envelope, which is made of the others.
fn lines() -> Vec<Line<ControllerServices>> {
    let mut lines = about_the_quorum();
    lines.extend(from_brokers());
    lines.extend(from_operators());
    lines
}

/// The quorum and its log.
fn about_the_quorum() -> Vec<Line<ControllerServices>> {
    vec![
        line(|s| {
            let (log, cluster_id) = (s.metadata_log.clone(), s.cluster_id.clone());
            let (quorum, image) = (s.quorum.clone(), s.image.clone());
            controller::fetch::Fetch::new(quorum, image, log, cluster_id, s.clock.clone())
        }),
        line(|s| {
            let log = s.metadata_log.clone();
            let cluster_id = s.cluster_id.clone();
            apis::fetch_snapshot::FetchSnapshot::new(s.quorum.clone(), s.image.clone(), log, cluster_id)
        }),
        line(|s| {
            // Of all that is Kafka's.
            let served = controller_served();
            let status = s.quorum.status();
            let kraft_version = Arc::new(move || status.borrow().kraft_version);
            let image = s.image.clone();
            apis::api_versions::ApiVersions::new(&served, image, &s.cluster_id, s.node_id, kraft_version)
                .of_controller(supported_features())
        }),
        line(|s| {
            let image = s.image.clone();
            controller::describe_cluster::DescribeCluster::new(image, s.quorum.clone(), &s.cluster_id)
        }),
        line(|s| apis::describe_quorum::DescribeQuorum::new(s.quorum.clone())),
        line(|s| apis::add_raft_voter::AddRaftVoter(voters(s))),
        line(|s| apis::remove_raft_voter::RemoveRaftVoter(voters(s))),
        line(|s| apis::update_raft_voter::UpdateRaftVoter::new(voters(s), s.image.clone())),
        line(|s| apis::controller_registration::ControllerRegistration::new(here(s))),
    ]
}

/// What brokers say of themselves.
fn from_brokers() -> Vec<Line<ControllerServices>> {
    vec![
        line(|s| {
            let (connections, image) = (s.broker_connections.clone(), s.image.clone());
            apis::broker_registration::BrokerRegistration::new(here(s), connections, image)
        }),
        line(|s| apis::broker_heartbeat::BrokerHeartbeat::new(here(s), s.broker_connections.clone())),
        line(|s| apis::alter_partition::AlterPartition::new(here(s))),
        line(|s| apis::allocate_producer_ids::AllocateProducerIds::new(here(s))),
        line(|s| apis::assign_replicas_to_dirs::AssignReplicasToDirs::new(here(s))),
    ]
}

/// What operators and clients want, directly or forwarded by a broker.
fn from_operators() -> Vec<Line<ControllerServices>> {
    vec![
        line(|s| apis::create_topics::CreateTopics::new(here(s))),
        line(|s| {
            let enabled = s.config.new_topics.delete_topic_enable;
            apis::delete_topics::DeleteTopics::new(here(s), enabled)
        }),
        line(|s| apis::create_partitions::CreatePartitions::new(here(s))),
        line(|s| {
            apis::describe_configs::DescribeConfigs::new(s.image.clone(), s.settings.clone(), s.node_id)
        }),
        line(|s| apis::alter_configs::AlterConfigs::on_controller(here(s))),
        line(|s| {
            let node_id = s.node_id;
            apis::incremental_alter_configs::IncrementalAlterConfigs::on_controller(here(s), node_id)
        }),
        line(|s| apis::elect_leaders::ElectLeaders::new(here(s))),
        line(|s| apis::alter_partition_reassignments::AlterPartitionReassignments::new(here(s))),
        line(|s| controller::list_partition_reassignments::ListPartitionReassignments::new(s.image.clone())),
        line(|s| apis::update_features::UpdateFeatures::new(here(s))),
        line(|s| apis::unregister_broker::UnregisterBroker::new(here(s))),
        line(|s| apis::unregister_controller::UnregisterController::new(here(s))),
    ]
}

#[cfg(test)]
mod tests {
    use ottla_protocol::api;

    use super::*;

    #[test]
    fn every_api_has_one_line_and_is_one_of_controllers() {
        let served = controller_served();
        assert!(served.windows(2).all(|two| two[0].key < two[1].key), "two lines for one API");
        for served in served {
            assert!(api::by_key(served.key).is_none_or(|api| api.controller), "{}", served.name);
        }
    }
}
