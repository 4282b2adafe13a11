//! Bodies in, frames out: guard, then decode; size, then encode.

use bytes::{BufMut, Bytes, BytesMut};

use crate::api;
use crate::error::{DecodeError, EncodeError};
use crate::guard::{self, Limits};
use crate::{Decodable, Encodable, HeaderVersion, Message, Request};

/// Decodes the body of a request of API `key` in `version`: walks it with [`guard::check`] under Kafka's
/// limits, then decodes.
///
/// `body` starts behind the request head and holds exactly one body; strings and records of the result are
/// slices of it.
///
/// # Errors
/// Whatever [`guard::check`] refuses, and a body that does not have the shape of the version.
pub fn decode<T: Decodable>(key: i16, version: i16, body: &mut Bytes) -> Result<T, DecodeError> {
    guard::check(key, version, body, &Limits::KAFKA)?;
    T::decode(body, version).map_err(DecodeError::Body)
}

/// Decodes the body of a response, as [`decode`] does a request: what a peer answers is no more to be
/// believed than what a client asks.
///
/// # Errors
/// As [`decode`].
pub fn decode_response<T: Decodable>(key: i16, version: i16, body: &mut Bytes) -> Result<T, DecodeError> {
    guard::check_response(key, version, body, &Limits::KAFKA)?;
    T::decode(body, version).map_err(DecodeError::Body)
}

/// A whole response frame: 4-byte length, response head (correlation id, and an empty tag section where the
/// API's response is flexible), body.
///
/// # Errors
/// When `response` holds what `version` cannot say (a mistake of the handler).
pub fn encode_response<T: Encodable>(
    key: i16,
    version: i16,
    correlation_id: i32,
    response: &T,
) -> Result<Bytes, EncodeError> {
    let tags = api::response_header_version(key, version).ok_or(EncodeError::UnknownKey(key))? >= 1;
    let fail = |source| EncodeError::Body { key, version, source };
    let size = response.compute_size(version).map_err(fail)? + 4 + usize::from(tags);
    let length = i32::try_from(size).map_err(|_| EncodeError::TooLong(size))?;
    let mut out = BytesMut::with_capacity(size + 4);
    out.put_i32(length);
    out.put_i32(correlation_id);
    if tags {
        out.put_u8(0);
    }
    response.encode(&mut out, version).map_err(fail)?;
    debug_assert_eq!(out.len(), size + 4, "compute_size and encode disagree on key {key} version {version}");
    Ok(out.freeze())
}

/// A whole request frame: 4-byte length, request head, body. For the requests brokers and controllers send
/// each other.
///
/// # Errors
/// When `request` holds what `version` cannot say, or the client id is longer than 32,767 bytes.
pub fn encode_request<R: Request + Message + HeaderVersion>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<Bytes, EncodeError> {
    let key = R::KEY;
    let fail = |source| EncodeError::Body { key, version, source };
    let tags = R::header_version(version) >= 2;
    let id_len = client_id.map_or(0, str::len);
    let id_prefix = match client_id {
        None => -1,
        Some(id) => i16::try_from(id.len()).map_err(|_| EncodeError::TooLong(id.len()))?,
    };
    let size = 10 + id_len + usize::from(tags) + request.compute_size(version).map_err(fail)?;
    let length = i32::try_from(size).map_err(|_| EncodeError::TooLong(size))?;
    let mut out = BytesMut::with_capacity(size + 4);
    out.put_i32(length);
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(correlation_id);
    out.put_i16(id_prefix);
    out.put_slice(client_id.unwrap_or_default().as_bytes());
    if tags {
        out.put_u8(0);
    }
    request.encode(&mut out, version).map_err(fail)?;
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header;
    use crate::messages::{ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse};

    #[test]
    fn a_frame_is_length_head_and_body() {
        let response = HeartbeatResponse::default().with_error_code(27).with_throttle_time_ms(5);
        let plain = encode_response(api::HEARTBEAT, 3, 9, &response).expect("version 3 says this");
        assert_eq!(plain[..], [0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 5, 0, 27]);
        let flexible = encode_response(api::HEARTBEAT, 4, 9, &response).expect("version 4 says this");
        assert_eq!(flexible[..], [0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0, 5, 0, 27, 0]);
    }

    #[test]
    fn the_head_of_api_versions_never_has_tags() {
        let response = ApiVersionsResponse::default();
        let frame = encode_response(api::API_VERSIONS, 3, 9, &response).expect("version 3 says this");
        // Error code right behind the correlation id.
        assert_eq!(frame[4..], [0, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_a_version_cannot_say_is_an_error() {
        let response = ApiVersionsResponse::default().with_zk_migration_ready(true);
        encode_response(api::API_VERSIONS, 0, 9, &response).expect("ignorable");
        let response = crate::messages::FindCoordinatorResponse::default().with_host("h".into());
        assert!(matches!(
            encode_response(api::FIND_COORDINATOR, 4, 9, &response),
            Err(EncodeError::Body { key: api::FIND_COORDINATOR, version: 4, .. })
        ));
        assert!(matches!(encode_response(4, 0, 9, &response), Err(EncodeError::UnknownKey(4))));
    }

    #[test]
    fn a_request_frame_is_read_back() {
        let request = HeartbeatRequest::default().with_generation_id(3);
        for version in [0, 4] {
            let mut frame =
                encode_request(version, 9, Some("peer"), &request).expect("all versions say this");
            assert_eq!(frame.split_to(4)[..], (frame.len() as i32).to_be_bytes());
            let head = header::parse(&mut frame).expect("our own head");
            assert_eq!((head.key, head.version, head.correlation_id), (api::HEARTBEAT, version, 9));
            assert_eq!(head.client_id.as_deref(), Some("peer"));
            assert_eq!(
                decode::<HeartbeatRequest>(head.key, version, &mut frame).expect("our own body"),
                request
            );
        }
    }
}
