//! One member of a classic group.

use std::sync::Arc;

use bytes::Bytes;
use ottla_machine::Token;

use crate::{JoinGroup, MemberSnapshot, Protocol};

/// A member, and who of it is waiting for an answer.
#[derive(Clone, Debug)]
pub struct Member {
    /// Given by the coordinator.
    pub id: Arc<str>,
    /// Given by the operator, for a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it joined from.
    pub client_host: Arc<str>,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it offers, in order of preference.
    pub protocols: Vec<Protocol>,
    /// What the leader gave it in the last settled generation.
    pub assignment: Bytes,
    /// Its join that waits.
    pub(super) join: Option<Token>,
    /// Its sync that waits.
    pub(super) sync: Option<Token>,
    /// It has never been told a generation, so its join has a deadline of its own.
    pub(super) is_new: bool,
}

impl Member {
    /// A member that joins for the first time.
    pub(super) fn joining(id: Arc<str>, join: JoinGroup, token: Token) -> Self {
        Self {
            id,
            instance_id: join.group_instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            join: Some(token),
            sync: None,
            is_new: true,
        }
    }

    /// A member as the log has it: of its protocols only the chosen one is known.
    pub(super) fn restore(snapshot: &MemberSnapshot, protocol: &Arc<str>) -> Self {
        Self {
            id: snapshot.member_id.clone(),
            instance_id: snapshot.group_instance_id.clone(),
            client_id: snapshot.client_id.clone(),
            client_host: snapshot.client_host.clone(),
            rebalance_timeout_ms: snapshot.rebalance_timeout_ms,
            session_timeout_ms: snapshot.session_timeout_ms,
            protocols: vec![Protocol { name: protocol.clone(), metadata: snapshot.subscription.clone() }],
            assignment: snapshot.assignment.clone(),
            join: None,
            sync: None,
            is_new: false,
        }
    }

    /// What it offers under `protocol`.
    #[must_use]
    pub fn metadata(&self, protocol: &str) -> Option<Bytes> {
        self.protocols.iter().find(|offer| &*offer.name == protocol).map(|offer| offer.metadata.clone())
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    /// Its silence means nothing while it waits for us. A new member's join is the exception: it may be long gone.
    pub(super) fn may_be_silent(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}
