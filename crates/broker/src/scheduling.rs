//! How the kernel schedules the workers: a busy one does not push others off a processor to serve one request at a time.
//!
//! A thread that wakes up usually runs at once, in place of what runs there. A broker beside busy clients then serves each
//! request in a time slice of its own, and both sides pay for every change between them. Under `SCHED_BATCH` a thread
//! still runs at once on an idle processor, but on a busy one when its turn comes; what arrived until then is served
//! together. A worker with little to do has nothing to gather: it keeps the usual policy, and answers a little sooner
//! (ADR 0016).

use std::{cell::RefCell, sync::Arc, time::Duration};

use ottla_types::Clock;
use tokio::runtime::Builder;
use tracing::info;

/// How long a worker is watched before it is called busy, or no longer so.
const WINDOW: Duration = Duration::from_millis(50);
/// Busy is who is awake for an eighth of the time,
const BUSY: u32 = 8;
/// and until it is awake for less than a twelfth.
const STILL_BUSY: u32 = 12;

/// Chooses the policy of each worker of `runtime` by how busy it is. Who started the process under another policy than
/// the usual one has it kept.
pub fn by_load(runtime: &mut Builder, clock: &Arc<dyn Clock>) {
    thread_local! {
        static AWAKE: RefCell<Awake> = RefCell::default();
    }
    match policy() {
        libc::SCHED_OTHER => {}
        other => return info!("The scheduling policy stays as this process was started with ({other})"),
    }
    // A thread that a busy worker starts has its policy.
    runtime.on_thread_start(|| set_policy(libc::SCHED_OTHER));
    let now = Arc::clone(clock);
    runtime.on_thread_unpark(move || AWAKE.with_borrow_mut(|awake| awake.wakes(now.monotonic())));
    let now = Arc::clone(clock);
    runtime.on_thread_park(move || match AWAKE.with_borrow_mut(|awake| awake.sleeps(now.monotonic())) {
        Some(true) => set_policy(libc::SCHED_BATCH),
        Some(false) => set_policy(libc::SCHED_OTHER),
        None => {}
    });
}

/// How much of its time one worker is awake. Times are those of the monotonic clock.
#[derive(Debug, Default)]
struct Awake {
    busy: bool,
    /// When this window began.
    began: Duration,
    /// When it last woke up.
    woke: Duration,
    /// For how long it was awake in this window, before that.
    sum: Duration,
}

impl Awake {
    fn wakes(&mut self, now: Duration) {
        self.woke = now;
    }

    /// Whether it is busy, when that has changed.
    fn sleeps(&mut self, now: Duration) -> Option<bool> {
        self.sum += now.saturating_sub(self.woke);
        let window = now.saturating_sub(self.began);
        if window < WINDOW {
            return None;
        }
        let busy = self.sum * if self.busy { STILL_BUSY } else { BUSY } >= window;
        let changed = busy != self.busy;
        *self = Self { busy, began: now, woke: now, sum: Duration::ZERO };
        changed.then_some(busy)
    }
}

#[expect(unsafe_code, reason = "no library has a safe call for this; see SAFETY")]
fn policy() -> libc::c_int {
    // SAFETY: takes a number, no memory; 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) }
}

/// For the calling thread. Where the kernel refuses it, all goes on as it was.
#[expect(unsafe_code, reason = "no library has a safe call for this; see SAFETY")]
fn set_policy(policy: libc::c_int) {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads `priority`, which lives until the call returns, and keeps nothing of it; 0 is the calling
    // thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const priority) };
}

#[cfg(test)]
mod tests {
    use ottla_types::SystemClock;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Awake for `awake` of every `period`, until that has an effect or a second is over.
    fn run(worker: &mut Awake, now: &mut Duration, awake: Duration, period: Duration) -> Option<bool> {
        for _ in 0..1000 {
            *now += period - awake;
            worker.wakes(*now);
            *now += awake;
            let changed = worker.sleeps(*now);
            if changed.is_some() {
                return changed;
            }
        }
        None
    }

    #[test]
    fn busy_is_who_is_awake_for_an_eighth_of_the_time_and_then_for_a_twelfth() {
        let (mut worker, mut now) = (Awake::default(), Duration::ZERO);
        assert_eq!(run(&mut worker, &mut now, MS / 10, MS), None);
        let before = now;
        assert_eq!(run(&mut worker, &mut now, MS / 5, MS), Some(true));
        assert!(now - before <= 2 * WINDOW + MS, "{:?}", now - before);
        assert_eq!(run(&mut worker, &mut now, MS / 10, MS), None);
        assert_eq!(run(&mut worker, &mut now, MS / 20, MS), Some(false));
        // Long sleep is no reason to call it busy when it wakes up.
        now += Duration::from_secs(100);
        assert_eq!(run(&mut worker, &mut now, MS / 20, MS), None);
    }

    /// Real workers: one that works all the time but for short sleeps comes under the other policy, and back.
    #[test]
    fn the_kernel_is_told() {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        by_load(&mut runtime, &clock);
        let runtime = runtime.build().expect("a runtime");
        let worker = runtime.spawn(async move {
            assert_eq!(policy(), libc::SCHED_OTHER);
            while policy() != libc::SCHED_BATCH {
                let until = clock.monotonic() + 5 * MS;
                while clock.monotonic() < until {}
                tokio::time::sleep(MS).await;
            }
            while policy() != libc::SCHED_OTHER {
                tokio::time::sleep(20 * MS).await;
            }
        });
        runtime.block_on(worker).expect("it does not panic");
    }

    #[test]
    fn another_choice_is_kept() {
        let started_idle = std::thread::spawn(|| {
            set_policy(libc::SCHED_IDLE);
            let mut runtime = Builder::new_multi_thread();
            by_load(&mut runtime, &(Arc::new(SystemClock::new()) as Arc<dyn Clock>));
            let runtime = runtime.worker_threads(1).build().expect("a runtime");
            runtime.block_on(runtime.spawn(async { policy() })).expect("it does not panic")
        });
        assert_eq!(started_idle.join().expect("it does not panic"), libc::SCHED_IDLE);
    }
}
