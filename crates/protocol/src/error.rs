//! Why bytes were refused, or a message could not become bytes.

use crate::guard::GuardError;

/// Why a request, response or record was refused. Kafka closes the connection for every one of them.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The head of the frame is cut off or malformed; the text says where.
    #[error("malformed head: {0}")]
    Head(&'static str),
    /// There is no API, or no record type, with this key.
    #[error("unknown key {0}")]
    UnknownKey(i16),
    /// The API or record exists, this version of it does not.
    #[error("key {key} has no version {version}")]
    UnsupportedVersion {
        /// The API key or record type.
        key: i16,
        /// The version that was asked for.
        version: i16,
    },
    /// The body claims more than its bytes can hold, or more than Kafka allows.
    #[error("refused before decoding: {0}")]
    Guard(#[from] GuardError),
    /// The body does not have the shape its version prescribes.
    #[error("malformed body: {0}")]
    Body(#[source] anyhow::Error),
    /// The body ended and bytes were left over.
    #[error("{0} bytes left over behind the body")]
    Trailing(usize),
}

/// Why a message could not be written: always a mistake of whoever filled it, such as a field set that the
/// version does not have.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// There is no API with this key.
    #[error("unknown key {0}")]
    UnknownKey(i16),
    /// The message does not fit the version.
    #[error("cannot write key {key} version {version}: {source}")]
    Body {
        /// The API key or record type.
        key: i16,
        /// The version that was to be written.
        version: i16,
        /// What did not fit.
        source: anyhow::Error,
    },
    /// The frame would be longer than its length prefix can say.
    #[error("a frame of {0} bytes does not fit its length prefix")]
    TooLong(usize),
}
