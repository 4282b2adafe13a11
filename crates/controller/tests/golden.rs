//! Commands in, facts and answers out, as scripts. `UPDATE_GOLDENFILES=1` rewrites them; what they hold was checked
//! against what Apache Kafka 4.4.0 wrote and answered.

use std::{error::Error, fmt::Write, sync::Arc};

use goldenscript::{ArgumentConsumer, Command as Line};
use ottla_controller::{Command, Controller, Settings, Soft, State, bootstrap_features, supported_features};
use ottla_machine::{Ctx, Machine, Token};
use ottla_protocol::{StrBytes, messages::*};
use ottla_types::Millis;
use uuid::Uuid;

mod support;

use support::{answered, asked, told};

test_each_file::test_each_path! { in "crates/controller/tests/golden" => golden }

fn golden(path: &std::path::Path) {
    goldenscript::run(&mut Runner::new(), path).expect("the script holds");
}

struct Runner {
    state: State,
    soft: Soft,
    now: Millis,
    seed: u64,
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn key<T: std::str::FromStr>(args: &mut ArgumentConsumer<'_>, name: &str) -> Result<Option<T>, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(name).map(str::parse).transpose()?)
}

fn ids(list: &str) -> Vec<i32> {
    list.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().expect("a broker id")).collect()
}

fn uuids(list: &str) -> Vec<Uuid> {
    list.split(',').filter_map(|id| id.parse().ok()).map(Uuid::from_u128).collect()
}

impl Runner {
    fn new() -> Self {
        let state = State::new(Arc::new(Settings {
            node_id: 1,
            cluster_id: "test".into(),
            num_partitions: 4,
            default_replication_factor: 1,
            delete_topic_enable: true,
            broker_session_timeout_ms: 9000,
            bootstrap: bootstrap_features(),
            config: Arc::default(),
        }));
        let soft = Controller::take_office(&state, Millis(0));
        Self { state, soft, now: Millis(0), seed: 1 }
    }

    /// Decides and applies, and tells both.
    fn give(&mut self, command: Command, out: &mut String) {
        let seed = &mut self.seed;
        let mut rng = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *seed ^ (*seed >> 29)
        };
        let mut ctx = Ctx { now: self.now, wall: Millis(1_000_000), rng: &mut rng };
        let decision = Controller::decide(&self.state, &mut self.soft, &mut ctx, Token(1), command);
        for fact in &decision.records {
            Controller::apply(&mut self.state, fact);
            let _ = writeln!(out, "@{} {}", self.state.image.position.offset, told(&self.state, fact));
        }
        for (_, answer) in &decision.answers {
            out.push_str(&answered(answer));
        }
        check_invariants(&self.state);
    }
}

/// What must hold whatever was decided.
fn check_invariants(state: &State) {
    for topic in state.image.topics.iter() {
        for (index, partition) in topic.iter() {
            let at = format!("{}-{index}: {partition:?}", topic.name);
            assert!(
                partition.isr.iter().all(|node| partition.replicas.contains(node)),
                "isr within replicas: {at}"
            );
            assert!(
                partition.leader == -1 || partition.isr.contains(&partition.leader),
                "leader in sync: {at}"
            );
            assert!(
                partition.elr.iter().all(|node| !partition.isr.contains(node)),
                "elr apart from isr: {at}"
            );
        }
    }
}

impl Runner {
    fn register(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        use broker_registration_request::{Feature, Listener};
        let id: i32 = key(args, "id")?.unwrap_or(1);
        let previous: i64 = key(args, "previous")?.unwrap_or(-1);
        let incarnation: u128 = key(args, "incarnation")?.unwrap_or(1);
        let rack: Option<String> = key(args, "rack")?;
        let cluster: Option<String> = key(args, "cluster")?;
        let own = || vec![Uuid::from_u128(1000 + u128::from(id.unsigned_abs()))];
        let dirs = args.take_key("dirs").map_or_else(own, uuids);
        let features = supported_features().into_iter().map(|range| {
            Feature::default()
                .with_name(text(&range.name))
                .with_min_supported_version(range.min)
                .with_max_supported_version(range.max)
        });
        Ok(Command::RegisterBroker(
            BrokerRegistrationRequest::default()
                .with_broker_id(BrokerId(id))
                .with_cluster_id(text(cluster.as_deref().unwrap_or("test")))
                .with_incarnation_id(Uuid::from_u128(incarnation))
                .with_listeners(vec![Listener::default().with_name(text("PLAINTEXT")).with_port(9092)])
                .with_features(features.collect())
                .with_rack(rack.as_deref().map(text))
                .with_log_dirs(dirs)
                .with_previous_broker_epoch(previous),
        ))
    }

