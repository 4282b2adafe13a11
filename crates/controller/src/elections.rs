//! Elections: asked for by operators (KIP-183, KIP-460), and those that happen by themselves.

use std::sync::Arc;

use ottla_metadata::{Partition, Topic};
use ottla_protocol::messages::{
    ElectLeadersRequest, ElectLeadersResponse, TopicName,
    elect_leaders_response::{PartitionResult, ReplicaElectionResult},
};
use ottla_types::{ApiError, ErrorCode};

use crate::{Turn, brokers::Timer, leadership::Election, partitions::touched, text};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// Elections that one decision holds when nobody asked for them.
const AT_ONCE: usize = 1_000;

impl Turn<'_, '_> {
    pub(crate) fn elect_leaders(&mut self, request: &ElectLeadersRequest) -> ElectLeadersResponse {
        let election = match request.election_type {
            PREFERRED => Ok(Election::Preferred),
            UNCLEAN => Ok(Election::Unclean),
            other => {
                let why = format!("Unknown election type {other}");
                Err(ApiError::new(ErrorCode::INVALID_REQUEST, why))
            }
        };
        let mut response = ElectLeadersResponse::default();
        if let Err(error) = &election {
            response.error_code = error.code.0;
        }
        let Some(wanted) = &request.topic_partitions else {
            if let Ok(election) = election {
                response.replica_election_results = self.elect_everywhere(election);
            }
            return response;
        };
        for topic in wanted {
            let mut results = Vec::with_capacity(topic.partitions.len());
            for index in &topic.partitions {
                let elected =
                    election.clone().and_then(|election| self.elect(&topic.topic, *index, election));
                results.push(result(*index, elected));
            }
            response.replica_election_results.push(
                ReplicaElectionResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partition_result(results),
            );
        }
        response
    }

    /// All partitions. Those that have the leader they should have are not told of.
    fn elect_everywhere(&mut self, election: Election) -> Vec<ReplicaElectionResult> {
        let mut results = Vec::new();
        for topic in touched(&self.state.image, &|_| true) {
            let mut told = Vec::new();
            for (index, _) in topic.iter() {
                let elected = self.elect_one(topic, index, election);
                if elected.as_ref().is_err_and(|error| error.code == ErrorCode::ELECTION_NOT_NEEDED) {
                    continue;
                }
                told.push(result(index, elected));
            }
            let name = TopicName(text(&topic.name));
            results.push(ReplicaElectionResult::default().with_topic(name).with_partition_result(told));
        }
        results
    }

    fn elect(&mut self, topic: &str, index: i32, election: Election) -> Result<(), ApiError> {
        let unknown = |why: String| ApiError::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why);
        let known = self.image().topic(topic).cloned();
        let known = known.ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
        if known.partition(index).is_none() {
            return Err(unknown(format!("No such partition as {topic}-{index}")));
        }
        self.elect_one(&known, index, election)
    }

    fn elect_one(&mut self, topic: &Arc<Topic>, index: i32, election: Election) -> Result<(), ApiError> {
        let partition = self.partition(topic, index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let done = match election {
            Election::Preferred => partition.leader == partition.preferred_replica(),
            _ => partition.has_leader(),
        };
        if done {
            let why = "Leader election not needed for topic partition.";
            return Err(ApiError::new(ErrorCode::ELECTION_NOT_NEEDED, why));
        }
        if self.change(topic, index, |change| change.election = election).is_some() {
            return Ok(());
        }
        Err(if election == Election::Preferred {
            ApiError::new(
                ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
                "The preferred leader was not available.",
            )
        } else {
            let why = "Eligible topic partition leaders are not available.";
            ApiError::new(ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, why)
        })
    }

    /// Gives leadership back to preferred replicas that are in sync.
    pub(crate) fn balance(&mut self) {
        let imbalanced = |partition: &Partition| partition.leader != partition.preferred_replica();
        let more = self.elect_where(&imbalanced, Election::Preferred);
        self.plan_balance(more);
    }

    /// Elects leaders where there is none and the topic would rather lose records than wait.
    pub(crate) fn elect_leaderless(&mut self) {
        let more = self.elect_where(&|partition| !partition.has_leader(), Election::Unclean);
        self.plan_leaderless(more);
    }

    /// Whether there may be more to elect.
    fn elect_where(&mut self, which: &dyn Fn(&Partition) -> bool, election: Election) -> bool {
        let before = self.facts.len();
        for topic in touched(&self.state.image, which) {
            if election == Election::Unclean && !self.rules(topic).unclean_election {
                continue;
            }
            for (index, _) in topic.iter().filter(|(_, partition)| which(partition)) {
                if self.facts.len() - before >= AT_ONCE {
                    return true;
                }
                self.change(topic, index, |change| change.election = election);
            }
        }
        false
    }

    /// Sets the time of the next look at preferred leaders.
    pub(crate) fn plan_balance(&mut self, now: bool) {
        let layers = self.state.layers();
        if layers.flag("auto.leader.rebalance.enable") {
            let seconds = layers.number("leader.imbalance.check.interval.seconds");
            self.set_timer(Timer::Balance, now, seconds.saturating_mul(1000));
        }
    }

    /// Sets the time of the next look at partitions without a leader.
    pub(crate) fn plan_leaderless(&mut self, now: bool) {
        let interval = self.state.layers().number("unclean.leader.election.interval.ms");
        self.set_timer(Timer::Leaderless, now, interval);
    }

    fn set_timer(&mut self, timer: Timer, now: bool, interval_ms: i64) {
        let at = if now { self.ctx.now } else { self.ctx.now.plus(interval_ms) };
        self.soft.timers.set(timer, at);
    }
}

fn result(index: i32, elected: Result<(), ApiError>) -> PartitionResult {
    let result = PartitionResult::default().with_partition_id(index).with_error_message(None);
    match elected {
        Ok(()) => result,
        Err(error) => {
            result.with_error_code(error.code.0).with_error_message(error.message.as_deref().map(text))
        }
    }
}
