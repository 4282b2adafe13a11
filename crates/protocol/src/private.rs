//! What only Ottla's own nodes say to each other, on the controller listener: raft's messages.
//!
//! Keys from 30,000 on; ApiVersions does not tell of them. Their versions are agreed on by nobody: a node that does not
//! know one closes the connection.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::{StrBytes, buf::ByteBuf};
use uuid::Uuid;

use crate::{
    api::Api,
    guard::{Field, Kind, MessageShape, Shape},
    wire::{self, Sink, Wire},
};

/// Raft's messages from one member of the metadata quorum to another.
pub const OTTLA_RAFT: i16 = 30_000;

static APIS: [Api; 1] = [Api {
    key: OTTLA_RAFT,
    name: "OttlaRaft",
    min: 0,
    max: 0,
    latest_unstable: false,
    broker: false,
    controller: true,
    request_flexible: 0,
    response_flexible: 0,
}];

/// The API with this key, if it is one of ours.
pub(crate) fn by_key(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

const fn always(kind: Kind) -> Field {
    Field::new(kind, 0, 0)
}

static ENDPOINT: Shape = Shape(&[always(Kind::String), always(Kind::String), always(Kind::Fixed(2))]);
static RAFT_REQUEST: Shape = Shape(&[
    always(Kind::String),
    always(Kind::Fixed(4)),
    always(Kind::Fixed(16)),
    always(Kind::Fixed(4)),
    always(Kind::Array(&Kind::Struct(&ENDPOINT))),
    always(Kind::Array(&Kind::Bytes)),
    always(Kind::Fixed(8)).tagged(0, 0),
]);
static RAFT_RESPONSE: Shape = Shape(&[always(Kind::Fixed(2))]);

static REQUESTS: [(i16, MessageShape); 1] =
    [(OTTLA_RAFT, MessageShape { min: 0, max: 0, flexible: 0, root: &RAFT_REQUEST })];
static RESPONSES: [(i16, MessageShape); 1] =
    [(OTTLA_RAFT, MessageShape { min: 0, max: 0, flexible: 0, root: &RAFT_RESPONSE })];

pub(crate) fn request_shape(key: i16) -> Option<&'static MessageShape> {
    REQUESTS.iter().find(|(known, _)| *known == key).map(|(_, shape)| shape)
}

pub(crate) fn response_shape(key: i16) -> Option<&'static MessageShape> {
    RESPONSES.iter().find(|(known, _)| *known == key).map(|(_, shape)| shape)
}

/// Where the sender listens for other controllers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OttlaRaftEndpoint {
    /// Listener name.
    pub name: StrBytes,
    /// Host.
    pub host: StrBytes,
    /// Port.
    pub port: u16,
    /// Tags this code does not know, by number: carried, not understood.
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Wire for OttlaRaftEndpoint {
    const MIN: i16 = 0;
    const MAX: i16 = 0;

    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        wire::supported::<Self>(version)?;
        wire::put_string(out, Some(&self.name), true, false)?;
        wire::put_string(out, Some(&self.host), true, false)?;
        out.u16(self.port);
        wire::put_unknown_tags(out, &self.unknown_tagged_fields);
        Ok(())
    }

    fn read<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::supported::<Self>(version)?;
        let name = wire::get_string(buf, true)?;
        let host = wire::get_string(buf, true)?;
        let port = wire::get_u16(buf)?;
        let unknown_tagged_fields = wire::get_unknown_tags(buf)?;
        Ok(Self { name, host, port, unknown_tagged_fields })
    }
}

wire::message!(OttlaRaftEndpoint);

