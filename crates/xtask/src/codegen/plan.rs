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
    lists(schemas, &requests, out)?;
    let mut modules = String::from("pub(crate) mod api_table;\npub(crate) mod lists;\n");
    for module in ["control", "files", "messages", "metadata", "offsets", "shapes", "share", "transactions"] {
        writeln!(modules, "pub(crate) mod {module};")?;
    }
    out.file("mod.rs", "What the generator writes.", &modules);
    Ok(())
}

/// Every persisted record as `(module, name)`.
fn persisted(schemas: &Schemas) -> Result<Vec<(&'static str, String)>> {
    let mut all: Vec<(&str, String)> = schemas
        .of_kind("metadata")?
        .into_values()
        .map(|message| ("metadata", message.name.clone()))
        .collect();
    all.extend(CONTROL.iter().map(|name| ("control", (*name).to_owned())));
    all.extend(FILES.iter().map(|name| ("snapshot", (*name).to_owned())));
    for (module, names) in [("offsets", OFFSETS), ("transactions", TRANSACTIONS), ("share", SHARE)] {
        for name in names {
            all.extend(["Key", "Value"].map(|half| (module, format!("{name}{half}"))));
        }
    }
    Ok(all)
}

/// The macros that name every message and record, for whoever does the same with all of them, and the shapes
/// of the records.
fn lists(
    schemas: &Schemas,
    requests: &std::collections::BTreeMap<i16, &Message>,
    out: &mut Output,
) -> Result<()> {
    let mut apis = String::new();
    for (key, request) in requests {
        let name = request.name.strip_suffix("Request").context("a request is not named so")?;
        writeln!(apis, "{key} => {name}Request, {name}Response;")?;
    }
    let mut records = String::new();
    let mut of_records = Vec::new();
    for (module, name) in persisted(schemas)? {
        writeln!(records, "{module}::{name};")?;
        of_records.push(schemas.get(&name)?);
    }
    let body = format!(
        "/// Expands `$each!` with `key => request type, response type;` of every API.\n#[macro_export]\n\
         macro_rules! for_each_api {{\n($each:ident) => {{\n$each! {{\n{apis}}}\n}};\n}}\n\n\
         /// Expands `$each!` with `module::type;` of every persisted record.\n#[macro_export]\n\
         macro_rules! for_each_record {{\n($each:ident) => {{\n$each! {{\n{records}}}\n}};\n}}\n"
    );
    out.file("lists.rs", "Macros that name every API and every persisted record.", &body);
    shapes::records(&of_records, out)
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
