//! The task of one fetcher: asks, hands over what comes, waits.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ottla_partition::Event;
use ottla_protocol::messages::FetchResponse;
use ottla_types::{ErrorCode, LeaderEpoch, Millis, NodeId, TopicPartitionId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    core::{Core, Step, Verdict},
    link::{LeaderLink, LinkError},
    message::{self, Asker, Place, Said},
    replication::FetchOptions,
    session::Asked,
};
use crate::{
    FrameRef, ReplicaManager,
    follow::{FollowError, FromLeader, LeaderRef},
};

/// One fetcher of one leader.
pub(super) struct Lane {
    pub(super) leader: NodeId,
    pub(super) core: Mutex<Core>,
    /// `None` while nobody knows where the leader is.
    link: Mutex<Option<Arc<dyn LeaderLink>>>,
    /// Something was assigned, or the link is another.
    changed: Notify,
    stopped: AtomicBool,
    options: FetchOptions,
}

impl Lane {
    pub(super) fn new(leader: NodeId, options: FetchOptions) -> Self {
        Self {
            leader,
            core: Mutex::new(Core::new(options.backoff_ms)),
            link: Mutex::new(None),
            changed: Notify::new(),
            stopped: AtomicBool::new(false),
            options,
        }
    }

    /// The leader is to be reached so from now on.
    pub(super) fn set_link(&self, link: Option<Arc<dyn LeaderLink>>) {
        let before = std::mem::replace(&mut *self.link.lock(), link);
        self.core.lock().reconnect();
        if let Some(before) = before {
            before.close();
        }
        self.changed.notify_one();
    }

