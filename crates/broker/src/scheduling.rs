//! How the kernel schedules this process: it does not push others off a processor to serve one request at a time.
//!
//! A thread that wakes up usually runs at once, in place of what runs there. A broker beside busy clients then serves each
//! request in a time slice of its own, and both sides pay for every change between them. Under `SCHED_BATCH` a thread
//! still runs at once on an idle processor, but on a busy one when its turn comes; what arrived until then is served
//! together (ADR 0016).

use tracing::{debug, info};

/// Chooses `SCHED_BATCH` for this thread and all that it will start. Called once, by `main`, before there are others.
/// Who started the process under another policy than the usual one has it kept.
pub fn let_others_finish() {
    match policy() {
        libc::SCHED_OTHER => {}
        libc::SCHED_BATCH => return,
        other => return info!("The scheduling policy stays as this process was started with ({other})"),
    }
    if let Err(e) = set_policy(libc::SCHED_BATCH) {
        debug!("The scheduling policy stays as it is: {e}");
    }
}

#[expect(unsafe_code, reason = "no library has a safe call for this; see SAFETY")]
fn policy() -> libc::c_int {
    // SAFETY: takes a number, no memory; 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) }
}

#[expect(unsafe_code, reason = "no library has a safe call for this; see SAFETY")]
fn set_policy(policy: libc::c_int) -> std::io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads `priority`, which lives until the call returns, and keeps nothing of it; 0 is the calling
    // thread.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const priority) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_started_later_have_it_too_and_another_choice_is_kept() {
        std::thread::spawn(|| {
            let_others_finish();
            let of_a_child = || std::thread::spawn(policy).join().expect("it does not panic");
            assert_eq!((policy(), of_a_child()), (libc::SCHED_BATCH, libc::SCHED_BATCH));
            set_policy(libc::SCHED_IDLE).expect("everybody may");
            let_others_finish();
            assert_eq!((policy(), of_a_child()), (libc::SCHED_IDLE, libc::SCHED_IDLE));
        })
        .join()
        .expect("it does not panic");
    }
}
