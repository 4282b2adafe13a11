//! For tests: answers compared with what Apache Kafka 4.4.0 was heard to say.

use ottla_protocol::Encodable;

/// Panics unless the answer's body, without its head, is `body` in hexadecimal.
pub(crate) fn check<R: Encodable>(key: i16, version: i16, answer: &R, body: &str) {
    let frame = ottla_protocol::encode_response(key, version, 7, answer).expect("the version can say it");
    // The length, the correlation id, and the tags of a flexible head.
    let head = 8 + usize::from(ottla_protocol::api::response_header_version(key, version) == Some(1));
    let hex: String = frame[head..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, body, "API {key} version {version}");
}
