//! Facts and answers in words.

use std::fmt::Write;

use ottla_controller::{Answer, State};
use ottla_metadata::Fact;
use ottla_protocol::{StrBytes, messages::BrokerId, persisted::metadata::MetadataRecord};
use ottla_types::{ErrorCode, TopicId};
use uuid::Uuid;

fn topic_name(state: &State, id: Uuid) -> String {
    state.image.topic_by_id(TopicId(id)).map_or_else(|| "?".into(), |topic| topic.name.to_string())
}

/// A fact in one line.
pub(crate) fn told(state: &State, fact: &Fact) -> String {
    let Fact::Record(record, version) = fact else { return format!("{fact:?}") };
    let what = match record {
        MetadataRecord::Topic(it) => it.name.to_string(),
        MetadataRecord::Partition(it) => format!(
            "{}-{} replicas={:?} isr={:?} leader={} epochs={}/{} dirs={}",
            topic_name(state, it.topic_id),
            it.partition_id,
            it.replicas,
            it.isr,
            it.leader,
            it.leader_epoch,
            it.partition_epoch,
            it.directories.len()
        ),
        MetadataRecord::PartitionChange(it) => {
            let mut s = format!("{}-{}", topic_name(state, it.topic_id), it.partition_id);
            if let Some(isr) = &it.isr {
                let _ = write!(s, " isr={isr:?}");
            }
            if it.leader != -2 {
                let _ = write!(s, " leader={}", it.leader);
            }
            if it.leader_recovery_state >= 0 {
                let _ = write!(s, " recovery={}", it.leader_recovery_state);
            }
            if let Some(elr) = &it.eligible_leader_replicas {
                let _ = write!(s, " elr={elr:?}");
            }
            if let Some(elr) = &it.last_known_elr {
                let _ = write!(s, " lastKnownElr={elr:?}");
            }
            for (what, nodes) in [
                ("replicas", &it.replicas),
                ("adding", &it.adding_replicas),
                ("removing", &it.removing_replicas),
            ] {
                if let Some(nodes) = nodes {
                    let _ = write!(s, " {what}={nodes:?}");
                }
            }
            if let Some(dirs) = &it.directories {
                let dirs: Vec<u128> = dirs.iter().map(Uuid::as_u128).collect();
                let _ = write!(s, " dirs={dirs:?}");
            }
            s
        }
        MetadataRecord::Config(it) => format!(
            "{}:{} {}={:?}",
            it.resource_type,
            it.resource_name.as_str(),
            it.name.as_str(),
            it.value.as_deref()
        ),
        MetadataRecord::FeatureLevel(it) => format!("{}={}", it.name.as_str(), it.feature_level),
        MetadataRecord::RegisterBroker(it) => format!(
            "{} epoch={} fenced={} rack={:?}",
            it.broker_id,
            it.broker_epoch,
            it.fenced,
            it.rack.as_deref()
        ),
        MetadataRecord::BrokerRegistrationChange(it) => {
            let dirs = |dirs: &[Uuid]| dirs.iter().map(Uuid::as_u128).collect::<Vec<_>>();
            let cordoned = it.cordoned_log_dirs.as_deref().map(dirs);
            let mut s = format!(
                "{} epoch={} fenced={} shutdown={} cordoned={cordoned:?}",
                it.broker_id, it.broker_epoch, it.fenced, it.in_controlled_shutdown
            );
            if !it.log_dirs.is_empty() {
                let _ = write!(s, " dirs={:?}", dirs(&it.log_dirs));
            }
            s
        }
        MetadataRecord::ProducerIds(it) => {
            format!("broker={} next={}", it.broker_id, it.next_producer_id)
        }
        MetadataRecord::ClearElr(it) => format!("{:?}", it.topic_name.as_str()),
        MetadataRecord::BeginTransaction(it) => format!("{:?}", it.name.as_deref()),
        _ => String::new(),
    };
    format!("{} v{version} {what}", record.name()).trim_end().to_owned()
}

fn error(code: i16, message: Option<&StrBytes>) -> String {
    if code == 0 {
        return "ok".into();
    }
    format!("{:?} {:?}", ErrorCode(code), message.map(|message| message.as_str()))
}

