//! Turns what arrives into frames, and takes memory only for what has arrived.
//!
//! One large read buffer per call is borrowed from the pool and given back before anything is waited for. Small frames
//! are copied out of it; a frame that is longer than what was read gets a buffer of its own, whose size follows the
//! bytes that really came, so that announcing 100 MB costs the announcer 100 MB too.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

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
/// As much is read at once when the memory for a whole read cannot be had: the longest small frame with its prefix.
const SMALL_READ: usize = POOLED_MIN + 4;
/// The buffer of a frame is at most this many times as long as what has arrived, here and in the kernel.
const GROWTH: usize = 4;
/// While memory is plentiful the first buffer may be as long as this, however little has arrived.
const FIRST: usize = 256 << 10;
/// A frame that comes more slowly than this, in bytes per second of waiting for it, goes first when memory is scarce.
const SLOW: u64 = 64 << 10;
/// Nobody is called slow before having been waited for as long as this.
pub(crate) const SLOW_AFTER: Duration = Duration::from_secs(2);

/// What all connections draw from.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) pool: Arc<BufferPool>,
    budget: Arc<Semaphore>,
    total: usize,
    /// Only for frames that are whole in a small read: what keeps sessions alive passes when all else is taken.
    small: Arc<Semaphore>,
    small_total: usize,
}

impl Memory {
    pub(crate) fn new(pool: Arc<BufferPool>, queued_max_bytes: usize) -> Self {
        let all = queued_max_bytes.clamp(1 << 20, u32::MAX as usize);
        let small_total = all / 8;
        let total = all - small_total;
        let (budget, small) = (Arc::new(Semaphore::new(total)), Arc::new(Semaphore::new(small_total)));
        Self { pool, budget, total, small, small_total }
    }

    /// Waits until `bytes` more may be held by requests. A request larger than the whole budget takes all of it.
    async fn reserve(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = self.permits(bytes);
        self.budget.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed")
    }

