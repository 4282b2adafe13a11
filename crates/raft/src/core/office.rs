//! Terms of office: opened, lost, handed over.

use ottla_machine::{Ctx, Machine};

use super::Core;
use crate::{Fault, SubmitError, control};

impl<M: Machine> Core<M> {
    /// Opens a term that was won; leaves office when the term was lost.
    pub(super) fn change_office(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Fault> {
        let term = self.raw.raft.term;
        let leads = self.leads();
        if self.machine.in_office() && (!leads || self.opened != term) {
            tracing::info!(
                "[RaftManager id={}] Resigned as leader of the metadata quorum",
                self.options.node_id
            );
            self.machine.leave_office();
            self.refuse_waiting(SubmitError::Lost);
        }
        if !leads {
            self.abandon_changes();
        }
        if leads && self.opened != term {
            self.open_term(term, ctx)?;
        }
        if self.leaving && leads {
            self.hand_over();
        }
        Ok(())
    }

    /// Proposes the term's control batch. Where the log holds nothing that is not applied (always so for a lone voter),
    /// the committed state is all there is, and office is taken at once: the first decisions share the write with the
    /// election. Otherwise it is taken when the control batch is applied.
    fn open_term(&mut self, term: u64, ctx: &mut Ctx<'_>) -> Result<(), Fault> {
        let all_applied = self.raw.store().last() == self.applied.0;
        let first = self.log.end() == 0;
        let batch = control::election(self.options.node_id, &self.quorum, first, ctx.wall);
        if self.raw.propose(Vec::new(), batch.to_vec()).is_err() {
            // Refused for now; asked again next turn.
            return Ok(());
        }
        self.opened = term;
        self.begin_hearing(ctx);
        if all_applied {
            self.enter_office(ctx.now);
            self.accept_batch(&batch)?;
        }
        Ok(())
    }

    pub(super) fn enter_office(&mut self, now: ottla_types::Millis) {
        let (id, term) = (self.options.node_id, self.raw.raft.term);
        tracing::info!("[RaftManager id={id}] Became leader of the metadata quorum in epoch {term}");
        self.machine.take_office(now);
    }

    /// Stops deciding and, if there is another voter that is up to date, makes it the leader. The core goes on until it
    /// is stopped, but does not lead again.
    pub fn resign(&mut self) {
        self.leaving = true;
    }

    /// Whether whoever stops this member now takes no leader away.
    #[must_use]
    pub fn has_resigned(&self) -> bool {
        self.leaving && (!self.leads() || self.successor().is_none())
    }

    /// The other voter whose log goes furthest, of those that are heard.
    pub(super) fn successor(&self) -> Option<u64> {
        let tracker = self.raw.raft.prs();
        self.conf()
            .voters
            .iter()
            .filter(|id| **id != self.name)
            .filter_map(|id| tracker.get(*id).map(|progress| (progress.matched, *id)))
            .filter(|(_, id)| tracker.get(*id).is_some_and(|progress| progress.recent_active))
            .max()
            .map(|(_, id)| id)
    }

    fn hand_over(&mut self) {
        if self.raw.raft.lead_transferee.is_none()
            && let Some(to) = self.successor()
        {
            self.raw.transfer_leader(to);
        }
    }
}
