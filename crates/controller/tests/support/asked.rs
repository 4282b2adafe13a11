//! Requests that concern the cluster as a whole, from words.

use std::error::Error;

use goldenscript::{ArgumentConsumer, Command as Line};
use ottla_controller::{Command, State, supported_features};
use ottla_protocol::{StrBytes, messages::*};
use ottla_types::Millis;
use uuid::Uuid;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn numbers<T: std::str::FromStr>(list: &str) -> Vec<T> {
    list.split(',').filter_map(|number| number.parse().ok()).collect()
}

fn key<T: std::str::FromStr>(
    args: &mut ArgumentConsumer<'_>,
    name: &str,
    default: T,
) -> Result<T, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(name).map(str::parse).transpose()?.unwrap_or(default))
}

fn list(args: &mut ArgumentConsumer<'_>, name: &str) -> Option<Vec<i32>> {
    args.take_key(name).map(numbers)
}

/// `topic:0,1` to a name and numbers.
fn partitions(args: &mut ArgumentConsumer<'_>) -> Vec<(TopicName, Vec<i32>)> {
    let parse = |word: &str| {
        let (name, indexes) = word.split_once(':').unwrap_or((word, "0"));
        (TopicName(text(name)), numbers(indexes))
    };
    std::iter::from_fn(|| args.next_pos().map(parse)).collect()
}

/// The command a line stands for; none when it is not one of these.
pub(crate) fn asked(
    state: &State,
    now: Millis,
    line: &Line,
    args: &mut ArgumentConsumer<'_>,
) -> Result<Option<Command>, Box<dyn Error>> {
    Ok(Some(match line.name.as_str() {
        "lost" => {
            let id = key(args, "id", 1)?;
            let epoch = state.image.broker(id).map_or(-1, |broker| broker.epoch);
            let since = Millis(now.0 - key(args, "ago", 0i64)?);
            Command::BrokerLost { id, epoch: key(args, "epoch", epoch)?, since }
        }
        "balance" => Command::Balance,
        "elect" => elect(args)?,
        "reassign" => reassign(args)?,
        "reassignments" => {
            let all = partitions(args);
            let topics = all.into_iter().map(|(name, indexes)| {
                list_partition_reassignments_request::ListPartitionReassignmentsTopics::default()
                    .with_name(name)
                    .with_partition_indexes(indexes)
            });
            let topics: Vec<_> = topics.collect();
            let request = ListPartitionReassignmentsRequest::default();
            Command::ListPartitionReassignments(request.with_topics((!topics.is_empty()).then_some(topics)))
        }
        "features" => features(args)?,
        "assign_dirs" => assign_dirs(state, args)?,
        "replace" => replace(args)?,
        "register_controller" => Command::RegisterController(
            ControllerRegistrationRequest::default().with_controller_id(key(args, "id", 1)?).with_features(
                supported_features()
                    .into_iter()
                    .map(|range| {
                        controller_registration_request::Feature::default()
                            .with_name(text(&range.name))
                            .with_min_supported_version(range.min)
                            .with_max_supported_version(range.max)
                    })
                    .collect(),
            ),
        ),
        "unregister_controller" => Command::UnregisterController(
            UnregisterControllerRequest::default().with_controller_id(key(args, "id", 1)?),
        ),
        _ => return Ok(None),
    }))
}

fn elect(args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
    use elect_leaders_request::TopicPartitions;
    let kind = key(args, "type", 0)?;
    let one = |(name, indexes)| TopicPartitions::default().with_topic(name).with_partitions(indexes);
    let all: Vec<_> = partitions(args).into_iter().map(one).collect();
    let all = (!all.is_empty()).then_some(all);
    Ok(Command::ElectLeaders(
        ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(all),
    ))
}

fn reassign(args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let to = list(args, "to").map(|ids| ids.into_iter().map(BrokerId).collect::<Vec<_>>());
    let grow = key(args, "grow", true)?;
    let topics = partitions(args).into_iter().map(|(name, indexes)| {
        let one =
            |index| ReassignablePartition::default().with_partition_index(index).with_replicas(to.clone());
        ReassignableTopic::default().with_name(name).with_partitions(indexes.into_iter().map(one).collect())
    });
    let request = AlterPartitionReassignmentsRequest::default().with_allow_replication_factor_change(grow);
    Ok(Command::AlterPartitionReassignments(request.with_topics(topics.collect())))
}

fn features(args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
    use update_features_request::FeatureUpdateKey;
    let upgrade_type = key(args, "type", 1i8)?;
    let validate = key(args, "validate", false)?;
    let kraft = key(args, "kraft", 1)?;
    let mut updates = Vec::new();
    while let Some((name, level)) = args.next_key() {
        updates.push(
            FeatureUpdateKey::default()
                .with_feature(text(name))
                .with_max_version_level(level.parse()?)
                .with_upgrade_type(upgrade_type),
        );
    }
    let request = UpdateFeaturesRequest::default().with_feature_updates(updates);
    Ok(Command::UpdateFeatures(request.with_validate_only(validate), kraft))
}

fn assign_dirs(state: &State, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
    use assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
    let id = key(args, "id", 1)?;
    let epoch = state.image.broker(id).map_or(-1, |broker| broker.epoch);
    let dir = Uuid::from_u128(key(args, "dir", 1001)?);
    let topics = partitions(args).into_iter().map(|(name, indexes)| {
        let topic = state.image.topic(&name).map_or(Uuid::from_u128(77), |topic| topic.id.0);
        let one = |index| PartitionData::default().with_partition_index(index);
        TopicData::default().with_topic_id(topic).with_partitions(indexes.into_iter().map(one).collect())
    });
    let dir = DirectoryData::default().with_id(dir).with_topics(topics.collect());
    Ok(Command::AssignReplicasToDirs(
        AssignReplicasToDirsRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(key(args, "epoch", epoch)?)
            .with_directories(vec![dir]),
    ))
}

fn replace(args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn Error>> {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let validate = key(args, "validate", false)?;
    let kind = match args.next_pos() {
        Some("topic") => 2,
        Some("broker") => 4,
        other => return Err(format!("no resource type {other:?}").into()),
    };
    let name = text(args.next_pos().unwrap_or(""));
    let configs = std::iter::from_fn(|| args.next_key()).map(|(key, value)| {
        let value = (value != "null").then(|| text(value));
        AlterableConfig::default().with_name(text(key)).with_value(value)
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(name)
        .with_configs(configs.collect());
    Ok(Command::AlterConfigs(
        AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate),
    ))
}
