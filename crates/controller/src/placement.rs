//! Which brokers get a partition's replicas, as Kafka's placer spreads them: in stripes over the racks, within a rack in
//! stripes over its brokers. Where the stripes begin is chance, so that small topics do not all start on one broker.
//!
//! Each partition begins one rack, and in each rack one broker, further than the one before. Once every active broker
//! has had its turn, racks and brokers are shuffled, so that the same sets do not come again. Within a rack brokers that
//! are fenced come after those that are not; no leader is ever put on a fenced one.

use std::{collections::BTreeMap, sync::Arc};

use ottla_types::NodeId;

/// A broker that may be given replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its id.
    pub id: NodeId,
    /// Its rack; none is a rack too.
    pub rack: Option<Arc<str>>,
    /// Fenced brokers get replicas when their rack has no other left, and never the leader's.
    pub fenced: bool,
}

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
}

/// Replicas for each partition, preferred leader first.
///
/// # Errors
/// Kafka's words for why it cannot be done (error INVALID_REPLICATION_FACTOR).
pub fn place(
    brokers: &[Spot],
    what: Place,
    chance: &mut dyn FnMut() -> u64,
) -> Result<Vec<Vec<NodeId>>, String> {
    let factor = usize::try_from(what.replication_factor).unwrap_or(0);
    if factor == 0 {
        return Err(format!(
            "Invalid replication factor {}: the replication factor must be positive.",
            what.replication_factor
        ));
    }
    let active = brokers.iter().filter(|broker| !broker.fenced).count();
    if active == 0 {
        return Err("All brokers are currently fenced.".into());
    }
    if factor > brokers.len() {
        return Err(format!(
            "The target replication factor of {factor} cannot be reached because only {} broker(s) are registered or \
             some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    let mut stripes = Stripes::new(brokers, active, chance);
    let partitions = usize::try_from(what.partitions).unwrap_or(0);
    Ok((0..partitions).map(|_| stripes.replicas(factor, chance)).collect())
}

fn below(bound: usize, chance: &mut dyn FnMut() -> u64) -> usize {
    usize::try_from(chance() % bound.max(1) as u64).expect("below a length")
}

fn shuffle<T>(items: &mut [T], chance: &mut dyn FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, chance));
    }
}

/// Brokers, each given at most once per partition, beginning one further with every partition.
#[derive(Default)]
struct Ring {
    ids: Vec<NodeId>,
    start: usize,
    given: usize,
    partition: usize,
}

impl Ring {
    fn next(&mut self, partition: usize) -> Option<NodeId> {
        if self.ids.is_empty() {
            return None;
        }
        if self.partition != partition {
            self.partition = partition;
            self.given = 0;
            self.start = (self.start + 1) % self.ids.len();
        }
        if self.given >= self.ids.len() {
            return None;
        }
        self.given += 1;
        Some(self.ids[(self.given - 1 + self.start) % self.ids.len()])
    }
}

#[derive(Default)]
struct Rack {
    active: Ring,
    fenced: Ring,
}

struct Stripes {
    racks: Vec<Rack>,
    active: usize,
    start: usize,
    /// Partitions placed since the last shuffle.
    partition: usize,
}

impl Stripes {
    fn new(brokers: &[Spot], active: usize, chance: &mut dyn FnMut() -> u64) -> Self {
        let mut by_rack: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for broker in brokers {
            let rack = by_rack.entry(broker.rack.as_deref()).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.active };
            ring.ids.push(broker.id);
        }
        let mut racks: Vec<Rack> = by_rack.into_values().collect();
        for ring in racks.iter_mut().flat_map(|rack| [&mut rack.fenced, &mut rack.active]) {
            ring.ids.sort_unstable();
            ring.start = below(ring.ids.len(), chance);
        }
        let start = below(racks.len(), chance);
        Self { racks, active, start, partition: 0 }
    }

    fn replicas(&mut self, factor: usize, chance: &mut dyn FnMut() -> u64) -> Vec<NodeId> {
        if self.partition == self.active && self.active > 1 {
            self.shuffle(chance);
        }
        let count = self.racks.len();
        let mut chosen = Vec::with_capacity(factor);
        let mut lead = self.start;
        // Some rack has an active broker: they were counted.
        while chosen.is_empty() {
            chosen.extend(self.racks[lead].active.next(self.partition));
            if chosen.is_empty() {
                lead = (lead + 1) % count;
            }
        }
        let mut at = self.start;
        // The rack of the leader had its turn.
        let mut skip = Some(lead);
        while chosen.len() < factor {
            if skip == Some(at) {
                skip = None;
            } else {
                let rack = &mut self.racks[at];
                let next = rack.active.next(self.partition);
                chosen.extend(next.or_else(|| rack.fenced.next(self.partition)));
            }
            at = (at + 1) % count;
        }
        self.partition += 1;
        self.start = (self.start + 1) % count;
        chosen
    }

    fn shuffle(&mut self, chance: &mut dyn FnMut() -> u64) {
        shuffle(&mut self.racks, chance);
        for ring in self.racks.iter_mut().flat_map(|rack| [&mut rack.fenced, &mut rack.active]) {
            shuffle(&mut ring.ids, chance);
        }
        self.partition = 0;
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
