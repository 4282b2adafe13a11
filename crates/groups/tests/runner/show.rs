//! Facts and answers as lines of text.

use std::fmt::Write;

use ottla_groups::{Answer, JoinAnswer, Record};
use ottla_types::ErrorCode;

use super::{EPOCH_MS, Entry};

pub(super) fn entry(entry: &Entry, members: &[String]) -> String {
    match entry {
        Entry::Fact(fact) => record(fact, members),
        Entry::Transactional(producer, fact) => format!("txn {producer} {}", record(fact, members)),
        Entry::Marker(producer, committed) => format!("marker {producer} committed={committed}\n"),
    }
}

pub(super) fn record(record: &Record, members: &[String]) -> String {
    let text = match record {
        Record::Offset { group, topic, partition, value } => {
            let mut text = format!("log offset {group} {topic}:{partition} = {}", value.offset);
            if !value.metadata.is_empty() {
                let _ = write!(text, " metadata={}", value.metadata);
            }
            if let Some(at) = value.expire_timestamp_ms {
                let _ = write!(text, " expires=@{}", at - EPOCH_MS);
            }
            if !value.topic_id.is_zero() {
                let _ = write!(text, " id={}", value.topic_id.0.as_u128());
            }
            text
        }
        Record::OffsetTombstone { group, topic, partition } => {
            format!("log offset {group} {topic}:{partition} gone")
        }
        Record::Group { group, value } => {
            let since =
                value.state_since_ms.map_or_else(|| "?".to_owned(), |at| format!("@{}", at - EPOCH_MS));
            let mut text =
                format!("log group {group} generation={} type={:?}", value.generation, value.protocol_type);
            let _ = write!(text, " protocol={} leader={}", or_none(&value.protocol), or_none(&value.leader));
            let _ = write!(text, " since={since}");
            for member in &value.members {
                let _ =
                    write!(text, " {}={:?}", member.member_id, String::from_utf8_lossy(&member.assignment));
                if let Some(instance) = &member.group_instance_id {
                    let _ = write!(text, "({instance})");
                }
            }
            text
        }
        Record::GroupTombstone { group } => format!("log group {group} gone"),
    };
    finish(text, members)
}

pub(super) fn answer(to: &str, answer: &Answer, members: &[String]) -> String {
    let text = match answer {
        Answer::Join(join) => joined(join),
        Answer::Sync(sync) if sync.error == ErrorCode::NONE => {
            let (kind, name) = (or_none(&sync.protocol_type), or_none(&sync.protocol_name));
            format!("sync {:?} type={kind} protocol={name}", String::from_utf8_lossy(&sync.assignment))
        }
        Answer::Sync(sync) => format!("sync {}", sync.error.name()),
        Answer::Heartbeat(error) => format!("heartbeat {}", error.name()),
        Answer::Leave(leave) => {
            let mut text = format!("leave {}", leave.error.name());
            for member in &leave.members {
                let (id, instance) = (&member.member_id, or_none(&member.group_instance_id));
                let _ = write!(text, " {id:?}/{instance}={}", member.error.name());
            }
            text
        }
        Answer::OffsetCommit(commit) => {
            let errors: Vec<&str> = commit.topics.iter().flatten().map(|error| error.name()).collect();
            format!("commit {} {}", commit.error.name(), errors.join(" "))
        }
        Answer::OffsetFetch(fetch) => {
            let mut text = format!("fetch {}", fetch.error.name());
            for topic in &fetch.topics {
                for partition in &topic.partitions {
                    let _ = write!(text, " {}:{}={}", topic.name, partition.partition, partition.offset);
                    if !partition.metadata.is_empty() {
                        let _ = write!(text, ":{}", partition.metadata);
                    }
                    if partition.error != ErrorCode::NONE {
                        let _ = write!(text, "({})", partition.error.name());
                    }
                }
            }
            text
        }
        Answer::Describe(None) => "describe no such group".to_owned(),
        Answer::Describe(Some(group)) => {
            let mut text = format!("describe {} type={:?}", group.state.name(), group.protocol_type);
            let _ = write!(text, " protocol={:?}", group.protocol);
            for member in &group.members {
                let (metadata, assignment) = (member.metadata.clone(), member.assignment.clone());
                let _ = write!(text, " {} {}{}", member.member_id, member.client_id, member.client_host);
                let _ = write!(text, " metadata={metadata:?} assignment={assignment:?}");
            }
            text
        }
        Answer::List(groups) => {
            let shown = groups.iter().map(|group| {
                format!(
                    " {}:{}:{}:{}",
                    group.group_id,
                    group.protocol_type,
                    group.state.name(),
                    group.group_type
                )
            });
            format!("list{}", shown.collect::<String>())
        }
        Answer::Done(error) => format!("done {}", error.name()),
    };
    finish(format!("{to} <- {text}"), members)
}

fn joined(join: &JoinAnswer) -> String {
    if join.error != ErrorCode::NONE {
        return format!("join {} member={:?}", join.error.name(), join.member_id);
    }
    let mut text = format!("join generation={} member={}", join.generation_id, join.member_id);
    let (kind, name) = (or_none(&join.protocol_type), or_none(&join.protocol_name));
    let _ = write!(text, " leader={} type={kind} protocol={name}", join.leader);
    if join.skip_assignment {
        text.push_str(" skip-assignment");
    }
    for member in &join.members {
        let _ = write!(text, " [{} {:?}", member.member_id, String::from_utf8_lossy(&member.metadata));
        if let Some(instance) = &member.group_instance_id {
            let _ = write!(text, " {instance}");
        }
        text.push(']');
    }
    text
}

fn or_none(text: &Option<std::sync::Arc<str>>) -> &str {
    text.as_deref().unwrap_or("-")
}

fn finish(text: String, members: &[String]) -> String {
    let mut text = text;
    for (at, id) in members.iter().enumerate() {
        text = text.replace(id.as_str(), &format!("m{}", at + 1));
    }
    text.push('\n');
    text
}
