//! Turns what arrives into frames, and takes memory only for what has arrived.
//!
//! One large read buffer per call is borrowed from the pool and given back before anything is waited for. Small frames
//! are copied out of it; a frame that is longer than what was read gets a buffer of its own, whose size follows the
//! bytes that really came, so that announcing 100 MB costs the announcer 100 MB too.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    pool::{BufferPool, POOLED_MIN, PooledBuf},
    transport::Transport,
};

/// Who holds the beginning of a frame waits no longer than this for the memory of the rest: when all who hold some wait
/// for more, nobody would ever get any. Longer than those are kept who do not go on sending: they go first.
const PATIENCE: Duration = Duration::from_secs(12);
/// One read takes at most this much.
const READ: usize = 128 << 10;
/// A frame that is not longer than this gets its whole buffer as soon as it spills over the read buffer.
const TRUSTED: usize = 2 << 20;
/// Above that, the buffer is at most this many times as long as what has arrived.
const GROWTH: usize = 4;

/// What all connections draw from.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) pool: Arc<BufferPool>,
    budget: Arc<Semaphore>,
    total: usize,
}

impl Memory {
    pub(crate) fn new(pool: Arc<BufferPool>, queued_max_bytes: usize) -> Self {
        let total = queued_max_bytes.clamp(1 << 20, u32::MAX as usize);
        Self { pool, budget: Arc::new(Semaphore::new(total)), total }
    }

    /// Waits until `bytes` more may be held by requests. A request larger than the whole budget takes all of it.
    async fn reserve(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.min(self.total)).expect("the total fits");
        self.budget.clone().acquire_many_owned(bytes).await.expect("the semaphore is never closed")
    }

    /// As [`reserve`](Self::reserve), for those who hold memory already.
    async fn reserve_more(&self, bytes: usize) -> Result<OwnedSemaphorePermit, IntakeError> {
        let reserved = tokio::time::timeout(PATIENCE, self.reserve(bytes)).await;
        reserved.map_err(|_| IntakeError::Scarce)
    }

    fn try_reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(self.total)).expect("the total fits");
        self.budget.clone().try_acquire_many_owned(bytes).ok()
    }

    /// True when little is left: who holds memory and makes no progress must go.
    pub(crate) fn scarce(&self) -> bool {
        self.budget.available_permits() < self.total / 4
    }
}

/// A whole frame, and its share of the budget, to be held until it is answered.
pub(crate) struct Arrived {
    pub(crate) frame: Bytes,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// A frame that has begun to arrive.
struct Partial {
    buf: PooledBuf,
    filled: usize,
    len: usize,
    permit: OwnedSemaphorePermit,
}

/// What has arrived of one connection and is not yet a whole frame.
#[derive(Default)]
pub(crate) struct Intake {
    /// Less than a length prefix, or a frame's beginning that is short or waits for a buffer.
    head: Vec<u8>,
    /// The share of the budget of a beginning that is worth counting.
    head_permit: Option<OwnedSemaphorePermit>,
    partial: Option<Box<Partial>>,
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("closed by the peer")]
    Closed,
    #[error("invalid receive (size = {0} larger than or out of the limit of {1})")]
    Size(i64, usize),
    #[error("no memory for the rest of a request (queued.max.request.bytes)")]
    Scarce,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Intake {
    /// True between frames.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.partial.is_none()
    }

