//! What is not believed. raft-rs ends the process when a message contradicts what a sound member could say; a message
//! comes from a network, so everything it relies on is looked at before.

use ottla_machine::Machine;
use raft::eraftpb::{ConfState, Entry, Message, MessageType};

use super::{Core, snapshots::parse_snapshot};
use crate::{
    Membership, checkpoint,
    recover::{batch_of, conf_change, restore},
};

/// Indexes above this are nobody's.
const MAX_INDEX: u64 = 1 << 62;
/// How far a term may be ahead of ours: more elections than a quorum sees in years.
const MAX_TERM_AHEAD: u64 = 1 << 24;

type Verdict = Result<(), String>;

fn ensure(holds: bool, why: &str) -> Verdict {
    if holds { Ok(()) } else { Err(why.into()) }
}

impl<M: Machine> Core<M> {
    pub(super) fn check(&self, message: &Message) -> Verdict {
        let kind = MessageType::from_i32(message.msg_type).ok_or("a type that is not known")?;
        ensure(message.to == self.name, "it is for another member")?;
        ensure(
            message.from != self.name && crate::node_of(message.from).is_some(),
            "its sender is no member",
        )?;
        ensure(message.term > 0 && message.term < i32::MAX.unsigned_abs().into(), "its term is no epoch")?;
        ensure(message.term <= self.raw.raft.term + MAX_TERM_AHEAD, "its term is absurdly high")?;
        let numbers =
            [message.index, message.commit, message.reject_hint, message.log_term, message.commit_term];
        ensure(numbers.iter().all(|number| *number < MAX_INDEX), "it holds absurd numbers")?;
        ensure(message.request_snapshot == 0, "it asks for a snapshot")?;
        match kind {
            MessageType::MsgAppend => self.check_append(message),
            MessageType::MsgHeartbeat => self.check_heartbeat(message),
            MessageType::MsgSnapshot => self.check_snapshot(message),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
                self.check_response(message)
            }
            MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse => {
                ensure(message.entries.is_empty(), "a vote with entries")?;
                ensure(message.context.len() <= 64, "a vote with a long context")
            }
            MessageType::MsgTimeoutNow => {
                ensure(message.term >= self.raw.raft.term, "it is of an older term")?;
                ensure(message.from == self.raw.raft.leader_id, "its sender does not lead")
            }
            _ => Err("no member sends that to another".into()),
        }
    }

    fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    fn check_append(&self, message: &Message) -> Verdict {
        self.check_leader(message)?;
        let before_the_log = message.log_term == 0 && message.index > self.last_index();
        ensure(!before_the_log && message.log_term <= message.term, "it follows an entry of no term")?;
        let mut before = (message.index, message.log_term);
        for entry in &message.entries {
            ensure(entry.index == before.0 + 1, "its entries do not follow each other")?;
            ensure(
                entry.term >= before.1 && entry.term <= message.term && entry.term > 0,
                "an entry's term",
            )?;
            before = (entry.index, entry.term);
            self.check_entry(entry)?;
        }
        Ok(())
    }

    /// A term has one leader.
    fn check_leader(&self, message: &Message) -> Verdict {
        let raft = &self.raw.raft;
        let rival =
            message.term == raft.term && raft.leader_id != raft::INVALID_ID && raft.leader_id != message.from;
        ensure(!rival, "another member leads in its term")
    }

    fn check_entry(&self, entry: &Entry) -> Verdict {
        ensure((0..=2).contains(&entry.entry_type), "an entry of a type that is not known")?;
        if entry.entry_type != 0 && !entry.data.is_empty() {
            let change = conf_change(entry).map_err(|fault| fault.to_string())?;
            let sound = change.changes.len() == 1 && change.changes[0].node_id != 0;
            ensure(sound && (0..=2).contains(&change.changes[0].change_type), "no change of one member")?;
        }
        let Some(batch) = batch_of(entry).map_err(|fault| fault.to_string())? else { return Ok(()) };
        batch.verify_crc().map_err(|error| error.to_string())?;
        crate::control::read(&batch, &mut Membership::default())?;
        (self.codec.decode)(&batch, super::epoch_of(entry.term)).map(drop)
    }

    fn check_heartbeat(&self, message: &Message) -> Verdict {
        self.check_leader(message)?;
        ensure(
            message.commit <= self.last_index(),
            "it commits what this member does not have (any more): if its disk was replaced or put back to an older \
             state, remove it from the quorum and add it again",
        )
    }

    fn check_snapshot(&self, message: &Message) -> Verdict {
        self.check_leader(message)?;
        let snapshot = message.snapshot.as_ref().ok_or("no snapshot is in it")?;
        let metadata = snapshot.metadata.as_ref().ok_or("a snapshot of nothing")?;
        ensure(metadata.index > 0 && metadata.index < MAX_INDEX, "a snapshot's index")?;
        ensure(metadata.term <= message.term, "a snapshot of a later term")?;
        check_conf_state(metadata.conf_state.as_ref().ok_or("a snapshot without members")?)?;
        let read = || {
            let (id, bytes) = parse_snapshot(&snapshot.data)?;
            let batches = checkpoint::parse(bytes)?;
            restore(&self.codec, self.machine.committed(), &mut Membership::default(), &batches, id)?;
            Ok::<_, crate::Fault>(id)
        };
        let id = read().map_err(|fault| fault.to_string())?;
        let behind = metadata.index > self.raw.raft.raft_log.committed && id.end_offset < self.log.end();
        ensure(id.end_offset >= 0 && !behind, "a snapshot that ends before this member's log")
    }

    /// What a follower says it has, a leader must have sent.
    fn check_response(&self, message: &Message) -> Verdict {
        if !self.leads() || message.term != self.raw.raft.term {
            return Ok(());
        }
        let last = self.last_index();
        ensure(message.index <= last && message.reject_hint <= last, "it has what was never sent to it")?;
        ensure(message.commit <= last, "it holds more for committed than there is")?;
        ensure(message.context.is_empty(), "a question that was not asked")
    }
}

fn check_conf_state(conf: &ConfState) -> Verdict {
    ensure(!conf.voters.is_empty(), "a quorum without voters")?;
    ensure(
        conf.voters_outgoing.is_empty() && conf.learners_next.is_empty(),
        "a quorum that is half changed",
    )?;
    let mut names: Vec<u64> = conf.voters.iter().chain(&conf.learners).copied().collect();
    ensure(names.len() <= 1000 && !names.contains(&0), "members without a name, or too many")?;
    names.sort_unstable();
    ensure(names.windows(2).all(|pair| pair[0] != pair[1]), "a member that is named twice")
}