    fn heartbeat(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        let id: i32 = key(args, "id")?.unwrap_or(1);
        let registered = self.state.image.broker(id).map_or(-1, |broker| broker.epoch);
        let epoch = key(args, "epoch")?.unwrap_or(registered);
        let offset = key(args, "offset")?.unwrap_or(self.state.image.position.offset);
        let offline = args.take_key("offline").map(uuids).unwrap_or_default();
        let cordoned = args.take_key("cordoned").map(uuids);
        let wants: Vec<&str> = std::iter::from_fn(|| args.next_pos()).collect();
        Ok(Command::BrokerHeartbeat(
            BrokerHeartbeatRequest::default()
                .with_broker_id(BrokerId(id))
                .with_broker_epoch(epoch)
                .with_current_metadata_offset(offset)
                .with_offline_log_dirs(offline)
                .with_cordoned_log_dirs(cordoned)
                .with_want_fence(wants.contains(&"fence"))
                .with_want_shut_down(wants.contains(&"shutdown")),
        ))
    }

    fn create(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
        let partitions: i32 = key(args, "partitions")?.unwrap_or(1);
        let rf: i16 = key(args, "rf")?.unwrap_or(1);
        let validate: bool = key(args, "validate")?.unwrap_or(false);
        let assign: Option<String> = key(args, "assign")?;
        let names: Vec<String> = std::iter::from_fn(|| args.next_pos().map(str::to_owned)).collect();
        let configs: Vec<CreatableTopicConfig> = std::iter::from_fn(|| args.next_key())
            .map(|(key, value)| {
                let value = (value != "null").then(|| text(value));
                CreatableTopicConfig::default().with_name(text(key)).with_value(value)
            })
            .collect();
        let assignments: Vec<CreatableReplicaAssignment> = assign
            .iter()
            .flat_map(|all| all.split(';'))
            .map(|one| {
                let (index, replicas) = one.split_once(':').expect("index:replicas");
                CreatableReplicaAssignment::default()
                    .with_partition_index(index.parse().expect("a number"))
                    .with_broker_ids(ids(replicas).into_iter().map(BrokerId).collect())
            })
            .collect();
        let topics = names.iter().map(|name| {
            CreatableTopic::default()
                .with_name(TopicName(text(name)))
                .with_num_partitions(partitions)
                .with_replication_factor(rf)
                .with_assignments(assignments.clone())
                .with_configs(configs.clone())
        });
        Ok(Command::CreateTopics(
            CreateTopicsRequest::default().with_topics(topics.collect()).with_validate_only(validate),
        ))
    }

    fn delete(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        use delete_topics_request::DeleteTopicState;
        let id = |name: &str| self.state.image.topic(name).map_or(Uuid::from_u128(77), |topic| topic.id.0);
        let mut states = Vec::new();
        while let Some(arg) = args.next_pos() {
            states.push(match arg.split_once(':') {
                Some(("id", name)) => DeleteTopicState::default().with_name(None).with_topic_id(id(name)),
                Some(("both", name)) => {
                    DeleteTopicState::default().with_name(Some(TopicName(text(name)))).with_topic_id(id(name))
                }
                Some(("neither", _)) => DeleteTopicState::default().with_name(None),
                _ => DeleteTopicState::default().with_name(Some(TopicName(text(arg)))),
            });
        }
        Ok(Command::DeleteTopics(DeleteTopicsRequest::default().with_topics(states)))
    }

    fn grow(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
        let count: i32 = key(args, "count")?.unwrap_or(1);
        let validate: bool = key(args, "validate")?.unwrap_or(false);
        let assign: Option<String> = key(args, "assign")?;
        let assignments = assign.map(|all| {
            all.split(';')
                .filter(|one| *one != "none")
                .map(|one| {
                    CreatePartitionsAssignment::default()
                        .with_broker_ids(ids(one).into_iter().map(BrokerId).collect())
                })
                .collect::<Vec<_>>()
        });
        let names: Vec<String> = std::iter::from_fn(|| args.next_pos().map(str::to_owned)).collect();
        let topics = names.iter().map(|name| {
            CreatePartitionsTopic::default()
                .with_name(TopicName(text(name)))
                .with_count(count)
                .with_assignments(assignments.clone())
        });
        Ok(Command::CreatePartitions(
            CreatePartitionsRequest::default().with_topics(topics.collect()).with_validate_only(validate),
        ))
    }

