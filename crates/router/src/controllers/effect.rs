//! Whether what a controller on another node has done is in effect here: who creates a topic can use it when told so.

use ottla_controller::{Answer, Command};
use ottla_metadata::Image;
use ottla_types::TopicId;

/// Whether an image has what the answer says was done. True also when that cannot be told.
pub(super) fn in_effect(image: &Image, command: &Command, answer: &Answer) -> bool {
    match (command, answer) {
        (Command::CreateTopics(request), _) if request.validate_only => true,
        (Command::CreatePartitions(request), _) if request.validate_only => true,
        (_, Answer::CreateTopics(answer)) => {
            let mut made = answer.topics.iter().filter(|topic| topic.error_code == 0);
            made.all(|topic| {
                let known = image.topic(&topic.name);
                known.is_some_and(|known| topic.topic_id.is_nil() || known.id == TopicId(topic.topic_id))
            })
        }
        (_, Answer::DeleteTopics(answer)) => {
            let mut gone = answer.responses.iter().filter(|topic| topic.error_code == 0);
            gone.all(|topic| match (&topic.name, topic.topic_id) {
                (_, id) if !id.is_nil() => image.topic_by_id(TopicId(id)).is_none(),
                (Some(name), _) => image.topic(name).is_none(),
                (None, _) => true,
            })
        }
        (Command::CreatePartitions(request), Answer::CreatePartitions(answer)) => {
            let mut grown = answer.results.iter().filter(|topic| topic.error_code == 0);
            grown.all(|topic| {
                let asked = request.topics.iter().find(|asked| asked.name == topic.name);
                let count = asked.map_or(0, |asked| usize::try_from(asked.count).unwrap_or(0));
                image.topic(&topic.name).is_none_or(|known| known.partitions.len() >= count)
            })
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::Fact;
    use ottla_protocol::{
        messages::{
            CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
            create_topics_response::CreatableTopicResult, delete_topics_response::DeletableTopicResult,
        },
        persisted::metadata::TopicRecord,
    };
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_topic_is_there_when_it_is_in_the_image() {
        let id = Uuid::from_u128(5);
        let made = CreatableTopicResult::default().with_name(TopicName("t".into())).with_topic_id(id);
        let answer = Answer::CreateTopics(CreateTopicsResponse::default().with_topics(vec![made]));
        let command = Command::CreateTopics(CreateTopicsRequest::default());
        let mut image = Image::new();
        assert!(!in_effect(&image, &command, &answer));
        let record = TopicRecord { name: "t".into(), topic_id: id, ..Default::default() };
        image.apply(&Fact::at_level(record, 25));
        assert!(in_effect(&image, &command, &answer));

        let gone = DeletableTopicResult::default().with_name(Some(TopicName("t".into())));
        let answer = Answer::DeleteTopics(DeleteTopicsResponse::default().with_responses(vec![gone]));
        let command = Command::DeleteTopics(DeleteTopicsRequest::default());
        assert!(!in_effect(&image, &command, &answer));
        assert!(in_effect(&Image::new(), &command, &answer));
    }
}
