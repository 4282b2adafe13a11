//! Several processes as one cluster: founding, replication, the loss of any node, controlled stops, roles apart, and
//! nodes that do not belong.

mod support;

use std::net::SocketAddr;

use ottla_protocol::messages::{
    MetadataRequest, MetadataResponse, ProduceRequest, metadata_request::MetadataRequestTopic,
};
use ottla_records::Producer;
use support::{
    Client, Node, Signal,
    cluster::{CLUSTER_ID, Place, Three, attempts, ports},
    requests::{PRODUCE, batch, create_topics_request, produce_request, read_all, topic_name},
};

const TOPIC: &str = "kept";

impl Three {
    /// Waits until every node says so of the topic.
    fn await_topic(&self, what: &str, enough: impl Fn(&MetadataResponse) -> bool) {
        for node in self.nodes.values() {
            await_metadata(node, what, &enough);
        }
    }

    /// Produces with acks=all to whoever leads, until it is taken.
    fn produce(&self, partition: i32, value: &'static [u8]) {
        let taken = attempts().any(|()| self.try_produce(partition, value));
        assert!(taken, "partition {partition} takes nothing");
    }

    fn try_produce(&self, partition: i32, value: &'static [u8]) -> bool {
        let metadata = metadata(&mut self.anyone().connect());
        let Some(address) = leader(&metadata, partition) else { return false };
        let Ok(mut client) = Client::try_connect(address) else { return false };
        let request = produce_request(TOPIC, partition, batch([value], Producer::NONE), -1);
        client.send(PRODUCE, &request).is_ok()
            && client
                .try_receive::<ProduceRequest>(PRODUCE)
                .is_some_and(|answer| answer.responses[0].partition_responses[0].error_code == 0)
    }

    fn read(&self, partition: i32) -> Vec<Vec<u8>> {
        let metadata = metadata(&mut self.anyone().connect());
        let address = leader(&metadata, partition).expect("somebody leads");
        read_all(&mut Client::connect(address), TOPIC, partition)
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }
}

fn metadata(client: &mut Client) -> MetadataResponse {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    client.call(12, &MetadataRequest::default().with_topics(Some(vec![topic])))
}

fn await_metadata(node: &Node, what: &str, enough: impl Fn(&MetadataResponse) -> bool) {
    let found = attempts().any(|()| enough(&metadata(&mut node.connect())));
    assert!(found, "never {what}: {:?}\n{}", metadata(&mut node.connect()), node.said());
}

fn leader(metadata: &MetadataResponse, partition: i32) -> Option<SocketAddr> {
    let topic = metadata.topics.first()?;
    let partition = topic.partitions.iter().find(|one| one.partition_index == partition)?;
    let broker = metadata.brokers.iter().find(|broker| broker.node_id == partition.leader_id)?;
    format!("{}:{}", broker.host.as_str(), broker.port).parse().ok()
}

fn create(node: &Node, replicas: i16) {
    let mut request = create_topics_request(TOPIC, 3, &[("min.insync.replicas", "1")]);
    request.topics[0].replication_factor = replicas;
    let created = node.connect().call(7, &request);
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
}

/// The id of a node's log dir.
fn directory_id(place: &Place) -> String {
    let text = std::fs::read_to_string(place.home.data().join("meta.properties")).expect("it is formatted");
    let id = text.lines().find_map(|line| line.strip_prefix("directory.id="));
    id.expect("every log dir has one").to_owned()
}

/// All three replicas of all partitions are in sync.
fn whole(metadata: &MetadataResponse) -> bool {
    metadata.brokers.len() == 3
        && metadata.topics[0].partitions.len() == 3
        && metadata.topics[0].partitions.iter().all(|partition| partition.isr_nodes.len() == 3)
}

fn sorted(mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    values.sort();
    values.dedup();
    values
}