    /// Waits until one who holds `held` may hold `size`, but not for ever: others wait for what is held.
    async fn reserve_more(&self, size: usize, held: usize) -> Result<OwnedSemaphorePermit, IntakeError> {
        let more = size.min(self.total).saturating_sub(held);
        let reserved = tokio::time::timeout(PATIENCE, self.reserve(more)).await;
        reserved.map_err(|_| IntakeError::Scarce)
    }

    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.budget.clone().try_acquire_many_owned(self.permits(bytes)).ok()
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.total)).expect("the total fits")
    }

    /// What may be read at once, and whether it is of the reserve for small frames.
    async fn reserve_read(&self) -> (OwnedSemaphorePermit, usize, bool) {
        if let Some(permit) = self.try_reserve(READ) {
            return (permit, READ, false);
        }
        let permits = u32::try_from(SMALL_READ).expect("it is short");
        tokio::select! {
            biased;
            permit = self.small.clone().acquire_many_owned(permits) =>
                (permit.expect("the semaphore is never closed"), SMALL_READ, true),
            permit = self.reserve(READ) => (permit, READ, false),
        }
    }

    /// True when little is left: who holds memory and makes no progress must go.
    pub(crate) fn scarce(&self) -> bool {
        self.budget.available_permits() < self.total / 4
            || self.small.available_permits() < self.small_total / 2
    }

    fn plentiful(&self) -> bool {
        self.budget.available_permits() > self.total / 2
    }

    /// The buffer of a frame of `len` bytes of which `arrived` have been read: longer than that, unless it is whole.
    fn size(&self, transport: &Transport, arrived: usize, len: usize) -> usize {
        if len <= arrived * GROWTH {
            return len;
        }
        let floor = if self.plentiful() { FIRST } else { 0 };
        len.min(((arrived + transport.unread()) * GROWTH).max(floor))
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
    /// How long the rest of the frame that has begun has been waited for.
    waited: Duration,
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

    /// The connection was ready to read for so long, and there was nothing.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// True when the frame that has begun comes so slowly that others should have its memory.
    pub(crate) fn slow(&self) -> bool {
        let arrived = self.partial.as_ref().map_or(self.head.len(), |partial| partial.filled);
        self.waited >= SLOW_AFTER && (arrived as u128) * 1000 < self.waited.as_millis() * u128::from(SLOW)
    }

    /// Reads what is there, once, and appends the frames it completes to `out`.
    pub(crate) async fn read(
        &mut self,
        transport: &Transport,
        memory: &Memory,
        max: usize,
        out: &mut VecDeque<Arrived>,
    ) -> Result<(), IntakeError> {
        if let Some(partial) = &mut self.partial {
            partial.make_room(transport, memory).await?;
            let end = partial.buf.capacity().min(partial.len);
            let n = read_some(transport, &mut partial.buf.as_mut()[partial.filled..end])?;
            partial.filled += n;
            if partial.filled == partial.len {
                let done = self.partial.take().expect("it was there");
                self.waited = Duration::ZERO;
                out.push_back(Arrived { frame: done.buf.freeze(done.len), permit: done.permit });
            }
            return Ok(());
        }
        if self.head.len() >= SMALL_READ {
            let len = frame_len(&self.head, max)?.expect("the prefix is in it");
            let data = &self.head[4..];
            let size = memory.size(transport, data.len(), len);
            let held = self.head_permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let mut permit = memory.reserve_more(size, held).await?;
            if let Some(held) = self.head_permit.take() {
                permit.merge(held);
            }
            self.partial = Some(Box::new(Partial::begin(data, len, size, permit, memory)));
            self.head = Vec::new();
            return Ok(());
        }
        // Held only while this call runs: what waits for memory here holds none to speak of.
        let (mut permit, most, small) = memory.reserve_read().await;
        let mut buf = memory.pool.take(most);
        let kept = self.head.len();
        buf.as_mut()[..kept].copy_from_slice(&self.head);
        let n = read_some(transport, &mut buf.as_mut()[kept..most])?;
        self.head.clear();
        let mut data = &buf.as_ref()[..kept + n];
        while let Some(len) = frame_len(data, max)? {
            let Some(frame) = data.get(4..4 + len) else { break };
            let permit = permit.split(len).expect("the frames of one read are no longer than it");
            out.push_back(Arrived { frame: copy_out(frame, &memory.pool), permit });
            self.waited = Duration::ZERO;
            data = &data[4 + len..];
        }
        if small || data.len() < SMALL_READ {
            // The reserve is not for the beginnings of large frames: those wait for the budget with the next call.
            self.head_permit = None;
            self.head = data.to_vec();
            return Ok(());
        }
        self.keep(data, transport, memory, max, permit)
    }

    /// Keeps the long beginning of a frame until the rest of it arrives. `permit` is of the whole read.
    fn keep(
        &mut self,
        data: &[u8],
        transport: &Transport,
        memory: &Memory,
        max: usize,
        mut permit: OwnedSemaphorePermit,
    ) -> Result<(), IntakeError> {
        self.head_permit = None;
        let len = frame_len(data, max)?.expect("the prefix is in it");
        let size = memory.size(transport, data.len() - 4, len);
        let spare = permit.num_permits();
        if size <= spare {
            permit = permit.split(size).expect("it has as many");
        } else if let Some(more) = memory.try_reserve(size - spare) {
            permit.merge(more);
        } else {
            // The read buffer is not kept while the next call waits for more.
            self.head_permit = permit.split(data.len().min(spare));
            self.head = data.to_vec();
            return Ok(());
        }
        self.partial = Some(Box::new(Partial::begin(&data[4..], len, size, permit, memory)));
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

impl Partial {
    fn begin(data: &[u8], len: usize, size: usize, permit: OwnedSemaphorePermit, memory: &Memory) -> Self {
        let mut buf = memory.pool.take(size);
        buf.as_mut()[..data.len()].copy_from_slice(data);
        Self { buf, filled: data.len(), len, permit }
    }

    async fn make_room(&mut self, transport: &Transport, memory: &Memory) -> Result<(), IntakeError> {
        if self.filled < self.buf.capacity() {
            return Ok(());
        }
        let size = memory.size(transport, self.filled, self.len);
        self.permit.merge(memory.reserve_more(size, self.permit.num_permits()).await?);
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
