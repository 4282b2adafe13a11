//! Warnings about those who ask again and again: said once, until something else is to be said.

use parking_lot::Mutex;
use tracing::warn;

/// What was said last.
#[derive(Default)]
pub(crate) struct Told(Mutex<String>);

impl Told {
    /// Warns, unless that was said just before.
    pub(crate) fn warn(&self, text: String) {
        let mut told = self.0.lock();
        if *told != text {
            warn!("{text}");
            *told = text;
        }
    }
}
