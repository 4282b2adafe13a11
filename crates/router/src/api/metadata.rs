//! Metadata (3), versions 0–13.
//!
//! Brokers by the address they have on the listener that was asked, and topics. A topic that does not exist is created
//! when the request and `auto.create.topics.enable` allow it; the answer waits until it can be used, so that no client
//! sees the gap (Kafka answers UNKNOWN_TOPIC_OR_PARTITION at once and lets the client ask again).
//!
//! An answer that would name a leader which this broker has just seen going away waits for the controller's decision, and
//! who went away is listed a little longer: see `losses`. Who asks again about topics over an old connection, where there
//! are other brokers, has perhaps just lost one, and waits a few milliseconds so that it is known here.
//!
//! Versions: 0 takes an empty list for all topics, later ones null; 4 adds `allow_auto_topic_creation`; 7 leader epochs
//! (KIP-320); 8 authorized operations (KIP-430), those of the cluster up to 10; 10 topic ids (KIP-516); 12 lookup by id;
//! 13 an error for the whole answer.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use ottla_metadata::{BrokerRegistration, Image, ImageCell, Partition, Topic};
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    },
};
use ottla_types::{ErrorCode, NO_LEADER, NodeId, TopicId};
use tokio::time::sleep;
use uuid::Uuid;

use super::operations;
use crate::{Controllers, Handler, Losses, Reply, RequestContext};

/// How long an answer waits for topics it had created. Longer than any healthy creation, shorter than any client's
/// request timeout.
const CREATION_WAIT: Duration = Duration::from_secs(5);
/// Who asks over a connection that is older than this has been here before.
const NEW_CONNECTION_MS: i64 = 1000;
/// What made such a client ask again may be on its way here, too: so long it is waited for.
const NEWS: Duration = Duration::from_millis(10);
const NAME_MAX: usize = 249;
/// The id that stands for a log dir that is lost: the greatest of the three that name no dir.
const LOST_DIR: u128 = 2;

pub(crate) struct Metadata {
    image: Arc<ImageCell>,
    controllers: Arc<Controllers>,
    losses: Arc<Losses>,
    cluster_id: StrBytes,
    /// `auto.create.topics.enable`.
    auto_create: bool,
}

impl Metadata {
    pub(crate) fn new(
        image: Arc<ImageCell>,
        controllers: Arc<Controllers>,
        losses: Arc<Losses>,
        cluster_id: &str,
        auto_create: bool,
    ) -> Self {
        let cluster_id = StrBytes::from_string(cluster_id.to_owned());
        Self { image, controllers, losses, cluster_id, auto_create }
    }
}

impl Handler for Metadata {
    type Request = MetadataRequest;
    type Response = MetadataResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    fn handle(&self, ctx: &RequestContext, request: MetadataRequest) -> Reply<MetadataResponse> {
        if !may_leave_name_out(ctx.api_version) && request.topics.iter().flatten().any(is_by_id) {
            return Reply::Now(refuse_all(request));
        }
        let request = Asked::from(request, ctx.api_version);
        let image = self.image.get();
        let missing =
            if self.auto_create && request.may_create { request.missing(&image) } else { Vec::new() };
        let again = asks_again(ctx, &request, &image);
        let undecided = self.losses.decision(&mut |broker| request.names_leader(&image, broker)).is_some();
        let telling = Telling { cluster_id: self.cluster_id.clone(), losses: self.losses.clone() };
        if missing.is_empty() && !undecided && !again {
            return Reply::Now(request.answer(&image, ctx, &telling, &HashMap::new()));
        }
        let (cell, controllers, ctx) = (self.image.clone(), self.controllers.clone(), ctx.clone());
        Reply::later(async move {
            let mut refused = HashMap::new();
            if !missing.is_empty() {
                refused = controllers.auto_create(missing, CREATION_WAIT).await;
            }
            if again {
                sleep(NEWS).await;
            }
            let image = cell.get();
            let decision = telling.losses.decision(&mut |broker| request.names_leader(&image, broker));
            if let Some(decision) = decision {
                decision.await;
            }
            request.answer(&cell.get(), &ctx, &telling, &refused)
        })
    }
}

/// Before version 12 an answer has no way to leave a topic's name out.
fn may_leave_name_out(version: i16) -> bool {
    version >= 12
}

/// Each topic once, however often it is named: an answer is never longer than what there is to tell. Who asks by ids is
/// not answered by names, as in Kafka.
fn each_once(mut topics: Vec<MetadataRequestTopic>) -> Vec<MetadataRequestTopic> {
    let by_id = topics.iter().any(|topic| !topic.topic_id.is_nil());
    let mut seen = HashSet::with_capacity(topics.len());
    topics.retain(|topic| {
        let name = topic.name.clone().filter(|_| !by_id);
        by_id != topic.topic_id.is_nil() && seen.insert((topic.topic_id, name))
    });
    topics
}

fn is_by_id(topic: &MetadataRequestTopic) -> bool {
    topic.name.is_none() || !topic.topic_id.is_nil()
}

