//! The way to the active controller.
//!
//! On a node that is the active controller a command goes straight to the quorum's driver. Everywhere else the same
//! request goes to it over the controller listener: as it is when this broker asks for itself, in an Envelope when it
//! passes on what a client asks (KIP-590). When the one asked is not the active controller, whoever is gets asked, until
//! the time is up.
//!
//! What an answer says was done has been committed and is in effect on this node, so that a topic can be used when its
//! creation is answered.

mod effect;
mod pass_on;
mod remote;
mod wire;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use ottla_controller::{Answer, Command};
use ottla_coordinator::{OFFSETS_TOPIC, OffsetsTopic};
use ottla_metadata::ImageCell;
use ottla_net::peer::PeerOptions;
use ottla_protocol::{
    StrBytes,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
};
use ottla_raft::SubmitError;
use ottla_types::{ErrorCode, NodeId};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::warn;

use crate::{Quorum, RequestContext};
use remote::{Attempt, Remote};
use wire::Lane;

/// Where a controller listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerAddress {
    /// Its node id.
    pub id: NodeId,
    /// The host of its controller listener.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

/// What leads to the active controller.
pub struct Ways {
    /// This node.
    pub node_id: NodeId,
    /// This node's own member of the quorum, if it has one.
    pub quorum: Option<Arc<dyn Quorum>>,
    /// The active controller, when it is another node.
    pub leader: watch::Receiver<Option<ControllerAddress>>,
    /// How others are talked to. `request_timeout` bounds one attempt.
    pub peers: PeerOptions,
    /// What this node has applied.
    pub image: Arc<ImageCell>,
    /// The quorum's own feature.
    pub kraft_version: KRaftVersion,
}

/// Tells the quorum's `kraft.version`, as far as this node knows: raft keeps it, in no record of the metadata image.
pub type KRaftVersion = Arc<dyn Fn() -> i16 + Send + Sync>;

/// Hands commands to the active controller.
pub struct Controllers {
    inner: Arc<Inner>,
    offsets_topic: OffsetsTopic,
}

struct Inner {
    ways: Ways,
    remote: Remote,
}

/// On whose behalf a request is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asker {
    /// The version the client asked in, and will be answered in.
    version: i16,
    client_id: Option<Arc<str>>,
    principal: Arc<str>,
    address: IpAddr,
}

impl Asker {
    fn of(ctx: &RequestContext) -> Self {
        Self {
            version: ctx.api_version,
            client_id: ctx.client_id.as_ref().map(|id| Arc::from(id.as_str())),
            principal: ctx.principal.clone().unwrap_or_else(|| "User:ANONYMOUS".into()),
            address: ctx.peer.ip(),
        }
    }
}

/// How long the keeping alive of a broker is tried before its caller decides anew.
const LIFE_PATIENCE: Duration = Duration::from_secs(2);
/// How long all else is tried; clients' requests have limits of their own, usually shorter.
const PATIENCE: Duration = Duration::from_secs(30);
/// Wait before the next attempt when there is no news of who leads.
const RETRY: Duration = Duration::from_millis(20);
/// How long an answer is held back for the change to take effect here.
const EFFECT: Duration = Duration::from_secs(1);

impl Controllers {
    /// These ways; `offsets_topic` is how the topic of group offsets is created when it is first needed.
    #[must_use]
    pub fn new(ways: Ways, offsets_topic: OffsetsTopic) -> Self {
        let remote = Remote::new(ways.peers.clone());
        Self { inner: Arc::new(Inner { ways, remote }), offsets_topic }
    }

