//! How the kernel schedules the workers: a busy one does not push others off a processor to serve one request at a time.
//!
//! A thread that wakes up usually runs at once, in place of what runs there. A broker beside busy clients then serves each
//! request in a time slice of its own, and both sides pay for every change between them. Under `SCHED_BATCH` a thread
//! still runs at once on an idle processor, but on a busy one when its turn comes; what arrived until then is served
//! together. A worker with little to do has nothing to gather: it keeps the usual policy, and answers a little sooner
//! (ADR 0016).

use std::{cell::RefCell, io, sync::Arc, time::Duration};

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
    if let Some(reason) = not_ours() {
        return info!("The scheduling policy stays as it is: {reason}");
    }
    // A thread that a busy worker starts has its policy. Where the kernel refuses it, all goes on as it was.
    runtime.on_thread_start(|| drop(set_policy(libc::SCHED_OTHER)));
    let now = Arc::clone(clock);
    runtime.on_thread_unpark(move || AWAKE.with_borrow_mut(|awake| awake.wakes(now.monotonic())));
    let now = Arc::clone(clock);
    runtime.on_thread_park(move || match AWAKE.with_borrow_mut(|awake| awake.sleeps(now.monotonic())) {
        Some(true) => drop(set_policy(libc::SCHED_BATCH)),
        Some(false) => drop(set_policy(libc::SCHED_OTHER)),
        None => {}
    });
}

/// Why the policy is not ours to choose.
fn not_ours() -> Option<String> {
    let started_with = match policy() {
        Ok(libc::SCHED_OTHER) => return None,
        Err(e) => return Some(format!("the kernel does not tell which it is: {e}")),
        Ok(libc::SCHED_BATCH) => "SCHED_BATCH".to_owned(),
        Ok(libc::SCHED_IDLE) => "SCHED_IDLE".to_owned(),
        Ok(libc::SCHED_FIFO) => "SCHED_FIFO".to_owned(),
        Ok(libc::SCHED_RR) => "SCHED_RR".to_owned(),
        Ok(other) => format!("number {other}"),
    };
    Some(format!("this process was started with {started_with}"))
}

/// How much of its time one worker is awake. Times are those of the monotonic clock.
#[derive(Debug, Default)]
struct Awake {
    busy: bool,
    /// When this window began.
    began: Duration,
    /// When it last woke up, until it sleeps again. A thread that becomes a worker has not woken up before it first sleeps;
    /// one that becomes it anew, after work that blocked, may be taken for busy for one window.
    woke: Option<Duration>,
    /// For how long it was awake in this window.
    sum: Duration,
}

impl Awake {
    fn wakes(&mut self, now: Duration) {
        self.woke = Some(now);
    }

    /// Whether it is busy, when that has changed.
    fn sleeps(&mut self, now: Duration) -> Option<bool> {
        let Some(woke) = self.woke.take() else {
            (self.began, self.sum) = (now, Duration::ZERO);
            return None;
        };
        self.sum += now.saturating_sub(woke);
        let window = now.saturating_sub(self.began);
        if window < WINDOW {
            return None;
        }
        let busy = self.sum * if self.busy { STILL_BUSY } else { BUSY } >= window;
        let changed = busy != self.busy;
        *self = Self { busy, began: now, ..Self::default() };
        changed.then_some(busy)
    }
}

/// Of the calling thread.
#[expect(unsafe_code, reason = "no library has a safe call for this; see SAFETY")]
fn policy() -> io::Result<libc::c_int> {
    // SAFETY: takes a number, no memory; 0 is the calling thread.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if policy < 0 { Err(io::Error::last_os_error()) } else { Ok(policy & !libc::SCHED_RESET_ON_FORK) }
}

/// For the calling thread.
#[expect(unsafe_code, reason = "no library has a safe call for this; see SAFETY")]
fn set_policy(policy: libc::c_int) -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads `priority`, which lives until the call returns, and keeps nothing of it; 0 is the calling
    // thread.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const priority) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
        let (mut worker, mut now) = (Awake::default(), Duration::from_secs(7));
        assert_eq!(worker.sleeps(now), None, "it has not been a worker before");
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
        started_with(libc::SCHED_OTHER, |runtime, clock| {
            let worker = runtime.spawn(async move {
                let mut seen = [false; 2];
                for _ in 0..2000 {
                    let until = clock.monotonic() + 5 * MS;
                    while clock.monotonic() < until {}
                    tokio::time::sleep(MS).await;
                    seen[0] |= policy().expect("it is told") == libc::SCHED_BATCH;
                    if seen[0] {
                        break;
                    }
                }
                for _ in 0..2000 {
                    tokio::time::sleep(20 * MS).await;
                    seen[1] |= policy().expect("it is told") == libc::SCHED_OTHER;
                    if seen[1] {
                        break;
                    }
                }
                seen
            });
            assert_eq!(runtime.block_on(worker).expect("it does not panic"), [true; 2]);
        });
    }

    #[test]
    fn another_choice_is_kept() {
        started_with(libc::SCHED_BATCH, |runtime, _| {
            let seen = runtime.block_on(runtime.spawn(async { policy() })).expect("it does not panic");
            assert_eq!(seen.expect("it is told"), libc::SCHED_BATCH);
        });
    }

    /// As in a process that was started with that policy.
    fn started_with(
        started_with: libc::c_int,
        test: impl FnOnce(tokio::runtime::Runtime, Arc<dyn Clock>) + Send + 'static,
    ) {
        let main = std::thread::spawn(move || {
            set_policy(started_with).expect("threads may choose their policy");
            let mut runtime = Builder::new_multi_thread();
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            by_load(&mut runtime, &clock);
            test(runtime.worker_threads(1).enable_all().build().expect("a runtime"), clock);
        });
        main.join().expect("it does not panic");
    }
}