/// Nothing but the topics, each with INVALID_REQUEST: what Kafka answers to a request it does not look at.
fn refuse_all(request: MetadataRequest) -> MetadataResponse {
    let refused = |topic: MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_name(Some(topic.name.unwrap_or_default()))
            .with_topic_id(topic.topic_id)
            .with_error_code(ErrorCode::INVALID_REQUEST.0)
    };
    MetadataResponse::default().with_topics(request.topics.into_iter().flatten().map(refused).collect())
}

/// A broker as the listener's clients see it, if they can reach it.
fn told(broker: &BrokerRegistration, ctx: &RequestContext) -> Option<MetadataResponseBroker> {
    let endpoint = broker.listener(&ctx.listener)?;
    Some(
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(broker.id))
            .with_host(StrBytes::from_string(endpoint.host.to_string()))
            .with_port(endpoint.port.into())
            .with_rack(broker.rack.as_ref().map(|rack| StrBytes::from_string(rack.to_string()))),
    )
}

/// Whether something may have happened that makes a client look who leads.
fn asks_again(ctx: &RequestContext, request: &Asked, image: &Image) -> bool {
    let wants_topics = request.topics.as_ref().is_none_or(|topics| !topics.is_empty());
    wants_topics && ctx.now.since(ctx.opened) > NEW_CONNECTION_MS && image.alive_brokers().nth(1).is_some()
}

/// What every answer is made of beside the image.
struct Telling {
    cluster_id: StrBytes,
    losses: Arc<Losses>,
}

/// A request, its versions' ways of saying things made one.
struct Asked {
    /// `None` for all topics.
    topics: Option<Vec<MetadataRequestTopic>>,
    may_create: bool,
    topic_operations: bool,
    cluster_operations: bool,
}

impl Asked {
    fn from(request: MetadataRequest, version: i16) -> Self {
        let all = if empty_means_all(version) {
            request.topics.as_ref().is_none_or(Vec::is_empty)
        } else {
            request.topics.is_none()
        };
        Self {
            topics: if all { None } else { request.topics.map(each_once) },
            may_create: request.allow_auto_topic_creation || always_creates(version),
            topic_operations: request.include_topic_authorized_operations,
            cluster_operations: request.include_cluster_authorized_operations,
        }
    }

