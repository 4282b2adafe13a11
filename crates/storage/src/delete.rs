//! Deletes directories of removed logs in the background.

use std::{
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;

/// One thread that exists while there is something to delete.
#[derive(Debug, Default)]
pub(crate) struct Deleter {
    work: Arc<Mutex<Work>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Work {
    paths: Vec<PathBuf>,
    running: bool,
}

impl Deleter {
    /// Deletes `path` and all below it, later. A failure is logged; the next start tries again.
    pub(crate) fn delete(&self, path: PathBuf) {
        {
            let mut work = self.work.lock();
            work.paths.push(path);
            if work.running {
                return;
            }
            work.running = true;
        }
        let work = Arc::clone(&self.work);
        let spawned = thread::Builder::new().name("log-delete".into()).spawn(move || run(&work));
        match spawned {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread to delete removed logs: they go at the next start");
                self.work.lock().running = false;
            }
        }
    }

    /// Waits until everything handed over is deleted.
    pub(crate) fn finish(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            thread.join().expect("deleting does not panic");
        }
    }
}

fn run(work: &Mutex<Work>) {
    loop {
        let path = {
            let mut work = work.lock();
            match work.paths.pop() {
                Some(path) => path,
                None => {
                    work.running = false;
                    return;
                }
            }
        };
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot delete a removed log");
        }
    }
}
