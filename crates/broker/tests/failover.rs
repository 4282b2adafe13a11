//! The loss of a broker is news by its connections, not by its silence: here sessions and replica lag would take ten
//! minutes.

mod support;

use std::{net::SocketAddr, time::Duration};

use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerHeartbeatRequest, MetadataRequest, MetadataResponse, OttlaRaftRequest, ProduceRequest,
        metadata_request::MetadataRequestTopic, metadata_response::MetadataResponsePartition,
    },
};
use ottla_records::Producer;
use ottla_storage::MetaProperties;
use ottla_types::ErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use support::{
    Client, Node,
    cluster::{CLUSTER_ID, Three, attempts},
    requests::{PRODUCE, batch, create_topics_request, produce_request, topic_name},
};

const TOPIC: &str = "moved";
const PATIENT: &str = "broker.session.timeout.ms=600000\nreplica.lag.time.max.ms=600000";

fn metadata(node: &Node) -> MetadataResponse {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    node.connect().call(12, &MetadataRequest::default().with_topics(Some(vec![topic])))
}

fn partitions(metadata: &MetadataResponse) -> &[MetadataResponsePartition] {
    &metadata.topics[0].partitions
}

fn start() -> Three {
    let cluster = Three::start(PATIENT);
    let mut request = create_topics_request(TOPIC, 3, &[("min.insync.replicas", "2")]);
    request.topics[0].replication_factor = 3;
    let created = cluster.anyone().connect().call(7, &request);
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
    until(&cluster, "in sync", |one| one.isr_nodes.len() == 3);
    cluster
}

/// Waits until every node says so of every partition.
fn until(cluster: &Three, what: &str, enough: impl Fn(&MetadataResponsePartition) -> bool) {
    for node in cluster.nodes.values() {
        let holds =
            |told: &MetadataResponse| partitions(told).len() == 3 && partitions(told).iter().all(&enough);
        assert!(
            attempts().any(|()| holds(&metadata(node))),
            "never {what}: {:?}\n{}",
            metadata(node),
            node.said()
        );
    }
}

/// Produces to every partition with acks=all.
fn produce(cluster: &Three, value: &'static [u8]) {
    for partition in 0..3 {
        assert!(attempts().any(|()| try_produce(cluster, partition, value)), "partition {partition}");
    }
}

fn try_produce(cluster: &Three, partition: i32, value: &'static [u8]) -> bool {
    let told = metadata(cluster.anyone());
    let leader =
        partitions(&told).iter().find(|one| one.partition_index == partition).map(|one| one.leader_id);
    let Some(broker) = told.brokers.iter().find(|broker| Some(broker.node_id) == leader) else {
        return false;
    };
    let address: SocketAddr =
        format!("{}:{}", broker.host.as_str(), broker.port).parse().expect("an address");
    let Ok(mut client) = Client::try_connect(address) else { return false };
    let request = produce_request(TOPIC, partition, batch([value], Producer::NONE), -1);
    client.send(PRODUCE, &request).is_ok()
        && client
            .try_receive::<ProduceRequest>(PRODUCE)
            .is_some_and(|answer| answer.responses[0].partition_responses[0].error_code == 0)
}

#[test]
fn whoever_is_killed_is_replaced_without_waiting_for_its_session() {
    let mut cluster = start();
    // One of them is the active controller, and each leads a partition.
    for id in 1..=3 {
        cluster.nodes.remove(&id).expect("it runs").kill();
        until(&cluster, "led by others", |one| {
            one.leader_id.0 >= 0 && one.leader_id.0 != id && !one.isr_nodes.iter().any(|node| node.0 == id)
        });
        produce(&cluster, b"without it");
        cluster.restart(id);
        until(&cluster, "in sync again", |one| one.isr_nodes.len() == 3);
    }
}

/// Connections over which a node was heard and that nobody holds any more, but which stay open: those that it gave up while
/// the network was cut. Over each an epoch was claimed, too, that the broker never had.
fn left_behind(cluster: &Three, id: i32) -> Vec<Client> {
    let meta =
        MetaProperties::read(&cluster.places[&id].home.data()).expect("read").expect("it is formatted");
    let directory_id = meta.directory_id.expect("every log dir has one");
    let of = |to: i32| {
        let mut client = Client::connect(cluster.places[&to].controller());
        for epoch in 0.. {
            let beat = BrokerHeartbeatRequest::default()
                .with_broker_id(id.into())
                .with_broker_epoch(epoch)
                .with_current_metadata_offset(i64::MAX);
            match ErrorCode(client.call(1, &beat).error_code) {
                // As the broker itself, or to a controller that is not the active one.
                ErrorCode::NONE | ErrorCode::NOT_CONTROLLER => break,
                code => assert_eq!(code, ErrorCode::STALE_BROKER_EPOCH),
            }
        }
        let claimed = BrokerHeartbeatRequest::default().with_broker_id(id.into()).with_broker_epoch(i64::MAX);
        assert_ne!(client.call(1, &claimed).error_code, 0);
        let hello = OttlaRaftRequest {
            cluster_id: StrBytes::from_static_str(CLUSTER_ID),
            from: id,
            from_directory_id: directory_id,
            to,
            ..OttlaRaftRequest::default()
        };
        assert_eq!(client.call(0, &hello).error_code, 0);
        client
    };
    (1..=3).filter(|to| *to != id).map(of).collect()
}

#[test]
fn connections_that_were_left_behind_keep_nobody_alive() {
    let mut cluster = start();
    for id in 1..=3 {
        let left = left_behind(&cluster, id);
        // It goes on over its own ones: several heartbeats.
        std::thread::sleep(Duration::from_secs(3));
        cluster.nodes.remove(&id).expect("it runs").kill();
        until(&cluster, "led by others", |one| one.leader_id.0 >= 0 && one.leader_id.0 != id);
        produce(&cluster, b"without it");
        cluster.restart(id);
        until(&cluster, "in sync again", |one| one.isr_nodes.len() == 3);
        drop(left);
    }
}

#[test]
fn whoever_stands_still_keeps_its_place_for_its_session() {
    let cluster = start();
    let before = metadata(&cluster.nodes[&1]);
    let victim = partitions(&before)[0].leader_id.0;
    let pid = Pid::from_raw(cluster.nodes[&victim].pid().cast_signed()).expect("a process");
    kill_process(pid, Signal::STOP).expect("it is ours");
    // Longer than any call of it would take to fail.
    std::thread::sleep(Duration::from_secs(2));
    kill_process(pid, Signal::CONT).expect("it is ours");
    produce(&cluster, b"as before");
    for node in cluster.nodes.values() {
        let told = metadata(node);
        let places = |told: &MetadataResponse| -> Vec<_> {
            partitions(told)
                .iter()
                .map(|one| (one.partition_index, one.leader_id, one.leader_epoch))
                .collect()
        };
        assert_eq!(places(&told), places(&before), "{}", node.said());
        node.assert_well();
    }
}