    /// Names that can be created and are not there.
    fn missing(&self, image: &Image) -> Vec<Arc<str>> {
        let names = self.topics.iter().flatten().filter(|topic| topic.topic_id.is_nil());
        let names = names.filter_map(|topic| topic.name.as_ref()).map(|name| name.as_str());
        let missing = names.filter(|name| check_name(name).is_ok() && image.topic(name).is_none());
        let mut missing: Vec<Arc<str>> = missing.map(Arc::from).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Whether the answer would say that a broker leads something.
    fn names_leader(&self, image: &Image, broker: NodeId) -> bool {
        let leads = |topic: &Topic| topic.partitions.iter().any(|partition| partition.leader == broker);
        let Some(asked) = &self.topics else { return image.topics.iter().any(|topic| leads(topic)) };
        asked.iter().any(|asked| {
            let name = asked.name.as_ref().map_or("", |name| name.as_str());
            let topic = match asked.topic_id.is_nil() {
                true => image.topic(name),
                false => image.topic_by_id(TopicId(asked.topic_id)),
            };
            topic.is_some_and(|topic| leads(topic))
        })
    }

    fn answer(
        &self,
        image: &Image,
        ctx: &RequestContext,
        telling: &Telling,
        refused: &HashMap<Arc<str>, ErrorCode>,
    ) -> MetadataResponse {
        let topics = match &self.topics {
            None => image.topics.iter().map(|topic| self.describe(image, ctx, topic)).collect(),
            Some(asked) => asked.iter().map(|asked| self.find(image, ctx, asked, refused)).collect(),
        };
        let listed = |broker: &&Arc<BrokerRegistration>| telling.losses.is_listed(broker);
        let mut brokers: Vec<_> =
            image.brokers.values().filter(listed).filter_map(|broker| told(broker, ctx)).collect();
        if brokers.is_empty() {
            // The last one to stop says so over its connections. A client that is told of no broker at all forgets where
            // it was, and never comes back (librdkafka 2.16).
            brokers = image.brokers.values().filter_map(|broker| told(broker, ctx)).collect();
        }
        let operations = if self.cluster_operations { operations::CLUSTER } else { operations::OMITTED };
        MetadataResponse::default()
            .with_brokers(brokers)
            .with_cluster_id(Some(telling.cluster_id.clone()))
            .with_controller_id(BrokerId(any_broker(image, ctx)))
            .with_topics(topics)
            .with_cluster_authorized_operations(operations)
    }

    fn find(
        &self,
        image: &Image,
        ctx: &RequestContext,
        asked: &MetadataRequestTopic,
        refused: &HashMap<Arc<str>, ErrorCode>,
    ) -> MetadataResponseTopic {
        let unknown =
            MetadataResponseTopic::default().with_name(asked.name.clone()).with_topic_id(asked.topic_id);
        if !asked.topic_id.is_nil() {
            return match image.topic_by_id(TopicId(asked.topic_id)) {
                Some(topic) => self.describe(image, ctx, topic),
                None => unknown.with_name(None).with_error_code(ErrorCode::UNKNOWN_TOPIC_ID.0),
            };
        }
        let name = asked.name.as_ref().map_or("", |name| name.as_str());
        if let Some(topic) = image.topic(name) {
            return self.describe(image, ctx, topic);
        }
        let code = match check_name(name) {
            Err(code) => code,
            Ok(()) => refused.get(name).copied().unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        unknown.with_error_code(code.0).with_is_internal(is_internal(name))
    }

    fn describe(&self, image: &Image, ctx: &RequestContext, topic: &Topic) -> MetadataResponseTopic {
        let partitions =
            topic.iter().map(|(index, partition)| describe_partition(image, ctx, index, partition));
        let operations = if self.topic_operations { operations::TOPIC } else { operations::OMITTED };
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
            .with_topic_id(topic.id.0)
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(operations)
    }
}

fn describe_partition(
    image: &Image,
    ctx: &RequestContext,
    index: i32,
    partition: &Partition,
) -> MetadataResponsePartition {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
    let (leader, code) = leader(image, ctx, partition);
    let (mut replicas, mut isr, mut code) = (ids(&partition.replicas), ids(&partition.isr), code);
    if hides_absent_replicas(ctx.api_version) {
        let is_here = |id: &BrokerId| image.broker(id.0).is_some_and(|broker| is_reachable(broker, ctx));
        replicas.retain(is_here);
        isr.retain(is_here);
        let hidden = replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len();
        if hidden && code.is_ok() {
            code = ErrorCode::REPLICA_NOT_AVAILABLE;
        }
    }
    MetadataResponsePartition::default()
        .with_error_code(code.0)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr)
        .with_offline_replicas(ids(&offline(image, ctx, partition)))
}

/// The leader as the caller may reach it, or why not.
pub(crate) fn leader(image: &Image, ctx: &RequestContext, partition: &Partition) -> (NodeId, ErrorCode) {
    let Some(broker) = image.broker(partition.leader) else {
        return (NO_LEADER, ErrorCode::LEADER_NOT_AVAILABLE);
    };
    if is_reachable(broker, ctx) {
        return (broker.id, ErrorCode::NONE);
    }
    let says_listener = ctx.api_key != ottla_protocol::api::METADATA || knows_listener_error(ctx.api_version);
    let code = if says_listener { ErrorCode::LISTENER_NOT_FOUND } else { ErrorCode::LEADER_NOT_AVAILABLE };
    (NO_LEADER, code)
}

fn is_reachable(broker: &BrokerRegistration, ctx: &RequestContext) -> bool {
    !broker.fenced && broker.listener(&ctx.listener).is_some()
}

/// Replicas that are not there for the caller: their broker is gone, fenced, or not on this listener, or their log dir
/// has failed.
pub(crate) fn offline(image: &Image, ctx: &RequestContext, partition: &Partition) -> Vec<NodeId> {
    let is_online = |id: &NodeId| {
        let broker = image.broker(*id).filter(|broker| is_reachable(broker, ctx));
        let dir = partition.directory_of(*id).unwrap_or_default();
        broker.is_some_and(|broker| has_dir(broker, dir))
    };
    partition.replicas.iter().copied().filter(|id| !is_online(id)).collect()
}

/// Whether a broker's log dir is online, as far as it has said (KIP-858).
fn has_dir(broker: &BrokerRegistration, dir: Uuid) -> bool {
    let reserved = dir.as_u128() <= LOST_DIR;
    if reserved {
        dir.as_u128() != LOST_DIR
    } else {
        broker.log_dirs.is_empty() || broker.log_dirs.contains(&dir)
    }
}

/// Some broker that is alive, which clients take for the controller: any broker passes their requests on.
pub(crate) fn any_broker(image: &Image, ctx: &RequestContext) -> NodeId {
    let alive: Vec<NodeId> = image.alive_brokers().map(|broker| broker.id).collect();
    match alive.len() {
        0 => NO_LEADER,
        n => alive[usize::try_from(ctx.connection).unwrap_or(0) % n],
    }
}

/// Topics that brokers keep for themselves.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// Whether a topic may be called this.
pub(crate) fn check_name(name: &str) -> Result<(), ErrorCode> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let ok =
        !name.is_empty() && name.len() <= NAME_MAX && name != "." && name != ".." && name.bytes().all(legal);
    if ok { Ok(()) } else { Err(ErrorCode::INVALID_TOPIC_EXCEPTION) }
}

/// Version 0 lists only replicas that can be reached, and says when some are left out.
fn hides_absent_replicas(version: i16) -> bool {
    version == 0
}

fn empty_means_all(version: i16) -> bool {
    version == 0
}

/// Before version 4 the request cannot forbid it.
fn always_creates(version: i16) -> bool {
    version < 4
}

/// From version 6 on a client knows that the listener can be what is missing.
fn knows_listener_error(version: i16) -> bool {
    version >= 6
}
