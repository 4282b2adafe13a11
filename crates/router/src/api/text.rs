//! Strings and bytes between the wire's types and the coordinators'.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::StrBytes;
use ottla_types::ApiError;

/// A string that outlives its request: copied, so that it does not hold the frame.
pub(crate) fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}

/// Bytes that outlive their request: copied, so that they do not hold the frame.
pub(crate) fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A string for an answer.
pub(crate) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A string for an answer, or none.
pub(crate) fn wire_option(text: Option<&Arc<str>>) -> Option<StrBytes> {
    text.map(|text| wire(text))
}

/// What an answer tells the client's user of an error.
pub(crate) fn said(error: &ApiError) -> Option<StrBytes> {
    error.message.as_deref().map(wire)
}