/// An answer, a line for each part of it.
pub(crate) fn answered(answer: &Answer) -> String {
    let mut out = String::new();
    let mut line = |name: &str, code, message: Option<&StrBytes>, more: String| {
        let _ = writeln!(out, "=> {}", format!("{name} {} {more}", error(code, message)).trim());
    };
    match answer {
        Answer::RegisterBroker(it) => {
            line("registered", it.error_code, None, format!("epoch={}", it.broker_epoch))
        }
        Answer::UnregisterController(it) => {
            line("", it.error_code, it.error_message.as_ref(), String::new());
        }
        Answer::AlterConfigs(it) => it.responses.iter().for_each(|it| {
            line(&it.resource_name, it.error_code, it.error_message.as_ref(), String::new());
        }),
        Answer::ElectLeaders(it) => {
            line("", it.error_code, None, String::new());
            for topic in &it.replica_election_results {
                for at in &topic.partition_result {
                    let name = format!("{}-{}", topic.topic.as_str(), at.partition_id);
                    line(&name, at.error_code, at.error_message.as_ref(), String::new());
                }
            }
        }
        Answer::AlterPartitionReassignments(it) => {
            line("", it.error_code, it.error_message.as_ref(), String::new());
            for topic in &it.responses {
                for at in &topic.partitions {
                    let name = format!("{}-{}", topic.name.as_str(), at.partition_index);
                    line(&name, at.error_code, at.error_message.as_ref(), String::new());
                }
            }
        }
        Answer::ListPartitionReassignments(it) => {
            line("", it.error_code, it.error_message.as_ref(), String::new());
            let ids = |list: &[BrokerId]| list.iter().map(|id| id.0).collect::<Vec<_>>();
            for topic in &it.topics {
                for at in &topic.partitions {
                    let (replicas, adding) = (ids(&at.replicas), ids(&at.adding_replicas));
                    let more =
                        format!("{replicas:?} adding={adding:?} removing={:?}", ids(&at.removing_replicas));
                    line(&format!("{}-{}", topic.name.as_str(), at.partition_index), 0, None, more);
                }
            }
        }
        Answer::UpdateFeatures(it) => {
            line("", it.error_code, it.error_message.as_ref(), String::new());
            for at in &it.results {
                line(&at.feature, at.error_code, at.error_message.as_ref(), String::new());
            }
        }
        Answer::AssignReplicasToDirs(it) => {
            line("", it.error_code, None, String::new());
            for dir in &it.directories {
                for topic in &dir.topics {
                    for at in &topic.partitions {
                        line(
                            &format!("{} {}", dir.id, at.partition_index),
                            at.error_code,
                            None,
                            String::new(),
                        );
                    }
                }
            }
        }
        Answer::UnregisterBroker(it) => line("", it.error_code, it.error_message.as_ref(), String::new()),
        Answer::RegisterController(it) => line("", it.error_code, it.error_message.as_ref(), String::new()),
        Answer::BrokerHeartbeat(it) => line(
            "",
            it.error_code,
            None,
            format!(
                "caught_up={} fenced={} shut_down={}",
                it.is_caught_up, it.is_fenced, it.should_shut_down
            ),
        ),
        Answer::CreateTopics(it) => it.topics.iter().for_each(|it| {
            line(
                &it.name,
                it.error_code,
                it.error_message.as_ref(),
                format!(
                    "partitions={} rf={} configs={}",
                    it.num_partitions,
                    it.replication_factor,
                    it.configs.as_ref().map_or(0, Vec::len)
                ),
            )
        }),
        Answer::DeleteTopics(it) => it.responses.iter().for_each(|it| {
            let name = it.name.as_ref().map_or("-", |name| name.as_str());
            line(name, it.error_code, it.error_message.as_ref(), String::new());
        }),
        Answer::CreatePartitions(it) => it.results.iter().for_each(|it| {
            line(&it.name, it.error_code, it.error_message.as_ref(), String::new());
        }),
        Answer::IncrementalAlterConfigs(it) => it.responses.iter().for_each(|it| {
            line(&it.resource_name, it.error_code, it.error_message.as_ref(), String::new());
        }),
        Answer::AlterPartition(it) if it.error_code != 0 => line("", it.error_code, None, String::new()),
        Answer::AlterPartition(it) => it.topics.iter().flat_map(|topic| &topic.partitions).for_each(|it| {
            let isr: Vec<i32> = it.isr.iter().map(|id| id.0).collect();
            line(
                "",
                it.error_code,
                None,
                format!(
                    "leader={} isr={isr:?} epochs={}/{}",
                    it.leader_id.0, it.leader_epoch, it.partition_epoch
                ),
            );
        }),
        Answer::AllocateProducerIds(it) => {
            line("", it.error_code, None, format!("{}+{}", it.producer_id_start.0, it.producer_id_len));
        }
    }
    out
}
