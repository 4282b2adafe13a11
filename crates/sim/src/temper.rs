//! What a run goes through beyond what all go through: drawn from the seed by a generator of its own, so that what one
//! run has more changes nothing in the others.

use crate::{Fault, chance::Rng};

/// A run's peculiarities.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Temper {
    /// The operator deletes topics, and makes them anew under their names.
    pub(crate) deletes: bool,
    /// Which topics would rather lose records than wait for a leader that has all.
    pub(crate) unclean: &'static [&'static str],
    /// The operator asks for such leaders, too.
    pub(crate) asks_unclean: bool,
    /// Controllers beyond the first three that may become voters; where there are any, voters come and go.
    pub(crate) joiners: i32,
    /// Controllers hear of a broker's end by its connections (ADR 0011), now and then of one that lives.
    pub(crate) misses: bool,
}

impl Temper {
    /// With a planted fault: what the fault is about, and nothing else that would only make it rarer.
    pub(crate) fn of(seed: u64, fault: Option<Fault>) -> Self {
        match fault {
            None => Self::draw(seed),
            Some(Fault::ClaimLogByName | Fault::ServeDeletedTopics) => {
                Self { deletes: true, ..Self::default() }
            }
            Some(Fault::JoinerFounds | Fault::VoteAlone) => Self { joiners: 2, ..Self::default() },
            Some(_) => Self::default(),
        }
    }

    fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x7465_6D70_6572);
        let deletes = rng.permille(350);
        let unclean: &[&[&str]] = &[&["orders"], &["events"], &["orders", "events"]];
        let unclean = if rng.permille(350) { unclean[rng.index(unclean.len())] } else { &[] };
        let asks_unclean = rng.permille(500);
        let joiners = if rng.permille(350) { i32::try_from(rng.between(1, 2)).expect("few") } else { 0 };
        let misses = rng.permille(500);
        Self { deletes, unclean, asks_unclean, joiners, misses }
    }
}
