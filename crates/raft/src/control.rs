//! The records KRaft itself puts into the metadata log and its snapshots (KIP-595, KIP-630, KIP-853).

use bytes::Bytes;
use ottla_protocol::{
    StrBytes,
    persisted::control::{
        ControlType, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
        VotersRecord, decode_value, encode_value, leader_change_message, voters_record,
    },
};
use ottla_records::{Batch, BatchBuilder};
use ottla_types::{Millis, NodeId, Offset};

use crate::{Membership, Voter, VoterEndpoint};

/// The newest `kraft.version`: voters are in the log.
pub(crate) const KRAFT_VERSION: i16 = 1;

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

/// The batch that opens a term. The first of all also says which protocol is spoken and who votes, unless the voters
/// are static: those stand in everyone's configuration.
pub(crate) fn election(leader: NodeId, quorum: &Membership, first: bool, at: Millis) -> Bytes {
    // Version 0, also where the directory ids of version 1 are known: Kafka's tools read no other.
    let version = 0;
    let voter = |voter: &Voter| leader_change_message::Voter { voter_id: voter.id, ..Default::default() };
    let change = LeaderChangeMessage {
        version,
        leader_id: leader,
        voters: quorum.voters.iter().map(voter).collect(),
        // Who voted is raft's own affair; a leader was granted at least its own vote.
        granting_voters: quorum.voters.iter().filter(|voter| voter.id == leader).map(voter).collect(),
        ..Default::default()
    };
    let mut batch = BatchBuilder::new(0).control(true);
    append(&mut batch, at, ControlType::LeaderChange, version, &change);
    if first {
        append_quorum(&mut batch, quorum, at);
    }
    batch.build()
}

/// The batch that says who votes from now on.
pub(crate) fn voters(voters: &[Voter], at: Millis) -> Bytes {
    let mut batch = BatchBuilder::new(0).control(true);
    append_voters(&mut batch, voters, at);
    batch.build()
}

/// The batch by which the voters, static so far, come into the log.
pub(crate) fn upgrade(version: i16, voters: &[Voter], at: Millis) -> Bytes {
    let mut batch = BatchBuilder::new(0).control(true);
    append_quorum(&mut batch, &Membership { kraft_version: version, voters: voters.to_vec() }, at);
    batch.build()
}

fn append_quorum(batch: &mut BatchBuilder, quorum: &Membership, at: Millis) {
    if quorum.kraft_version == 0 {
        return;
    }
    let version =
        KRaftVersionRecord { version: 0, k_raft_version: quorum.kraft_version, ..Default::default() };
    append(batch, at, ControlType::KRaftVersion, 0, &version);
    if !quorum.voters.is_empty() {
        append_voters(batch, &quorum.voters, at);
    }
}

fn append_voters(batch: &mut BatchBuilder, voters: &[Voter], at: Millis) {
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

fn endpoint(at: &VoterEndpoint) -> voters_record::Endpoint {
    voters_record::Endpoint {
        name: StrBytes::from_string(at.name.to_string()),
        host: StrBytes::from_string(at.host.to_string()),
        port: at.port,
        ..Default::default()
    }
}

/// The batch a snapshot begins with. `last` is when the last record in it was appended.
pub(crate) fn snapshot_header(quorum: &Membership, last: Millis, at: Millis) -> Bytes {
    let header =
        SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last.0, ..Default::default() };
    let mut batch = BatchBuilder::new(0).leader_epoch(0).control(true);
    append(&mut batch, at, ControlType::SnapshotHeader, 0, &header);
    append_quorum(&mut batch, quorum, at);
    batch.build()
}

/// When the last record in a snapshot was appended, from the batch it begins with.
pub(crate) fn last_contained(batch: &Batch) -> Option<Millis> {
    let mut records = batch.records().ok()?;
    let record = records.try_next().ok()??;
    let kind = ControlType::from_key(record.key?).ok()??;
    let header: SnapshotHeaderRecord = decode_value(record.value?).ok()?;
    (kind == ControlType::SnapshotHeader).then_some(Millis(header.last_contained_log_timestamp))
}

/// The batch a snapshot ends with.
pub(crate) fn snapshot_footer(offset: Offset, at: Millis) -> Bytes {
    let footer = SnapshotFooterRecord { version: 0, ..Default::default() };
    let mut batch = BatchBuilder::new(offset).leader_epoch(0).control(true);
    append(&mut batch, at, ControlType::SnapshotFooter, 0, &footer);
    batch.build()
}

/// What a batch says about the quorum, if it is a control batch and says something.
pub(crate) fn read(batch: &Batch, quorum: &mut Membership) -> Result<(), String> {
    if !batch.header.is_control() {
        return Ok(());
    }
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let mut records = batch.records().map_err(|error| wrong(&error))?;
    while let Some(record) = records.try_next().map_err(|error| wrong(&error))? {
        let (Some(key), Some(value)) = (record.key, record.value) else { continue };
        match ControlType::from_key(key).map_err(|error| wrong(&error))? {
            Some(ControlType::KRaftVersion) => {
                let record: KRaftVersionRecord = decode_value(value).map_err(|error| wrong(&error))?;
                quorum.kraft_version = record.k_raft_version;
            }
            Some(ControlType::KRaftVoters) => {
                let record: VotersRecord = decode_value(value).map_err(|error| wrong(&error))?;
                quorum.voters = record.voters.iter().map(voter).collect();
            }
            _ => {}
        }
    }
    Ok(())
}

fn voter(record: &voters_record::Voter) -> Voter {
    let endpoint = |endpoint: &voters_record::Endpoint| VoterEndpoint {
        name: endpoint.name.as_str().into(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
    };
    Voter {
        id: record.voter_id,
        directory_id: record.voter_directory_id,
        endpoints: record.endpoints.iter().map(endpoint).collect(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_written_about_the_quorum_is_read_again() {
        let voter = |id: NodeId| Voter {
            id,
            directory_id: Uuid::from_u128(100 + u128::from(id.unsigned_abs())),
            endpoints: vec![VoterEndpoint { name: "CONTROLLER".into(), host: "there".into(), port: 9093 }],
        };
        let quorum = Membership { kraft_version: 1, voters: vec![voter(1), voter(2)] };
        let parse = |bytes: &Bytes| Batch::parse(bytes, 0).expect("just built");
        for batch in [
            election(1, &quorum, true, Millis(5)),
            snapshot_header(&quorum, Millis(1), Millis(5)),
            upgrade(1, &quorum.voters, Millis(5)),
        ] {
            let mut found = Membership::default();
            read(&parse(&batch), &mut found).expect("sound");
            assert_eq!(found, quorum);
        }
        let mut found = quorum;
        read(&parse(&voters(&[voter(3)], Millis(9))), &mut found).expect("sound");
        assert_eq!(found, Membership { kraft_version: 1, voters: vec![voter(3)] });
        let fixed = Membership { kraft_version: 0, voters: vec![voter(1)] };
        let mut found = Membership::default();
        read(&parse(&election(1, &fixed, true, Millis(5))), &mut found).expect("sound");
        assert_eq!(found, Membership::default(), "static voters are in no record");
    }
}
