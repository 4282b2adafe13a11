//! A controller that follows nobody makes itself known, and says what is missing.

use std::{collections::HashMap, sync::Weak, time::Duration};

use ottla_controller::Controller;
use ottla_net::peer::Peer;
use ottla_protocol::messages::OttlaRaftRequest;
use ottla_raft::Handle;
use ottla_types::ErrorCode;
use tokio::{task::JoinSet, time::Instant};
use tracing::warn;

use super::{Inner, options, place, words};

/// How often a node that knows of no leader tells the others that it is there.
const ANNOUNCE: Duration = Duration::from_millis(300);
/// A quorum without a leader is complained of after this time, and then as often as that.
const LEADERLESS: Duration = Duration::from_secs(5);
const LEADERLESS_AGAIN: Duration = Duration::from_secs(30);

/// Whether somebody does not want this node; another code says that it spoke to itself.
fn is_refusal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::INCONSISTENT_CLUSTER_ID | ErrorCode::INVALID_VOTER_KEY | ErrorCode::VOTER_NOT_FOUND
    )
}

/// Says that there is no leader, and who could not be reached, when that lasts.
struct Complaint {
    since: Instant,
    next: Instant,
}

impl Complaint {
    fn new() -> Self {
        let now = Instant::now();
        Self { since: now, next: now + LEADERLESS }
    }

    fn consider(&mut self, silent: &[String]) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + LEADERLESS_AGAIN;
        let who = if silent.is_empty() { "none".to_owned() } else { silent.join(", ") };
        warn!(
            "No controller has been active for {} s, so nothing in the cluster can change: a majority of the voters must \
             run and reach each other. Controllers that cannot be reached from here: {who}",
            (now - self.since).as_secs()
        );
    }
}

/// While there is no leader: tells all nodes that may know one that this node is there, and where.
pub(super) async fn announce(lines: Weak<Inner>, quorum: Handle<Controller>) {
    let mut status = quorum.status();
    let mut peers: HashMap<(String, u16), Peer> = HashMap::new();
    let mut told = String::new();
    let mut complaint = Complaint::new();
    loop {
        if status.borrow().leader.is_some() {
            if status.wait_for(|status| status.leader.is_none()).await.is_err() {
                return;
            }
            complaint = Complaint::new();
        }
        let Some(lines) = lines.upgrade() else { return };
        let mut places = lines.bootstrap.clone();
        for known in lines.addresses.lock().values() {
            places.extend(place(known, &lines.identity).map(|at| (at.host.to_string(), at.port)));
        }
        places.sort_unstable();
        places.dedup();
        peers.retain(|place, _| places.contains(place));
        let mut asked = JoinSet::new();
        for place in places {
            let options = options(&lines.identity);
            let peer = peers.entry(place.clone());
            let peer = peer.or_insert_with_key(|(host, port)| Peer::new(host, *port, options)).clone();
            let request = lines.identity.request(quorum.name(), -1, Vec::new());
            // Whoever is there answers by raft's messages, or refuses.
            asked.spawn(async move {
                let answer = peer.ask::<OttlaRaftRequest>(0..=0, |_| request).await;
                (place, answer.ok().map(|(_, answer)| ErrorCode(answer.error_code)))
            });
        }
        drop(lines);
        let mut answers = asked.join_all().await;
        answers.sort();
        let name = |(host, port): &(String, u16)| format!("{host}:{port}");
        let silent = answers.iter().filter(|(_, code)| code.is_none()).map(|(place, _)| name(place));
        complaint.consider(&silent.collect::<Vec<_>>());
        let refusals =
            answers.iter().filter_map(|(place, code)| Some((place, code.filter(|code| is_refusal(*code))?)));
        let refusals = refusals.map(|(place, code)| format!("{}: {}", name(place), words(code)));
        let refusals = refusals.collect::<Vec<_>>().join("; ");
        if !refusals.is_empty() && refusals != told {
            warn!("This controller was refused: {refusals}");
        }
        told = refusals;
        tokio::time::sleep(ANNOUNCE).await;
    }
}
