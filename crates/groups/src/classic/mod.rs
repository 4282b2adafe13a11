//! One group of the classic protocol: its members, its state, and the rules that move it.
//!
//! ```text
//!            join                 all joined, or time is up            leader's sync
//!   Empty ────────► PreparingRebalance ────────────────► CompletingRebalance ────────────► Stable
//!     ▲                │        ▲  ▲                            │                             │
//!     └────────────────┘        │  └────────────────────────────┘                             │
//!       nobody is left          └─────────────────────────────────────────────────────────────┘
//!                                 someone joins anew, leaves, falls silent, or does not sync
//! ```
//!
//! The rules are in one file each: [`join`], [`statics`], [`rebalance`], [`sync`], [`presence`] (heartbeats, leaving,
//! sessions). This file has what they all stand on, and nothing in it decides.

#[cfg(test)]
mod check;
mod join;
mod member;
mod presence;
mod rebalance;
mod statics;
mod subscription;
mod sync;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use ottla_types::ErrorCode;

pub use member::Member;
use rebalance::InitialDelay;
use statics::FormerSelf;

use crate::{GroupSnapshot, JoinedMember, MemberSnapshot, Protocol};

/// Where a group is in its life, with Kafka's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// No members; offsets, maybe.
    #[default]
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl State {
    /// The name Kafka's tools print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The protocol type of ordinary consumers; their subscriptions are understood as far as topics go.
pub(crate) const CONSUMER: &str = "consumer";

/// A group: everything about it but its offsets.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: Arc<str>,
    pub(crate) state: State,
    /// The state before this one: a join phase that comes from `Empty` has its own timing.
    previous: State,
    /// Wall clock of the last change of state; `None` for a group that has offsets only, or is from an old record.
    pub(crate) state_since_ms: Option<i64>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Instance id to member id (KIP-345).
    statics: HashMap<Arc<str>, Arc<str>>,
    /// How many members offer each protocol.
    offers: HashMap<Arc<str>, usize>,
    /// How many members wait for the join phase to end.
    joining: usize,
    /// Ids handed out to members that have not joined with them yet (KIP-394).
    pub(crate) pending_joins: BTreeSet<Arc<str>>,
    /// Members that were told the generation and have not synced yet.
    pending_syncs: BTreeSet<Arc<str>>,
    initial_delay: Option<InitialDelay>,
    /// Who came back under a new id that the log has not taken yet.
    former_self: Option<FormerSelf>,
    /// Topics that stable consumers read; `None` when that cannot be told.
    pub(crate) subscribed: Option<BTreeSet<Arc<str>>>,
}

impl ClassicGroup {
    /// A group nobody has joined.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: State::Empty,
            state_since_ms: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: HashMap::new(),
            offers: HashMap::new(),
            joining: 0,
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            initial_delay: None,
            former_self: None,
            subscribed: None,
        }
    }

    /// A group as the log has it: stable if it has members, else empty.
    pub(crate) fn restore(id: Arc<str>, snapshot: &GroupSnapshot) -> Self {
        let mut group = Self::new(id);
        group.generation = snapshot.generation;
        group.state_since_ms = snapshot.state_since_ms;
        group.protocol_type = Some(snapshot.protocol_type.clone()).filter(|kind| !kind.is_empty());
        group.protocol.clone_from(&snapshot.protocol);
        let protocol = snapshot.protocol.clone().unwrap_or_default();
        for member in &snapshot.members {
            group.insert(Member::restore(member, &protocol));
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
            group.previous = State::Stable;
            group.leader = snapshot.leader.clone().filter(|leader| group.members.contains_key(leader));
            group.leader = group.leader.or_else(|| group.members.keys().next().cloned());
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// The picture of the group that is logged.
    pub(crate) fn snapshot(&self) -> GroupSnapshot {
        let picture = |member: &Member| MemberSnapshot {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: self.subscription(member),
            assignment: member.assignment.clone(),
        };
        GroupSnapshot {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: self.state_since_ms,
            members: self.members.values().map(picture).collect(),
        }
    }

    pub(crate) fn leader(&self) -> Arc<str> {
        self.leader.clone().unwrap_or_default()
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Members that are in the group or may come with an id that was handed out.
    pub(crate) fn is_deserted(&self) -> bool {
        self.state == State::Empty && self.members.is_empty() && self.pending_joins.is_empty()
    }

    /// The longest rebalance timeout of all members, in milliseconds.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    fn all_have_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending_joins.is_empty()
    }

    /// What `member` tells the leader under the chosen protocol.
    pub(crate) fn subscription(&self, member: &Member) -> Bytes {
        self.protocol.as_ref().and_then(|protocol| member.metadata(protocol)).unwrap_or_default()
    }

    /// All members as the leader is told them.
    fn members_for_leader(&self) -> Vec<JoinedMember> {
        let tell = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: self.subscription(member),
        };
        self.members.values().map(tell).collect()
    }

    /// Whether `member_id` is a member, and for a static one the member that its instance id stands for (KIP-345).
    pub(crate) fn validate_member(
        &self,
        member_id: &Arc<str>,
        instance_id: Option<&Arc<str>>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.statics.get(instance_id) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if current != member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// Whether a member with these protocols fits in: there must be one that every member offers.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|protocol| self.offers.get(&protocol.name).copied().unwrap_or(0) == everyone)
    }

    /// The protocol that every member offers and most prefer. A tie goes to the one that sorts first.
    fn choose_protocol(&self) -> Option<Arc<str>> {
        let everyone = self.members.len();
        let common = |protocol: &&Protocol| self.offers.get(&protocol.name).copied().unwrap_or(0) == everyone;
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|member| member.protocols.iter().find(common)) {
            *votes.entry(&vote.name).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// Adds a member. The first one gives the group its type and leads it.
    fn insert(&mut self, member: Member) {
        self.count_offers(&member.protocols, true);
        self.joining += usize::from(member.join.is_some());
        self.pending_joins.remove(&member.id);
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, or an id that was handed out. Someone else leads if it led.
    fn take(&mut self, member_id: &str) -> Option<Member> {
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        let member = self.members.remove(member_id)?;
        self.count_offers(&member.protocols, false);
        self.joining -= usize::from(member.join.is_some());
        if let Some(instance_id) = &member.instance_id
            && self.statics.get(instance_id) == Some(&member.id)
        {
            self.statics.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    fn count_offers(&mut self, protocols: &[Protocol], more: bool) {
        let distinct: BTreeSet<&Arc<str>> = protocols.iter().map(|protocol| &protocol.name).collect();
        for name in distinct {
            let count = self.offers.entry(name.clone()).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.offers.remove(name);
            }
        }
    }

    fn enter(&mut self, state: State, wall_ms: i64) {
        self.previous = self.state;
        self.state = state;
        self.state_since_ms = Some(wall_ms);
    }

    /// The topics that all members together read, if they are consumers and say it in the way consumers do.
    fn read_subscriptions(&self) -> Option<BTreeSet<Arc<str>>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&self.subscription(member))?);
        }
        Some(topics)
    }
}
