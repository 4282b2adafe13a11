//! Whatever is asked, in whatever order: what must hold of every partition, and that facts survive being written down.

use std::{collections::HashMap, sync::Arc};

use ottla_controller::{Command, Controller, Settings, Soft, State, bootstrap_features, supported_features};
use ottla_machine::{Ctx, Machine, Token};
use ottla_metadata::{Fact, records};
use ottla_protocol::{StrBytes, messages::*, persisted::metadata::MetadataRecord};
use ottla_records::Batch;
use ottla_types::{Millis, TopicId};
use proptest::prelude::*;
use uuid::Uuid;

#[derive(Clone, Debug)]
enum Step {
    Register { id: i32, clean: bool },
    Heartbeat { id: i32, fence: bool, shut_down: bool },
    Create { topic: u8, partitions: i32, factor: i16 },
    Grow { topic: u8, by: i32 },
    Delete { topic: u8 },
    Minimum { topic: u8, min_isr: u8 },
    Report { topic: u8, partition: i32, keep: u8, recovering: bool },
    Unclean { topic: u8, allow: bool },
    Reassign { topic: u8, partition: i32, to: Vec<i32>, cancel: bool, grow: bool },
    Elect { unclean: bool, topic: u8 },
    Assign { id: i32, topic: u8, partition: i32, second: bool },
    Dirs { id: i32, offline: u8, cordoned: u8 },
    Lost { id: i32, ago: i64 },
    Unregister { id: i32 },
    Feature { elr: bool },
    Itself { balance: bool },
    Time(i64),
    Office,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..5i32;
    let topic = 0..3u8;
    prop_oneof![
        3 => (id.clone(), any::<bool>()).prop_map(|(id, clean)| Step::Register { id, clean }),
        6 => (id.clone(), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(id, fence, shut_down)| Step::Heartbeat { id, fence, shut_down }),
        3 => (topic.clone(), 1..4i32, 1..4i16)
            .prop_map(|(topic, partitions, factor)| Step::Create { topic, partitions, factor }),
        1 => (topic.clone(), 1..3i32).prop_map(|(topic, by)| Step::Grow { topic, by }),
        1 => topic.clone().prop_map(|topic| Step::Delete { topic }),
        1 => (topic.clone(), 1..4u8).prop_map(|(topic, min_isr)| Step::Minimum { topic, min_isr }),
        6 => (topic.clone(), 0..3i32, any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(topic, partition, keep, recovering)| Step::Report { topic, partition, keep, recovering }),
        1 => (topic.clone(), any::<bool>()).prop_map(|(topic, allow)| Step::Unclean { topic, allow }),
        4 => (topic.clone(), 0..3i32, proptest::collection::vec(1..5i32, 0..4), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(topic, partition, to, cancel, grow)| Step::Reassign { topic, partition, to, cancel, grow }),
        2 => (any::<bool>(), topic.clone()).prop_map(|(unclean, topic)| Step::Elect { unclean, topic }),
        2 => (id.clone(), topic, 0..3i32, any::<bool>())
            .prop_map(|(id, topic, partition, second)| Step::Assign { id, topic, partition, second }),
        1 => (id.clone(), 0..3u8, 0..4u8)
            .prop_map(|(id, offline, cordoned)| Step::Dirs { id, offline, cordoned }),
        1 => (id.clone(), 0..20i64).prop_map(|(id, ago)| Step::Lost { id, ago }),
        1 => id.prop_map(|id| Step::Unregister { id }),
        1 => any::<bool>().prop_map(|elr| Step::Feature { elr }),
        1 => any::<bool>().prop_map(|balance| Step::Itself { balance }),
        2 => (0..6000i64).prop_map(Step::Time),
        1 => Just(Step::Office),
    ]
}

