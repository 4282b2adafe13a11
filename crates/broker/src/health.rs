//! What ends a node that nobody asked to stop: its metadata quorum failed, or all its log dirs have.

use ottla_raft::Status;
use tokio::sync::watch;
use tracing::error;

/// Waits until the quorum's driver has stopped; why it did.
pub(crate) async fn quorum_fault(mut status: watch::Receiver<Status>) -> String {
    let failed = status.wait_for(|status| status.fault.is_some()).await;
    let fault = failed.ok().and_then(|status| status.fault.clone());
    // Its status goes without a fault when the thread panics.
    fault.unwrap_or_else(|| "the metadata quorum's thread ended".to_owned())
}

/// Waits until the metadata feed has ended by itself; why it did.
pub(crate) async fn feed_fault(mut fault: watch::Receiver<Option<String>>) -> String {
    let failed = fault.wait_for(Option::is_some).await.map(|fault| fault.clone());
    failed.ok().flatten().unwrap_or_else(|| "the metadata feed's thread ended".to_owned())
}

/// Ends the process at once, as Kafka does: what cannot be written needs no orderly end, and what waits for the disk
/// might wait for ever. The next start finds the log dirs as after a crash.
pub(crate) fn halt(why: &str) -> ! {
    error!("{why}");
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_of_the_quorum_is_told_and_so_is_a_thread_that_is_gone() {
        let (status, watching) = watch::channel(Status::default());
        status.send_modify(|status| status.fault = Some("no disk".to_owned()));
        assert_eq!(quorum_fault(watching).await, "no disk");
        let (status, watching) = watch::channel(Status::default());
        drop(status);
        assert_eq!(quorum_fault(watching).await, "the metadata quorum's thread ended");
    }
}
