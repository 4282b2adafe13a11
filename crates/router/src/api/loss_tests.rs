//! What clients are told of a broker that went away a moment ago: by Metadata and FindCoordinator.

use std::{sync::Arc, time::Duration};

use ottla_coordinator::{OFFSETS_TOPIC, OffsetsTopic};
use ottla_metadata::{BrokerRegistration, Endpoint, Fact, Image, ImageCell};
use ottla_net::peer::PeerOptions;
use ottla_protocol::{
    StrBytes, api,
    messages::{
        FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
    },
    persisted::metadata::{PartitionRecord, TopicRecord},
};
use ottla_types::{Millis, NodeId};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    find_coordinator::FindCoordinator,
    metadata::Metadata,
    testing::{answer, context},
};
use crate::{Controllers, Handler, Losses, Reply, RequestContext, Ways};

const MOMENT: Duration = Duration::from_millis(10);

/// Brokers 1 and 2; `leader` leads the one partition of `foo`, and of the group offsets.
fn image(leader: NodeId, second_is_fenced: bool) -> Arc<Image> {
    let mut image = Image::new();
    for (name, topic_id) in [("foo", Uuid::from_u128(7)), (OFFSETS_TOPIC, Uuid::from_u128(8))] {
        image.apply(&Fact::at_level(
            TopicRecord::default().with_name(name.into()).with_topic_id(topic_id),
            33,
        ));
        let partition = PartitionRecord::default()
            .with_topic_id(topic_id)
            .with_partition_id(0)
            .with_replicas(vec![2, 1])
            .with_isr(vec![2, 1])
            .with_leader(leader);
        image.apply(&Fact::at_level(partition, 33));
    }
    let broker = |id: NodeId, fenced| BrokerRegistration {
        id,
        epoch: i64::from(id) * 10,
        incarnation_id: Uuid::nil(),
        listeners: vec![Endpoint {
            name: "CONTROLLER".into(),
            host: "localhost".into(),
            port: 9092,
            security_protocol: 0,
        }],
        features: Vec::new(),
        rack: None,
        fenced,
        in_controlled_shutdown: false,
        log_dirs: Vec::new(),
        cordoned_log_dirs: None,
    };
    let brokers = [(1, Arc::new(broker(1, false))), (2, Arc::new(broker(2, second_is_fenced)))];
    image.brokers = Arc::new(brokers.into());
    Arc::new(image)
}

struct Broker {
    image: Arc<ImageCell>,
    losses: Arc<Losses>,
    metadata: Metadata,
    coordinator: FindCoordinator,
}

fn broker() -> Broker {
    let image = Arc::new(ImageCell::new(image(2, false)));
    let losses = Arc::new(Losses::new(image.clone()));
    let ways = Ways {
        node_id: 1,
        quorum: None,
        leader: watch::channel(None).1,
        peers: PeerOptions::default(),
        image: image.clone(),
        kraft_version: Arc::new(|| 0),
    };
    let controllers = Arc::new(Controllers::new(ways, OffsetsTopic::default()));
    Broker {
        metadata: Metadata::new(image.clone(), controllers.clone(), losses.clone(), "cluster", false),
        coordinator: FindCoordinator::new(image.clone(), controllers, losses.clone()),
        image,
        losses,
    }
}

fn on(api_key: i16, version: i16) -> RequestContext {
    context(api_key, version)
}

fn topic(name: &'static str) -> MetadataRequest {
    let name = TopicName(StrBytes::from_static_str(name));
    MetadataRequest::default().with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]))
}

impl Broker {
    fn ask(&self, request: MetadataRequest) -> Reply<MetadataResponse> {
        self.metadata.handle(&on(api::METADATA, 12), request)
    }
}

fn leader(answer: &MetadataResponse) -> i32 {
    answer.topics[0].partitions[0].leader_id.0
}

fn brokers(answer: &MetadataResponse) -> Vec<i32> {
    answer.brokers.iter().map(|broker| broker.node_id.0).collect()
}