    fn alter(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let validate: bool = key(args, "validate")?.unwrap_or(false);
        let kind = match args.next_pos() {
            Some("topic") => 2,
            Some("broker") => 4,
            Some("metrics") => 16,
            Some("group") => 32,
            other => return Err(format!("no resource type {other:?}").into()),
        };
        let name = args.next_pos().unwrap_or("").to_owned();
        let configs = std::iter::from_fn(|| args.next_key())
            .map(|(key, value)| {
                let (operation, key) = key.split_once(':').expect("operation:key");
                let operation =
                    ["set", "delete", "append", "subtract"].iter().position(|name| *name == operation);
                AlterableConfig::default()
                    .with_name(text(key))
                    .with_config_operation(operation.map_or(9, |at| at as i8))
                    .with_value((value != "null").then(|| text(value)))
            })
            .collect();
        let resource = AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&name))
            .with_configs(configs);
        Ok(Command::IncrementalAlterConfigs(
            IncrementalAlterConfigsRequest::default()
                .with_resources(vec![resource])
                .with_validate_only(validate),
        ))
    }

    fn alter_partition(&self, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
        use alter_partition_request::{BrokerState, PartitionData, TopicData};
        let name = args.next_pos().unwrap_or("").to_owned();
        let from: i32 = key(args, "from")?.unwrap_or(1);
        let isr: String = key(args, "isr")?.unwrap_or_default();
        let topic = self.state.image.topic(&name);
        let partition = topic.and_then(|topic| topic.partition(0));
        let data = PartitionData::default()
            .with_partition_index(key(args, "partition")?.unwrap_or(0))
            .with_leader_epoch(
                key(args, "leader_epoch")?.unwrap_or(partition.map_or(0, |it| it.leader_epoch)),
            )
            .with_partition_epoch(
                key(args, "partition_epoch")?.unwrap_or(partition.map_or(0, |it| it.partition_epoch)),
            )
            .with_leader_recovery_state(key(args, "recovery")?.unwrap_or(0))
            .with_new_isr(ids(&isr).into_iter().map(BrokerId).collect());
        // Version 3 has them with their epochs, and nothing in the other field.
        let data = match key::<String>(args, "epochs")? {
            None => data,
            Some(epochs) => {
                let epochs = epochs.split(',').map(str::parse::<i64>).collect::<Result<Vec<_>, _>>()?;
                let member = |(id, epoch): (i32, i64)| {
                    BrokerState::default().with_broker_id(BrokerId(id)).with_broker_epoch(epoch)
                };
                let members = ids(&isr).into_iter().zip(epochs).map(member).collect();
                data.with_new_isr(Vec::new()).with_new_isr_with_epochs(members)
            }
        };
        let id = topic.map_or(Uuid::from_u128(77), |topic| topic.id.0);
        Ok(Command::AlterPartition(
            AlterPartitionRequest::default()
                .with_broker_id(BrokerId(from))
                .with_broker_epoch(self.state.image.broker(from).map_or(-1, |broker| broker.epoch))
                .with_topics(vec![TopicData::default().with_topic_id(id).with_partitions(vec![data])]),
        ))
    }
}

impl goldenscript::Runner for Runner {
    type Command = Line;

    fn run(&mut self, line: &Line, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let mut args = line.consume_args();
        let mut out = String::new();
        let command = match line.name.as_str() {
            "time" => {
                self.now = self.now.plus(args.next_pos().map_or(Ok(0), str::parse)?);
                for command in Controller::due(&self.state, &mut self.soft, self.now) {
                    let _ = writeln!(out, "{command:?}");
                    self.give(command, &mut out);
                }
                return Ok(out);
            }
            "configured" => {
                // As if the node had been started with these keys.
                let mut settings = Settings::clone(&self.state.settings);
                let mut config = ottla_config::Settings::clone(&settings.config);
                while let Some((name, value)) = args.next_key() {
                    config.set(name, value, ottla_config::Origin::Argument);
                }
                settings.config = Arc::new(config);
                self.state.settings = Arc::new(settings);
                return Ok(out);
            }
            "office" => {
                self.soft = Controller::take_office(&self.state, self.now);
                return Ok(out);
            }
            "register" => self.register(&mut args)?,
            "heartbeat" => self.heartbeat(&mut args)?,
            "unregister" => {
                let id: i32 = key(&mut args, "id")?.unwrap_or(1);
                Command::UnregisterBroker(UnregisterBrokerRequest::default().with_broker_id(BrokerId(id)))
            }
            "create" => self.create(&mut args)?,
            "delete" => self.delete(&mut args)?,
            "grow" => self.grow(&mut args)?,
            "alter" => self.alter(&mut args)?,
            "alter_partition" => self.alter_partition(&mut args)?,
            "ids" => {
                let id: i32 = key(&mut args, "id")?.unwrap_or(1);
                let epoch = key(&mut args, "epoch")?;
                let epoch = epoch.unwrap_or(self.state.image.broker(id).map_or(-1, |broker| broker.epoch));
                let request = AllocateProducerIdsRequest::default();
                Command::AllocateProducerIds(request.with_broker_id(BrokerId(id)).with_broker_epoch(epoch))
            }
            other => match asked(&self.state, self.now, line, &mut args)? {
                Some(command) => command,
                None => return Err(format!("no command {other}").into()),
            },
        };
        args.reject_next()?;
        self.give(command, &mut out);
        Ok(out)
    }
}
