//! Gives answers when the facts they rest on are durable.

use std::{sync::Arc, time::Duration};

use ottla_types::ErrorCode;

use super::{Parked, Shard, Stage};
use crate::log::told_to_client;

/// Waits for facts to become durable, one decision after the other, and gives the answers. Ends when none is left.
pub(super) async fn commit(shard: Arc<Shard>) {
    loop {
        let durable = {
            let mut stage = shard.stage.lock();
            let Stage::Active(active) = &mut *stage else { return };
            let Some(next) = active.parked.front_mut() else {
                active.committing = false;
                return;
            };
            next.durable.take()
        };
        let result = match durable {
            Some(durable) => durable.await.map_err(told_to_client),
            None => Ok(()),
        };
        {
            let mut stage = shard.stage.lock();
            let Stage::Active(active) = &mut *stage else { return };
            let done = active.parked.pop_front().expect("only this task takes from the queue");
            match result {
                Ok(()) => drop(active.give(done.answers, None)),
                Err(error) => active.fail(done.answers, error),
            }
            // Under the lock that empties the queue: nobody may find it empty and believe that all is certain.
            active.settling = result.is_err();
        }
        if result.is_err() {
            settle(&shard).await;
            if let Stage::Active(active) = &mut *shard.stage.lock() {
                active.settling = false;
            }
        }
    }
}

/// How often those are told who wait for facts that are not durable in time.
const SETTLE: Duration = Duration::from_secs(1);

/// There are facts in the log that may not stay, and the groups are as if they would. Nothing that may rest on them is told
/// before they are certain: whoever waits meanwhile is sent to ask again.
async fn settle(shard: &Arc<Shard>) {
    loop {
        match shard.world.log.settled(shard.partition, shard.epoch()) {
            Ok(None) => return,
            Ok(Some(mut settled)) => loop {
                match tokio::time::timeout(SETTLE, &mut settled).await {
                    Ok(Ok(())) => return,
                    Ok(Err(_)) => break,
                    Err(_) if shard.send_away() => {}
                    Err(_) => return,
                }
            },
            Err(_) => {}
        }
        // Leadership has gone, or it is of another epoch: the shard is about to be told.
        if !shard.send_away() {
            return;
        }
        tokio::time::sleep(SETTLE / 20).await;
    }
}

impl Shard {
    /// Fails everybody who waits for facts to become durable; they ask again. False when it is closed.
    fn send_away(&self) -> bool {
        let mut stage = self.stage.lock();
        let Stage::Active(active) = &mut *stage else { return false };
        let mut waiting = Vec::new();
        let mut last = None;
        for parked in active.parked.drain(..) {
            waiting.extend(parked.answers);
            last = parked.durable.or(last);
        }
        // When the last facts are durable, so are those before them: the queue does not grow while clients ask again.
        active.parked.extend(last.map(|durable| Parked { durable: Some(durable), answers: Vec::new() }));
        active.fail(waiting, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        true
    }
}
