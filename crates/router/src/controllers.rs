//! The way to the active controller.
//!
//! On a node that is the active controller a command goes straight to the quorum's driver. What it answers has been
//! committed and has been applied by this node's replicas, so that a topic can be used when its creation is answered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ottla_controller::{Answer, Command, Controller};
use ottla_coordinator::{OFFSETS_TOPIC, OffsetsTopic};
use ottla_protocol::{
    StrBytes,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
};
use ottla_raft::{Handle, SubmitError};
use ottla_types::ErrorCode;
use tracing::warn;

/// Hands commands to the active controller.
pub struct Controllers {
    quorum: Handle<Controller>,
    offsets_topic: OffsetsTopic,
}

impl Controllers {
    /// A way through this node's own member of the quorum.
    #[must_use]
    pub fn new(quorum: Handle<Controller>, offsets_topic: OffsetsTopic) -> Self {
        Self { quorum, offsets_topic }
    }

    /// Hands a command over now, in the order of the calls. The future is its answer, given when what it changed is
    /// durable and in effect here; the command is carried out whether or not it is polled.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when no active controller is known or it lost its office meanwhile.
    pub fn ask(&self, command: Command) -> impl Future<Output = Result<Answer, ErrorCode>> + Send + use<> {
        let answer = self.quorum.submit(command);
        async move {
            answer.await.map_err(|error| match error {
                SubmitError::NotLeader { .. } | SubmitError::Lost | SubmitError::Stopped => {
                    ErrorCode::NOT_CONTROLLER
                }
                SubmitError::Busy => ErrorCode::REQUEST_TIMED_OUT,
            })
        }
    }

    /// Creates topics that a client used before anyone created them, with the cluster's defaults; an internal topic
    /// with the shape its coordinator wants. Returns those that were refused, with what the client is told.
    pub async fn auto_create(&self, names: Vec<Arc<str>>, wait: Duration) -> HashMap<Arc<str>, ErrorCode> {
        let topics = names.iter().map(|name| self.creatable(name)).collect();
        let timeout_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(timeout_ms);
        match tokio::time::timeout(wait, self.ask(Command::CreateTopics(request))).await {
            Ok(Ok(Answer::CreateTopics(response))) => refused(&response),
            Ok(Ok(_)) => unreachable!("an answer is of its command's kind"),
            // Retriable: the client asks again.
            Ok(Err(_)) | Err(_) => {
                names.into_iter().map(|name| (name, ErrorCode::LEADER_NOT_AVAILABLE)).collect()
            }
        }
    }

    fn creatable(&self, name: &str) -> CreatableTopic {
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(-1)
            .with_replication_factor(-1);
        if name != OFFSETS_TOPIC {
            return topic;
        }
        let config = |(name, value): (&'static str, String)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
        };
        topic
            .with_num_partitions(self.offsets_topic.partitions)
            .with_replication_factor(self.offsets_topic.replication_factor)
            .with_configs(self.offsets_topic.configs().into_iter().map(config).collect())
    }
}

fn refused(response: &CreateTopicsResponse) -> HashMap<Arc<str>, ErrorCode> {
    let mut refused = HashMap::new();
    for topic in &response.topics {
        let code = ErrorCode(topic.error_code);
        // Somebody else was faster.
        if code.is_ok() || code == ErrorCode::TOPIC_ALREADY_EXISTS {
            continue;
        }
        let name: Arc<str> = topic.name.as_str().into();
        warn!(
            "Auto topic creation of {name} failed: {code}{}",
            topic.error_message.as_ref().map_or(String::new(), |m| format!(": {}", m.as_str()))
        );
        refused.insert(name, told_to_client(code));
    }
    refused
}

/// What Metadata may say of a topic that could not be created.
fn told_to_client(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::INVALID_TOPIC_EXCEPTION | ErrorCode::INVALID_REPLICATION_FACTOR => code,
        ErrorCode::NOT_CONTROLLER | ErrorCode::REQUEST_TIMED_OUT => ErrorCode::LEADER_NOT_AVAILABLE,
        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}
