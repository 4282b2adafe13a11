//! The records KRaft itself puts into the metadata log and its snapshots (KIP-595, KIP-630, KIP-853).

use bytes::Bytes;
use ottla_protocol::{
    StrBytes,
    persisted::control::{
        ControlType, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
        VotersRecord, encode_value, leader_change_message, voters_record,
    },
};
use ottla_records::BatchBuilder;
use ottla_types::{Millis, NodeId, Offset};

use crate::Voter;

/// `kraft.version` 1: voters are in the log.
const KRAFT_VERSION: i16 = 1;

fn append<T: ottla_protocol::Encodable>(
    batch: &mut BatchBuilder,
    at: Millis,
    kind: ControlType,
    version: i16,
    record: &T,
) {
    let value = encode_value(version, record).expect("the version has every field that is set");
    batch.append(at.0, Some(&kind.key()), Some(&value), &[]);
}

/// The batch that opens a term. The first of all also says which protocol is spoken and who votes.
pub(crate) fn election(leader: NodeId, voters: &[Voter], first: bool, at: Millis) -> Bytes {
    // Version 0, also where the directory ids of version 1 are known: Kafka's tools read no other.
    let version = 0;
    let voter = |voter: &Voter| leader_change_message::Voter { voter_id: voter.id, ..Default::default() };
    let change = LeaderChangeMessage {
        version,
        leader_id: leader,
        voters: voters.iter().map(voter).collect(),
        // Who voted is raft's own affair; a leader was granted at least its own vote.
        granting_voters: voters.iter().filter(|voter| voter.id == leader).map(voter).collect(),
        ..Default::default()
    };
    let mut batch = BatchBuilder::new(0).control(true);
    append(&mut batch, at, ControlType::LeaderChange, version, &change);
    if first {
        append_quorum(&mut batch, voters, at);
    }
    batch.build()
}

fn append_quorum(batch: &mut BatchBuilder, voters: &[Voter], at: Millis) {
    let version = KRaftVersionRecord { version: 0, k_raft_version: KRAFT_VERSION, ..Default::default() };
    append(batch, at, ControlType::KRaftVersion, 0, &version);
    let voters = voters.iter().map(|voter| voters_record::Voter {
        voter_id: voter.id,
        voter_directory_id: voter.directory_id,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        k_raft_version_feature: voters_record::KRaftVersionFeature {
            min_supported_version: 0,
            max_supported_version: KRAFT_VERSION,
            ..Default::default()
        },
        ..Default::default()
    });
    let voters = VotersRecord { version: 0, voters: voters.collect(), ..Default::default() };
    append(batch, at, ControlType::KRaftVoters, 0, &voters);
}

fn endpoint(at: &crate::VoterEndpoint) -> voters_record::Endpoint {
    voters_record::Endpoint {
        name: StrBytes::from_string(at.name.to_string()),
        host: StrBytes::from_string(at.host.to_string()),
        port: at.port,
        ..Default::default()
    }
}

/// The batch a snapshot begins with. `last` is when the last record in it was appended.
pub(crate) fn snapshot_header(voters: &[Voter], last: Millis, at: Millis) -> Bytes {
    let header =
        SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last.0, ..Default::default() };
    let mut batch = BatchBuilder::new(0).leader_epoch(0).control(true);
    append(&mut batch, at, ControlType::SnapshotHeader, 0, &header);
    append_quorum(&mut batch, voters, at);
    batch.build()
}

/// The batch a snapshot ends with.
pub(crate) fn snapshot_footer(offset: Offset, at: Millis) -> Bytes {
    let footer = SnapshotFooterRecord { version: 0, ..Default::default() };
    let mut batch = BatchBuilder::new(offset).leader_epoch(0).control(true);
    append(&mut batch, at, ControlType::SnapshotFooter, 0, &footer);
    batch.build()
}