struct World {
    state: State,
    soft: Soft,
    now: Millis,
    seed: u64,
    incarnation: u128,
    epochs: HashMap<(TopicId, i32), (i32, i32)>,
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

/// Every broker has two log dirs.
fn dir(id: i32, second: bool) -> Uuid {
    Uuid::from_u128(1000 + u128::from(id.unsigned_abs()) * 2 + u128::from(second))
}

fn dirs(id: i32, which: u8) -> Vec<Uuid> {
    [false, true]
        .into_iter()
        .filter(|second| which & (1 << u8::from(*second)) != 0)
        .map(|second| dir(id, second))
        .collect()
}

impl World {
    fn new() -> Self {
        let state = State::new(Arc::new(Settings {
            node_id: 1,
            cluster_id: "test".into(),
            num_partitions: 1,
            default_replication_factor: 1,
            delete_topic_enable: true,
            broker_session_timeout_ms: 9000,
            bootstrap: bootstrap_features(),
            config: Arc::default(),
        }));
        let soft = Controller::take_office(&state, Millis(0));
        Self { state, soft, now: Millis(0), seed: 7, incarnation: 0, epochs: HashMap::new() }
    }

    fn give(&mut self, command: Command) {
        let seed = &mut self.seed;
        let mut rng = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *seed ^ (*seed >> 31)
        };
        let mut ctx = Ctx { now: self.now, wall: Millis(5), rng: &mut rng };
        let decision = Controller::decide(&self.state, &mut self.soft, &mut ctx, Token(1), command);
        if !decision.records.is_empty() {
            let bytes = records::encode(&decision.records, Millis(5));
            let batch = Batch::parse(&bytes, 0).expect("a batch");
            let read = records::decode(&batch, 3).expect("facts");
            assert_eq!(read[0], Fact::batch(3, Millis(5)));
            assert_eq!(&read[1..], &decision.records[..], "facts survive being written");
        }
        for fact in &decision.records {
            self.check_subject(fact);
            Controller::apply(&mut self.state, fact);
        }
        self.check();
    }

