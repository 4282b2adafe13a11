//! Produce (0), versions 3–13: one batch per partition, appended and acknowledged.
//!
//! acks=0: nothing is answered; on any error the connection is closed, which is all that can be said. acks=1: answered
//! when the batch has left the process. acks=-1: when every in-sync replica has it, and, where that is this broker
//! alone, when the disk has it too; after `timeout_ms` with REQUEST_TIMED_OUT. Other values: INVALID_REQUIRED_ACKS.
//! Everything is appended before the handler returns, so the order on a connection is the order in the log.
//! A duplicate of one of the last five batches is answered with its offsets, as the success it is. A batch that leaves a
//! gap because the one before it was just refused, by us or by the leader before us, is refused like that one
//! ([`Refused`]); Kafka says OUT_OF_ORDER_SEQUENCE_NUMBER.
//!
//! Versions: 0–2 are advertised, because librdkafka before 2.11 probes for them (KAFKA-18659), and not served; 3 batch
//! format 2 and transactional ids; 5 log start; 7 zstd (KIP-110); 8 record errors (KIP-467); 9 flexible; 10 current
//! leader and endpoints (KIP-951); 12 partitions are added to transactions implicitly (KIP-890); 13 topic ids (KIP-516).
//!
//! Not done: transactional batches: there is no transaction coordinator yet, so they are answered as Kafka answers while
//! it cannot reach one (NOT_ENOUGH_REPLICAS, which clients retry).

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_metadata::{Image, ImageCell};
use ottla_protocol::{
    StrBytes,
    messages::{
        ProduceRequest, ProduceResponse, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        },
    },
};
use ottla_replica::{
    AppendOptions, Appended, FrameRef, HostedTopic, Origin, ProduceRefusal, ReplicaManager, Ticket, aside,
};
use ottla_types::{ErrorCode, TopicId};

use self::refused::{Lane, Refused};
use crate::{Handler, Reply, RequestContext, api::leaders::leader_hint};

mod refused;

/// Topics that only the broker writes, and the admin client of Kafka's own tools.
const INTERNAL_TOPICS: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
/// How that client calls itself.
const ADMIN_CLIENT: &str = "__admin_client";
/// Bytes from which on a request may take longer than others should wait for this thread.
const LONG_REQUEST: usize = 4 << 20;
/// The attribute bit of transactional batches, and where a batch has its attributes.
const TRANSACTIONAL: u8 = 0x10;
const ATTRIBUTES_LOW_BYTE: usize = 22;

/// Serves Produce.
pub(crate) struct Produce {
    replicas: Arc<ReplicaManager>,
    image: Arc<ImageCell>,
    refused: Refused,
}

/// A request on its way through its partitions.
struct Turn<'a> {
    handler: &'a Produce,
    ctx: &'a RequestContext,
    acks: i16,
    transactional_id: bool,
    frame: FrameRef,
    response: ProduceResponse,
    failed: bool,
    /// Acknowledgements that are waited for, with topic and partition in the response.
    tickets: Vec<Ticket>,
    places: Vec<(usize, usize)>,
}

impl Produce {
    /// Appends to `replicas`; `image` tells who leads what is not here.
    #[must_use]
    pub(crate) fn new(replicas: Arc<ReplicaManager>, image: Arc<ImageCell>) -> Self {
        Self { replicas, image, refused: Refused::default() }
    }
}

impl Handler for Produce {
    type Request = ProduceRequest;
    type Response = ProduceResponse;
    const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;
    const ADVERTISED_FROM: i16 = 0;

    fn handle(&self, ctx: &RequestContext, request: ProduceRequest) -> Reply<ProduceResponse> {
        let acks = request.acks;
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        if request.transactional_id.is_none() && request.topic_data.iter().any(has_transactional) {
            let response = refuse_all(request, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
            return if acks == 0 { Reply::Close } else { Reply::Now(response) };
        }
        let bytes = ctx.frame_bytes;
        let mut turn = Turn {
            handler: self,
            ctx,
            acks,
            transactional_id: request.transactional_id.is_some(),
            frame: self.replicas.frame(bytes),
            response: ProduceResponse::default(),
            failed: false,
            tickets: Vec::new(),
            places: Vec::new(),
        };
        turn.response.responses.reserve_exact(request.topic_data.len());
        turn.topics(request.topic_data, bytes);
        let Turn { mut response, failed, tickets, places, .. } = turn;
        if acks == 0 {
            return if failed { Reply::Close } else { Reply::None };
        }
        if tickets.iter().all(|ticket| ticket.ready() == Some(ErrorCode::NONE)) {
            return Reply::Now(response);
        }
        Reply::later(async move {
            let results = Ticket::wait_all(&tickets, timeout).await;
            for ((topic, partition), code) in places.into_iter().zip(results) {
                response.responses[topic].partition_responses[partition].error_code = code.0;
            }
            response
        })
    }
}

impl Turn<'_> {
    /// All of them in their order. A long request keeps this thread busy, which others must not feel.
    fn topics(&mut self, topics: Vec<TopicProduceData>, bytes: usize) {
        let long = bytes > LONG_REQUEST;
        let all = || topics.into_iter().for_each(|topic| self.topic(topic));
        if long { aside(all) } else { all() }
    }

