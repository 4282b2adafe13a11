//! How long decisions about ten thousand partitions take: `cargo run --release -p ottla-controller --example large`.
//!
//! Decisions are made on the quorum's thread, so this is how long everything else waits.
#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use std::{sync::Arc, time::Instant};

use ottla_controller::{
    Answer, Command, Controller, Settings, Soft, State, bootstrap_features, supported_features,
};
use ottla_machine::{Ctx, Machine, Token};
use ottla_metadata::records;
use ottla_protocol::{StrBytes, messages::*};
use ottla_types::Millis;
use uuid::Uuid;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

struct World {
    state: State,
    soft: Soft,
    seed: u64,
}

impl World {
    /// Decides and applies; tells how long it took.
    fn give(&mut self, what: &str, command: Command) -> Vec<(Token, Answer)> {
        let seed = &mut self.seed;
        let mut rng = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *seed ^ (*seed >> 31)
        };
        let mut ctx = Ctx { now: Millis(0), wall: Millis(0), rng: &mut rng };
        // Somebody reads the state that is, as brokers do: what changes is copied.
        let published = self.state.clone();
        let start = Instant::now();
        let decision = Controller::decide(&self.state, &mut self.soft, &mut ctx, Token(1), command);
        let decided = start.elapsed();
        let bytes = records::encode(&decision.records, Millis(0));
        let encoded = start.elapsed() - decided;
        decision.records.iter().for_each(|fact| Controller::apply(&mut self.state, fact));
        let applied = start.elapsed() - encoded - decided;
        drop(published);
        if !what.is_empty() {
            let (facts, bytes) = (decision.records.len(), bytes.len());
            println!(
                "{what:<42} {facts:>6} facts {bytes:>8} bytes  decided {decided:>10.1?}  encoded {encoded:>10.1?}  \
                 applied {applied:>10.1?}"
            );
        }
        decision.answers
    }

    fn heartbeat(&mut self, what: &str, id: i32) {
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(self.state.image.broker(id).map_or(-1, |broker| broker.epoch))
            .with_current_metadata_offset(self.state.image.position.offset);
        self.give(what, Command::BrokerHeartbeat(request));
    }

    fn register(&mut self, what: &str, id: i32, incarnation: u128) {
        use broker_registration_request::{Feature, Listener};
        let features = supported_features().into_iter().map(|range| {
            Feature::default()
                .with_name(text(&range.name))
                .with_min_supported_version(range.min)
                .with_max_supported_version(range.max)
        });
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(text("test"))
            .with_incarnation_id(Uuid::from_u128(incarnation))
            .with_listeners(vec![Listener::default().with_name(text("PLAINTEXT"))])
            .with_features(features.collect())
            .with_log_dirs(vec![Uuid::from_u128(1000 + u128::from(id.unsigned_abs()))]);
        self.give(what, Command::RegisterBroker(request));
    }

    fn create(&mut self, what: &str, name: &str, partitions: i32) {
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(3);
        self.give(what, Command::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic])));
    }
}

fn run(topics: i32, partitions: i32) {
    println!("{topics} topics of {partitions} partitions, 3 replicas, 3 brokers");
    let settings = Settings {
        node_id: 1,
        cluster_id: "test".into(),
        num_partitions: 1,
        default_replication_factor: 1,
        delete_topic_enable: true,
        broker_session_timeout_ms: 9000,
        bootstrap: bootstrap_features(),
        config: Arc::default(),
    };
    let state = State::new(Arc::new(settings));
    let soft = Controller::take_office(&state, Millis(0));
    let mut world = World { state, soft, seed: 7 };
    world.give("", Command::Activate);
    for id in 1..=3 {
        world.register("", id, 1);
        world.heartbeat("", id);
    }
    let start = Instant::now();
    for topic in 1..topics {
        world.create("", &format!("t_{topic}"), partitions);
    }
    println!("all but one created in {:.1?}", start.elapsed());
    world.create("the last one created", "t_last", partitions);
    world.heartbeat("a heartbeat", 2);
    let lost = Command::BrokerLost {
        id: 1,
        epoch: world.state.image.broker(1).expect("registered").epoch,
        since: Millis(0),
    };
    world.give("a broker lost", lost);
    world.register("it registers anew", 1, 2);
    world.heartbeat("it is unfenced", 1);
    let mut all = Vec::new();
    for topic in world.state.image.topics.iter() {
        let data = topic.iter().map(|(index, partition)| {
            alter_partition_request::PartitionData::default()
                .with_partition_index(index)
                .with_leader_epoch(partition.leader_epoch)
                .with_partition_epoch(partition.partition_epoch)
                .with_new_isr(partition.replicas.iter().copied().map(BrokerId).collect())
        });
        let led = topic.iter().zip(data).filter(|((_, partition), _)| partition.leader == 2);
        let data = led.map(|(_, data)| data).collect();
        all.push(
            alter_partition_request::TopicData::default().with_topic_id(topic.id.0).with_partitions(data),
        );
    }
    let request = AlterPartitionRequest::default()
        .with_broker_id(BrokerId(2))
        .with_broker_epoch(world.state.image.broker(2).expect("registered").epoch)
        .with_topics(all);
    world.give("its replicas in sync (one leader's)", Command::AlterPartition(request));
    world.give("leaders balanced", Command::Balance);
    let request = ElectLeadersRequest::default().with_topic_partitions(None);
    world.give("all preferred leaders elected", Command::ElectLeaders(request));
    let start = Instant::now();
    let facts = world.state.snapshot();
    println!("a snapshot of {} facts in {:.1?}\n", facts.len(), start.elapsed());
}

fn main() {
    run(1, 10_000);
    run(100, 100);
    run(10_000, 1);
}