#[test]
fn any_of_three_nodes_may_be_killed_and_nothing_acknowledged_is_lost() {
    let mut cluster = Three::start("");
    create(&cluster.nodes[&2], 3);
    cluster.await_topic("in sync", whole);
    (0..3).for_each(|partition| cluster.produce(partition, b"before"));
    let mut expected = vec![b"before".to_vec()];
    // One of them is the active controller, and each leads a partition.
    for (id, value) in [(1, &b"one"[..]), (2, b"three"), (3, b"two")] {
        cluster.nodes.remove(&id).expect("it runs").kill();
        (0..3).for_each(|partition| cluster.produce(partition, value));
        expected.push(value.to_vec());
        cluster.restart(id);
        cluster.await_topic("in sync again", whole);
        for partition in 0..3 {
            assert_eq!(sorted(cluster.read(partition)), sorted(expected.clone()), "partition {partition}");
        }
    }
    for node in cluster.nodes.values() {
        node.assert_well();
    }
    // Without a majority nothing can change: who is left says so, and who is missing.
    for id in [2, 3] {
        cluster.nodes.remove(&id).expect("it runs").kill();
    }
    let missing = [2, 3].map(|id| cluster.places[&id].controller().to_string());
    let left = &cluster.nodes[&1];
    let complains = |line: &str| {
        line.contains("No controller has been active") && missing.iter().all(|at| line.contains(at))
    };
    assert!(attempts().any(|()| left.said().lines().any(complains)), "{}", left.said());
}

#[test]
fn a_node_that_is_asked_to_stop_gives_its_leaders_away_first() {
    let mut cluster = Three::start("");
    create(&cluster.nodes[&1], 3);
    cluster.await_topic("in sync", whole);
    let stopping = cluster.nodes.remove(&2).expect("it runs");
    assert_eq!(stopping.terminate().code(), Some(0));
    assert!(cluster.places[&2].home.is_clean());
    cluster.await_topic("led by others", |metadata| {
        metadata.brokers.len() == 2
            && metadata.topics[0].partitions.iter().all(|one| one.leader_id.0 != 2 && one.leader_id.0 >= 0)
    });
    (0..3).for_each(|partition| cluster.produce(partition, b"without it"));
    cluster.restart(2);
    cluster.await_topic("in sync again", whole);
}

#[test]
fn a_node_that_does_not_give_its_leaders_away_is_missed_when_it_is_gone() {
    let mut cluster = Three::start("controlled.shutdown.enable=false");
    create(&cluster.nodes[&1], 3);
    cluster.await_topic("in sync", whole);
    let stopping = cluster.nodes.remove(&2).expect("it runs");
    let (status, said) = stopping.stop();
    assert_eq!(status.code(), Some(0));
    assert!(!said.contains("Controlled shutdown completed"), "{said}");
    assert!(cluster.places[&2].home.is_clean());
    cluster.await_topic("led by others", |metadata| {
        metadata.topics[0].partitions.iter().all(|one| one.leader_id.0 != 2 && one.leader_id.0 >= 0)
    });
    let said: String = cluster.nodes.values().map(Node::said).collect();
    assert!(said.contains("Broker 2 is gone"), "{said}");
}

#[test]
fn a_controller_and_a_broker_apart_and_both_come_back() {
    let [controller, broker] = ports();
    let voters = format!("controller.quorum.voters=100@127.0.0.1:{controller}");
    let listener =
        format!("process.roles=controller\nlisteners=CONTROLLER://127.0.0.1:{controller}\n{voters}");
    let brain = Place::new(100, CLUSTER_ID, &listener);
    let listener = format!("process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:{broker}\n{voters}");
    let hands = Place::new(1, CLUSTER_ID, &listener);
    let mut leads = brain.home.spawn(&[brain.file()]);
    let node = Node::of(hands.home.spawn(&[hands.file()]));
    leads.log.wait_for("Kafka Server started");
    create(&node, 1);
    await_metadata(&node, "led", |metadata| leader(metadata, 2).is_some());
    let request = produce_request(TOPIC, 2, batch([&b"kept"[..]], Producer::NONE), -1);
    let answer = node.connect().call(PRODUCE, &request);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);

    // Another process with the same id, and one of another cluster.
    let [other] = ports();
    let listener = format!(
        "process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:{other}\n{voters}\n\
         initial.broker.registration.timeout.ms=1000"
    );
    let twin = Place::new(1, CLUSTER_ID, &listener);
    let said = twin.home.refused(&[twin.file()]);
    assert!(said.contains("another process with this node.id"), "{said}");
    let stranger = Place::new(2, "c3RyYW5nZXItY2x1c3Rlcg", &listener);
    let said = stranger.home.refused(&[stranger.file()]);
    assert!(said.contains("another cluster"), "{said}");
    // One whose log dir was copied from the broker's.
    let copy = Place::new(3, CLUSTER_ID, &listener);
    let directory = directory_id(&hands);
    let own = directory_id(&copy);
    let file = copy.home.data().join("meta.properties");
    let text = std::fs::read_to_string(&file).expect("read").replace(&own, &directory);
    std::fs::write(&file, text).expect("written");
    let said = copy.home.refused(&[copy.file()]);
    assert!(said.contains("is another broker's"), "{said}");
    let said = leads.log.text();
    for why in ["another process with this node.id", "it is of cluster c3Ry", "belongs to broker 1"] {
        assert!(said.contains(why), "the controller never said {why}:\n{said}");
    }

    // The broker is killed, then both are stopped and come back with what they had.
    node.kill();
    let node = Node::of(hands.home.spawn(&[hands.file()]));
    await_metadata(&node, "led again", |metadata| leader(metadata, 2).is_some());
    assert_eq!(read_all(&mut node.connect(), TOPIC, 2), [(0, b"kept".to_vec())]);
    assert_eq!(node.terminate().code(), Some(0));
    leads.terminate();
    let mut leads = brain.home.spawn(&[brain.file()]);
    let node = Node::of(hands.home.spawn(&[hands.file()]));
    await_metadata(&node, "led again", |metadata| leader(metadata, 2).is_some());
    assert_eq!(read_all(&mut node.connect(), TOPIC, 2), [(0, b"kept".to_vec())]);
    node.assert_well();
    assert_eq!(node.terminate().code(), Some(0));
    leads.terminate();
}