#[tokio::test(start_paused = true)]
async fn metadata_waits_for_the_new_leader_of_a_missing_one() {
    let broker = broker();
    broker.losses.missing(2, 20);
    let asked = tokio::spawn(answer(broker.ask(topic("foo"))));
    tokio::time::sleep(MOMENT).await;
    assert!(!asked.is_finished());
    // What does not name it is answered at once.
    assert!(matches!(broker.ask(topic("bar")), Reply::Now(_)));
    assert!(matches!(broker.ask(MetadataRequest::default().with_topics(Some(Vec::new()))), Reply::Now(_)));
    broker.image.publish(image(1, true));
    let told = timeout(MOMENT, asked).await.expect("it is decided").expect("no panic");
    assert_eq!((leader(&told), brokers(&told)), (1, vec![1, 2]));
    // The other broker is listed a little longer.
    broker.losses.gone(2, 20);
    broker.losses.found(2, 20);
    let told = answer(broker.ask(topic("foo"))).await;
    assert_eq!((leader(&told), brokers(&told)), (1, vec![1, 2]));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(brokers(&answer(broker.ask(topic("foo"))).await), [1]);
}

#[tokio::test(start_paused = true)]
async fn news_that_a_client_had_first_are_waited_for() {
    let broker = broker();
    let old = RequestContext { now: Millis(2000), ..on(api::METADATA, 12) };
    let Reply::Later { answer: asked, .. } = broker.metadata.handle(&old, topic("foo")) else {
        panic!("it waits")
    };
    let asked = tokio::spawn(asked);
    tokio::time::sleep(Duration::from_millis(5)).await;
    broker.losses.missing(2, 20);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!asked.is_finished());
    broker.image.publish(image(1, true));
    let told = timeout(MOMENT, asked).await.expect("it is decided").expect("no panic");
    assert_eq!(leader(&told), 1);
}

#[tokio::test(start_paused = true)]
async fn metadata_says_what_it_knows_when_nobody_decides() {
    let broker = broker();
    broker.losses.missing(2, 20);
    let began = Instant::now();
    let told = answer(broker.ask(MetadataRequest::default().with_topics(None))).await;
    assert_eq!(brokers(&told), [1, 2]);
    assert!((400..600).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(matches!(broker.ask(topic("foo")), Reply::Now(_)));
}

#[tokio::test(start_paused = true)]
async fn coordinators_that_are_missing_are_waited_for() {
    let broker = broker();
    let request = || FindCoordinatorRequest::default().with_coordinator_keys(vec!["group".into()]);
    let ask = || broker.coordinator.handle(&on(api::FIND_COORDINATOR, 4), request());
    assert_eq!(answer(ask()).await.coordinators[0].node_id.0, 2);
    broker.losses.missing(2, 20);
    let asked = tokio::spawn(answer(ask()));
    tokio::time::sleep(MOMENT).await;
    assert!(!asked.is_finished());
    broker.image.publish(image(1, true));
    let told = timeout(MOMENT, asked).await.expect("it is decided").expect("no panic");
    assert_eq!(told.coordinators[0].node_id.0, 1);
}

/// A client that is told of no broker forgets where it was.
#[tokio::test(start_paused = true)]
async fn the_last_broker_to_stop_still_says_where_it_is() {
    let broker = broker();
    let mut all_fenced = Image::clone(&image(2, true));
    let fence = |known: &Arc<BrokerRegistration>| {
        Arc::new(BrokerRegistration { fenced: true, ..BrokerRegistration::clone(known) })
    };
    let fenced = all_fenced.brokers.iter().map(|(id, known)| (*id, fence(known))).collect();
    all_fenced.brokers = Arc::new(fenced);
    broker.image.publish(Arc::new(all_fenced));
    assert_eq!(brokers(&answer(broker.ask(topic("foo"))).await), [1, 2]);
}
