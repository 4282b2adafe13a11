//! OffsetFetch (9), versions 1–10.
//!
//! An offset that was never committed is -1 and no error, of whatever group.
//!
//! Versions: 2 null topics for all, and an error for the whole answer (version 1 puts it on every partition: an empty
//! answer would be read as "nothing committed"); 5 leader epochs (KIP-320); 7 `require_stable` (KIP-447); 8 several groups
//! (KIP-709); 9 member id and epoch, which mean something to groups of the consumer protocol only; 10 topic ids (KIP-516).

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
};

use ottla_coordinator::{
    Coordinators, Outcome,
    groups::{
        Answer, Command, FetchTopic, FetchedPartition, FetchedTopic, OffsetFetch as Fetch, OffsetFetchAnswer,
    },
};
use ottla_metadata::{Image, ImageCell};
use ottla_protocol::messages::{
    GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName,
    offset_fetch_request::OffsetFetchRequestGroup,
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};
use ottla_types::{ErrorCode, TopicId};

use super::text::{shared, wire};
use crate::{Handler, Reply, RequestContext, api::pending};

pub(crate) struct OffsetFetch {
    image: Arc<ImageCell>,
    coordinators: Arc<Coordinators>,
}

impl OffsetFetch {
    pub(crate) fn new(image: Arc<ImageCell>, coordinators: Arc<Coordinators>) -> Self {
        Self { image, coordinators }
    }
}

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;
    type Response = OffsetFetchResponse;
    const VERSIONS: RangeInclusive<i16> = 1..=10;

    fn handle(&self, ctx: &RequestContext, request: OffsetFetchRequest) -> Reply<OffsetFetchResponse> {
        let version = ctx.api_version;
        let image = self.image.get();
        let stable = request.require_stable;
        let asked: Vec<Asked> = if has_several_groups(version) {
            Asked::groups(&image, version, &request.groups)
        } else {
            vec![Asked::single(&request)]
        };
        let ask = |asked: &Asked| self.coordinators.submit(asked.group_id.as_str(), asked.command(stable));
        let pending = asked.iter().map(ask).collect();
        pending::reply_all(pending, move |outcomes| {
            let answers =
                asked.iter().zip(outcomes).map(|(asked, outcome)| asked.answer(&image, version, outcome));
            if has_several_groups(version) {
                OffsetFetchResponse::default().with_groups(answers.map(Answered::group).collect())
            } else {
                let mut answers = answers;
                answers.next().map(|answer| answer.single(version)).unwrap_or_default()
            }
        })
    }
}

fn has_several_groups(version: i16) -> bool {
    version >= 8
}

fn has_topic_ids(version: i16) -> bool {
    version >= 10
}

fn has_whole_error(version: i16) -> bool {
    version >= 2
}

/// What is asked of one group.
struct Asked {
    group_id: GroupId,
    /// `None` for everything; else the topics in order, each with the name under which it is looked up, if there is one.
    topics: Option<Vec<(FetchTopic, bool)>>,
}

impl Asked {
    fn single(request: &OffsetFetchRequest) -> Self {
        let topics = request.topics.as_ref().map(|topics| {
            let by_name = topics.iter().map(|topic| {
                let (name, partitions) = (shared(&topic.name), topic.partition_indexes.clone());
                (FetchTopic { name, topic_id: TopicId::ZERO, partitions }, true)
            });
            merged(by_name)
        });
        Self { group_id: request.group_id.clone(), topics }
    }

    /// Each group once, with all that is asked of it: an answer is never longer than what there is to tell.
    fn groups(image: &Image, version: i16, groups: &[OffsetFetchRequestGroup]) -> Vec<Self> {
        let mut places = HashMap::with_capacity(groups.len());
        let mut kept: Vec<Self> = Vec::with_capacity(groups.len());
        for group in groups {
            let asked = Self::group(image, version, group);
            let place = *places.entry(group.group_id.as_str()).or_insert(kept.len());
            match kept.get_mut(place) {
                Some(first) => match (&mut first.topics, asked.topics) {
                    (Some(topics), Some(mut more)) => topics.append(&mut more),
                    (topics, _) => *topics = None,
                },
                None => kept.push(asked),
            }
        }
        for asked in &mut kept {
            asked.topics = asked.topics.take().map(|topics| merged(topics.into_iter()));
        }
        kept
    }

