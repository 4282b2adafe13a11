//! The last events, for whoever has to understand a failure.

use std::{collections::VecDeque, fmt::Write as _};

#[derive(Debug)]
pub(crate) struct Trace {
    lines: VecDeque<String>,
    keep: usize,
    /// Of everything that was ever traced: equal runs have equal sums.
    sum: u64,
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self { lines: VecDeque::new(), keep, sum: 0xcbf2_9ce4_8422_2325 }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.keep > 0
    }

    pub(crate) fn count(&mut self, value: u64) {
        self.sum = (self.sum ^ value).wrapping_mul(0x0100_0000_01b3);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn add(&mut self, at: u64, who: i32, text: &str) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        let mut line = String::new();
        write!(line, "{:>10}.{:03} {who:>4} {text}", at / 1000, at % 1000).expect("a string takes all");
        self.lines.push_back(line);
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }
}
