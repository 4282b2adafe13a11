//! The first two bytes choose API and version, the rest is a body: guarded, decoded, and what was decoded is encoded
//! and decoded again to the same bytes. The allocations a decoder may make are bounded by `-malloc_limit_mb`.

#![no_main]

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ottla_protocol::{Decodable, Encodable, api, for_each_api, messages};

fn round_trip<T: Decodable + Encodable + Debug>(key: i16, version: i16, body: &[u8]) {
    let Ok(message) = ottla_protocol::decode::<T>(key, version, &mut Bytes::copy_from_slice(body)) else {
        return;
    };
    again(version, &message, |bytes| ottla_protocol::decode::<T>(key, version, bytes).ok());
}

fn round_trip_response<T: Decodable + Encodable + Debug>(key: i16, version: i16, body: &[u8]) {
    let message = ottla_protocol::decode_response::<T>(key, version, &mut Bytes::copy_from_slice(body));
    let Ok(message) = message else { return };
    again(version, &message, |bytes| ottla_protocol::decode_response::<T>(key, version, bytes).ok());
}

/// What was decoded and can be encoded decodes again, to what encodes to the same bytes.
fn again<T: Encodable + Debug>(version: i16, message: &T, decode: impl Fn(&mut Bytes) -> Option<T>) {
    // kafka-protocol keeps an unknown tag of 2^31 and above as a negative number, counts it, and does not write it.
    // Nothing encodes what it was sent by others with such tags, so that is let be.
    if format!("{message:?}").contains("tagged_fields: {-") {
        return;
    }
    let mut first = BytesMut::new();
    if message.encode(&mut first, version).is_err() {
        return;
    }
    assert_eq!(message.compute_size(version).ok(), Some(first.len()));
    let first = first.freeze();
    let decoded = decode(&mut first.clone()).expect("own bytes decode");
    let mut second = BytesMut::new();
    decoded.encode(&mut second, version).expect("encoded before");
    assert_eq!(first, second.freeze());
}

macro_rules! dispatch {
    ($($key:literal => $request:ident, $response:ident;)*) => {
        fn dispatch(key: i16, version: i16, response: bool, body: &[u8]) {
            match (key, response) {
                $(
                    ($key, false) => round_trip::<messages::$request>(key, version, body),
                    ($key, true) => round_trip_response::<messages::$response>(key, version, body),
                )*
                _ => {}
            }
        }
    };
}
for_each_api!(dispatch);

fuzz_target!(|data: &[u8]| {
    let [choice, version, body @ ..] = data else { return };
    let api = &api::APIS[usize::from(*choice) % api::APIS.len()];
    let versions = i16::max(api.max - api.min + 1, 1);
    // The high bit of the version byte chooses the response.
    let version_of = api.min + i16::from(version & 0x7f) % versions;
    dispatch(api.key, version_of, version & 0x80 != 0, body);
});