    fn topic(&mut self, topic: TopicProduceData) {
        let TopicProduceData { name, topic_id, partition_data, .. } = topic;
        let id = TopicId(topic_id);
        let replicas = &self.handler.replicas;
        let by_id = uses_ids(self.ctx.api_version);
        let hosted = if by_id { replicas.topic_by_id(id) } else { replicas.topic(&name) };
        let mut partitions = Vec::with_capacity(partition_data.len());
        for partition in last_of_each(partition_data) {
            let index = partition.index;
            partitions.push(match self.partition(hosted.as_deref(), (id, &name), &partition) {
                Ok(appended) => {
                    if appended.ticket.ready() != Some(ErrorCode::NONE) {
                        self.places.push((self.response.responses.len(), partitions.len()));
                        self.tickets.push(appended.ticket);
                    }
                    PartitionProduceResponse::default()
                        .with_index(index)
                        .with_base_offset(appended.base_offset)
                        .with_log_append_time_ms(appended.log_append_time)
                        .with_log_start_offset(appended.log_start)
                }
                Err(refusal) => {
                    self.failed = true;
                    self.refused(index, refusal, (id, &name))
                }
            });
        }
        self.response.responses.push(
            TopicProduceResponse::default()
                .with_name(name)
                .with_topic_id(topic_id)
                .with_partition_responses(partitions),
        );
    }

    /// Appends it or refuses it, with respect to what was refused before. The batch of a producer that is not known, and
    /// not its first, is taken where no refusal explains that.
    fn partition(
        &self,
        hosted: Option<&HostedTopic>,
        topic: (TopicId, &TopicName),
        partition: &PartitionProduceData,
    ) -> Result<Appended, ProduceRefusal> {
        // Who does not ask for acks=all does not look at what was refused.
        let origin = if self.acks == -1 { Origin::ClientFromZero } else { Origin::Client };
        let refusal = match self.append(hosted, topic, partition, origin) {
            Ok(appended) => return Ok(appended),
            Err(refusal) => self.explain(refusal, topic, partition),
        };
        if refusal.code != ErrorCode::UNKNOWN_PRODUCER_ID {
            return Err(refusal);
        }
        self.append(hosted, topic, partition, Origin::Client)
            .map_err(|refusal| self.explain(refusal, topic, partition))
    }

    /// A refusal with respect to those before it.
    fn explain(
        &self,
        refusal: ProduceRefusal,
        (id, name): (TopicId, &TopicName),
        partition: &PartitionProduceData,
    ) -> ProduceRefusal {
        let lane = || Lane {
            connection: self.ctx.connection,
            topic: (id, name.as_str().into()),
            partition: partition.index,
        };
        let (known, records) = (&self.handler.refused, partition.records.as_deref());
        let code = known.answer(self.ctx.now, lane, records, refusal.code, refusal.inherited);
        ProduceRefusal { code, ..refusal }
    }

    /// The checks in Kafka's order, then the append.
    fn append(
        &self,
        hosted: Option<&HostedTopic>,
        (id, name): (TopicId, &TopicName),
        partition: &PartitionProduceData,
        origin: Origin,
    ) -> Result<Appended, ProduceRefusal> {
        let replica = hosted.and_then(|hosted| hosted.partition(partition.index));
        let Some(replica) = replica else {
            let image = self.handler.image.load();
            return Err(ProduceRefusal::code(absent(
                &image,
                (id, name),
                partition.index,
                self.ctx.api_version,
            )));
        };
        let Some(records) = &partition.records else {
            return Err(ProduceRefusal::code(ErrorCode::INVALID_RECORD));
        };
        if !matches!(self.acks, -1..=1) {
            return Err(ProduceRefusal::code(ErrorCode::INVALID_REQUIRED_ACKS));
        }
        if INTERNAL_TOPICS.contains(&&*replica.name().topic) && self.ctx.client_id() != ADMIN_CLIENT {
            return Err(ProduceRefusal::code(ErrorCode::INVALID_TOPIC_EXCEPTION));
        }
        if self.transactional_id && is_transactional(records) {
            return Err(ProduceRefusal {
                message: Some(
                    "Unable to verify the partition has been added to the transaction. Underlying error: \
                     COORDINATOR_NOT_AVAILABLE"
                        .to_owned(),
                ),
                ..ProduceRefusal::code(ErrorCode::NOT_ENOUGH_REPLICAS)
            });
        }
        let options = AppendOptions {
            acks: self.acks,
            origin,
            version: self.ctx.api_version,
            frame: Some(&self.frame),
            leader_epoch: None,
        };
        self.handler.replicas.append(replica, records, &options)
    }

