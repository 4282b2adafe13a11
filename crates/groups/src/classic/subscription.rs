//! The topics in a consumer's subscription. All else in it is between the clients.

use std::sync::Arc;

/// The topics of an encoded `ConsumerProtocolSubscription`, any version; `None` when it is not one.
///
/// Version (i16), topic count (i32), topics (i16 length and UTF-8); what follows depends on the version.
pub(super) fn topics(mut bytes: &[u8]) -> Option<Vec<Arc<str>>> {
    let version = i16::from_be_bytes(*take(&mut bytes)?);
    let count = usize::try_from(i32::from_be_bytes(*take(&mut bytes)?)).ok()?;
    // Every topic takes at least two bytes: a larger count is a lie, and nothing is reserved for it.
    if version < 0 || count > bytes.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::try_from(i16::from_be_bytes(*take(&mut bytes)?)).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.into());
        bytes = rest;
    }
    Some(topics)
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_lies_refused() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(topics(bytes), Some(vec!["a".into(), "bc".into()]));
        for cut in 0..13 {
            assert_eq!(topics(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff\0\0"), None);
        assert_eq!(topics(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(topics(b"\0\0\0\0\0\x01\0\x01\xff"), None);
    }
}
