//! Work that takes long and cannot wait: the records of a small batch may be gigabytes once decompressed.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` here and now, and lets another thread go on with what this one would have served meanwhile: a worker
/// that is busy hears no socket and no timer, and may be the only one that listens to them.
pub fn aside<R>(work: impl FnOnce() -> R) -> R {
    let several =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if several { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::aside;

    /// One worker: only another thread can answer what it waits for.
    #[test]
    fn others_are_served_meanwhile() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (ask, asked) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            asked.await.expect("asked");
            tell.send(()).expect("somebody waits");
        });
        let waiting = runtime.spawn(async move {
            aside(|| {
                ask.send(()).expect("the other task waits");
                told.recv_timeout(Duration::from_secs(60))
            })
        });
        runtime.block_on(waiting).expect("it does not panic").expect("the other task ran");
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_and_none_at_all_do_it_themselves() {
        assert_eq!(aside(|| 7), 7);
        assert_eq!(std::thread::spawn(|| aside(|| 7)).join().expect("no panic"), 7);
    }
}
