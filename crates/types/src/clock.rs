//! Time, which is handed in: cores get `now`, drivers hold an `Arc<dyn Clock>`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as Kafka writes them into records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// This time and `ms` more, held at the ends of the range.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where time comes from. One real implementation, one in the simulator.
pub trait Clock: Send + Sync + 'static {
    /// Wall clock: what is written into records. May jump.
    fn wall(&self) -> Millis;
    /// Time since the process started: what timeouts are counted in. Never goes back.
    fn monotonic(&self) -> Duration;
    /// Monotonic time in milliseconds, the unit of the cores' deadlines.
    fn ticks(&self) -> Millis {
        Millis(i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX))
    }
}

/// The machine's clock. Constructed once, in `broker::main`.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    #[expect(clippy::new_without_default, reason = "a clock is made on purpose, once")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn wall(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
