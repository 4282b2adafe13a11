//! Signals that ask the process to stop: SIGTERM, SIGINT, and SIGHUP as Kafka has it, unless whoever started the process
//! wants it to outlive the terminal (`nohup`).

use std::{future::Future, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::Instant,
};
use tracing::info;

use crate::health;

/// One Ctrl-C may come twice: from the terminal, and from a script that passes on what it got itself.
const ONE_ORDER: Duration = Duration::from_millis(500);

/// Ends with the first signal to stop. A second SIGTERM or SIGINT ends the process at once: the orderly stop may wait for what does
/// not come.
///
/// # Errors
/// The system does not let the process listen to signals.
pub fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::listen()?;
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let name = signals.next().await;
        info!(target: "org.apache.kafka.common.utils.LoggingSignalHandler", "Terminating process due to signal {name}");
        let first = Instant::now();
        // Nobody listens any more when the start has failed in the meantime.
        let _ = tell.send(());
        loop {
            let name = signals.next().await;
            // A terminal that is closed is no impatience.
            if name != HANGUP && first.elapsed() >= ONE_ORDER {
                health::halt(&format!(
                    "Ending at once due to another signal {name}: the stop is not finished, the next start recovers the logs"
                ));
            }
        }
    });
    Ok(async {
        // Without the task nobody would hear of signals: as good a reason to stop as one.
        let _ = told.await;
    })
}

const HANGUP: &str = "SIGHUP";

struct Signals {
    term: Signal,
    int: Signal,
    /// `None` where it is ignored.
    hup: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hup = if ignores_hangup(&status) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, hup })
    }

    async fn next(&mut self) -> &'static str {
        let hup = async {
            match &mut self.hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
            _ = hup => HANGUP,
        }
    }
}

/// Whether a process with this `/proc/<pid>/status` ignores SIGHUP, the first of the signals.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::ignores_hangup;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = |mask: &str| format!("Name:\tottla\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup("") && !ignores_hangup(&status("?")));
    }
}
