//! How many files and sockets this process may have open, and how many of them connections get.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// What connections leave to logs, indexes and the process itself.
const RESERVE: u64 = 1000;

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

fn share(limit: u64) -> u64 {
    limit.saturating_sub(RESERVE).max(limit / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve_and_never_more_than_half() {
        let shares = [256, 1024, 2000, 4096, 1 << 20].map(share);
        assert_eq!(shares, [128, 512, 1000, 3096, (1 << 20) - 1000]);
    }
}