/// Raft's messages from one controller to another. Without messages it says that the sender is there, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OttlaRaftRequest {
    /// The cluster both have to be of.
    pub cluster_id: StrBytes,
    /// Node id of the sender.
    pub from: i32,
    /// The sender's metadata directory.
    pub from_directory_id: Uuid,
    /// Node id of whom it is for; -1 when that is not known.
    pub to: i32,
    /// Where the sender listens for other controllers.
    pub endpoints: Vec<OttlaRaftEndpoint>,
    /// Messages of raft-rs, each an `eraftpb.Message`.
    pub messages: Vec<Bytes>,
    /// Raft's name that the sender speaks in; 0 when it does not say. Tag 0.
    pub speaks_as: u64,
    /// Tags this code does not know, by number: carried, not understood.
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Wire for OttlaRaftRequest {
    const MIN: i16 = 0;
    const MAX: i16 = 0;

    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        wire::supported::<Self>(version)?;
        wire::put_string(out, Some(&self.cluster_id), true, false)?;
        out.i32(self.from);
        out.uuid(self.from_directory_id);
        out.i32(self.to);
        wire::put_array(out, Some(&self.endpoints[..]), true, false, |out, item| item.write(out, version))?;
        wire::put_array(out, Some(&self.messages[..]), true, false, |out, item| {
            wire::put_bytes(out, Some(item), true, false)
        })?;
        let mut tags = wire::Tags::default();
        if self.speaks_as != 0 {
            tags.open().i64(self.speaks_as.cast_signed());
            tags.close(0);
        }
        tags.put(out, &self.unknown_tagged_fields);
        Ok(())
    }

    fn read<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::supported::<Self>(version)?;
        let cluster_id = wire::get_string(buf, true)?;
        let from = wire::get_i32(buf)?;
        let from_directory_id = wire::get_uuid(buf)?;
        let to = wire::get_i32(buf)?;
        let endpoints = wire::get_array(buf, true, |buf| OttlaRaftEndpoint::read(buf, version))?;
        let messages = wire::get_array(buf, true, |buf| wire::get_bytes(buf, true))?;
        let (mut speaks_as, mut unknown_tagged_fields) = (0, BTreeMap::new());
        for _ in 0..wire::get_tag_count(buf)? {
            match wire::get_tag(buf)? {
                (0, _) => speaks_as = wire::get_i64(buf)?.cast_unsigned(),
                (tag, size) => wire::get_unknown_tag(buf, tag, size, &mut unknown_tagged_fields)?,
            }
        }
        Ok(Self {
            cluster_id,
            from,
            from_directory_id,
            to,
            endpoints,
            messages,
            speaks_as,
            unknown_tagged_fields,
        })
    }
}

wire::message!(OttlaRaftRequest);
wire::request!(OttlaRaftRequest, 30_000, OttlaRaftResponse, 0);

/// Whether the messages were handed on. What they bring comes as messages the other way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OttlaRaftResponse {
    /// 0, or why they were not: another cluster, another node.
    pub error_code: i16,
    /// Tags this code does not know, by number: carried, not understood.
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Wire for OttlaRaftResponse {
    const MIN: i16 = 0;
    const MAX: i16 = 0;

    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        wire::supported::<Self>(version)?;
        out.i16(self.error_code);
        wire::put_unknown_tags(out, &self.unknown_tagged_fields);
        Ok(())
    }

    fn read<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::supported::<Self>(version)?;
        let error_code = wire::get_i16(buf)?;
        let unknown_tagged_fields = wire::get_unknown_tags(buf)?;
        Ok(Self { error_code, unknown_tagged_fields })
    }
}

wire::message!(OttlaRaftResponse);
wire::response!(OttlaRaftResponse, 30_000, 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encodable, decode, decode_response};

    #[test]
    fn messages_pass_the_guard_and_come_back() {
        let request = OttlaRaftRequest {
            cluster_id: StrBytes::from_static_str("5L6g3nShT-eMCtK--X86sw"),
            from: 1,
            from_directory_id: Uuid::from_u128(7),
            to: 2,
            endpoints: vec![OttlaRaftEndpoint {
                name: StrBytes::from_static_str("CONTROLLER"),
                host: StrBytes::from_static_str("localhost"),
                port: 9093,
                ..Default::default()
            }],
            messages: vec![Bytes::from_static(b"one"), Bytes::new()],
            speaks_as: u64::MAX - 1,
            unknown_tagged_fields: BTreeMap::from([(1, Bytes::from_static(b"later"))]),
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes, 0).expect("version 0 says this");
        assert_eq!(request.compute_size(0).expect("a size"), bytes.len());
        for cut in 0..bytes.len() {
            let mut short = Bytes::copy_from_slice(&bytes[..cut]);
            decode::<OttlaRaftRequest>(OTTLA_RAFT, 0, &mut short).expect_err("cut off");
        }
        let back: OttlaRaftRequest = decode(OTTLA_RAFT, 0, &mut bytes.into()).expect("whole");
        assert_eq!(back, request);
        // A process that knows no tags says nothing of its name.
        let older = OttlaRaftRequest { speaks_as: 0, unknown_tagged_fields: BTreeMap::new(), ..request };
        let mut bytes = Vec::new();
        older.encode(&mut bytes, 0).expect("version 0 says this");
        assert_eq!(bytes.last(), Some(&0), "no tags");
        let back: OttlaRaftRequest = decode(OTTLA_RAFT, 0, &mut bytes.into()).expect("whole");
        assert_eq!(back, older);
        let response = OttlaRaftResponse { error_code: 104, ..Default::default() };
        let mut bytes = Vec::new();
        response.encode(&mut bytes, 0).expect("version 0 says this");
        let back: OttlaRaftResponse = decode_response(OTTLA_RAFT, 0, &mut bytes.into()).expect("whole");
        assert_eq!(back, response);
        let api = crate::api::by_key(OTTLA_RAFT).expect("known");
        assert!(api.controller && !api.broker && !crate::api::APIS.contains(api));
    }
}