    /// Reads what is there, once, and appends the frames it completes to `out`.
    pub(crate) async fn read(
        &mut self,
        transport: &Transport,
        memory: &Memory,
        max: usize,
        out: &mut Vec<Arrived>,
    ) -> Result<(), IntakeError> {
        if let Some(partial) = &mut self.partial {
            partial.make_room(memory).await?;
            let end = partial.buf.capacity().min(partial.len);
            let n = read_some(transport, &mut partial.buf.as_mut()[partial.filled..end])?;
            partial.filled += n;
            if partial.filled == partial.len {
                let done = self.partial.take().expect("it was there");
                out.push(Arrived { frame: done.buf.freeze(done.len), permit: done.permit });
            }
            return Ok(());
        }
        if self.head.len() >= POOLED_MIN + 4 {
            let len = frame_len(&self.head, max)?.expect("the prefix is in it");
            let data = &self.head[4..];
            let held = self.head_permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let mut permit = memory.reserve_more(first_size(data, len).saturating_sub(held)).await?;
            permit.merge(self.head_permit.take().expect("a long beginning is counted"));
            self.partial = Some(Box::new(Partial::begin(data, len, permit, memory)));
            self.head = Vec::new();
            return Ok(());
        }
        // Held only while this call runs: what waits for memory here holds none to speak of.
        let mut permit = memory.reserve(READ).await;
        let mut buf = memory.pool.take(READ);
        let kept = self.head.len();
        buf.as_mut()[..kept].copy_from_slice(&self.head);
        let n = read_some(transport, &mut buf.as_mut()[kept..READ])?;
        self.head.clear();
        let mut data = &buf.as_ref()[..kept + n];
        while let Some(len) = frame_len(data, max)? {
            let Some(frame) = data.get(4..4 + len) else { break };
            let permit = permit.split(len).expect("the frames of one read are no longer than it");
            out.push(Arrived { frame: copy_out(frame, &memory.pool), permit });
            data = &data[4 + len..];
        }
        self.keep(data, memory, max, permit)
    }

    /// Keeps the beginning of a frame until the rest of it arrives. `permit` is of the whole read.
    fn keep(
        &mut self,
        data: &[u8],
        memory: &Memory,
        max: usize,
        mut permit: OwnedSemaphorePermit,
    ) -> Result<(), IntakeError> {
        self.head_permit = None;
        if data.len() < POOLED_MIN + 4 {
            self.head = data.to_vec();
            return Ok(());
        }
        let len = frame_len(data, max)?.expect("the prefix is in it");
        let size = first_size(&data[4..], len);
        let spare = permit.num_permits();
        if size <= spare {
            permit = permit.split(size).expect("it has as many");
        } else if let Some(more) = memory.try_reserve(size - spare) {
            permit.merge(more);
        } else {
            // The read buffer is not kept while the next call waits for more.
            self.head_permit = permit.split(data.len());
            self.head = data.to_vec();
            return Ok(());
        }
        self.partial = Some(Box::new(Partial::begin(&data[4..], len, permit, memory)));
        Ok(())
    }
}

/// The length that the prefix at the front of `data` announces; `None` when the prefix is not yet whole.
fn frame_len(data: &[u8], max: usize) -> Result<Option<usize>, IntakeError> {
    let Some(prefix) = data.first_chunk::<4>() else { return Ok(None) };
    let announced = i32::from_be_bytes(*prefix);
    let len = usize::try_from(announced).ok().filter(|len| (1..=max).contains(len));
    len.map(Some).ok_or(IntakeError::Size(announced.into(), max))
}

/// The first buffer of a frame of which `data` has arrived.
fn first_size(data: &[u8], len: usize) -> usize {
    if len <= TRUSTED { len } else { len.min(data.len() * GROWTH) }
}

impl Partial {
    fn begin(data: &[u8], len: usize, permit: OwnedSemaphorePermit, memory: &Memory) -> Self {
        let mut buf = memory.pool.take(first_size(data, len));
        buf.as_mut()[..data.len()].copy_from_slice(data);
        Self { buf, filled: data.len(), len, permit }
    }

    async fn make_room(&mut self, memory: &Memory) -> Result<(), IntakeError> {
        if self.filled < self.buf.capacity() {
            return Ok(());
        }
        let size = self.len.min(self.filled * GROWTH);
        self.permit.merge(memory.reserve_more(size - self.filled).await?);
        let mut larger = memory.pool.take(size);
        larger.as_mut()[..self.filled].copy_from_slice(&self.buf.as_ref()[..self.filled]);
        self.buf = larger;
        Ok(())
    }
}

fn copy_out(frame: &[u8], pool: &Arc<BufferPool>) -> Bytes {
    if frame.len() < POOLED_MIN {
        return Bytes::copy_from_slice(frame);
    }
    let mut buf = pool.take(frame.len());
    buf.as_mut()[..frame.len()].copy_from_slice(frame);
    buf.freeze(frame.len())
}

fn read_some(transport: &Transport, buf: &mut [u8]) -> Result<usize, IntakeError> {
    match transport.try_read(buf) {
        Ok(0) => Err(IntakeError::Closed),
        Ok(n) => Ok(n),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        Err(e) => Err(e.into()),
    }
}
