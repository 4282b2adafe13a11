//! What the controller is asked, and what it answers.

use ottla_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, AlterPartitionResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use ottla_types::NodeId;

/// A command. Those that carry a request are given an answer of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A new leader took office. From the machine itself.
    Activate,
    /// A broker has not been heard of for its session timeout. From the machine itself.
    FenceStale(NodeId),
    /// A broker starts.
    RegisterBroker(BrokerRegistrationRequest),
    /// An operator takes a broker out of the cluster.
    UnregisterBroker(UnregisterBrokerRequest),
    /// A broker lives, wants to be unfenced, or wants to stop.
    BrokerHeartbeat(BrokerHeartbeatRequest),
    /// A controller starts.
    RegisterController(ControllerRegistrationRequest),
    /// KIP-4. Topics that the request names twice are refused here.
    CreateTopics(CreateTopicsRequest),
    /// By name or id. Requests of old versions name topics in `topic_names`.
    DeleteTopics(DeleteTopicsRequest),
    /// KIP-195.
    CreatePartitions(CreatePartitionsRequest),
    /// KIP-339.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
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
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsResponse),
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    AlterPartition(AlterPartitionResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
}
