//! How much of the logs' ends is worth keeping in memory: as far back as somebody reads.
//!
//! What nobody reads costs twice: memory, and the processor's caches, for the buffers of the next requests are then
//! others than the ones that were just used. So the share of the budget that is kept follows the readers: at once when
//! one is further behind, by halves when none is any more.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Kept also when nobody reads: who waits at the end is woken within a few appends.
const FLOOR: usize = 2 << 20;

/// Distances and sizes are bytes appended to the log dir.
#[derive(Debug)]
pub(crate) struct Demand {
    budget: usize,
    appended: AtomicU64,
    /// When the share is looked at again.
    look_at: AtomicU64,
    /// The greatest distance that was read at since the last look.
    farthest: AtomicUsize,
    share: AtomicUsize,
}

impl Demand {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            appended: AtomicU64::new(0),
            look_at: AtomicU64::new(budget as u64),
            farthest: AtomicUsize::new(0),
            share: AtomicUsize::new(FLOOR.min(budget)),
        }
    }

    /// Bytes to keep.
    pub(crate) fn share(&self) -> usize {
        self.share.load(Ordering::Relaxed)
    }

    /// Takes note of an append and gives its place, for [`Demand::read_at`].
    pub(crate) fn appended(&self, bytes: usize) -> u64 {
        let place = self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
        if place >= self.look_at.load(Ordering::Relaxed) {
            self.look(place);
        }
        place
    }

    /// Somebody reads what was appended at `place`, from memory.
    pub(crate) fn read_at(&self, place: u64) {
        let distance = self.appended.load(Ordering::Relaxed).saturating_sub(place);
        self.wanted(usize::try_from(distance).unwrap_or(usize::MAX));
    }

    /// Somebody reads `distance` bytes before the end of one log, and memory did not reach back that far. Other logs
    /// were appended to since, how much is not known: so what is kept is doubled at least.
    pub(crate) fn missed(&self, distance: u64) {
        if distance <= self.budget as u64 {
            self.wanted(self.share().max(usize::try_from(distance).unwrap_or(usize::MAX)));
        }
    }

    fn wanted(&self, distance: usize) {
        if distance > self.budget {
            return;
        }
        if distance > self.farthest.load(Ordering::Relaxed) {
            self.farthest.fetch_max(distance, Ordering::Relaxed);
        }
        // Twice as far: a reader that is now here is a little further behind the next time.
        let share = distance.saturating_mul(2).min(self.budget);
        if share > self.share() {
            self.share.fetch_max(share, Ordering::Relaxed);
        }
    }

    /// Once for every budget's worth of appends.
    fn look(&self, place: u64) {
        self.look_at.store(place + self.budget.max(1) as u64, Ordering::Relaxed);
        let wanted = self.farthest.swap(0, Ordering::Relaxed).saturating_mul(2);
        let share = wanted.max(self.share() / 2).max(FLOOR);
        self.share.store(share.min(self.budget), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = 32 << 20;
    const MIB: usize = 1 << 20;

    #[test]
    fn nothing_more_than_the_floor_is_kept_for_nobody() {
        let demand = Demand::new(BUDGET);
        for _ in 0..100 {
            demand.appended(MIB);
            assert_eq!(demand.share(), FLOOR);
        }
        assert_eq!(Demand::new(1000).share(), 1000, "a smaller budget is not exceeded");
        assert_eq!(Demand::new(0).share(), 0);
    }

    #[test]
    fn the_share_follows_the_farthest_reader_and_comes_back_by_halves() {
        let demand = Demand::new(BUDGET);
        let place = demand.appended(MIB);
        for _ in 0..7 {
            demand.appended(MIB);
        }
        demand.read_at(place);
        assert_eq!(demand.share(), 16 * MIB);
        let mut seen = vec![demand.share()];
        for _ in 0..200 {
            // One that keeps up asks for no more than the floor.
            let place = demand.appended(MIB);
            demand.read_at(place);
            if *seen.last().expect("one") != demand.share() {
                seen.push(demand.share());
            }
        }
        assert_eq!(seen, [16 * MIB, 8 * MIB, 4 * MIB, 2 * MIB]);
    }

    #[test]
    fn a_miss_doubles_and_one_beyond_the_budget_says_nothing() {
        let demand = Demand::new(BUDGET);
        demand.missed(1);
        assert_eq!(demand.share(), 2 * FLOOR);
        demand.missed(10 * MIB as u64);
        assert_eq!(demand.share(), 20 * MIB);
        demand.missed(20 * MIB as u64);
        assert_eq!(demand.share(), BUDGET);
        let demand = Demand::new(BUDGET);
        demand.missed(BUDGET as u64 + 1);
        demand.missed(u64::MAX);
        assert_eq!(demand.share(), FLOOR);
    }
}
