//! Every message and every record, in every version: what is decoded encodes to the same bytes; and where
//! kafka-protocol has the version too, it agrees with our types byte for byte.

mod common;

use bytes::{Bytes, BytesMut};
use common::numbers;
use ottla_protocol::samples::{self, Fill};
use ottla_protocol::{Decodable, Encodable, Message, Request, api, for_each_api, for_each_record};
use proptest::prelude::*;

/// Decodes and encodes again.
fn again<T: Decodable + Encodable>(what: &str, version: i16, body: &[u8]) -> Vec<u8> {
    let mut buf = Bytes::copy_from_slice(body);
    let value =
        T::decode(&mut buf, version).unwrap_or_else(|e| panic!("{what} v{version}: {e:#} in {body:02x?}"));
    assert!(buf.is_empty(), "{what} v{version} left {} bytes of {body:02x?}", buf.len());
    let mut out = BytesMut::new();
    value.encode(&mut out, version).unwrap_or_else(|e| panic!("{what} v{version}: {e:#}"));
    assert_eq!(value.compute_size(version).expect("it was encoded"), out.len(), "{what} v{version}: size");
    out.to_vec()
}

/// Compiles only for a request and its response.
fn pair<R: Request<Response = A>, A>() {}

macro_rules! check_api {
    ($($key:literal => $request:ident, $response:ident;)*) => {
        fn check_api(key: i16, version: i16, request: &[u8], response: &[u8]) {
            use ottla_protocol::messages::*;
            match key {
                $($key => {
                    assert_eq!(again::<$request>(stringify!($request), version, request), request,
                        concat!(stringify!($request), " v{}"), version);
                    assert_eq!(again::<$response>(stringify!($response), version, response), response,
                        concat!(stringify!($response), " v{}"), version);
                })*
                _ => panic!("unknown key {key}"),
            }
        }

        #[test]
        fn every_type_has_the_versions_of_the_table() {
            use ottla_protocol::messages::*;
            $(
                let api = api::by_key($key).expect("the key is in the table");
                assert_eq!($request::KEY, $key);
                assert!($request::VERSIONS.min <= api.min && $request::VERSIONS.max >= api.max, stringify!($request));
                assert!($response::VERSIONS.min <= api.min && $response::VERSIONS.max >= api.max, stringify!($response));
                pair::<$request, $response>();
            )*
        }

        #[test]
        fn head_versions_agree_with_the_types() {
            use ottla_protocol::HeaderVersion;
            use ottla_protocol::messages::*;
            $(
                let api = api::by_key($key).expect("the key is in the table");
                for version in api.min..=api.max {
                    assert_eq!($request::header_version(version), api.request_header_version(version), stringify!($request));
                    assert_eq!($response::header_version(version), api.response_header_version(version), stringify!($response));
                }
            )*
        }
    };
}
for_each_api!(check_api);

macro_rules! check_record {
    ($($module:ident::$record:ident;)*) => {
        fn check_records(fill: Fill, random: &mut dyn FnMut() -> u32) {
            $({
                use ottla_protocol::persisted::$module::$record;
                let range = $record::VERSIONS;
                for version in range.min..=range.max {
                    let body = samples::record(stringify!($record), version, fill, random).expect("a sample");
                    assert_eq!(again::<$record>(stringify!($record), version, &body), body,
                        concat!(stringify!($record), " v{}"), version);
                }
            })*
        }
    };
}
for_each_record!(check_record);

macro_rules! against_kafka_protocol {
    ($($type:ident)*) => {
        /// Our type and kafka-protocol's, where both have the version.
        fn against_kafka_protocol(fill: Fill, random: &mut dyn FnMut() -> u32) {
            $({
                use kafka_protocol::messages as theirs;
                use ottla_protocol::messages as ours;
                let range = theirs::$type::VERSIONS;
                for version in range.min..=range.max {
                    let name = stringify!($type);
                    let key = api::APIS.iter().find(|api| name.starts_with(api.name)
                        && matches!(&name[api.name.len()..], "Request" | "Response")).expect("an API").key;
                    let body = if name.ends_with("Request") {
                        samples::request(key, version, fill, random)
                    } else {
                        samples::response(key, version, fill, random)
                    }.expect("a sample");
                    assert_eq!(
                        again::<ours::$type>(name, version, &body),
                        again::<theirs::$type>(name, version, &body),
                        "{name} v{version}"
                    );
                }
            })*
        }
    };
}
against_kafka_protocol! {
    AddRaftVoterRequest AddRaftVoterResponse ApiVersionsRequest ApiVersionsResponse BrokerHeartbeatRequest
    BrokerHeartbeatResponse DeleteGroupsRequest DeleteGroupsResponse DescribeLogDirsRequest
    DescribeLogDirsResponse DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse
    InitProducerIdRequest ListOffsetsRequest ListOffsetsResponse OffsetCommitRequest OffsetFetchRequest
    ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse ShareAcknowledgeRequest
    ShareAcknowledgeResponse ShareFetchRequest ShareFetchResponse TxnOffsetCommitRequest
    TxnOffsetCommitResponse WriteShareGroupStateRequest WriteShareGroupStateResponse WriteTxnMarkersRequest
    WriteTxnMarkersResponse
}

fn every_message(fill: Fill, random: &mut dyn FnMut() -> u32) {
    for api in api::APIS {
        for version in api.min..=api.max {
            let request = samples::request(api.key, version, fill, random).expect("a sample");
            let response = samples::response(api.key, version, fill, random).expect("a sample");
            check_api(api.key, version, &request, &response);
        }
    }
}

#[test]
fn filled_bodies_round_trip() {
    every_message(Fill::All, &mut numbers(1));
    check_records(Fill::All, &mut numbers(2));
    against_kafka_protocol(Fill::All, &mut numbers(3));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_round_trip(seed in any::<u64>()) {
        every_message(Fill::Some, &mut numbers(seed));
    }

    #[test]
    fn records_round_trip(seed in any::<u64>()) {
        check_records(Fill::Some, &mut numbers(seed));
    }

    #[test]
    fn ours_are_kafka_protocols(seed in any::<u64>()) {
        against_kafka_protocol(Fill::Some, &mut numbers(seed));
    }
}