    /// The core was changed.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(link) = self.link.lock().take() {
            link.close();
        }
        self.changed.notify_one();
    }

    /// Works until stopped or the manager is gone.
    pub(super) async fn run(self: Arc<Self>, manager: Weak<ReplicaManager>) {
        while !self.stopped.load(Ordering::Acquire) {
            let Some(now) = manager.upgrade().map(|manager| manager.clock.ticks()) else { return };
            let link = self.link.lock().clone();
            let asker = manager.upgrade().and_then(|manager| asker(&manager));
            let (Some(link), Some(asker)) = (link, asker) else {
                self.changed.notified().await;
                continue;
            };
            let step = self.step(&manager, now);
            match step {
                Step::Rest(until) => self.rest(until.map(|until| until.since(now))).await,
                Step::Locate(lost) => self.locate(&manager, &*link, asker, &lost).await,
                Step::Fetch(asked) => self.fetch(&manager, &*link, asker, &asked).await,
            }
        }
    }

    fn step(&self, manager: &Weak<ReplicaManager>, now: Millis) -> Step {
        let mut core = self.core.lock();
        if let Some(manager) = manager.upgrade()
            && manager.throttles.follower.is_exceeded(now)
        {
            let throttled = |key: &TopicPartitionId| {
                manager.by_id(*key).is_some_and(|replica| manager.is_follower_throttled(&replica))
            };
            core.throttle(now, throttled);
        }
        core.next(now)
    }

    async fn rest(&self, ms: Option<i64>) {
        match ms {
            Some(ms) => {
                // Whichever comes first: it is looked at again in any case.
                let _ = tokio::time::timeout(millis(ms), self.changed.notified()).await;
            }
            None => self.changed.notified().await,
        }
    }

    async fn fetch(
        &self,
        manager: &Weak<ReplicaManager>,
        link: &dyn LeaderLink,
        asker: Asker,
        asked: &Asked,
    ) {
        let request = message::fetch(asker, &self.options, asked);
        let answer = self.answer(manager, link, link.fetch(request)).await;
        let Some(manager) = manager.upgrade() else { return };
        match answer {
            None => self.core.lock().interrupted(manager.clock.ticks()),
            Some(Ok(response)) => self.take(&manager, response),
            Some(Err(error)) => {
                tracing::debug!("Fetch from leader {}: {error}", self.leader);
                self.core.lock().unanswered(manager.clock.ticks());
            }
        }
    }

    /// Waits for an answer; `None` when it was given up because something else has to be asked.
    async fn answer<T>(
        &self,
        manager: &Weak<ReplicaManager>,
        link: &dyn LeaderLink,
        answer: impl Future<Output = Result<T, LinkError>>,
    ) -> Option<Result<T, LinkError>> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let manager_ = manager.upgrade()?;
            let now = manager_.clock.ticks();
            drop(manager_);
            let (at, left_out) = {
                let mut core = self.core.lock();
                (core.interrupt_at(now), core.is_left_out())
            };
            if self.stopped.load(Ordering::Acquire) || (left_out && at.is_some_and(|at| at <= now)) {
                link.close();
                return None;
            }
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = self.rest(at.map(|at| at.since(now))) => {}
            }
        }
    }

    fn take(&self, manager: &Arc<ReplicaManager>, response: FetchResponse) {
        let now = manager.clock.ticks();
        let error = ErrorCode(response.error_code);
        if !self.core.lock().answered(now, error, response.session_id) {
            tracing::debug!("Fetch from leader {}: {error}", self.leader);
            return;
        }
        let frame = manager.frame(bytes(&response));
        for said in message::said(response) {
            self.take_one(manager, &said, &frame, now);
        }
    }

    fn take_one(&self, manager: &Arc<ReplicaManager>, said: &Said, frame: &FrameRef, now: Millis) {
        let verdict = self.core.lock().judge(&said.key, said.error, now);
        if said.error != ErrorCode::NONE {
            tracing::debug!("Partition {:?} at leader {}: {}", said.key, self.leader, said.error);
        }
        let Verdict::Use(offset, epoch) = verdict else { return };
        let Some(replica) = manager.by_id(said.key) else { return };
        if !said.records.is_empty() && manager.is_follower_throttled(&replica) {
            manager.throttles.follower.record(now, said.records.len());
        }
        let leader = LeaderRef { node: self.leader, epoch };
        let followed = match said.diverging {
            Some(end) => manager.correct(&replica, leader, Event::Diverged(end)),
            None => manager.append_as_follower(
                &replica,
                &FromLeader {
                    leader,
                    offset,
                    records: &said.records,
                    high_watermark: said.high_watermark,
                    log_start: said.log_start,
                    frame,
                },
            ),
        };
        let mut core = self.core.lock();
        match followed {
            // Cut back to where it is already: asked again at once it would be told the same.
            Ok(position) if said.diverging.is_some() && position.log_end == offset => {
                core.stuck(&said.key, epoch, position, now);
            }
            Ok(position) => {
                core.progressed(&said.key, epoch, position);
                core.caught_up(&said.key, position.log_end >= said.high_watermark);
            }
            Err(error) => {
                drop(core);
                self.not_followed(manager, &said.key, epoch, error, now);
            }
        }
    }

    fn not_followed(
        &self,
        manager: &Arc<ReplicaManager>,
        key: &TopicPartitionId,
        epoch: LeaderEpoch,
        error: FollowError,
        now: Millis,
    ) {
        let Some(replica) = manager.by_id(*key) else { return };
        match error {
            FollowError::Offline => return self.core.lock().failed(key),
            FollowError::OutOfDate => {}
            FollowError::Refused(_) | FollowError::Fault(_) => {
                tracing::error!(
                    "{}: what leader {} sent in epoch {epoch} is not appended: {error}",
                    replica.name,
                    self.leader
                );
            }
        }
        let position = replica.position();
        self.core.lock().stuck(key, epoch, position, now);
    }

    /// Asks where the leader's logs start and end, and brings ours into that range.
    async fn locate(
        &self,
        manager: &Weak<ReplicaManager>,
        link: &dyn LeaderLink,
        asker: Asker,
        lost: &[(TopicPartitionId, LeaderEpoch)],
    ) {
        let Some(strong) = manager.upgrade() else { return };
        let known: Vec<_> = lost
            .iter()
            .filter_map(|(key, epoch)| Some((*key, (strong.by_id(*key)?.name.clone(), *epoch))))
            .collect();
        for (key, _) in lost.iter().filter(|(key, _)| known.iter().all(|(held, _)| held != key)) {
            self.core.lock().failed(key);
        }
        drop(strong);
        let names: Vec<_> = known.iter().map(|(_, named)| named.clone()).collect();
        let places = async {
            let ends = link.list_offsets(message::list_offsets(asker, Place::End, &names)).await?;
            let starts = link.list_offsets(message::list_offsets(asker, Place::Start, &names)).await?;
            Ok::<_, LinkError>((starts, ends))
        };
        let places = places.await;
        let Some(manager) = manager.upgrade() else { return };
        let now = manager.clock.ticks();
        let (starts, ends) = match places {
            Ok(places) => places,
            Err(error) => {
                tracing::debug!("ListOffsets at leader {}: {error}", self.leader);
                return self.core.lock().unanswered(now);
            }
        };
        for (key, (name, epoch)) in &known {
            let range = message::offset_of(&starts, name)
                .and_then(|start| Ok((start, message::offset_of(&ends, name)?)));
            let Ok((leader_start, leader_end)) = range else {
                self.core.lock().refused(key, true, now);
                continue;
            };
            let Some(replica) = manager.by_id(*key) else { continue };
            let leader = LeaderRef { node: self.leader, epoch: *epoch };
            match manager.correct(&replica, leader, Event::OutOfRange { leader_start, leader_end }) {
                Ok(position) => self.core.lock().located(key, *epoch, position, now),
                Err(FollowError::Offline) => self.core.lock().failed(key),
                Err(_) => self.core.lock().refused(key, false, now),
            }
        }
    }
}

/// Who asks; nobody before the broker is registered.
fn asker(manager: &ReplicaManager) -> Option<Asker> {
    let broker_epoch = manager.broker_epoch.load(Ordering::Acquire);
    (broker_epoch >= 0).then_some(Asker { node: manager.node(), broker_epoch })
}

fn bytes(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.records.as_ref().map_or(0, bytes::Bytes::len)).sum()
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}
