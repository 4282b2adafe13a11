//! Warnings about those who ask again and again: said once, until enough else was said.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tracing::warn;

/// So many are remembered: several may ask in turn.
const REMEMBERED: usize = 16;

/// What was said last.
#[derive(Default)]
pub(crate) struct Told(Mutex<VecDeque<String>>);

impl Told {
    /// Warns, unless that was said a short while ago.
    pub(crate) fn warn(&self, text: String) {
        if self.is_news(&text) {
            warn!("{text}");
        }
    }

    fn is_news(&self, text: &str) -> bool {
        let mut told = self.0.lock();
        if told.iter().any(|before| before == text) {
            return false;
        }
        if told.len() >= REMEMBERED {
            told.pop_front();
        }
        told.push_back(text.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_who_ask_in_turn_are_each_warned_of_once() {
        let told = Told::default();
        let news = |n: usize| told.is_news(&format!("stranger {n}"));
        assert!((0..REMEMBERED).all(news));
        assert!(!(0..REMEMBERED).any(news));
        assert!(news(REMEMBERED) && news(0) && !news(2));
    }
}
