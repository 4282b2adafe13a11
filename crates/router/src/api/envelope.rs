//! Envelope (58), version 0 (KIP-590): a broker passes on what one of its clients asked.
//!
//! The inner request is decoded with the same care as any other, and served by the same handlers, as asked by the inner
//! principal from the inner address. Only requests that Kafka forwards may be in an envelope. When the inner answer says
//! that this node is not the active controller, the envelope's says so, so that the broker looks for the active one.
//!
//! Not done: whether the sender may forward for others (authorization).

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use ottla_net::{Frame, Part};
use ottla_protocol::{
    api, header,
    messages::{EnvelopeRequest, EnvelopeResponse},
};
use ottla_types::ErrorCode;
use tracing::{debug, error};

use crate::{Handler, Reply, RequestContext, Table, handler::Inner};

/// The APIs that brokers forward.
pub(crate) const FORWARDED: [i16; 20] = [
    api::CREATE_TOPICS,
    api::DELETE_TOPICS,
    api::CREATE_ACLS,
    api::DELETE_ACLS,
    api::ALTER_CONFIGS,
    api::CREATE_PARTITIONS,
    api::CREATE_DELEGATION_TOKEN,
    api::RENEW_DELEGATION_TOKEN,
    api::EXPIRE_DELEGATION_TOKEN,
    api::ELECT_LEADERS,
    api::INCREMENTAL_ALTER_CONFIGS,
    api::ALTER_PARTITION_REASSIGNMENTS,
    api::LIST_PARTITION_REASSIGNMENTS,
    api::ALTER_CLIENT_QUOTAS,
    api::ALTER_USER_SCRAM_CREDENTIALS,
    api::DESCRIBE_QUORUM,
    api::UPDATE_FEATURES,
    api::UNREGISTER_BROKER,
    api::ADD_RAFT_VOTER,
    api::REMOVE_RAFT_VOTER,
];
/// Forwarded too, as Kafka's table has it, though only brokers ask it.
const ALSO_FORWARDED: [i16; 2] = [api::ALLOCATE_PRODUCER_IDS, api::UNREGISTER_CONTROLLER];
/// The length prefix of a frame.
const PREFIX: usize = 4;

/// Whether requests of this API may be in an envelope.
pub(crate) fn is_forwarded(key: i16) -> bool {
    FORWARDED.contains(&key) || ALSO_FORWARDED.contains(&key)
}

pub(crate) struct Envelope {
    /// What is served of the APIs that may be in an envelope.
    inner: Arc<Table>,
}

impl Envelope {
    pub(crate) fn new(inner: Arc<Table>) -> Self {
        Self { inner }
    }

    fn open(&self, ctx: &RequestContext, request: EnvelopeRequest) -> Result<Reply<Inner>, ErrorCode> {
        let principal = request.request_principal.and_then(principal);
        let principal = principal.ok_or(ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE)?;
        let address = address(&request.client_host_address).ok_or(ErrorCode::INVALID_REQUEST)?;
        let mut body = request.request_data;
        let head = header::parse(&mut body).map_err(|e| {
            debug!("An envelope with a request that cannot be read: {e}");
            ErrorCode::UNSUPPORTED_VERSION
        })?;
        if !is_forwarded(head.key) {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let entry = self.inner.get(head.key).ok_or(ErrorCode::UNSUPPORTED_VERSION)?;
        if !entry.served.versions.contains(&head.version) {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let inner = RequestContext {
            api_key: head.key,
            api_version: head.version,
            correlation_id: head.correlation_id,
            client_id: head.client_id,
            peer: (address, 0).into(),
            principal: Some(principal),
            ..ctx.clone()
        };
        entry.serve_inner(&inner, body).map_err(|e| {
            debug!("An envelope with a body of {} that cannot be read: {e}", entry.served.name);
            ErrorCode::UNSUPPORTED_VERSION
        })
    }
}

impl Handler for Envelope {
    type Request = EnvelopeRequest;
    type Response = EnvelopeResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(&self, ctx: &RequestContext, request: EnvelopeRequest) -> Reply<EnvelopeResponse> {
        match self.open(ctx, request) {
            Ok(Reply::Now(answer)) => Reply::Now(seal(answer)),
            Ok(Reply::Later(answer)) => Reply::Later(answer.map(seal).boxed()),
            // None of the forwarded APIs leaves a request without an answer.
            Ok(Reply::None | Reply::Close) => Reply::Now(refused(ErrorCode::UNKNOWN_SERVER_ERROR)),
            Err(code) => Reply::Now(refused(code)),
        }
    }
}

fn refused(code: ErrorCode) -> EnvelopeResponse {
    EnvelopeResponse::default().with_response_data(None).with_error_code(code.0)
}

fn seal(answer: Inner) -> EnvelopeResponse {
    match answer {
        Inner::NotController => refused(ErrorCode::NOT_CONTROLLER),
        Inner::Answer(Ok(frame)) => match in_memory(frame) {
            Some(bytes) => EnvelopeResponse::default().with_response_data(Some(bytes)),
            None => refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        },
        Inner::Answer(Err(e)) => {
            error!("Error when sending an answer in an envelope: {e}");
            refused(ErrorCode::UNKNOWN_SERVER_ERROR)
        }
    }
}

/// A frame without its length prefix. `None` when part of it is in a file, as no answer of a forwarded API is.
fn in_memory(frame: Frame) -> Option<Bytes> {
    let mut parts = frame.0.into_iter().map(|part| match part {
        Part::Bytes(bytes) => Some(bytes),
        Part::File { .. } => None,
    });
    let mut first = parts.next()??;
    if first.len() < PREFIX {
        return None;
    }
    first.advance(PREFIX);
    let mut whole = BytesMut::from(first);
    for part in parts {
        whole.extend_from_slice(&part?);
    }
    Some(whole.freeze())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// A principal as Kafka's default builder writes it: version 0, type, name, whether a token authenticated it.
fn principal(mut bytes: Bytes) -> Option<Arc<str>> {
    if bytes.try_get_i16().ok()? != 0 {
        return None;
    }
    let kind = compact_string(&mut bytes)?;
    let name = compact_string(&mut bytes)?;
    bytes.try_get_u8().ok()?;
    Some(format!("{}:{}", str::from_utf8(&kind).ok()?, str::from_utf8(&name).ok()?).into())
}

fn compact_string(bytes: &mut Bytes) -> Option<Bytes> {
    let mut length: u32 = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = bytes.try_get_u8().ok()?;
        length |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            let length = usize::try_from(length.checked_sub(1)?).ok()?;
            return (length <= bytes.len()).then(|| bytes.split_to(length));
        }
    }
    None
}
