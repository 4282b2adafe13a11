//! The network between everybody: loses, delays, and is cut, both ways or one way.
//!
//! Requests and their answers go over connections, as they do over TCP: in order, and where something is lost all that
//! follows is lost, too, until whoever opened the connection is told. What was sent before it broke may still arrive
//! after what is sent again: that is where duplicates and disorder come from. Raft's messages go one by one and are also
//! reordered and duplicated.

use std::collections::{BTreeMap, BTreeSet};

use crate::{chance::Rng, env::Addr};

#[derive(Debug, Default)]
pub(crate) struct Network {
    /// From whom to whom nothing goes.
    cut: BTreeSet<(Addr, Addr)>,
    /// In a thousand.
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// Messages that take much longer than others.
    pub(crate) stragglers: u64,
    /// Usual delays, in microseconds.
    pub(crate) delay: (i64, i64),
    /// By who opened it and to whom.
    connections: BTreeMap<(Addr, Addr), Connection>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    broken_until: u64,
    /// When the last message arrives: there, and back.
    last: [u64; 2],
}

/// What becomes of a message on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It arrives at this time.
    Arrives(u64),
    /// It is lost.
    Lost,
    /// It is lost, and the connection with it: who opened it is told at this time.
    Breaks(u64),
}

impl Network {
    /// When copies of a message arrive, counted from now, in microseconds.
    pub(crate) fn deliveries(&self, rng: &mut Rng, from: Addr, to: Addr) -> Vec<u64> {
        if from == to {
            return vec![10];
        }
        if self.cut.contains(&(from, to)) || rng.permille(self.loss) {
            return Vec::new();
        }
        let mut delay = || {
            let usual = rng.between(self.delay.0, self.delay.1);
            let extra = if rng.permille(self.stragglers) { rng.between(0, 400_000) } else { 0 };
            (usual + extra).unsigned_abs()
        };
        let first = delay();
        let second = delay();
        if rng.permille(self.duplicates) { vec![first, second] } else { vec![first] }
    }

    /// What becomes of a message sent now from `from` to `to`; an answer goes back on the connection that `to` opened.
    pub(crate) fn pass(
        &mut self,
        rng: &mut Rng,
        now: u64,
        (from, to): (Addr, Addr),
        answer: bool,
    ) -> Passage {
        let key = if answer { (to, from) } else { (from, to) };
        let arrives = self.deliveries(rng, from, to).first().map(|us| now + us);
        let connection = self.connections.entry(key).or_default();
        if connection.broken_until > now {
            return Passage::Lost;
        }
        let Some(arrives) = arrives else {
            let told = now + rng.between(5_000, 300_000).unsigned_abs();
            *connection = Connection { broken_until: told, last: [0; 2] };
            return Passage::Breaks(told);
        };
        let last = &mut connection.last[usize::from(answer)];
        *last = arrives.max(*last + 1);
        Passage::Arrives(*last)
    }

    /// A process is gone: whoever is connected to it is told at the time that comes back with it.
    pub(crate) fn hang_up(&mut self, rng: &mut Rng, now: u64, gone: Addr) -> Vec<(Addr, u64)> {
        let mut told = Vec::new();
        for ((from, to), connection) in &mut self.connections {
            if (*from == gone || *to == gone) && connection.broken_until <= now {
                let at = now + rng.between(100, 3_000).unsigned_abs();
                *connection = Connection { broken_until: at, last: [0; 2] };
                if *to == gone {
                    told.push((*from, at));
                }
            }
        }
        told
    }

    /// Nobody listens there.
    pub(crate) fn refuse(&mut self, now: u64, from: Addr, to: Addr) -> Option<u64> {
        let connection = self.connections.entry((from, to)).or_default();
        if connection.broken_until > now {
            return None;
        }
        *connection = Connection { broken_until: now + 500, last: [0; 2] };
        Some(now + 500)
    }

    pub(crate) fn cut(&mut self, from: Addr, to: Addr) {
        if from != to {
            self.cut.insert((from, to));
        }
    }

    /// All cables are plugged in again.
    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    /// Nothing goes wrong any more.
    pub(crate) fn calm(&mut self) {
        self.mend();
        (self.loss, self.duplicates, self.stragglers, self.delay) = (0, 0, 0, (200, 2_000));
    }
}
