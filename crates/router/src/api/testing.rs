//! For tests: a quorum that says what it is told to say, a metadata log in memory, and requests of nobody.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use ottla_controller::{Answer, Command};
use ottla_metadata::{ControllerRegistration, Endpoint, Image, ImageCell};
use ottla_net::{Frame, Part};
use ottla_raft::{Message, QuorumView, Seen, SnapshotId, Status, Stranger, SubmitError, VoterChange};
use ottla_records::{Batch, BatchBuilder};
use ottla_types::{ApiError, Clock, LeaderEpoch, Millis, NodeId, Offset};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{Handler, IntoFrame, MetadataLogView, Quorum, Reply, RequestContext, SnapshotPiece};

/// A member of a quorum that answers what the test has put in.
pub(crate) struct FakeQuorum {
    pub(crate) status: watch::Sender<Status>,
    pub(crate) answers: Mutex<VecDeque<Result<Answer, SubmitError>>>,
    pub(crate) asked: Mutex<Vec<Command>>,
    pub(crate) observers: Mutex<Vec<(NodeId, Uuid, Offset)>>,
    pub(crate) view: Mutex<QuorumView>,
    pub(crate) changes: Mutex<Vec<VoterChange>>,
    /// What changes of the voters are refused with.
    pub(crate) refusal: Mutex<Option<ApiError>>,
}

impl FakeQuorum {
    /// Node 1 leads in epoch 1; this is node 1, or another one.
    pub(crate) fn new(in_office: bool) -> Arc<Self> {
        let status = Status { leader: Some(1), epoch: 1, in_office, ..Status::default() };
        Arc::new(Self {
            status: watch::channel(status).0,
            answers: Mutex::default(),
            asked: Mutex::default(),
            observers: Mutex::default(),
            view: Mutex::default(),
            changes: Mutex::default(),
            refusal: Mutex::default(),
        })
    }
}

impl Quorum for FakeQuorum {
    fn submit(&self, command: Command) -> BoxFuture<'static, Result<Answer, SubmitError>> {
        self.asked.lock().push(command);
        let leader = self.status.borrow().leader;
        let answer = self.answers.lock().pop_front();
        async move { answer.unwrap_or(Err(SubmitError::NotLeader { leader })) }.boxed()
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    fn deliver(&self, _: u64, sender: Seen, _: Option<u64>, _: Vec<Message>) -> Result<(), Stranger> {
        // Directory 9 is a second process of its node, 8 not that of the voter.
        match sender.directory_id.as_u128() {
            9 => Err(Stranger::Rival),
            8 => Err(Stranger::OtherDirectory(Uuid::from_u128(5))),
            _ => Ok(()),
        }
    }

    fn observer_fetched(&self, replica: NodeId, directory: Uuid, offset: Offset, _: Millis) {
        self.observers.lock().push((replica, directory, offset));
    }

    fn view(&self) -> QuorumView {
        self.view.lock().clone()
    }

    fn change_voters(&self, change: VoterChange) -> BoxFuture<'static, Result<(), ApiError>> {
        self.changes.lock().push(change);
        let refusal = self.refusal.lock().clone();
        async move { refusal.map_or(Ok(()), Err) }.boxed()
    }
}

/// A metadata log of batches of one record each.
#[derive(Default)]
pub(crate) struct FakeLog {
    pub(crate) start: Offset,
    pub(crate) batches: Mutex<Vec<Batch>>,
    pub(crate) snapshots: Vec<(SnapshotId, Bytes)>,
}

impl FakeLog {
    /// A log that starts at `start`, with a record for each of the epochs.
    pub(crate) fn new(start: Offset, epochs: &[LeaderEpoch]) -> Self {
        let log = Self { start, ..Self::default() };
        epochs.iter().for_each(|epoch| log.append(*epoch));
        log
    }

    pub(crate) fn append(&self, epoch: LeaderEpoch) {
        let at = self.end();
        let mut batch = BatchBuilder::new(0);
        batch.append(0, None, Some(b"fact"), &[]);
        let batch = Batch::parse(&batch.build(), 0).expect("our own batch");
        self.batches.lock().push(batch.stamp(at, epoch).to_batch());
    }
}

