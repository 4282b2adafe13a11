//! Requests that mean harm: the process stays up, its memory stays within a small multiple of what was sent, and a
//! plain client is served all the while.

mod announcements;
mod bombs;
mod mutations;
mod pressure;
mod repeats;
#[path = "../support/mod.rs"]
mod support;
mod versions;

/// Chance that is the same in every run.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}
