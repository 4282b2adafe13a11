//! FindCoordinator (10), versions 0–6.
//!
//! The coordinator of a group is the leader of its partition of `__consumer_offsets`. The topic is created when the first
//! coordinator is looked for; the answer waits until it is there (Kafka answers COORDINATOR_NOT_AVAILABLE and lets the
//! client ask again).
//!
//! An answer that would name a broker which this one has just seen going away waits for the controller's decision.
//!
//! Versions: 1 the type of the key; 4 several keys (KIP-699); 6 keys of share groups (KIP-932).
//!
//! Not done: coordinators of transactions and share groups. Those who look for them are told so.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use ottla_coordinator::{OFFSETS_TOPIC, OffsetsTopic};
use ottla_metadata::{Image, ImageCell, Partition};
use ottla_protocol::{
    StrBytes,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
    },
};
use ottla_types::{ErrorCode, NodeId};

use super::{metadata, text::wire};
use crate::{Controllers, Handler, Losses, Reply, RequestContext};

/// How long an answer waits for the topic. Longer than any healthy creation, shorter than any client's request timeout.
const CREATION_WAIT: Duration = Duration::from_secs(5);
/// The type of a group's key.
const GROUP: i8 = 0;
/// The type of a transactional id.
const TRANSACTION: i8 = 1;

pub(crate) struct FindCoordinator {
    image: Arc<ImageCell>,
    controllers: Arc<Controllers>,
    losses: Arc<Losses>,
}

impl FindCoordinator {
    pub(crate) fn new(image: Arc<ImageCell>, controllers: Arc<Controllers>, losses: Arc<Losses>) -> Self {
        Self { image, controllers, losses }
    }
}

impl Handler for FindCoordinator {
    type Request = FindCoordinatorRequest;
    type Response = FindCoordinatorResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: FindCoordinatorRequest,
    ) -> Reply<FindCoordinatorResponse> {
        let image = self.image.get();
        let is_there = image.topic(OFFSETS_TOPIC).is_some();
        let cell = self.image.clone();
        if let Some(decision) = self.losses.decision(&mut |broker| names(&image, &request, broker)) {
            let ctx = ctx.clone();
            return Reply::later(async move {
                decision.await;
                answer(&cell.get(), &ctx, &request)
            });
        }
        if is_there || request.key_type != GROUP {
            return Reply::Now(answer(&image, ctx, &request));
        }
        let (controllers, ctx) = (self.controllers.clone(), ctx.clone());
        Reply::later(async move {
            controllers.auto_create(vec![OFFSETS_TOPIC.into()], CREATION_WAIT).await;
            answer(&cell.get(), &ctx, &request)
        })
    }
}

/// Whether the answer would name a broker.
fn names(image: &Image, request: &FindCoordinatorRequest, broker: NodeId) -> bool {
    let keys = request.coordinator_keys.iter().chain([&request.key]);
    request.key_type == GROUP
        && keys.filter_map(|key| partition_of(image, key)).any(|partition| partition.leader == broker)
}

/// The partition of `__consumer_offsets` that a group belongs to.
fn partition_of<'a>(image: &'a Image, key: &StrBytes) -> Option<&'a Partition> {
    let topic = image.topic(OFFSETS_TOPIC)?;
    topic
        .partition(OffsetsTopic::partition_of(key.as_str(), topic.partition_count()))
        .map(|partition| &**partition)
}

fn has_several_keys(version: i16) -> bool {
    version >= 4
}

/// Versions 1 to 3 say of a success that it is one.
fn says_none(version: i16) -> bool {
    (1..=3).contains(&version)
}

fn answer(image: &Image, ctx: &RequestContext, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    if has_several_keys(ctx.api_version) {
        let found = request.coordinator_keys.iter().map(|key| find(image, ctx, request.key_type, key));
        return FindCoordinatorResponse::default().with_coordinators(found.collect());
    }
    let found = find(image, ctx, request.key_type, &request.key);
    let message = match ErrorCode(found.error_code) {
        ErrorCode::NONE if says_none(ctx.api_version) => Some(wire("NONE")),
        _ => found.error_message.filter(|_| says_none(ctx.api_version)),
    };
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn find(image: &Image, ctx: &RequestContext, key_type: i8, key: &StrBytes) -> Coordinator {
    let nobody = |error: ErrorCode, message: &str| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.0)
            .with_error_message(Some(wire(message)))
    };
    match key_type {
        GROUP => {}
        TRANSACTION => return nobody(ErrorCode::UNSUPPORTED_VERSION, "This broker has no transactions yet."),
        _ => return nobody(ErrorCode::INVALID_REQUEST, "No coordinator has keys of this type."),
    }
    let leader = partition_of(image, key).map(|partition| metadata::leader(image, ctx, partition).0);
    let broker = leader.and_then(|leader| image.broker(leader));
    match broker.and_then(|broker| Some((broker.id, broker.listener(&ctx.listener)?))) {
        Some((id, endpoint)) => Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(id))
            .with_host(wire(&endpoint.host))
            .with_port(endpoint.port.into())
            .with_error_message(Some(StrBytes::default())),
        None => nobody(ErrorCode::COORDINATOR_NOT_AVAILABLE, "The coordinator is not available."),
    }
}
