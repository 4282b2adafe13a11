//! Envelope (58), version 0 (KIP-590): a broker passes on what one of its clients asked.
//!
//! The inner request is decoded with the same care as any other, and served by the same handlers, as asked by the inner
//! principal from the inner address. Only requests that Kafka forwards may be in an envelope. When the inner answer says
//! that this node is not the active controller, the envelope's says so, so that the broker looks for the active one.
//!
//! Not done: whether the sender may forward for others (authorization).

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
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
            Ok(reply @ (Reply::Now(_) | Reply::Later { .. })) => reply.map(seal),
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

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use ottla_controller::{Answer, Command};
    use ottla_protocol::{
        Encodable, encode_request,
        messages::{CreateTopicsRequest, CreateTopicsResponse, EnvelopeRequest as Wire, HeartbeatRequest},
    };
    use ottla_raft::SubmitError;

    use futures::FutureExt;

    use super::*;
    use crate::{
        Quorum,
        api::{create_topics::CreateTopics, testing},
        ask::{Ask, Asked, Here},
        table::Line,
    };

    struct Services(Arc<testing::FakeQuorum>);

    fn node(answer: Result<Answer, SubmitError>) -> (Envelope, Arc<testing::FakeQuorum>) {
        let quorum = testing::FakeQuorum::new(true);
        quorum.answers.lock().push_back(answer);
        let lines = vec![Line::<Services>::new(|s| {
            CreateTopics::new(Arc::new(Here(s.0.clone() as Arc<dyn Quorum>)))
        })];
        (Envelope::new(Arc::new(Table::of(lines, &Services(quorum.clone())))), quorum)
    }

    /// Notes who asks.
    #[derive(Default)]
    struct Asker(parking_lot::Mutex<Vec<Sender>>);
    /// Principal, address, and the version asked in.
    type Sender = (Option<Arc<str>>, IpAddr, i16);

    impl Ask for Asker {
        fn ask(&self, ctx: &RequestContext, _: Command) -> Asked {
            self.0.lock().push((ctx.principal.clone(), ctx.peer.ip(), ctx.api_version));
            async { created().map_err(|_| unreachable!("it is an answer")) }.boxed()
        }
    }

    #[tokio::test]
    async fn the_inner_request_is_its_senders() {
        struct Services(Arc<Asker>);
        let asker = Arc::new(Asker::default());
        let lines = vec![Line::<Services>::new(|s| CreateTopics::new(s.0.clone()))];
        let node = Envelope::new(Arc::new(Table::of(lines, &Services(asker.clone()))));
        assert_eq!(testing::ask(&node, 0, envelope(create_topics())).await.error_code, 0);
        let sender = (Some("User:alice".into()), IpAddr::from([10, 0, 0, 1]), 7);
        assert_eq!(*asker.0.lock(), [sender]);
    }

    fn principal_bytes() -> Bytes {
        Bytes::from_static(b"\0\0\x05User\x06alice\0\0")
    }

    fn envelope(frame: Bytes) -> Wire {
        Wire::default()
            .with_request_data(frame)
            .with_request_principal(Some(principal_bytes()))
            .with_client_host_address(Bytes::from_static(&[10, 0, 0, 1]))
    }

    fn create_topics() -> Bytes {
        let request = CreateTopicsRequest::default().with_timeout_ms(1000);
        encode_request(7, 33, Some("admin"), &request).expect("version 7 says this").slice(PREFIX..)
    }

    fn created() -> Result<Answer, SubmitError> {
        Ok(Answer::CreateTopics(CreateTopicsResponse::default().with_throttle_time_ms(9)))
    }

    #[tokio::test]
    async fn the_inner_request_is_served_and_its_answer_comes_with_its_head() {
        let (node, quorum) = node(created());
        let answer = testing::ask(&node, 0, envelope(create_topics())).await;
        assert_eq!(answer.error_code, 0);
        let inner = answer.response_data.expect("an answer");
        assert_eq!(
            inner[..],
            [0, 0, 0, 33, 0, 0, 0, 0, 9, 1, 0],
            "correlation id, tags, throttle, no topics"
        );
        assert!(
            matches!(&quorum.asked.lock()[..], [Command::CreateTopics(asked)] if asked.timeout_ms == 1000)
        );
    }

    #[tokio::test]
    async fn the_envelope_says_that_the_controller_is_elsewhere() {
        let (node, _) = node(Err(SubmitError::NotLeader { leader: Some(2) }));
        let topic = ottla_protocol::messages::create_topics_request::CreatableTopic::default();
        let request = CreateTopicsRequest::default().with_timeout_ms(1000).with_topics(vec![topic]);
        let frame = encode_request(7, 33, None, &request).expect("version 7 says this").slice(PREFIX..);
        let answer = testing::ask(&node, 0, envelope(frame)).await;
        assert_eq!((answer.error_code, answer.response_data), (ErrorCode::NOT_CONTROLLER.0, None));
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_may_not_be_forwarded_is_refused() {
        let (node, quorum) = node(created());
        let heartbeat = encode_request(4, 1, None, &HeartbeatRequest::default()).expect("encodes");
        let mut nested = BytesMut::new();
        nested.put_slice(&[0, 58, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0]);
        envelope(create_topics()).encode(&mut nested, 0).expect("encodes");
        let mut bomb = create_topics()[..15].to_vec();
        bomb.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        for (asked, code) in [
            (
                envelope(create_topics()).with_request_principal(None),
                ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE,
            ),
            (
                envelope(create_topics()).with_request_principal(Some(principal_bytes().slice(..6))),
                ErrorCode::PRINCIPAL_DESERIALIZATION_FAILURE,
            ),
            (
                envelope(create_topics()).with_client_host_address(Bytes::from_static(&[1, 2, 3])),
                ErrorCode::INVALID_REQUEST,
            ),
            (envelope(Bytes::from_static(&[0, 19])), ErrorCode::UNSUPPORTED_VERSION),
            (envelope(create_topics().slice(..20)), ErrorCode::UNSUPPORTED_VERSION),
            (envelope(bomb.into()), ErrorCode::UNSUPPORTED_VERSION),
            (envelope(heartbeat.slice(PREFIX..)), ErrorCode::INVALID_REQUEST),
            (envelope(nested.freeze()), ErrorCode::INVALID_REQUEST),
        ] {
            let answer = testing::ask(&node, 0, asked).await;
            assert_eq!((answer.error_code, answer.response_data), (code.0, None));
        }
        assert!(quorum.asked.lock().is_empty());
    }

    #[test]
    fn principals_are_read_within_their_bounds() {
        assert_eq!(principal(principal_bytes()).as_deref(), Some("User:alice"));
        for end in 0..principal_bytes().len() - 1 {
            assert_eq!(principal(principal_bytes().slice(..end)), None, "{end}");
        }
        assert_eq!(principal(Bytes::from_static(b"\0\x01\x05User\x02a\0\0")), None, "version 1");
        assert_eq!(principal(Bytes::from_static(b"\0\0\xff\xff\xff\xff\x0fUser")), None);
        assert_eq!(principal(Bytes::from_static(b"\0\0\0\0\0\0")), None, "null is no name");
    }
}