impl MetadataLogView for FakeLog {
    fn start(&self) -> Offset {
        self.start
    }

    fn end(&self) -> Offset {
        self.batches.lock().last().map_or(self.start, |batch| batch.header.next_offset())
    }

    fn epochs(&self) -> Vec<(LeaderEpoch, Offset)> {
        let batches = self.batches.lock();
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for batch in &*batches {
            let epoch = batch.header.partition_leader_epoch;
            if epochs.last().is_none_or(|(last, _)| *last < epoch) {
                epochs.push((epoch, batch.header.base_offset));
            }
        }
        epochs
    }

    fn read(&self, from: Offset, max_bytes: usize) -> io::Result<SmallVec<[Part; 2]>> {
        let mut parts: SmallVec<[Part; 2]> = SmallVec::new();
        let mut left = max_bytes;
        for batch in self.batches.lock().iter().filter(|batch| batch.header.next_offset() > from) {
            if !parts.is_empty() && batch.bytes.len() > left {
                break;
            }
            left = left.saturating_sub(batch.bytes.len());
            parts.push(Part::Bytes(batch.bytes.clone()));
        }
        Ok(parts)
    }

    fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.iter().map(|(id, _)| *id).max()
    }

    fn snapshot(&self, id: SnapshotId, position: u64, max_bytes: usize) -> io::Result<Option<SnapshotPiece>> {
        Ok(self.snapshots.iter().find(|(known, _)| *known == id).map(|(_, bytes)| {
            let from = usize::try_from(position).map_or(bytes.len(), |at| at.min(bytes.len()));
            let to = from.saturating_add(max_bytes).min(bytes.len());
            SnapshotPiece { size: bytes.len() as u64, bytes: bytes.slice(from..to) }
        }))
    }
}

/// An image where controllers 1 to 3 have registered, as those of the recorded cluster did.
pub(crate) fn image() -> Arc<ImageCell> {
    let controller = |id: NodeId| {
        let listener = Endpoint {
            name: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: u16::try_from(24_091 + id).expect("a port"),
            security_protocol: 0,
        };
        Arc::new(ControllerRegistration {
            id,
            incarnation_id: Uuid::nil(),
            zk_migration_ready: false,
            listeners: vec![listener],
            features: Vec::new(),
        })
    };
    let controllers = Arc::new((1..=3).map(|id| (id, controller(id))).collect());
    Arc::new(ImageCell::new(Arc::new(Image { controllers, ..Image::new() })))
}

/// A request of this API and version, on the controllers' listener.
pub(crate) fn context(api_key: i16, api_version: i16) -> RequestContext {
    RequestContext {
        api_key,
        api_version,
        correlation_id: 7,
        frame_bytes: 0,
        client_id: None,
        listener: "CONTROLLER".into(),
        connection: 5,
        opened: Millis(0),
        peer: ([127, 0, 0, 1], 1234).into(),
        principal: Some("User:ANONYMOUS".into()),
        now: Millis(0),
    }
}

/// The answer, however it comes.
pub(crate) async fn answer<R>(reply: Reply<R>) -> R {
    match reply {
        Reply::Now(answer) => answer,
        Reply::Later { answer, .. } => answer.await,
        Reply::None | Reply::Close => panic!("an answer is wanted"),
    }
}

/// Asks a handler and waits.
pub(crate) async fn ask<H: Handler>(handler: &H, version: i16, request: H::Request) -> H::Response {
    let key = <H::Request as ottla_protocol::Request>::KEY;
    answer(handler.handle(&context(key, version), request)).await
}

/// The body of an answer, without its head, in hexadecimal.
pub(crate) fn body(key: i16, version: i16, answer: impl IntoFrame) -> String {
    let frame: Frame = answer.into_frame(key, version, 7).expect("the version can say it");
    let mut bytes = Vec::new();
    for part in frame.0 {
        match part {
            Part::Bytes(part) => bytes.extend_from_slice(&part),
            Part::File { .. } => panic!("in memory"),
        }
    }
    let head = 8 + usize::from(ottla_protocol::api::response_header_version(key, version) == Some(1));
    bytes[head..].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Clock for Stopped {
    fn wall(&self) -> Millis {
        Millis(1000)
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }
}
