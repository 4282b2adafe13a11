//! DeleteTopics (KIP-4, KIP-516).

use std::collections::BTreeMap;

use ottla_protocol::{
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
    persisted::metadata::RemoveTopicRecord,
};
use ottla_types::{ApiError, ErrorCode, TopicId};

use crate::{Turn, text};

/// How one entry of the request names its topic, once it does so properly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Name(String),
    Id(TopicId),
}

impl Turn<'_, '_> {
    pub(crate) fn delete_topics(&mut self, request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
        let by_name =
            request.topic_names.iter().map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
        let states: Vec<DeleteTopicState> = request.topics.iter().cloned().chain(by_name).collect();
        let mut times: BTreeMap<Named, usize> = BTreeMap::new();
        for named in states.iter().filter_map(|state| named(state).ok()) {
            *times.entry(named).or_default() += 1;
        }
        let mut told = std::collections::BTreeSet::new();
        let mut response = DeleteTopicsResponse::default();
        for state in &states {
            let result = match named(state) {
                Err(error) => failed(state.name.clone(), TopicId(state.topic_id), error),
                // What is named twice is refused once, under its name if it was named by it.
                Ok(named) if !told.insert(named.clone()) || self.also_by_name(&named, &times) => continue,
                Ok(named) => self.delete(&named, &times),
            };
            response.responses.push(result);
        }
        response
    }

    fn also_by_name(&self, named: &Named, times: &BTreeMap<Named, usize>) -> bool {
        let Named::Id(id) = named else { return false };
        self.image()
            .topic_by_id(*id)
            .is_some_and(|topic| times.contains_key(&Named::Name(topic.name.to_string())))
    }

    fn delete(&mut self, named: &Named, times: &BTreeMap<Named, usize>) -> DeletableTopicResult {
        let invalid = |message: &'static str| ApiError::new(ErrorCode::INVALID_REQUEST, message);
        let twice = times.get(named).is_some_and(|times| *times > 1);
        let (topic, unknown) = match named {
            Named::Name(name) => (self.image().topic(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Named::Id(id) => (self.image().topic_by_id(*id), ErrorCode::UNKNOWN_TOPIC_ID),
        };
        let topic = topic.cloned();
        let given = |named: &Named| match named {
            Named::Name(name) => (Some(TopicName(text(name))), TopicId::ZERO),
            Named::Id(id) => (None, *id),
        };
        let refuse = |error| {
            let (name, id) = given(named);
            failed(name, id, error)
        };
        if twice {
            let what =
                if matches!(named, Named::Name(_)) { "Duplicate topic name." } else { "Duplicate topic id." };
            return refuse(invalid(what));
        }
        let Some(topic) = topic else {
            let message = match named {
                Named::Name(_) => "This server does not host this topic-partition.",
                Named::Id(_) => "This server does not host this topic ID.",
            };
            return refuse(ApiError::new(unknown, message));
        };
        let name = Some(TopicName(text(&topic.name)));
        if matches!(named, Named::Name(_)) && times.contains_key(&Named::Id(topic.id)) {
            let message = "The provided topic name maps to an ID that was already supplied.";
            return failed(name, topic.id, invalid(message));
        }
        self.add(RemoveTopicRecord { topic_id: topic.id.0, ..Default::default() });
        DeletableTopicResult::default().with_error_message(None).with_name(name).with_topic_id(topic.id.0)
    }
}

fn named(state: &DeleteTopicState) -> Result<Named, ApiError> {
    let invalid = |message: &'static str| Err(ApiError::new(ErrorCode::INVALID_REQUEST, message));
    match (&state.name, TopicId(state.topic_id)) {
        (Some(_), id) if !id.is_zero() => invalid("You may not specify both topic name and topic id."),
        (Some(name), _) => Ok(Named::Name(name.to_string())),
        (None, id) if id.is_zero() => invalid("Neither topic name nor id were specified."),
        (None, id) => Ok(Named::Id(id)),
    }
}

fn failed(name: Option<TopicName>, id: TopicId, error: ApiError) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_error_message(None)
        .with_name(name)
        .with_topic_id(id.0)
        .with_error_code(error.code.0)
        .with_error_message(error.message.as_deref().map(text))
}
