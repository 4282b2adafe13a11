//! Groups outlive the node that coordinates them.

mod support;

use ottla_protocol::{
    StrBytes,
    messages::{
        FindCoordinatorRequest, HeartbeatRequest, OffsetCommitRequest, SyncGroupRequest,
        sync_group_request::SyncGroupRequestAssignment,
    },
};
use support::{
    Client, Node,
    cluster::{Three, attempts},
    requests::{
        JOIN_GROUP, commit_request, committed, create_topics_request, group_id, group_state, join_request,
        member_id,
    },
};

const GROUP: &str = "readers";
const TOPIC: &str = "read";
const GENERATION: i32 = 1;
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: asked again, here or elsewhere.
const UNREADY: [i16; 3] = [14, 15, 16];

/// The node that coordinates the group, as this one sees it.
fn coordinator(node: &Node) -> Option<i32> {
    let request =
        FindCoordinatorRequest::default().with_coordinator_keys(vec![StrBytes::from_static_str(GROUP)]);
    let answer = node.connect().call(4, &request);
    let found = &answer.coordinators[0];
    (found.error_code == 0).then_some(found.node_id.0)
}

/// Asks whoever coordinates until the answer is one; returns it and who gave it.
fn ask<T>(cluster: &Three, ask: impl Fn(&mut Client) -> (i16, T)) -> (i32, i16, T) {
    let mut asked = attempts().filter_map(|()| {
        let id = coordinator(cluster.anyone())?;
        // Not told yet that it is gone.
        let node = cluster.nodes.get(&id)?;
        let (error, answer) = ask(&mut node.connect());
        (!UNREADY.contains(&error)).then_some((id, error, answer))
    });
    asked.next().expect("somebody coordinates")
}

fn commit(member: &StrBytes, offset: i64) -> OffsetCommitRequest {
    commit_request(GROUP, TOPIC, 0, offset)
        .with_generation_id_or_member_epoch(GENERATION)
        .with_member_id(member.clone())
}

fn try_commit(cluster: &Three, member: &StrBytes, offset: i64) {
    let (_, error, ()) = ask(cluster, |client| {
        (client.call(8, &commit(member, offset)).topics[0].partitions[0].error_code, ())
    });
    assert_eq!(error, 0, "the member may commit");
}

/// A group with one member, which has all.
fn join(cluster: &Three) -> (i32, StrBytes) {
    let (_, _, ()) = ask(cluster, |client| (committed(client, GROUP, TOPIC, 0).0, ()));
    let (_, _, member) = ask(cluster, |client| (0, member_id(client, GROUP)));
    let (_, error, generation) = ask(cluster, |client| {
        let joined = client.call(JOIN_GROUP, &join_request(GROUP, &member));
        (joined.error_code, joined.generation_id)
    });
    assert_eq!((error, generation), (0, GENERATION));
    let all =
        SyncGroupRequestAssignment::default().with_member_id(member.clone()).with_assignment("all".into());
    let sync = SyncGroupRequest::default()
        .with_group_id(group_id(GROUP))
        .with_generation_id(GENERATION)
        .with_member_id(member.clone())
        .with_protocol_type(Some("consumer".into()))
        .with_protocol_name(Some("range".into()))
        .with_assignments(vec![all]);
    let (id, error, assigned) = ask(cluster, |client| {
        let synced = client.call(5, &sync);
        (synced.error_code, synced.assignment)
    });
    assert_eq!((error, &assigned[..]), (0, &b"all"[..]));
    (id, member)
}

#[test]
fn a_group_outlives_its_coordinator_with_its_offsets_and_members() {
    let lines = "offsets.topic.replication.factor=3\noffsets.topic.num.partitions=1\ngroup.initial.rebalance.delay.ms=0";
    let mut cluster = Three::start(lines);
    let mut request = create_topics_request(TOPIC, 1, &[]);
    request.topics[0].replication_factor = 3;
    assert_eq!(cluster.anyone().connect().call(7, &request).topics[0].error_code, 0);
    let (mut leads, member) = join(&cluster);
    try_commit(&cluster, &member, 7);

    let heartbeat = HeartbeatRequest::default()
        .with_group_id(group_id(GROUP))
        .with_generation_id(GENERATION)
        .with_member_id(member.clone());
    for offset in [7, 8] {
        cluster.nodes.remove(&leads).expect("it runs").kill();
        let (next, error, ()) = ask(&cluster, |client| (client.call(4, &heartbeat).error_code, ()));
        assert_ne!(next, leads, "its coordinator is gone");
        assert_eq!(error, 0, "the member is known, and its generation");
        let (_, error, kept) = ask(&cluster, |client| committed(client, GROUP, TOPIC, 0));
        assert_eq!((error, kept), (0, offset));
        assert_eq!(group_state(&mut cluster.nodes[&next].connect(), GROUP), "Stable");
        try_commit(&cluster, &member, offset + 1);
        cluster.restart(leads);
        leads = next;
    }
    let (_, _, kept) = ask(&cluster, |client| committed(client, GROUP, TOPIC, 0));
    assert_eq!(kept, 9);
    for node in cluster.nodes.values() {
        node.assert_well();
    }
}