    fn group(image: &Image, version: i16, group: &OffsetFetchRequestGroup) -> Self {
        let topics = group.topics.as_ref().map(|topics| {
            let each = topics.iter().map(|topic| {
                let topic_id = TopicId(topic.topic_id);
                let name = if has_topic_ids(version) {
                    image.topic_by_id(topic_id).map(|known| known.name.clone())
                } else {
                    Some(shared(&topic.name))
                };
                let known = name.is_some();
                let (name, partitions) = (name.unwrap_or_default(), topic.partition_indexes.clone());
                (FetchTopic { name, topic_id, partitions }, known)
            });
            each.collect()
        });
        Self { group_id: group.group_id.clone(), topics }
    }

    fn command(&self, require_stable: bool) -> Command {
        let known = |topics: &Vec<(FetchTopic, bool)>| {
            topics.iter().filter(|(_, known)| *known).map(|(topic, _)| topic.clone()).collect()
        };
        let topics = self.topics.as_ref().map(known);
        Command::OffsetFetch(Fetch { group_id: shared(&self.group_id), topics, require_stable })
    }

    fn answer(&self, image: &Image, version: i16, outcome: Outcome) -> Answered {
        let answer = match outcome {
            Ok(Answer::OffsetFetch(answer)) => answer,
            Ok(_) => unreachable!("a fetch of offsets is answered with offsets"),
            Err(error) => OffsetFetchAnswer { error, topics: Vec::new() },
        };
        let answer = match answer.error {
            // Java consumers before 3.9 give up on the code that all other group requests have for this.
            ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                OffsetFetchAnswer { error: ErrorCode::NOT_COORDINATOR, ..answer }
            }
            _ => answer,
        };
        let topics = match &self.topics {
            // Whole errors: the topics are needed by the version that can say it only there.
            Some(asked) if answer.error != ErrorCode::NONE => {
                asked.iter().map(|(topic, _)| failed(topic, answer.error)).collect()
            }
            Some(asked) => {
                let mut found = answer.topics.into_iter();
                let each = asked.iter().map(|(topic, known)| match known {
                    true => found.next().expect("the coordinator answers every topic"),
                    false => failed(topic, ErrorCode::UNKNOWN_TOPIC_ID),
                });
                each.collect()
            }
            None if has_topic_ids(version) => {
                // A topic that is gone has no id that the client could understand.
                let named = answer.topics.into_iter().filter_map(|topic| {
                    let topic_id = image.topic(&topic.name)?.id;
                    Some(FetchedTopic { topic_id, ..topic })
                });
                named.collect()
            }
            None => answer.topics,
        };
        Answered { group_id: self.group_id.clone(), error: answer.error, topics }
    }
}

/// Each topic once, and each of its partitions: an answer is never longer than what there is to tell.
fn merged(topics: impl Iterator<Item = (FetchTopic, bool)>) -> Vec<(FetchTopic, bool)> {
    let mut places = HashMap::new();
    let mut kept: Vec<(FetchTopic, bool)> = Vec::new();
    for (mut topic, known) in topics {
        let place = *places.entry((topic.name.clone(), topic.topic_id)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some((first, _)) => first.partitions.append(&mut topic.partitions),
            None => kept.push((topic, known)),
        }
    }
    for (topic, _) in &mut kept {
        let mut seen = HashSet::with_capacity(topic.partitions.len());
        topic.partitions.retain(|partition| seen.insert(*partition));
    }
    kept
}

fn failed(topic: &FetchTopic, error: ErrorCode) -> FetchedTopic {
    let partitions = topic.partitions.iter().map(|partition| FetchedPartition::nothing(*partition, error));
    FetchedTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions: partitions.collect() }
}

/// What one group is told.
struct Answered {
    group_id: GroupId,
    error: ErrorCode,
    topics: Vec<FetchedTopic>,
}

