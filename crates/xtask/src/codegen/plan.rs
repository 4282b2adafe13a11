//! Which schemas become what.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::names::snake;
use super::output::Output;
use super::schema::{Message, Schemas};
use super::{records, shapes, structs, tables};

/// Messages whose newest version kafka-protocol 0.18 does not have, in either direction.
const MESSAGES: &[&str] = &[
    "AddRaftVoterRequest",
    "AddRaftVoterResponse",
    "ApiVersionsRequest",
    "ApiVersionsResponse",
    "BrokerHeartbeatRequest",
    "BrokerHeartbeatResponse",
    "DeleteGroupsRequest",
    "DeleteGroupsResponse",
    "DescribeLogDirsRequest",
    "DescribeLogDirsResponse",
    "DescribeShareGroupOffsetsRequest",
    "DescribeShareGroupOffsetsResponse",
    "InitProducerIdRequest",
    "ListOffsetsRequest",
    "ListOffsetsResponse",
    "OffsetCommitRequest",
    "OffsetFetchRequest",
    "ReadShareGroupStateSummaryRequest",
    "ReadShareGroupStateSummaryResponse",
    "ShareAcknowledgeRequest",
    "ShareAcknowledgeResponse",
    "ShareFetchRequest",
    "ShareFetchResponse",
    "StreamsGroupDescribeRequest",
    "StreamsGroupDescribeResponse",
    "StreamsGroupHeartbeatRequest",
    "StreamsGroupHeartbeatResponse",
    "StreamsGroupTopologyDescriptionUpdateRequest",
    "StreamsGroupTopologyDescriptionUpdateResponse",
    "TxnOffsetCommitRequest",
    "TxnOffsetCommitResponse",
    "UnregisterControllerRequest",
    "UnregisterControllerResponse",
    "WriteShareGroupStateRequest",
    "WriteShareGroupStateResponse",
    "WriteTxnMarkersRequest",
    "WriteTxnMarkersResponse",
];

/// Records in control batches, and the data of the files beside a log.
const CONTROL: &[&str] = &[
    "ControlRecordTypeSchema",
    "EndTxnMarker",
    "KRaftVersionRecord",
    "LeaderChangeMessage",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "VotersRecord",
];
const FILES: &[&str] = &["AbortedTxn", "ProducerSnapshot"];

/// Names of the records of the coordinators' topics, without `Key` and `Value`, by type.
const OFFSETS: &[&str] = &[
    "LegacyOffsetCommit",
    "OffsetCommit",
    "GroupMetadata",
    "ConsumerGroupMetadata",
    "ConsumerGroupPartitionMetadata",
    "ConsumerGroupMemberMetadata",
    "ConsumerGroupTargetAssignmentMetadata",
    "ConsumerGroupTargetAssignmentMember",
    "ConsumerGroupCurrentMemberAssignment",
    "ConsumerGroupRegularExpression",
    "ShareGroupMetadata",
    "ShareGroupMemberMetadata",
    "ShareGroupTargetAssignmentMetadata",
    "ShareGroupTargetAssignmentMember",
    "ShareGroupCurrentMemberAssignment",
    "ShareGroupStatePartitionMetadata",
    "StreamsGroupMetadata",
    "StreamsGroupMemberMetadata",
    "StreamsGroupTargetAssignmentMetadata",
    "StreamsGroupTargetAssignmentMember",
    "StreamsGroupCurrentMemberAssignment",
    "StreamsGroupTopology",
];
const TRANSACTIONS: &[&str] = &["TransactionLog"];
const SHARE: &[&str] = &["ShareSnapshot", "ShareUpdate"];

/// Generates all.
pub(crate) fn generate(schemas: &Schemas, out: &mut Output) -> Result<()> {
    let messages = MESSAGES.iter().map(|name| schemas.get(name)).collect::<Result<Vec<_>>>()?;
    group(
        out,
        "messages",
        "Requests and responses that kafka-protocol lacks the newest version of.",
        &messages,
        "",
    )?;

    let metadata: Vec<_> = schemas.of_kind("metadata")?.into_values().collect();
    let all = records::metadata(&metadata)?;
    group(out, "metadata", "The records of the metadata log.", &metadata, &all)?;

    let control = CONTROL.iter().map(|name| schemas.get(name)).collect::<Result<Vec<_>>>()?;
    group(out, "control", "The records of control batches.", &control, "")?;
    let files = FILES.iter().map(|name| schemas.get(name)).collect::<Result<Vec<_>>>()?;
    group(out, "files", "The data of the binary files beside a log.", &files, "")?;

    for (module, topic, names) in [
        ("offsets", "__consumer_offsets", OFFSETS),
        ("transactions", "__transaction_state", TRANSACTIONS),
        ("share", "__share_group_state", SHARE),
    ] {
        coordinator(schemas, out, module, topic, names)?;
    }

    let requests = schemas.of_kind("request")?;
    let responses = schemas.of_kind("response")?;
    out.file("api_table.rs", "The API keys of Apache Kafka 4.4.", &tables::apis(&requests, &responses)?);
    shapes::generate(&requests, &responses, out)?;
    let mut modules = String::from("pub(crate) mod api_table;\n");
    for module in ["control", "files", "messages", "metadata", "offsets", "shapes", "share", "transactions"] {
        writeln!(modules, "pub(crate) mod {module};")?;
    }
    out.file("mod.rs", "What the generator writes.", &modules);
    Ok(())
}

fn coordinator(schemas: &Schemas, out: &mut Output, module: &str, topic: &str, names: &[&str]) -> Result<()> {
    let mut messages = Vec::new();
    for name in names {
        messages.push(schemas.get(&format!("{name}Key"))?);
        messages.push(schemas.get(&format!("{name}Value"))?);
    }
    let all = records::coordinator(&messages, topic)?;
    group(out, module, &format!("The records of `{topic}`."), &messages, &all)
}

/// A module per message below `module`, and `module/mod.rs` that re-exports them and ends with `more`.
fn group(out: &mut Output, module: &str, about: &str, messages: &[&Message], more: &str) -> Result<()> {
    let newtypes = module == "messages";
    // Named modules and types win over those of the glob.
    let mut head = if newtypes { "pub use kafka_protocol::messages::*;\n\n" } else { "" }.to_owned();
    for message in messages {
        let name = snake(&message.name);
        writeln!(head, "pub mod {name};\npub use {name}::{};\n", message.name)?;
        let body = structs::module(message, newtypes).with_context(|| format!("in {}", message.name))?;
        let about = structs::about(message);
        out.file(format!("{module}/{name}.rs"), &about, &body);
    }
    out.file(format!("{module}/mod.rs"), about, &(head + more));
    Ok(())
}