    fn refused(
        &mut self,
        index: i32,
        refusal: ProduceRefusal,
        (id, name): (TopicId, &TopicName),
    ) -> PartitionProduceResponse {
        let mut response = failed(index, refusal.code)
            .with_log_start_offset(refusal.log_start)
            .with_error_message(refusal.message.map(StrBytes::from_string));
        response.record_errors = refusal
            .record_errors
            .into_iter()
            .map(|(at, message)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(at)
                    .with_batch_index_error_message(message.map(StrBytes::from_string))
            })
            .collect();
        if refusal.code == ErrorCode::NOT_LEADER_OR_FOLLOWER && names_leaders(self.ctx.api_version) {
            self.name_leader(&mut response, index, (id, name));
        }
        response
    }

    fn name_leader(
        &mut self,
        response: &mut PartitionProduceResponse,
        index: i32,
        (id, name): (TopicId, &TopicName),
    ) {
        let image = self.handler.image.load();
        let topic = if uses_ids(self.ctx.api_version) { image.topic_by_id(id) } else { image.topic(name) };
        let Some(((leader, epoch), endpoint)) =
            topic.and_then(|topic| leader_hint(&image, topic, index, &self.ctx.listener))
        else {
            return;
        };
        response.current_leader =
            LeaderIdAndEpoch::default().with_leader_id(leader.into()).with_leader_epoch(epoch);
        let known = &mut self.response.node_endpoints;
        if let Some(endpoint) = endpoint
            && !known.iter().any(|held| held.node_id.0 == endpoint.node)
        {
            known.push(
                NodeEndpoint::default()
                    .with_node_id(endpoint.node.into())
                    .with_host(StrBytes::from_string(endpoint.host.to_string()))
                    .with_port(endpoint.port)
                    .with_rack(endpoint.rack.map(|rack| StrBytes::from_string(rack.to_string()))),
            );
        }
    }
}

/// Version 13 names topics by id.
fn uses_ids(version: i16) -> bool {
    version >= 13
}

/// Version 10 tells who leads instead.
fn names_leaders(version: i16) -> bool {
    version >= 10
}

/// Why a partition is not here: nobody knows it, or another broker has it.
fn absent(image: &Image, (id, name): (TopicId, &TopicName), partition: i32, version: i16) -> ErrorCode {
    let topic = if uses_ids(version) { image.topic_by_id(id) } else { image.topic(name) };
    match topic {
        None if uses_ids(version) => ErrorCode::UNKNOWN_TOPIC_ID,
        Some(topic) if topic.partition(partition).is_some() => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}

fn failed(index: i32, code: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.0)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
}

fn refuse_all(request: ProduceRequest, code: ErrorCode) -> ProduceResponse {
    let topics = request.topic_data.into_iter().map(|topic| {
        TopicProduceResponse::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_partition_responses(
                topic.partition_data.iter().map(|partition| failed(partition.index, code)).collect(),
            )
    });
    ProduceResponse::default().with_responses(topics.collect())
}

fn is_transactional(records: &Bytes) -> bool {
    records.get(ATTRIBUTES_LOW_BYTE).is_some_and(|attributes| attributes & TRANSACTIONAL != 0)
}

fn has_transactional(topic: &TopicProduceData) -> bool {
    topic.partition_data.iter().any(|partition| partition.records.as_ref().is_some_and(is_transactional))
}

/// A partition that is named twice counts once: where it first stood, with what it was last given, as in Kafka.
fn last_of_each(partitions: Vec<PartitionProduceData>) -> Vec<PartitionProduceData> {
    let mut places = HashMap::new();
    if partitions.len() < 2 || partitions.iter().all(|partition| places.insert(partition.index, 0).is_none())
    {
        return partitions;
    }
    places.clear();
    let mut kept: Vec<PartitionProduceData> = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let place = *places.entry(partition.index).or_insert(kept.len());
        if place < kept.len() {
            kept[place] = partition;
        } else {
            kept.push(partition);
        }
    }
    kept
}
