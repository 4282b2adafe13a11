//! One thread per log dir that syncs for all who wait: whoever comes while a sync runs shares the next one.

use std::{collections::VecDeque, sync::Arc, thread::JoinHandle};

use ottla_storage::{Fault, LogReader};
use ottla_types::{ErrorCode, Offset};
use parking_lot::{Condvar, Mutex};

use crate::ticket::Pending;

/// An acknowledgement that waits for the disk.
struct Job {
    log: Arc<LogReader>,
    up_to: Offset,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: bool,
    stopped: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// Hands jobs to the thread. The queue holds no more than the requests in flight, which are bounded where they come in.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Syncer {
    /// Starts the thread. `failed` is called when the disk refuses.
    pub(crate) fn start(name: &str, failed: impl Fn(&Fault) + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let run = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run.work(&failed))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// `pending` makes a step once everything before `up_to` is durable.
    pub(crate) fn sync(&self, log: Arc<LogReader>, up_to: Offset, pending: Arc<Pending>) {
        let mut queue = self.shared.queue.lock();
        if queue.stopped {
            return pending.fail(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        queue.jobs.push_back(Job { log, up_to, pending });
        // A thread that is busy looks again before it sleeps.
        if queue.idle {
            queue.idle = false;
            drop(queue);
            self.shared.arrived.notify_one();
        }
    }

    /// Serves what is queued, then ends the thread.
    pub(crate) fn stop(&self) {
        self.shared.queue.lock().stopped = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work(&self, failed: &dyn Fn(&Fault)) {
        while let Some(jobs) = self.take() {
            for job in jobs {
                // One sync covers all that was written when it began, so the jobs behind it are often done already.
                if job.log.recovery_point() < job.up_to
                    && let Err(fault) = job.log.sync_up_to(job.log.log_end())
                {
                    failed(&fault);
                    job.pending.fail(ErrorCode::KAFKA_STORAGE_ERROR);
                    continue;
                }
                job.pending.step();
            }
        }
    }

    fn take(&self) -> Option<VecDeque<Job>> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() {
            if queue.stopped {
                return None;
            }
            queue.idle = true;
            self.arrived.wait(&mut queue);
        }
        queue.idle = false;
        Some(std::mem::take(&mut queue.jobs))
    }
}
