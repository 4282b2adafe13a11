//! How many files and sockets this process may have open, and how many of them connections get.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// What the process itself and the threads that serve it need: listeners, pollers, log files, loading.
const PROCESS: u64 = 100;
/// What a log dir needs besides segments: its lock, its store, files that are written anew, deletion.
const PER_DIR: u64 = 50;

/// Raises the soft limit on open files to the hard limit: the soft one is small for the sake of programs that use
/// select(2), which this one does not. Called once, by `main`.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => info!("Raised the limit on open files from {} to {}", told(current), told(maximum)),
        Err(e) => warn!("The limit on open files stays at {}: {e}", told(current)),
    }
}

fn told(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// How many connections leave the logs the files they need; `None` without a limit.
pub(crate) fn for_connections() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(share(limit)).unwrap_or(usize::MAX))
}

/// How many segment files each of `dirs` log dirs may hold open: what connections leave.
pub(crate) fn for_segments(dirs: usize) -> usize {
    let left = getrlimit(Resource::Nofile).current.map_or(MOST_RESERVED, |limit| limit - share(limit));
    usize::try_from(per_dir(left, dirs as u64)).unwrap_or(usize::MAX)
}

/// The most that is kept for the logs: more open files would only cost memory.
const MOST_RESERVED: u64 = 16_384;

fn share(limit: u64) -> u64 {
    let reserve = (limit / 4).clamp(1000, MOST_RESERVED);
    limit.saturating_sub(reserve).max(limit / 2)
}

fn per_dir(left: u64, dirs: u64) -> u64 {
    // However few there are: a file at a time can be worked with.
    (left.saturating_sub(PROCESS) / dirs.max(1)).saturating_sub(PER_DIR).max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve_and_never_more_than_half() {
        let shares = [256, 1024, 2000, 4096, 1 << 20].map(share);
        assert_eq!(shares, [128, 512, 1000, 3072, (1 << 20) - 16_384]);
        let left = [(128, 1), (512, 1), (512, 2), (1024, 1), (16_384, 1), (16_384, 10)];
        assert_eq!(left.map(|(left, dirs)| per_dir(left, dirs)), [8, 362, 156, 874, 16_234, 1578]);
    }
}
