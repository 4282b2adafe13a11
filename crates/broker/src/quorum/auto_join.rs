//! `controller.quorum.auto.join.enable` (KIP-1186): a controller that follows the quorum and does not vote asks its
//! leader for a vote, after it has had the vote of its older incarnation taken away: its own node id on another disk.

use std::{collections::HashMap, time::Duration};

use ottla_controller::Controller;
use ottla_net::peer::{Peer, PeerError};
use ottla_protocol::{
    StrBytes,
    messages::{AddRaftVoterRequest, RemoveRaftVoterRequest, add_raft_voter_request::Listener},
};
use ottla_raft::{Handle, QuorumView};
use ottla_types::{ErrorCode, NodeId};
use tracing::{debug, info};
use uuid::Uuid;

use super::transport::{Identity, options, place};

/// The shortest time between two questions, in milliseconds: as short as silence that begins an election.
const MIN_PERIOD_MS: i32 = 80;

/// How often it is asked, and how long the leader may take over it.
pub(super) struct Pace {
    period: Duration,
    timeout_ms: i32,
}

impl Pace {
    /// `fetch_timeout_ms` is `controller.quorum.fetch.timeout.ms`, which may be 0: time to follow first, and between two
    /// questions. `timeout_ms` is `controller.quorum.request.timeout.ms`.
    pub(super) fn new(fetch_timeout_ms: i32, timeout_ms: i32) -> Self {
        let period = u64::from(fetch_timeout_ms.max(MIN_PERIOD_MS).unsigned_abs());
        Self { period: Duration::from_millis(period), timeout_ms }
    }
}

/// What is to be asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The voter with this node's id and this directory is no more.
    Remove(Uuid),
    /// This node's vote.
    Add,
}

/// The next step of a node, by what it knows of the quorum. `None` where it votes, where voters are static, and where
/// nobody leads.
fn step(quorum: &QuorumView, node_id: NodeId, directory_id: Uuid) -> Option<Step> {
    let elsewhere = quorum.leader.is_some_and(|leader| leader != node_id);
    if quorum.kraft_version == 0 || !elsewhere {
        return None;
    }
    match quorum.voters.iter().find(|voter| voter.id == node_id) {
        Some(voter) if voter.directory_id == directory_id => None,
        Some(older) => Some(Step::Remove(older.directory_id)),
        None => Some(Step::Add),
    }
}

/// Asks for this node's vote whenever it has none, until the quorum's driver stops.
pub(super) async fn join(identity: Identity, quorum: Handle<Controller>, pace: Pace) {
    let mut peers: HashMap<(String, u16), Peer> = HashMap::new();
    let status = quorum.status();
    loop {
        tokio::time::sleep(pace.period).await;
        if status.has_changed().is_err() {
            return;
        }
        let view = quorum.quorum();
        let Some(step) = step(&view, identity.node_id, identity.directory_id) else {
            // Where it votes nothing is asked for a long time.
            peers.clear();
            continue;
        };
        let leads = view.voters.iter().find(|voter| Some(voter.id) == view.leader);
        let Some(at) = leads.and_then(|voter| place(&voter.endpoints, &identity)) else { continue };
        let at = (at.host.to_string(), at.port);
        peers.retain(|known, _| *known == at);
        let peer =
            peers.entry(at).or_insert_with_key(|(host, port)| Peer::new(host, *port, options(&identity)));
        match ask(peer, &identity, step, pace.timeout_ms).await {
            Ok((ErrorCode::NONE, _)) => info!("{}", done(step)),
            Ok((code, why)) => debug!("This controller is not let into the quorum yet: {code} {why}"),
            Err(error) => debug!("The leader of the quorum cannot be asked for a vote: {error}"),
        }
    }
}

fn done(step: Step) -> &'static str {
    match step {
        Step::Remove(_) => "The vote of this controller's older incarnation was taken away, as it asked",
        Step::Add => "This controller asked for a vote, and the quorum's leader lets it in",
    }
}

async fn ask(
    peer: &Peer,
    identity: &Identity,
    step: Step,
    timeout_ms: i32,
) -> Result<(ErrorCode, String), PeerError> {
    let cluster_id = Some(StrBytes::from_string(identity.cluster_id.to_string()));
    let (code, why) = match step {
        Step::Remove(directory) => {
            let request = RemoveRaftVoterRequest::default()
                .with_cluster_id(cluster_id)
                .with_voter_id(identity.node_id)
                .with_voter_directory_id(directory);
            let (_, answer) = peer.ask::<RemoveRaftVoterRequest>(0..=0, |_| request).await?;
            (answer.error_code, answer.error_message)
        }
        Step::Add => {
            let listener = |at: &ottla_raft::VoterEndpoint| {
                Listener::default()
                    .with_name(StrBytes::from_string(at.name.to_string()))
                    .with_host(StrBytes::from_string(at.host.to_string()))
                    .with_port(at.port)
            };
            let request = AddRaftVoterRequest::default()
                .with_cluster_id(cluster_id)
                .with_timeout_ms(timeout_ms)
                .with_voter_id(identity.node_id)
                .with_voter_directory_id(identity.directory_id)
                .with_listeners(identity.endpoints.iter().map(listener).collect())
                .with_ack_when_committed(false);
            // Version 1 may be answered before the vote is committed.
            let (_, answer) = peer.ask::<AddRaftVoterRequest>(1..=1, |_| request).await?;
            (answer.error_code, answer.error_message)
        }
    };
    Ok((ErrorCode(code), why.map(|why| why.to_string()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use ottla_raft::ReplicaView;
    use ottla_types::Millis;

    use super::*;

    fn quorum(kraft_version: i16, voters: &[(NodeId, u128)]) -> QuorumView {
        let voter = |(id, directory): &(NodeId, u128)| ReplicaView {
            id: *id,
            directory_id: Uuid::from_u128(*directory),
            log_end: -1,
            last_fetch: Millis(-1),
            last_caught_up: Millis(-1),
            endpoints: Vec::new(),
        };
        let voters = voters.iter().map(voter).collect();
        QuorumView { leader: Some(1), kraft_version, voters, ..QuorumView::default() }
    }

    #[test]
    fn the_older_incarnation_goes_before_the_new_one_comes() {
        let next = |quorum: &QuorumView| step(quorum, 3, Uuid::from_u128(30));
        assert_eq!(next(&quorum(1, &[(1, 10), (3, 29)])), Some(Step::Remove(Uuid::from_u128(29))));
        assert_eq!(next(&quorum(1, &[(1, 10), (2, 20)])), Some(Step::Add));
        assert_eq!(next(&quorum(1, &[(1, 10), (3, 30)])), None, "it votes");
    }

    #[test]
    fn there_is_a_pause_between_two_questions() {
        let period = |fetch_timeout_ms| Pace::new(fetch_timeout_ms, 1000).period.as_millis();
        assert_eq!([0, 79, 81, 2000].map(period), [80, 80, 81, 2000]);
    }

    #[test]
    fn nothing_is_asked_of_static_voters_or_of_nobody() {
        let next = |quorum: &QuorumView| step(quorum, 3, Uuid::from_u128(30));
        assert_eq!(next(&quorum(0, &[(1, 0)])), None);
        assert_eq!(next(&QuorumView { leader: None, ..quorum(1, &[(1, 10)]) }), None);
        assert_eq!(next(&QuorumView { leader: Some(3), ..quorum(1, &[(1, 10)]) }), None);
        assert_eq!(next(&QuorumView::default()), None, "it knows of no quorum yet");
    }
}