    /// Who is the active controller, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.leader()
    }

    /// The quorum's `kraft.version`, as far as this node knows.
    #[must_use]
    pub fn kraft_version(&self) -> KRaftVersion {
        self.inner.ways.kraft_version.clone()
    }

    /// Hands a command over for this broker itself. See [`ask_for`](Self::ask_for).
    ///
    /// # Errors
    /// As [`ask_for`](Self::ask_for).
    pub fn ask(&self, command: Command) -> impl Future<Output = Result<Answer, ErrorCode>> + Send + use<> {
        self.hand_over(command, None)
    }

    /// Hands a command over on behalf of who asked this node. When this node is the active controller it is taken up
    /// now, in the order of the calls, and carried out whether or not the future is polled. The future is its answer,
    /// given when what it changed is durable and in effect here.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when no active controller was found in time, `REQUEST_TIMED_OUT` when it has too much to do.
    pub fn ask_for(
        &self,
        ctx: &RequestContext,
        command: Command,
    ) -> impl Future<Output = Result<Answer, ErrorCode>> + Send + use<> {
        let asker = Asker::of(ctx);
        self.hand_over(command, Some(asker))
    }

    fn hand_over(
        &self,
        command: Command,
        asker: Option<Asker>,
    ) -> impl Future<Output = Result<Answer, ErrorCode>> + Send + use<> {
        let inner = self.inner.clone();
        // Now, so that the order of the calls is kept.
        let here = inner.quorum_in_office().map(|quorum| quorum.submit(command.clone()));
        async move {
            if let Some(here) = here
                && let Some(answer) = decided(here.await)
            {
                return answer;
            }
            inner.look_for_answer(&command, asker.as_ref()).await
        }
    }

    /// Closes the connections to other controllers: what they know of this broker by its connection ends too.
    pub fn close(&self) {
        self.inner.remote.close();
    }
}

/// The answer, unless another controller should be asked.
fn decided(answer: Result<Answer, SubmitError>) -> Option<Result<Answer, ErrorCode>> {
    match answer {
        Ok(answer) => Some(Ok(answer)),
        Err(SubmitError::Busy) => Some(Err(ErrorCode::REQUEST_TIMED_OUT)),
        Err(SubmitError::Stopped) => Some(Err(ErrorCode::NOT_CONTROLLER)),
        Err(SubmitError::NotLeader { .. } | SubmitError::Lost) => None,
    }
}

impl Inner {
    fn quorum_in_office(&self) -> Option<&Arc<dyn Quorum>> {
        self.ways.quorum.as_ref().filter(|quorum| quorum.status().borrow().in_office)
    }

    fn leader(&self) -> Option<NodeId> {
        match &self.ways.quorum {
            Some(quorum) => quorum.status().borrow().leader,
            None => self.ways.leader.borrow().as_ref().map(|leader| leader.id),
        }
    }

    async fn look_for_answer(&self, command: &Command, asker: Option<&Asker>) -> Result<Answer, ErrorCode> {
        let patience = if wire::lane(command) == Some(Lane::Life) { LIFE_PATIENCE } else { PATIENCE };
        let deadline = Instant::now() + patience;
        let mut leader = self.ways.leader.clone();
        let mut status = self.ways.quorum.as_ref().map(|quorum| quorum.status());
        loop {
            let at = leader.borrow_and_update().clone();
            if let Some(status) = &mut status {
                status.borrow_and_update();
            }
            if let Some(quorum) = self.quorum_in_office() {
                if let Some(answer) = decided(quorum.submit(command.clone()).await) {
                    return answer;
                }
            } else if let Some(at) = at.filter(|at| at.id != self.ways.node_id) {
                let attempt = timeout_at(deadline, self.remote.attempt(&at, command, asker)).await;
                match attempt.map_err(|_| ErrorCode::REQUEST_TIMED_OUT)? {
                    Attempt::Answered(answer) => {
                        self.await_effect(command, &answer).await;
                        return Ok(*answer);
                    }
                    Attempt::Refused(code) => return Err(code),
                    Attempt::Elsewhere => {}
                }
            }
            let news = async {
                tokio::select! {
                    // An error says that nobody will tell any more.
                    Ok(()) = leader.changed() => {}
                    Some(Ok(())) = changed(status.as_mut()) => {}
                    () = sleep(RETRY) => {}
                }
            };
            timeout_at(deadline, news).await.map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        }
    }

    /// Holds an answer back until this node has applied what it says, a while at most.
    async fn await_effect(&self, command: &Command, answer: &Answer) {
        let mut watch = self.ways.image.watch();
        let _ = timeout(EFFECT, watch.until(|image| effect::in_effect(image, command, answer))).await;
    }
}

async fn changed<T>(watch: Option<&mut watch::Receiver<T>>) -> Option<Result<(), watch::error::RecvError>> {
    Some(watch?.changed().await)
}

impl Controllers {
    /// Creates topics that a client used before anyone created them, with the cluster's defaults; an internal topic
    /// with the shape its coordinator wants. Returns those that were refused, with what the client is told.
    pub async fn auto_create(&self, names: Vec<Arc<str>>, wait: Duration) -> HashMap<Arc<str>, ErrorCode> {
        let topics = names.iter().map(|name| self.creatable(name)).collect();
        let timeout_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(timeout_ms);
        match timeout(wait, self.ask(Command::CreateTopics(request))).await {
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
