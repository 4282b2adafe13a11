//! Commands as requests to a controller on another node: plain, as brokers ask on their own behalf, or in an Envelope,
//! for a client (KIP-590).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ottla_controller::{Answer, Command};
use ottla_net::peer::{Peer, PeerError};
use ottla_protocol::{
    DecodeError, EncodeError, Request, encode_request, header,
    messages::{
        AllocateProducerIdsRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest,
        AlterPartitionRequest, AssignReplicasToDirsRequest, BrokerHeartbeatRequest,
        BrokerRegistrationRequest, ControllerRegistrationRequest, CreatePartitionsRequest,
        CreateTopicsRequest, DeleteTopicsRequest, ElectLeadersRequest, EnvelopeRequest,
        IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest, UnregisterBrokerRequest,
        UnregisterControllerRequest, UpdateFeaturesRequest,
    },
};
use ottla_types::ErrorCode;

use super::Asker;

/// Connections to a controller: answers come in the order of the requests, so what must not wait has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// What keeps this node in the cluster.
    Life,
    /// What keeps its partitions going.
    Partitions,
    /// What clients ask.
    Clients,
}

/// `Command: request type, lane, versions; whether an answer says that the node is not the active controller.`
macro_rules! wire {
    ($($kind:ident: $request:ty, $lane:ident, $versions:expr, $refused:expr;)*) => {
        /// The connection a command goes over. `None` for commands of the controller to itself.
        pub(super) fn lane(command: &Command) -> Option<Lane> {
            match command {
                $(Command::$kind(..) => Some(Lane::$lane),)*
                _ => None,
            }
        }

        /// Asks as this broker.
        pub(super) async fn ask(peer: &Peer, command: &Command) -> Result<Answer, PeerError> {
            match command {
                $(Command::$kind(request, ..) => {
                    let (_, answer) = peer.ask::<$request>($versions, |_| request.clone()).await?;
                    Ok(Answer::$kind(answer))
                })*
                _ => unreachable!("it has no lane"),
            }
        }

        /// Whether an answer says that the node is not the active controller.
        pub(super) fn not_controller(answer: &Answer) -> bool {
            const NOT_CONTROLLER: i16 = ErrorCode::NOT_CONTROLLER.0;
            match answer {
                $(Answer::$kind(answer) => {
                    let refused: fn(&<$request as Request>::Response) -> i16 = $refused;
                    refused(answer) == NOT_CONTROLLER
                })*
            }
        }

        /// The request with its head, as an Envelope holds it.
        fn inner(command: &Command, version: i16, client_id: Option<&str>) -> Result<Bytes, EncodeError> {
            match command {
                $(Command::$kind(request, ..) => encode_request(version, CORRELATION_ID, client_id, request),)*
                _ => unreachable!("it has no lane"),
            }
        }

        /// The answer to it.
        pub(super) fn unwrap(
            command: &Command,
            version: i16,
            mut answer: Bytes,
        ) -> Result<Answer, DecodeError> {
            match command {
                $(Command::$kind(..) => {
                    let key = <$request as Request>::KEY;
                    if header::parse_response(key, version, &mut answer)? != CORRELATION_ID {
                        return Err(DecodeError::Head("it answers another request"));
                    }
                    ottla_protocol::decode_response(key, version, &mut answer).map(Answer::$kind)
                })*
                _ => unreachable!("it has no lane"),
            }
        }
    };
}

/// Of requests in envelopes: nobody else sees it.
const CORRELATION_ID: i32 = 0;

/// The code of the first of many results that says so.
fn any<T>(results: &[T], code: fn(&T) -> i16) -> i16 {
    results.iter().map(code).find(|code| *code == ErrorCode::NOT_CONTROLLER.0).unwrap_or(0)
}

