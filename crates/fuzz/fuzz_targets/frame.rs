//! Any bytes as a frame: the head is peeked at and parsed, and both agree.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_protocol::{api, header};

fuzz_target!(|data: &[u8]| {
    let peeked = header::peek(data);
    let mut frame = Bytes::copy_from_slice(data);
    if let Ok(head) = header::parse(&mut frame) {
        let (key, version, correlation_id) = peeked.expect("what parses can be peeked at");
        assert_eq!((key, version, correlation_id), (head.key, head.version, head.correlation_id));
        assert!(frame.len() < data.len());
        assert!(api::by_key(key).is_none() || api::request_header_version(key, version).is_some());
    }
    if let Some((&key, rest)) = data.split_first() {
        let Some((&version, rest)) = rest.split_first() else { return };
        let _ = header::parse_response(i16::from(key), i16::from(version), &mut Bytes::copy_from_slice(rest));
    }
});
