//! The controller as it is, or with a planted fault around it.

use std::cell::{Cell, RefCell};

use ottla_controller::{Answer, Command, Controller, Soft, State};
use ottla_machine::{Ctx, Decision, Machine, Token};
use ottla_metadata::Fact;
use ottla_protocol::{
    messages::AlterPartitionRequest,
    persisted::metadata::{MetadataRecord, PartitionChangeRecord},
};
use ottla_types::{ErrorCode, Millis, NO_LEADER, NodeId, TopicId};

use crate::Fault;

thread_local! {
    /// A simulation runs on one thread; the machine's functions have no place of their own for it.
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static DECIDED: RefCell<Vec<Fact>> = const { RefCell::new(Vec::new()) };
}

/// What was decided since this was asked last.
pub(crate) fn take_decided() -> Vec<Fact> {
    DECIDED.take()
}

/// Plants a fault in the controllers of this thread.
pub(crate) fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// [`Controller`], decisions tampered with where a fault is planted.
#[derive(Debug)]
pub(crate) struct Faulty;

impl Machine for Faulty {
    type State = State;
    type Soft = Soft;
    type Command = Command;
    type Record = Fact;
    type Answer = Answer;

    fn take_office(state: &State, now: Millis) -> Soft {
        Controller::take_office(state, now)
    }

    fn decide(
        state: &State,
        soft: &mut Soft,
        ctx: &mut Ctx<'_>,
        from: Token,
        command: Command,
    ) -> Decision<Fact, Answer> {
        let wanted = match (&command, PLANTED.get()) {
            (Command::AlterPartition(request), Some(Fault::FencedIntoIsr)) => Some(request.clone()),
            _ => None,
        };
        let decision = Controller::decide(state, soft, ctx, from, command);
        if PLANTED.get() == Some(Fault::ApplyUncommitted) {
            DECIDED.set(decision.records.clone());
        }
        match wanted {
            Some(request) => take_anybody(state, &request, decision),
            None if PLANTED.get() == Some(Fault::UncleanWhereForbidden) => elect_anybody(state, decision),
            None if PLANTED.get() == Some(Fault::ForgetEligible) => forget_eligible(decision),
            None => decision,
        }
    }

    fn apply(state: &mut State, record: &Fact) {
        Controller::apply(state, record);
    }

    fn deadline(soft: &Soft) -> Option<Millis> {
        Controller::deadline(soft)
    }

    fn due(state: &State, soft: &mut Soft, now: Millis) -> Vec<Command> {
        Controller::due(state, soft, now)
    }
}

/// Elects whoever is up where nobody may lead.
fn elect_anybody(state: &State, mut decision: Decision<Fact, Answer>) -> Decision<Fact, Answer> {
    for fact in &mut decision.records {
        let Some(MetadataRecord::PartitionChange(record)) = fact.record() else { continue };
        let old = state.image.partition_by_id(TopicId(record.topic_id), record.partition_id);
        let (Some(old), NO_LEADER) = (old, record.leader) else { continue };
        let is_up = |node: &&NodeId| {
            **node != old.leader && state.image.broker(**node).is_some_and(|it| it.is_active())
        };
        let Some(anybody) = old.replicas.iter().find(is_up) else { continue };
        let record = PartitionChangeRecord {
            leader: *anybody,
            isr: Some(vec![*anybody]),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            leader_recovery_state: 1,
            ..record.clone()
        };
        *fact = Fact::at_level(record, 33);
    }
    decision
}

/// Leaves nobody eligible where nobody leads.
fn forget_eligible(mut decision: Decision<Fact, Answer>) -> Decision<Fact, Answer> {
    for fact in &mut decision.records {
        let Some(MetadataRecord::PartitionChange(record)) = fact.record() else { continue };
        if record.leader == NO_LEADER && record.eligible_leader_replicas.is_some() {
            let record =
                PartitionChangeRecord { eligible_leader_replicas: Some(Vec::new()), ..record.clone() };
            *fact = Fact::at_level(record, 33);
        }
    }
    decision
}

/// Grants what was refused because a broker is not fit.
fn take_anybody(
    state: &State,
    request: &AlterPartitionRequest,
    mut decision: Decision<Fact, Answer>,
) -> Decision<Fact, Answer> {
    for (_, answer) in &mut decision.answers {
        let Answer::AlterPartition(answer) = answer else { continue };
        for (topic, told) in request.topics.iter().zip(&mut answer.topics) {
            for (wanted, told) in topic.partitions.iter().zip(&mut told.partitions) {
                let Some(old) = state.image.partition_by_id(TopicId(topic.topic_id), wanted.partition_index)
                else {
                    continue;
                };
                if told.error_code != ErrorCode::INELIGIBLE_REPLICA.0 {
                    continue;
                }
                let isr: Vec<_> = wanted.new_isr_with_epochs.iter().map(|member| member.broker_id).collect();
                let record = PartitionChangeRecord {
                    partition_id: wanted.partition_index,
                    topic_id: topic.topic_id,
                    isr: Some(isr.iter().map(|id| id.0).collect()),
                    leader: -2,
                    leader_recovery_state: -1,
                    ..Default::default()
                };
                decision.records.push(Fact::at_level(record, 33));
                told.error_code = 0;
                told.leader_epoch = old.leader_epoch;
                told.partition_epoch = old.partition_epoch + 1;
                told.isr = isr;
            }
        }
    }
    decision
}