wire! {
    RegisterBroker: BrokerRegistrationRequest, Life, 0..=4, |a| a.error_code;
    BrokerHeartbeat: BrokerHeartbeatRequest, Life, 0..=2, |a| a.error_code;
    RegisterController: ControllerRegistrationRequest, Life, 0..=0, |a| a.error_code;
    AlterPartition: AlterPartitionRequest, Partitions, 2..=3, |a| a.error_code;
    AssignReplicasToDirs: AssignReplicasToDirsRequest, Partitions, 0..=0, |a| a.error_code;
    AllocateProducerIds: AllocateProducerIdsRequest, Partitions, 0..=0, |a| a.error_code;
    CreateTopics: CreateTopicsRequest, Clients, 2..=7, |a| any(&a.topics, |it| it.error_code);
    DeleteTopics: DeleteTopicsRequest, Clients, 1..=6, |a| any(&a.responses, |it| it.error_code);
    CreatePartitions: CreatePartitionsRequest, Clients, 0..=3, |a| any(&a.results, |it| it.error_code);
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest, Clients, 0..=1,
        |a| any(&a.responses, |it| it.error_code);
    AlterConfigs: AlterConfigsRequest, Clients, 0..=2, |a| any(&a.responses, |it| it.error_code);
    ElectLeaders: ElectLeadersRequest, Clients, 0..=2, |a| a.error_code;
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest, Clients, 0..=1, |a| a.error_code;
    ListPartitionReassignments: ListPartitionReassignmentsRequest, Clients, 0..=0, |a| a.error_code;
    UpdateFeatures: UpdateFeaturesRequest, Clients, 0..=2, |a| a.error_code;
    UnregisterBroker: UnregisterBrokerRequest, Clients, 0..=0, |a| a.error_code;
    UnregisterController: UnregisterControllerRequest, Clients, 0..=0, |a| a.error_code;
}

/// The Envelope of a client's request.
pub(super) fn enclose(command: &Command, asker: &Asker) -> Result<EnvelopeRequest, EncodeError> {
    Ok(envelope(inner(command, asker.version, asker.client_id.as_deref())?, asker))
}

/// The Envelope of a frame: length prefix, head and body.
pub(super) fn envelope(mut frame: Bytes, asker: &Asker) -> EnvelopeRequest {
    // The length prefix.
    frame.advance(4);
    let address = match asker.address.to_canonical() {
        std::net::IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        std::net::IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    };
    EnvelopeRequest::default()
        .with_request_data(frame)
        .with_request_principal(Some(principal(&asker.principal)))
        .with_client_host_address(address)
}

/// A principal as Kafka's default builder writes it: version 0, type, name, whether a token authenticated it, no tags.
fn principal(principal: &str) -> Bytes {
    let (kind, name) = principal.split_once(':').unwrap_or(("User", principal));
    let mut out = BytesMut::with_capacity(principal.len() + 16);
    out.put_i16(0);
    for text in [kind, name] {
        let mut length = text.len() + 1;
        while length >= 0x80 {
            out.put_u8(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
            length >>= 7;
        }
        out.put_u8(u8::try_from(length).expect("seven bits"));
        out.put_slice(text.as_bytes());
    }
    out.put_u8(0);
    out.put_u8(0);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::CreateTopicsResponse;

    use super::*;

    #[test]
    fn an_envelope_holds_request_principal_and_address() {
        let command = Command::CreateTopics(CreateTopicsRequest::default().with_timeout_ms(5));
        let asker = Asker {
            version: 5,
            client_id: Some("me".into()),
            principal: "User:ann".into(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let mut envelope = enclose(&command, &asker).expect("it encodes");
        let head = header::parse(&mut envelope.request_data).expect("a head");
        assert_eq!((head.key, head.version, head.client_id.as_deref()), (19, 5, Some("me")));
        let inner: CreateTopicsRequest =
            ottla_protocol::decode(19, 5, &mut envelope.request_data).expect("a body");
        assert_eq!(inner.timeout_ms, 5);
        let bytes = b"\0\0\x05User\x04ann\0\0";
        assert_eq!(envelope.request_principal.as_deref(), Some(&bytes[..]));
        assert_eq!(*envelope.client_host_address, [127, 0, 0, 1]);
    }

    #[test]
    fn the_answer_in_an_envelope_is_read_in_the_clients_version() {
        let command = Command::CreateTopics(CreateTopicsRequest::default());
        let answer = CreateTopicsResponse::default().with_throttle_time_ms(3);
        let frame = ottla_protocol::encode_response(19, 5, 0, &answer).expect("it encodes");
        assert_eq!(unwrap(&command, 5, frame.slice(4..)).expect("it is read"), Answer::CreateTopics(answer));
        assert!(unwrap(&command, 5, frame.slice(5..)).is_err());
    }
}
