//! Requests that are one command to the controller: what was asked reaches it as it is, its answer comes back as it is,
//! and a controller that is not the active one says so in the way that makes clients look for another.

use std::sync::Arc;

use ottla_controller::{Answer, Command};
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId, ElectLeadersRequest,
    ElectLeadersResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    RemoveRaftVoterRequest, TopicName, UnregisterBrokerRequest, UnregisterBrokerResponse,
    UpdateFeaturesRequest, UpdateFeaturesResponse,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
};
use ottla_raft::VoterChange;
use ottla_types::{ApiError, ErrorCode};
use uuid::Uuid;

use super::{
    alter_partition_reassignments::AlterPartitionReassignments,
    elect_leaders::ElectLeaders,
    list_partition_reassignments::ListPartitionReassignments,
    remove_raft_voter::RemoveRaftVoter,
    testing::{FakeQuorum, ask},
    unregister_broker::UnregisterBroker,
    update_features::UpdateFeatures,
    voters::Voters,
};
use crate::{Handler, ask::Here};

/// Asks a handler whose controller answers with `answer`, then one whose controller is not the active one. Gives the
/// command, both answers, and what the second one is taken for.
async fn both<H: Handler>(
    make: impl Fn(Arc<Here>) -> H,
    version: i16,
    request: H::Request,
    answer: Answer,
) -> (Command, H::Response, H::Response, bool)
where
    H::Request: Clone,
{
    let quorum = FakeQuorum::new(true);
    quorum.answers.lock().push_back(Ok(answer));
    let active = make(Arc::new(Here(quorum.clone())));
    let answered = ask(&active, version, request.clone()).await;
    assert!(!H::says_not_controller(&answered));
    let asked = quorum.asked.lock().pop().expect("it was asked");
    let idle = make(Arc::new(Here(FakeQuorum::new(false))));
    let refused = ask(&idle, version, request).await;
    let elsewhere = H::says_not_controller(&refused);
    (asked, answered, refused, elsewhere)
}

const ELSEWHERE: i16 = ErrorCode::NOT_CONTROLLER.0;

#[tokio::test]
async fn elections_are_passed_on() {
    let request = ElectLeadersRequest::default().with_election_type(1).with_topic_partitions(None);
    let answer = ElectLeadersResponse::default().with_error_code(5);
    let (asked, answered, refused, elsewhere) =
        both(|here| ElectLeaders::new(here), 2, request.clone(), Answer::ElectLeaders(answer.clone())).await;
    assert!(matches!(asked, Command::ElectLeaders(asked) if asked == request));
    assert_eq!((answered, refused.error_code, elsewhere), (answer, ELSEWHERE, true));
}

#[tokio::test]
async fn reassignments_are_passed_on() {
    let partition =
        ReassignablePartition::default().with_partition_index(4).with_replicas(Some(vec![BrokerId(1)]));
    let topic =
        ReassignableTopic::default().with_name(TopicName("t".into())).with_partitions(vec![partition]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_allow_replication_factor_change(false)
        .with_topics(vec![topic]);
    let answer = AlterPartitionReassignmentsResponse::default().with_allow_replication_factor_change(false);
    let (asked, answered, refused, elsewhere) = both(
        |here| AlterPartitionReassignments::new(here),
        1,
        request.clone(),
        Answer::AlterPartitionReassignments(answer.clone()),
    )
    .await;
    assert!(matches!(asked, Command::AlterPartitionReassignments(asked) if asked == request));
    assert_eq!((answered, refused.error_code, elsewhere), (answer, ELSEWHERE, true));
    let named = &refused.responses[0];
    let partition = &named.partitions[0];
    assert_eq!((named.name.as_str(), partition.partition_index, partition.error_code), ("t", 4, ELSEWHERE));
    assert!(!refused.allow_replication_factor_change);
}

#[tokio::test]
async fn what_is_being_reassigned_is_asked_of_the_controller() {
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer = ListPartitionReassignmentsResponse::default().with_throttle_time_ms(3);
    let (asked, answered, refused, elsewhere) = both(
        |here| ListPartitionReassignments::new(here),
        0,
        request.clone(),
        Answer::ListPartitionReassignments(answer.clone()),
    )
    .await;
    assert!(matches!(asked, Command::ListPartitionReassignments(asked) if asked == request));
    assert_eq!((answered, refused.error_code, elsewhere), (answer, ELSEWHERE, true));
}

#[tokio::test]
async fn features_are_the_controllers_to_change() {
    let request = UpdateFeaturesRequest::default().with_validate_only(true);
    let answer = UpdateFeaturesResponse::default().with_error_code(ErrorCode::INVALID_REQUEST.0);
    let (asked, answered, refused, elsewhere) =
        both(|here| UpdateFeatures::new(here), 1, request.clone(), Answer::UpdateFeatures(answer.clone()))
            .await;
    assert!(matches!(asked, Command::UpdateFeatures(asked, 0) if asked == request));
    assert_eq!((answered, refused.error_code, elsewhere), (answer, ELSEWHERE, true));
    assert!(refused.error_message.is_some_and(|why| why.contains("node 1")));
}

#[tokio::test]
async fn brokers_are_unregistered_by_the_controller() {
    let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(7));
    let answer = UnregisterBrokerResponse::default().with_error_code(ErrorCode::BROKER_ID_NOT_REGISTERED.0);
    let (asked, answered, refused, elsewhere) = both(
        |here| UnregisterBroker::new(here),
        0,
        request.clone(),
        Answer::UnregisterBroker(answer.clone()),
    )
    .await;
    assert!(matches!(asked, Command::UnregisterBroker(asked) if asked == request));
    assert_eq!((answered, refused.error_code, elsewhere), (answer, ELSEWHERE, true));
}

#[tokio::test]
async fn voters_are_removed_by_the_quorum_that_is_meant() {
    let quorum = FakeQuorum::new(true);
    let node = RemoveRaftVoter(Voters {
        quorum: quorum.clone(),
        cluster_id: "FDKordlvRwas5H1N1sN4Kw".into(),
        listener: "CONTROLLER".into(),
    });
    let request = |cluster: Option<&'static str>, id, directory| {
        RemoveRaftVoterRequest::default()
            .with_cluster_id(cluster.map(Into::into))
            .with_voter_id(id)
            .with_voter_directory_id(Uuid::from_u128(directory))
    };
    for (request, code) in [
        (request(Some("another"), 2, 7), ErrorCode::INCONSISTENT_CLUSTER_ID),
        (request(None, -1, 7), ErrorCode::INVALID_REQUEST),
        (request(None, 2, 0), ErrorCode::INVALID_REQUEST),
    ] {
        assert_eq!(ErrorCode(ask(&node, 0, request).await.error_code), code);
    }
    assert!(quorum.changes.lock().is_empty());
    assert_eq!(ask(&node, 0, request(Some("FDKordlvRwas5H1N1sN4Kw"), 2, 7)).await.error_code, 0);
    let expected = VoterChange::Remove { id: 2, directory_id: Uuid::from_u128(7) };
    assert_eq!(*quorum.changes.lock(), [expected]);
    let message = "This node does not lead the metadata quorum";
    *quorum.refusal.lock() = Some(ApiError::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, message));
    let refused = ask(&node, 0, request(None, 2, 7)).await;
    assert!(RemoveRaftVoter::says_not_controller(&refused));
    assert_eq!(refused.error_message.as_deref(), Some(""), "Kafka has no words for it");
}
