//! What the controller is asked, and what it answers.

use ottla_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse, UnregisterControllerRequest,
    UnregisterControllerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use ottla_types::{Millis, NodeId};

/// A command. Those that carry a request are given an answer of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A new leader took office. From the machine itself.
    Activate,
    /// A broker has not been heard of for its session timeout. From the machine itself.
    FenceStale(NodeId),
    /// Every connection that a broker's heartbeats came over is closed and it does not answer a new one. It is fenced at
    /// once, unless it was heard of after `since` or has registered anew. No answer.
    BrokerLost {
        /// The broker.
        id: NodeId,
        /// Its epoch as its last heartbeat named it.
        epoch: i64,
        /// When the last connection closed, by the clock that decisions are made by.
        since: Millis,
    },
    /// Time to give leadership back to preferred replicas. From the machine itself.
    Balance,
    /// Time to elect leaders where there is none and unclean elections are allowed. From the machine itself.
    ElectLeaderless,
    /// A broker starts.
    RegisterBroker(BrokerRegistrationRequest),
    /// An operator takes a broker out of the cluster.
    UnregisterBroker(UnregisterBrokerRequest),
    /// A broker lives, wants to be unfenced, or wants to stop.
    BrokerHeartbeat(BrokerHeartbeatRequest),
    /// A controller starts.
    RegisterController(ControllerRegistrationRequest),
    /// An operator takes a controller out of the list of the registered (key 94).
    UnregisterController(UnregisterControllerRequest),
    /// KIP-4. Topics that the request names twice are refused here.
    CreateTopics(CreateTopicsRequest),
    /// By name or id. Requests of old versions name topics in `topic_names`.
    DeleteTopics(DeleteTopicsRequest),
    /// KIP-195.
    CreatePartitions(CreatePartitionsRequest),
    /// KIP-339.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// The older way: what is not named is reset (key 33).
    AlterConfigs(AlterConfigsRequest),
    /// KIP-183, KIP-460.
    ElectLeaders(ElectLeadersRequest),
    /// KIP-455, KIP-860.
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    /// KIP-455. Changes nothing.
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    /// KIP-584, KIP-778, and the `kraft.version` that stands. Raft keeps that feature: whoever asks for more of it has
    /// raft do it first, and asks then.
    UpdateFeatures(UpdateFeaturesRequest, i16),
    /// A broker says which log dirs hold its replicas (KIP-858).
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    /// A leader reports a changed in-sync set (KIP-497).
    AlterPartition(AlterPartitionRequest),
    /// A broker needs producer ids (KIP-730).
    AllocateProducerIds(AllocateProducerIdsRequest),
}

/// An answer. Fields a version of the response lacks are filled too: whoever sends it drops them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each answers the command of its name")]
pub enum Answer {
    RegisterBroker(BrokerRegistrationResponse),
    UnregisterBroker(UnregisterBrokerResponse),
    BrokerHeartbeat(BrokerHeartbeatResponse),
    RegisterController(ControllerRegistrationResponse),
    UnregisterController(UnregisterControllerResponse),
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsResponse),
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    AlterConfigs(AlterConfigsResponse),
    ElectLeaders(ElectLeadersResponse),
    AlterPartitionReassignments(AlterPartitionReassignmentsResponse),
    ListPartitionReassignments(ListPartitionReassignmentsResponse),
    UpdateFeatures(UpdateFeaturesResponse),
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
    AlterPartition(AlterPartitionResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
}