impl Answered {
    fn group(self) -> OffsetFetchResponseGroup {
        let partition = |found: &FetchedPartition| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(found.partition)
                .with_committed_offset(found.offset)
                .with_committed_leader_epoch(found.leader_epoch)
                .with_metadata(Some(wire(&found.metadata)))
                .with_error_code(found.error.0)
        };
        let topic = |topic: &FetchedTopic| {
            OffsetFetchResponseTopics::default()
                .with_name(TopicName(wire(&topic.name)))
                .with_topic_id(topic.topic_id.0)
                .with_partitions(topic.partitions.iter().map(partition).collect())
        };
        let topics = if self.error == ErrorCode::NONE { self.topics } else { Vec::new() };
        OffsetFetchResponseGroup::default()
            .with_group_id(self.group_id)
            .with_error_code(self.error.0)
            .with_topics(topics.iter().map(topic).collect())
    }

    fn single(self, version: i16) -> OffsetFetchResponse {
        let partition = |found: &FetchedPartition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(found.partition)
                .with_committed_offset(found.offset)
                .with_committed_leader_epoch(found.leader_epoch)
                .with_metadata(Some(wire(&found.metadata)))
                .with_error_code(found.error.0)
        };
        let topic = |topic: &FetchedTopic| {
            OffsetFetchResponseTopic::default()
                .with_name(TopicName(wire(&topic.name)))
                .with_partitions(topic.partitions.iter().map(partition).collect())
        };
        if has_whole_error(version) && self.error != ErrorCode::NONE {
            return OffsetFetchResponse::default().with_error_code(self.error.0);
        }
        OffsetFetchResponse::default().with_topics(self.topics.iter().map(topic).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::recorded;

    /// What Kafka 4.4 said when all offsets of a group were asked for; version 10 names the topic's id.
    const ALL: [(i16, &str); 9] = [
        (2, "000000010001740000000100000000000000000000000300026d6400000000"),
        (3, "00000000000000010001740000000100000000000000000000000300026d6400000000"),
        (4, "00000000000000010001740000000100000000000000000000000300026d6400000000"),
        (5, "0000000000000001000174000000010000000000000000000000030000000400026d6400000000"),
        (6, "000000000202740200000000000000000000000300000004036d6400000000000000"),
        (7, "000000000202740200000000000000000000000300000004036d6400000000000000"),
        (8, "00000000020670726f62650202740200000000000000000000000300000004036d640000000000000000"),
        (9, "00000000020670726f62650202740200000000000000000000000300000004036d640000000000000000"),
        (
            10,
            "00000000020670726f6265028392f8f529af47c38d883ced5abc08bb0200000000000000000000000300000004036d640000000000000000",
        ),
    ];

    #[test]
    fn offsets_are_kafkas_in_every_version() {
        for (version, body) in ALL {
            let topic_id = "g5L49SmvR8ONiDztWrwIuw".parse().expect("an id");
            let leader_epoch = 4;
            let metadata = "md".into();
            let error = ErrorCode::NONE;
            let partitions =
                vec![FetchedPartition { partition: 0, offset: 3, leader_epoch, metadata, error }];
            let topics = vec![FetchedTopic { name: "t".into(), topic_id, partitions }];
            let answered = Answered { group_id: GroupId(wire("probe")), error, topics };
            let ours = if has_several_groups(version) {
                OffsetFetchResponse::default().with_groups(vec![answered.group()])
            } else {
                answered.single(version)
            };
            recorded::check(9, version, &ours, body);
        }
    }

    #[test]
    fn version_1_says_an_error_on_every_partition() {
        let topics = vec![FetchTopic { name: "t".into(), topic_id: TopicId::ZERO, partitions: vec![0, 1] }];
        let asked = Asked {
            group_id: GroupId(wire("g")),
            topics: Some(topics.into_iter().map(|topic| (topic, true)).collect()),
        };
        let error = ErrorCode::NOT_COORDINATOR;
        let answer = |version| asked.answer(&Image::new(), version, Err(error)).single(version);
        let partitions = &answer(1).topics[0].partitions;
        assert_eq!(partitions.iter().map(|partition| partition.error_code).collect::<Vec<_>>(), [error.0; 2]);
        assert_eq!((answer(2).error_code, answer(2).topics.len()), (error.0, 0));
    }
}
