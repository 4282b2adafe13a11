//! A quorum of controllers, as many as wanted, on temporary directories.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of this")]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use ottla_controller::{
    Answer, Command, Controller, Settings, State, bootstrap_features, supported_features,
};
use ottla_metadata::{Fact, Image, ImageCell, records};
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, CreateTopicsRequest, TopicName,
        broker_registration_request::{Feature, Listener},
        create_topics_request::CreatableTopic,
    },
};
use ottla_raft::{Codec, FactLog, Fault, Founding, MemoryLog, Message, Options, Parts, Running, Voter};
use ottla_records::{Batch, Stamped};
use ottla_storage::Store;
use ottla_types::{NodeId, Offset, SystemClock};
use uuid::Uuid;

/// A log that outlives its driver, as a disk does.
#[derive(Clone, Default)]
pub struct Disk(pub Arc<Mutex<MemoryLog>>);

impl FactLog for Disk {
    fn start(&self) -> Offset {
        self.0.lock().expect("no panic").start()
    }
    fn end(&self) -> Offset {
        self.0.lock().expect("no panic").end()
    }
    fn append(&mut self, batches: &[Stamped]) -> Result<(), Fault> {
        self.0.lock().expect("no panic").append(batches)
    }
    fn sync(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    fn read(&self, from: Offset, each: &mut dyn FnMut(Batch) -> Result<(), Fault>) -> Result<(), Fault> {
        self.0.lock().expect("no panic").read(from, each)
    }
    fn truncate(&mut self, end: Offset) -> Result<(), Fault> {
        self.0.lock().expect("no panic").truncate(end)
    }
    fn reset(&mut self, start: Offset) -> Result<(), Fault> {
        self.0.lock().expect("no panic").reset(start)
    }
    fn advance_start(&mut self, start: Offset) -> Result<(), Fault> {
        self.0.lock().expect("no panic").advance_start(start)
    }
    fn size(&self) -> u64 {
        self.0.lock().expect("no panic").size()
    }
}

pub fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

pub fn settings(node_id: NodeId) -> Arc<Settings> {
    Arc::new(Settings {
        node_id,
        cluster_id: "test-cluster".into(),
        num_partitions: 1,
        default_replication_factor: 1,
        delete_topic_enable: true,
        broker_session_timeout_ms: 9000,
        bootstrap: bootstrap_features(),
        config: Arc::default(),
    })
}

pub fn codec() -> Codec<Controller> {
    Codec {
        encode: records::encode,
        decode: records::decode,
        stamp: Fact::batch,
        snapshot: State::snapshot,
        empty: State::emptied,
        place: State::place,
    }
}

pub struct Node {
    pub id: NodeId,
    pub running: Running<Controller>,
    pub cell: Arc<ImageCell>,
}

pub struct Setup {
    pub id: NodeId,
    pub voters: Vec<NodeId>,
    pub dir: PathBuf,
    pub max_entries: u64,
    pub max_bytes_between_snapshots: u64,
}

impl Setup {
    pub fn alone(dir: &Path) -> Self {
        Self {
            id: 1,
            voters: vec![1],
            dir: dir.to_owned(),
            max_entries: 10_000,
            max_bytes_between_snapshots: u64::MAX,
        }
    }

    pub fn start(self, log: impl FactLog, send: impl FnMut(Vec<Message>) + Send + 'static) -> Node {
        let store = Store::open(&self.dir.join("store")).expect("a store");
        self.start_on(store, log, send)
    }

    pub fn start_on(
        self,
        store: Store,
        log: impl FactLog,
        send: impl FnMut(Vec<Message>) + Send + 'static,
    ) -> Node {
        self.try_start_on(store, log, send).expect("recovers")
    }

    pub fn try_start_on(
        self,
        store: Store,
        log: impl FactLog,
        send: impl FnMut(Vec<Message>) + Send + 'static,
    ) -> Result<Node, Fault> {
        let voter = |id: &NodeId| Voter {
            id: *id,
            directory_id: Uuid::from_u128(u128::from(id.unsigned_abs())),
            endpoints: Vec::new(),
        };
        let cell = Arc::new(ImageCell::default());
        let mut seed = u64::from(self.id.unsigned_abs());
        let parts = Parts {
            codec: codec(),
            initial: State::new(settings(self.id)),
            disk: ottla_raft::Disk::new(store, log, self.dir.clone()),
            clock: Arc::new(SystemClock::new()),
            rng: Box::new(move || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed ^ (seed >> 29)
            }),
            publish: {
                let cell = Arc::clone(&cell);
                Box::new(move |state: &State| cell.publish(Arc::new(state.image.clone())))
            },
            transport: Box::new(send),
        };
        let voters: Vec<Voter> = self.voters.iter().map(voter).collect();
        let own = voter(&self.id);
        let options = Options {
            max_bytes_between_snapshots: self.max_bytes_between_snapshots,
            max_entries: self.max_entries,
            retention_bytes: 0,
            ..Options::new(self.id, own.directory_id, Founding::Dynamic(voters))
        };
        let running = ottla_raft::start(options, parts)?;
        Ok(Node { id: self.id, running, cell })
    }
}

impl Node {
    pub fn ask(&self, command: Command) -> Answer {
        block_on(self.running.handle.submit(command)).expect("in office")
    }

    pub fn image(&self) -> Arc<Image> {
        self.cell.get()
    }

    /// Registers broker 1 and unfences it.
    pub fn join(&self, previous_epoch: i64) -> i64 {
        let Answer::RegisterBroker(registered) =
            self.ask(Command::RegisterBroker(registration(previous_epoch)))
        else {
            panic!("an answer of another kind")
        };
        assert_eq!(registered.error_code, 0);
        let Answer::BrokerHeartbeat(beat) = self.ask(heartbeat(registered.broker_epoch)) else {
            panic!("an answer of another kind")
        };
        assert!(!beat.is_fenced);
        registered.broker_epoch
    }

    pub fn create(&self, name: &str, partitions: i32) {
        let Answer::CreateTopics(answer) = self.ask(create(name, partitions)) else { panic!("another kind") };
        assert_eq!((answer.topics[0].error_code, &answer.topics[0].error_message), (0, &None));
    }
}

pub fn create(name: &str, partitions: i32) -> Command {
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(partitions)
        .with_replication_factor(-1);
    Command::CreateTopics(CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000))
}

/// A heartbeat of broker 1 that has seen its registration.
pub fn heartbeat(epoch: i64) -> Command {
    let beat = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch)
        .with_current_metadata_offset(epoch)
        .with_cordoned_log_dirs(Some(Vec::new()));
    Command::BrokerHeartbeat(beat)
}

pub fn registration(previous_epoch: i64) -> BrokerRegistrationRequest {
    let feature = |range: ottla_metadata::FeatureRange| {
        Feature::default()
            .with_name(text(&range.name))
            .with_min_supported_version(range.min)
            .with_max_supported_version(range.max)
    };
    BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(1))
        .with_cluster_id(text("test-cluster"))
        .with_incarnation_id(Uuid::from_u128(previous_epoch.unsigned_abs().into()))
        .with_listeners(vec![
            Listener::default().with_name(text("PLAINTEXT")).with_host(text("localhost")).with_port(9092),
        ])
        .with_features(supported_features().into_iter().map(feature).collect())
        .with_log_dirs(vec![Uuid::from_u128(7777)])
        .with_previous_broker_epoch(previous_epoch)
}

/// Waits on a runtime of its own: the driver needs none.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time") })
}
