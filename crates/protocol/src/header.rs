//! Request heads: API key, version, correlation id, client id.
//!
//! A head must be readable even when its version is unknown, because an ApiVersions request of a version we
//! have never heard of is answered, not dropped (KIP-511): [`peek`] reads the eight bytes that every head
//! starts with, [`parse`] the whole head of a version we know.

use bytes::{Buf, Bytes};

use crate::guard::{self, Limits};
use crate::{DecodeError, StrBytes, api};

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The API key.
    pub key: i16,
    /// The version the body is written in.
    pub version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// What the client calls itself; null and empty both occur.
    pub client_id: Option<StrBytes>,
}

/// Reads `(key, version, correlation id)` from the start of a frame (behind its length prefix).
///
/// # Errors
/// When fewer than eight bytes are there.
pub fn peek(frame: &[u8]) -> Result<(i16, i16, i32), DecodeError> {
    let Some(head) = frame.first_chunk::<8>() else {
        return Err(DecodeError::Head("shorter than eight bytes"));
    };
    let [k0, k1, v0, v1, c0, c1, c2, c3] = *head;
    Ok((i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]), i32::from_be_bytes([c0, c1, c2, c3])))
}

/// Takes the head off a frame (behind its length prefix) and leaves the body.
///
/// The client id is a 2-byte-length string in both head versions; version 2 (flexible APIs) has a tag section
/// behind it, which is skipped.
///
/// # Errors
/// When the key or version is unknown, or the head is cut off or malformed.
pub fn parse(frame: &mut Bytes) -> Result<RequestHead, DecodeError> {
    let (key, version, correlation_id) = peek(frame)?;
    let api = api::by_key(key).ok_or(DecodeError::UnknownKey(key))?;
    if !api.has(version) {
        return Err(DecodeError::UnsupportedVersion { key, version });
    }
    frame.advance(8);
    let client_id = client_id(frame)?;
    if api.request_header_version(version) >= 2 {
        let len = guard::tag_section_len(frame, &Limits::KAFKA)?;
        frame.advance(len);
    }
    Ok(RequestHead { key, version, correlation_id, client_id })
}

fn client_id(frame: &mut Bytes) -> Result<Option<StrBytes>, DecodeError> {
    let len = frame.try_get_i16().map_err(|_| DecodeError::Head("cut off at the client id"))?;
    match usize::try_from(len) {
        Err(_) if len == -1 => Ok(None),
        Err(_) => Err(DecodeError::Head("negative length of the client id")),
        Ok(len) if len > frame.remaining() => Err(DecodeError::Head("cut off in the client id")),
        Ok(len) => StrBytes::from_utf8(frame.split_to(len))
            .map(Some)
            .map_err(|_| DecodeError::Head("client id is not UTF-8")),
    }
}

/// Takes the head off a response frame (behind its length prefix), leaves the body, returns the correlation id.
///
/// # Errors
/// When the key is unknown, or the head is cut off or malformed.
pub fn parse_response(key: i16, version: i16, frame: &mut Bytes) -> Result<i32, DecodeError> {
    let header = api::response_header_version(key, version).ok_or(DecodeError::UnknownKey(key))?;
    let correlation_id =
        frame.try_get_i32().map_err(|_| DecodeError::Head("cut off at the correlation id"))?;
    if header >= 1 {
        let len = guard::tag_section_len(frame, &Limits::KAFKA)?;
        frame.advance(len);
    }
    Ok(correlation_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
        [&key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), rest].concat().into()
    }

    #[test]
    fn the_tag_section_of_a_flexible_head_is_behind_the_client_id() {
        let mut plain = frame(api::METADATA, 8, &[0, 2, b'm', b'e', 9]);
        let head = parse(&mut plain).expect("a good head");
        assert_eq!((head.key, head.version, head.correlation_id), (api::METADATA, 8, 7));
        assert_eq!(head.client_id.as_deref(), Some("me"));
        assert_eq!(plain[..], [9]);

        let mut flexible = frame(api::METADATA, 9, &[0, 2, b'm', b'e', 1, 5, 2, 0xaa, 0xbb, 9]);
        assert_eq!(parse(&mut flexible).expect("a good head").client_id.as_deref(), Some("me"));
        assert_eq!(flexible[..], [9]);
    }

    #[test]
    fn client_ids_may_be_null_or_empty() {
        assert_eq!(parse(&mut frame(api::METADATA, 1, &[0xff, 0xff])).expect("null").client_id, None);
        let empty = parse(&mut frame(api::METADATA, 1, &[0, 0])).expect("empty").client_id;
        assert_eq!(empty.as_deref(), Some(""));
    }

    #[test]
    fn an_unknown_version_can_still_be_peeked_at() {
        let mut unknown = frame(api::API_VERSIONS, 99, &[]);
        assert_eq!(peek(&unknown).expect("eight bytes"), (api::API_VERSIONS, 99, 7));
        assert!(matches!(
            parse(&mut unknown),
            Err(DecodeError::UnsupportedVersion { key: api::API_VERSIONS, version: 99 })
        ));
        assert!(matches!(parse(&mut frame(4, 0, &[0, 0])), Err(DecodeError::UnknownKey(4))));
    }

    #[test]
    fn a_broken_head_is_refused() {
        assert!(matches!(peek(&[0; 7]), Err(DecodeError::Head(_))));
        for rest in [&[][..], &[0], &[0, 3, b'a'], &[0xff, 0xfe], &[0, 1, 0xff], &[0x7f, 0xff]] {
            let result = parse(&mut frame(api::METADATA, 1, rest));
            assert!(matches!(result, Err(DecodeError::Head(_))), "{rest:?}: {result:?}");
        }
        for tags in [&[][..], &[1], &[1, 0], &[1, 0, 5, 1], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x80; 6]] {
            let result = parse(&mut frame(api::METADATA, 9, &[&[0xff, 0xff][..], tags].concat()));
            assert!(matches!(result, Err(DecodeError::Guard(_))), "{tags:?}: {result:?}");
        }
    }
}