    /// No fact speaks of what is not there.
    fn check_subject(&self, fact: &Fact) {
        let image = &self.state.image;
        if image.open_transaction.is_some() {
            return;
        }
        match fact.record() {
            Some(MetadataRecord::Partition(it)) => {
                let topic = image.topic_by_id(TopicId(it.topic_id)).expect("the topic came first");
                assert_eq!(topic.partition_count(), it.partition_id, "the next one");
            }
            Some(MetadataRecord::PartitionChange(it)) => {
                assert!(image.partition_by_id(TopicId(it.topic_id), it.partition_id).is_some());
            }
            Some(MetadataRecord::RemoveTopic(it)) => {
                assert!(image.topic_by_id(TopicId(it.topic_id)).is_some());
            }
            Some(MetadataRecord::BrokerRegistrationChange(it)) => {
                assert_eq!(image.broker(it.broker_id).map(|broker| broker.epoch), Some(it.broker_epoch));
            }
            Some(MetadataRecord::UnregisterBroker(it)) => {
                assert_eq!(image.broker(it.broker_id).map(|broker| broker.epoch), Some(it.broker_epoch));
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        for topic in self.state.image.topics.iter() {
            for (index, partition) in topic.iter() {
                let at = || format!("{}-{index}: {partition:?}", topic.name);
                assert!(partition.isr.iter().all(|node| partition.replicas.contains(node)), "{}", at());
                assert!(partition.leader == -1 || partition.isr.contains(&partition.leader), "{}", at());
                assert!(partition.elr.iter().all(|node| !partition.isr.contains(node)), "{}", at());
                assert_eq!(partition.directories.len(), partition.replicas.len(), "{}", at());
                let replica = |node: &i32| partition.replicas.contains(node);
                assert!(partition.elr.iter().all(replica), "{}", at());
                assert!(partition.adding_replicas.iter().all(replica), "{}", at());
                assert!(partition.removing_replicas.iter().all(replica), "{}", at());
                let mut distinct = partition.replicas.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert!(!distinct.is_empty() && distinct.len() == partition.replicas.len(), "{}", at());
                if partition.leader != -1 {
                    let leader = self.state.image.broker(partition.leader);
                    assert!(leader.is_some_and(|broker| broker.is_active()), "a leader is up: {}", at());
                }
                let before = self
                    .epochs
                    .insert((topic.id, index), (partition.leader_epoch, partition.partition_epoch));
                let before = before.unwrap_or((0, 0));
                assert!(
                    partition.leader_epoch >= before.0 && partition.partition_epoch >= before.1,
                    "{}",
                    at()
                );
            }
        }
        let mut again = self.state.emptied();
        self.state.snapshot().iter().for_each(|fact| Controller::apply(&mut again, fact));
        assert_eq!(again.image.topics.len(), self.state.image.topics.len());
        assert!(self.state.image.topics.iter().all(|topic| again.image.topic_by_id(topic.id) == Some(topic)));
        assert_eq!(
            (&again.image.brokers, &again.image.configs),
            (&self.state.image.brokers, &self.state.image.configs)
        );
    }

    fn registration(&mut self, id: i32, clean: bool) -> Command {
        use broker_registration_request::{Feature, Listener};
        self.incarnation += 1;
        let features = supported_features().into_iter().map(|range| {
            Feature::default()
                .with_name(text(&range.name))
                .with_min_supported_version(range.min)
                .with_max_supported_version(range.max)
        });
        let epoch = self.state.image.broker(id).map_or(-1, |broker| broker.epoch);
        Command::RegisterBroker(
            BrokerRegistrationRequest::default()
                .with_broker_id(BrokerId(id))
                .with_cluster_id(text("test"))
                .with_incarnation_id(Uuid::from_u128(self.incarnation))
                .with_listeners(vec![Listener::default().with_name(text("PLAINTEXT"))])
                .with_features(features.collect())
                .with_log_dirs(vec![dir(id, false), dir(id, true)])
                .with_previous_broker_epoch(if clean { epoch } else { -1 }),
        )
    }

    fn report(&self, topic: u8, index: i32, keep: u8, recovering: bool) -> Option<Command> {
        use alter_partition_request::{PartitionData, TopicData};
        let topic = self.state.image.topic(&format!("t{topic}"))?;
        let partition = topic.partition(index)?;
        let from = self.state.image.broker(partition.leader)?;
        let kept =
            |(at, id): (usize, &i32)| (keep & (1 << at) != 0 || *id == from.id).then_some(BrokerId(*id));
        let data = PartitionData::default()
            .with_partition_index(index)
            .with_leader_epoch(partition.leader_epoch)
            .with_partition_epoch(partition.partition_epoch)
            .with_leader_recovery_state(i8::from(recovering))
            .with_new_isr(partition.replicas.iter().enumerate().filter_map(kept).collect());
        let topics = vec![TopicData::default().with_topic_id(topic.id.0).with_partitions(vec![data])];
        let request = AlterPartitionRequest::default().with_broker_id(BrokerId(from.id));
        Some(Command::AlterPartition(request.with_broker_epoch(from.epoch).with_topics(topics)))
    }

    fn command(&mut self, step: Step) -> Option<Command> {
        let name = |topic: u8| TopicName(text(&format!("t{topic}")));
        Some(match step {
            Step::Register { id, clean } => self.registration(id, clean),
            Step::Heartbeat { id, fence, shut_down } => Command::BrokerHeartbeat(
                BrokerHeartbeatRequest::default()
                    .with_broker_id(BrokerId(id))
                    .with_broker_epoch(self.state.image.broker(id)?.epoch)
                    .with_current_metadata_offset(self.state.image.position.offset)
                    .with_want_fence(fence)
                    .with_want_shut_down(shut_down),
            ),
            Step::Create { topic, partitions, factor } => {
                let topic = create_topics_request::CreatableTopic::default()
                    .with_name(name(topic))
                    .with_num_partitions(partitions)
                    .with_replication_factor(factor);
                Command::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic]))
            }
            Step::Grow { topic, by } => {
                let have = self.state.image.topic(&format!("t{topic}"))?.partition_count();
                let topic = create_partitions_request::CreatePartitionsTopic::default()
                    .with_name(name(topic))
                    .with_count(have + by)
                    .with_assignments(None);
                Command::CreatePartitions(CreatePartitionsRequest::default().with_topics(vec![topic]))
            }
            Step::Delete { topic } => {
                Command::DeleteTopics(DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]))
            }
            Step::Minimum { topic, min_isr } => set(name(topic), "min.insync.replicas", &min_isr.to_string()),
            Step::Unclean { topic, allow } => {
                set(name(topic), "unclean.leader.election.enable", &allow.to_string())
            }
            Step::Report { topic, partition, keep, recovering } => {
                self.report(topic, partition, keep, recovering)?
            }
            other => self.of_the_cluster(other)?,
        })
    }

    fn of_the_cluster(&mut self, step: Step) -> Option<Command> {
        let name = |topic: u8| TopicName(text(&format!("t{topic}")));
        Some(match step {
            Step::Reassign { topic, partition, to, cancel, grow } => {
                use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
                let to = (!cancel).then(|| to.into_iter().map(BrokerId).collect());
                let one = ReassignablePartition::default().with_partition_index(partition).with_replicas(to);
                // Twice in one request: the second must see what the first did.
                let topic = ReassignableTopic::default()
                    .with_name(name(topic))
                    .with_partitions(vec![one.clone(), one]);
                Command::AlterPartitionReassignments(
                    AlterPartitionReassignmentsRequest::default()
                        .with_topics(vec![topic])
                        .with_allow_replication_factor_change(grow),
                )
            }
            Step::Elect { unclean, topic } => {
                use elect_leaders_request::TopicPartitions;
                let one = TopicPartitions::default().with_topic(name(topic)).with_partitions(vec![0, 1, 1]);
                Command::ElectLeaders(
                    ElectLeadersRequest::default()
                        .with_election_type(i8::from(unclean))
                        .with_topic_partitions((topic > 0).then(|| vec![one])),
                )
            }
            Step::Assign { id, topic, partition, second } => {
                use assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
                let one = PartitionData::default().with_partition_index(partition);
                let topic = self.state.image.topic(&format!("t{topic}"))?.id;
                let topic = TopicData::default().with_topic_id(topic.0).with_partitions(vec![one]);
                let dir = DirectoryData::default().with_id(dir(id, second)).with_topics(vec![topic]);
                Command::AssignReplicasToDirs(
                    AssignReplicasToDirsRequest::default()
                        .with_broker_id(BrokerId(id))
                        .with_broker_epoch(self.state.image.broker(id)?.epoch)
                        .with_directories(vec![dir]),
                )
            }
            Step::Dirs { id, offline, cordoned } => Command::BrokerHeartbeat(
                BrokerHeartbeatRequest::default()
                    .with_broker_id(BrokerId(id))
                    .with_broker_epoch(self.state.image.broker(id)?.epoch)
                    .with_current_metadata_offset(self.state.image.position.offset)
                    .with_offline_log_dirs(dirs(id, offline))
                    .with_cordoned_log_dirs(Some(dirs(id, cordoned))),
            ),
            Step::Lost { id, ago } => Command::BrokerLost {
                id,
                epoch: self.state.image.broker(id)?.epoch,
                since: Millis(self.now.0 - ago),
            },
            Step::Unregister { id } => {
                Command::UnregisterBroker(UnregisterBrokerRequest::default().with_broker_id(BrokerId(id)))
            }
            Step::Feature { elr } => {
                let update = update_features_request::FeatureUpdateKey::default()
                    .with_feature(text("eligible.leader.replicas.version"))
                    .with_max_version_level(i16::from(elr))
                    .with_upgrade_type(if elr { 1 } else { 2 });
                Command::UpdateFeatures(
                    UpdateFeaturesRequest::default().with_feature_updates(vec![update]),
                    1,
                )
            }
            Step::Itself { balance: true } => Command::Balance,
            Step::Itself { balance: false } => Command::ElectLeaderless,
            Step::Time(ms) => {
                self.now = self.now.plus(ms);
                return None;
            }
            Step::Office => {
                self.soft = Controller::take_office(&self.state, self.now);
                return None;
            }
            _ => return None,
        })
    }
}

fn set(topic: TopicName, key: &str, value: &str) -> Command {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(topic.0)
        .with_configs(vec![config]);
    Command::IncrementalAlterConfigs(IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn partitions_stay_sound(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            for command in Controller::due(&world.state, &mut world.soft, world.now) {
                world.give(command);
            }
            if let Some(command) = world.command(step) {
                world.give(command);
            }
        }
    }
}