#[test]
fn controllers_that_do_not_belong_are_refused() {
    let mut cluster = Three::start("");
    // One that was formatted for another cluster, and one that takes the id of another's node.
    let stranger = cluster.nodes.remove(&3).expect("it runs");
    stranger.kill();
    let text = std::fs::read_to_string(cluster.places[&3].file()).expect("read");
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("log.dirs") && !line.starts_with("node.id")).collect();
    let place = Place::new(3, "c3RyYW5nZXItY2x1c3Rlcg", &lines.join("\n"));
    let process = place.home.spawn(&[place.file()]);
    process.log.wait_for("belongs to another cluster");
    drop(process);
    let said: String = cluster.nodes.values().map(Node::said).collect();
    assert!(said.contains("it is of cluster c3RyYW5nZXItY2x1c3Rlcg"), "{said}");
    cluster.restart(3);

    let [broker, controller] = ports();
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
    let lines: Vec<&str> =
        lines.iter().map(|line| if line.starts_with("listeners") { &*listeners } else { line }).collect();
    let place = Place::new(3, CLUSTER_ID, &lines.join("\n"));
    let process = place.home.spawn(&[place.file()]);
    process.log.wait_for("another process with this node.id is a member of the quorum");
    drop(process);
    create(&cluster.nodes[&1], 3);
    cluster.await_topic("in sync", whole);
    let said: String = cluster.nodes.values().map(Node::said).collect();
    assert!(said.contains("another process with this node.id is a member"), "{said}");
    for node in cluster.nodes.values() {
        node.assert_well();
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_orderly_stop() {
    let ports: [u16; 2] = ports();
    let voters = format!("1@127.0.0.1:{},2@127.0.0.1:{}", ports[0], ports[1]);
    let places: Vec<Place> = ports
        .iter()
        .zip(1..)
        .map(|(port, id)| {
            let lines = format!(
                "process.roles=broker,controller\ncontroller.quorum.voters={voters}\n\
                 listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:{port}"
            );
            Place::new(id, CLUSTER_ID, &lines)
        })
        .collect();
    let processes: Vec<_> = places.iter().map(|place| place.home.spawn(&[place.file()])).collect();
    let mut nodes: Vec<Node> = processes.into_iter().map(Node::of).collect();
    nodes.remove(1).kill();
    // Without a majority there is no active controller that would let it go.
    let node = nodes.remove(0);
    node.signal(Signal::TERM);
    node.wait_for("Terminating process due to signal SIGTERM");
    // A terminal that is closed meanwhile is no second order.
    std::thread::sleep(std::time::Duration::from_millis(700));
    node.signal(Signal::HUP);
    for () in attempts().take_while(|()| !node.has_ended()) {
        node.signal(Signal::INT);
    }
    let (status, said) = node.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("Ending at once due to another signal SIGINT") && !said.contains("SIGHUP"),
        "{said}"
    );
    assert!(!places[0].home.is_clean(), "the next start must look at the logs");
}
