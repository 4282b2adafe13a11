//! Which brokers get a partition's replicas: round robin over racks, and within a rack over its brokers, active ones
//! before fenced ones. Where the first goes is chance, so that small topics do not all start on one broker.

use std::collections::BTreeMap;

use ottla_types::NodeId;

/// A broker that may be given replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its id.
    pub id: NodeId,
    /// Its rack; none is a rack too.
    pub rack: Option<std::sync::Arc<str>>,
    /// Fenced brokers get replicas only when there are not enough others, and never the leader's if it can be helped.
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
        return Err("Invalid replication factor 0: the replication factor must be positive.".into());
    }
    if factor > brokers.len() {
        return Err(format!(
            "The target replication factor of {factor} cannot be reached because only {} broker(s) are registered or \
             some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    if brokers.iter().all(|broker| broker.fenced) {
        return Err("All brokers are currently fenced.".into());
    }
    let mut racks = racks(brokers, chance);
    let partitions = usize::try_from(what.partitions).unwrap_or(0);
    Ok((0..partitions).map(|_| racks.replicas(factor)).collect())
}

struct Ring {
    ids: Vec<NodeId>,
    next: usize,
}

impl Ring {
    fn new(mut ids: Vec<NodeId>, chance: &mut dyn FnMut() -> u64) -> Self {
        shuffle(&mut ids, chance);
        Self { ids, next: 0 }
    }

    fn take(&mut self) -> Option<NodeId> {
        let id = self.ids.get(self.next % self.ids.len().max(1)).copied();
        self.next += 1;
        id
    }
}

struct Rack {
    active: Ring,
    fenced: Ring,
}

struct Racks {
    racks: Vec<Rack>,
    next: usize,
}

fn racks(brokers: &[Spot], chance: &mut dyn FnMut() -> u64) -> Racks {
    let mut by_rack: BTreeMap<Option<&str>, (Vec<NodeId>, Vec<NodeId>)> = BTreeMap::new();
    for broker in brokers {
        let (active, fenced) = by_rack.entry(broker.rack.as_deref()).or_default();
        if broker.fenced { fenced.push(broker.id) } else { active.push(broker.id) }
    }
    let mut racks: Vec<Rack> = by_rack
        .into_values()
        .map(|(active, fenced)| Rack { active: Ring::new(active, chance), fenced: Ring::new(fenced, chance) })
        .collect();
    shuffle(&mut racks, chance);
    Racks { racks, next: 0 }
}

impl Racks {
    /// One partition's replicas. The rack that leads moves on by one each time.
    fn replicas(&mut self, factor: usize) -> Vec<NodeId> {
        let mut chosen = Vec::with_capacity(factor);
        // Never starts with a fenced broker: some rack has an active one, because not all brokers are fenced.
        while self.racks[self.next % self.racks.len()].active.ids.is_empty() {
            self.next += 1;
        }
        let first = self.next;
        self.next += 1;
        for pass in [false, true] {
            let mut at = first;
            let mut idle = 0;
            while chosen.len() < factor && idle < self.racks.len() {
                let count = self.racks.len();
                let rack = &mut self.racks[at % count];
                at += 1;
                let ring = if pass { &mut rack.fenced } else { &mut rack.active };
                // A ring may come round to one that was taken: as many tries as it has members.
                let fresh = (0..ring.ids.len()).find_map(|_| ring.take().filter(|id| !chosen.contains(id)));
                match fresh {
                    Some(id) => {
                        chosen.push(id);
                        idle = 0;
                    }
                    None => idle += 1,
                }
            }
        }
        chosen
    }
}

fn shuffle<T>(items: &mut [T], chance: &mut dyn FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(chance() % (last as u64 + 1)).expect("within the slice");
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn spot(id: NodeId, rack: u8, fenced: bool) -> Spot {
        Spot { id, rack: (rack > 0).then(|| rack.to_string().into()), fenced }
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_and_even(
            shape in proptest::collection::vec((0u8..4, any::<bool>()), 1..9),
            partitions in 1i32..40, factor in 1i16..5, seed: u64,
        ) {
            let brokers: Vec<_> =
                shape.iter().enumerate().map(|(id, (rack, fenced))| spot(i32::try_from(id).expect("few"), *rack, *fenced)).collect();
            let mut state = seed;
            let mut chance = || { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); state >> 33 };
            let active = brokers.iter().filter(|broker| !broker.fenced).count();
            let what = Place { partitions, replication_factor: factor };
            let Ok(placed) = place(&brokers, what, &mut chance) else {
                prop_assert!(active == 0 || factor as usize > brokers.len());
                return Ok(());
            };
            prop_assert_eq!(placed.len(), partitions as usize);
            let mut leads = vec![0i32; brokers.len()];
            for replicas in &placed {
                prop_assert_eq!(replicas.len(), factor as usize);
                prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replicas.len());
                prop_assert!(!brokers[replicas[0] as usize].fenced);
                let fenced = replicas.iter().filter(|id| brokers[**id as usize].fenced).count();
                prop_assert!(fenced == (factor as usize).saturating_sub(active));
                leads[replicas[0] as usize] += 1;
            }
            if shape.iter().all(|(rack, fenced)| *rack == 0 && !fenced) && factor == 1 {
                let (least, most) = (leads.iter().min().expect("some"), leads.iter().max().expect("some"));
                prop_assert!(most - least <= 1);
            }
        }
    }
}
