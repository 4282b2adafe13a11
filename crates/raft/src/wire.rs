//! Raft's messages as bytes.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::Message;

/// A message as it goes to another member.
#[must_use]
pub fn encode_message(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

/// A message that came; `None` when the bytes are none. What it says is looked at when it is handed in.
#[must_use]
pub fn decode_message(bytes: &[u8]) -> Option<Message> {
    Message::decode(bytes).ok()
}
