//! Placement: distinct replicas, over racks, leaders everywhere.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn spot(id: NodeId, rack: u8, fenced: bool) -> Spot {
    Spot { id, rack: (rack > 0).then(|| rack.to_string().into()), fenced }
}

fn no_chance() -> u64 {
    0
}

#[test]
fn stripes_over_racks_and_brokers() {
    let brokers: Vec<Spot> =
        (0..9).map(|id| spot(id, u8::try_from(id / 3 + 1).expect("few"), false)).collect();
    let what = Place { partitions: 3, replication_factor: 3 };
    let placed = place(&brokers, what, &mut no_chance).expect("room");
    assert_eq!(placed, [[0, 3, 6], [4, 7, 1], [8, 2, 5]]);
}

#[test]
fn a_fenced_broker_never_leads_but_gives_its_rack_a_replica() {
    let brokers = [spot(1, 1, true), spot(2, 2, false), spot(3, 2, false)];
    let what = Place { partitions: 6, replication_factor: 2 };
    for replicas in place(&brokers, what, &mut no_chance).expect("room") {
        assert_ne!(replicas[0], 1, "{replicas:?}");
        assert_eq!(replicas[1], 1, "the other rack: {replicas:?}");
    }
}

#[test]
fn what_cannot_be_placed_is_refused_in_kafkas_words() {
    let why = |brokers: &[Spot], replication_factor| {
        place(brokers, Place { partitions: 1, replication_factor }, &mut no_chance).expect_err("refused")
    };
    assert_eq!(why(&[], 1), "All brokers are currently fenced.");
    assert_eq!(why(&[spot(1, 0, true)], 2), "All brokers are currently fenced.");
    assert_eq!(
        why(&[spot(1, 0, false)], -3),
        "Invalid replication factor -3: the replication factor must be positive."
    );
    assert!(why(&[spot(1, 0, false)], 2).starts_with("The target replication factor of 2 cannot be reached"));
}

proptest! {
    #[test]
    fn replicas_are_distinct_and_spread(
        shape in proptest::collection::vec((0u8..4, any::<bool>()), 1..9),
        partitions in 1i32..40, factor in 1i16..5, seed: u64,
    ) {
        let brokers: Vec<_> = (0..).zip(&shape).map(|(id, (rack, fenced))| spot(id, *rack, *fenced)).collect();
        let mut state = seed;
        let mut chance = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        let active = brokers.iter().filter(|broker| !broker.fenced).count();
        let what = Place { partitions, replication_factor: factor };
        let Ok(placed) = place(&brokers, what, &mut chance) else {
            prop_assert!(active == 0 || factor as usize > brokers.len());
            return Ok(());
        };
        prop_assert_eq!(placed.len(), partitions as usize);
        let racks: BTreeSet<_> = brokers.iter().map(|broker| broker.rack.clone()).collect();
        let mut leads = vec![0i32; brokers.len()];
        for replicas in &placed {
            prop_assert_eq!(replicas.len(), factor as usize);
            prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replicas.len());
            prop_assert!(!brokers[replicas[0] as usize].fenced);
            let used: BTreeSet<_> = replicas.iter().map(|id| brokers[*id as usize].rack.clone()).collect();
            prop_assert_eq!(used.len(), racks.len().min(factor as usize), "as many racks as can be");
            leads[replicas[0] as usize] += 1;
        }
        if racks.len() == 1 && active == brokers.len() {
            let (least, most) = (leads.iter().min().expect("some"), leads.iter().max().expect("some"));
            // After a shuffle a broker may have its turn early.
            prop_assert!(most - least <= 1 + partitions / active as i32);
        }
    }
}
