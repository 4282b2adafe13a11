//! The bytes of one connection: reading, and writing frames with file ranges.
//!
//! TLS will be a second variant here: it reads file ranges into a pooled buffer where plaintext hands them to the
//! kernel.

use std::{fs::File, io, io::IoSlice, num::NonZeroU64, str::FromStr, sync::Arc, time::Duration};

use bytes::Buf;
use futures::FutureExt;
use rustix::{
    fs::{Advice, fadvise},
    net::sockopt,
};
use smallvec::SmallVec;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{Frame, Part, intake::Memory};

/// How a listener protects its connections (`listener.security.protocol.map`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL over plaintext.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Whether clients must authenticate by SASL before anything else.
    #[must_use]
    pub fn sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl FromStr for SecurityProtocol {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Ok(Self::Plaintext),
            "SSL" => Ok(Self::Ssl),
            "SASL_PLAINTEXT" => Ok(Self::SaslPlaintext),
            "SASL_SSL" => Ok(Self::SaslSsl),
            _ => Err(format!("no security protocol is called {s:?}")),
        }
    }
}

/// How often is looked whether memory has become scarce while a peer does not read.
const UNREAD_LOOK: Duration = Duration::from_secs(2);

/// How long a peer may leave its answers unread.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    /// Without any progress, at most this long.
    pub(crate) idle: Duration,
    /// At most this long while memory is scarce.
    pub(crate) scarce: Duration,
    /// What may be scarce.
    pub(crate) memory: &'a Memory,
}

/// One connection's socket.
pub(crate) struct Transport {
    stream: TcpStream,
}

/// File ranges up to this length are read and sent with the bytes around them: one system call instead of three.
const INLINE_FILE: usize = 16 << 10;
/// Bytes behind a range that are asked for with it.
const READ_AHEAD: u64 = 2 << 20;
/// Pieces handed to the kernel in one call.
const IOVECS: usize = 64;

impl Transport {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buf)
    }

    /// Bytes that have arrived and wait in the kernel.
    pub(crate) fn unread(&self) -> usize {
        let bytes = rustix::io::ioctl_fionread(&self.stream).unwrap_or(0);
        // A kernel's buffer is not longer; whatever it says, the sum with a frame's length does not overflow.
        usize::try_from(bytes).unwrap_or(0).min(1 << 30)
    }

    /// Whether the peer is known to send no more: it has closed its end, or the connection is broken.
    pub(crate) fn has_left(&self) -> bool {
        let ready = self.stream.ready(Interest::READABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }

    /// Waits until the kernel takes more.
    ///
    /// # Errors
    /// `TimedOut` when the peer takes nothing for too long.
    async fn writable(&self, patience: Patience<'_>) -> io::Result<()> {
        let began = Instant::now();
        let look = patience.scarce.min(UNREAD_LOOK);
        loop {
            let left = patience.idle.saturating_sub(began.elapsed());
            if let Ok(writable) = timeout(left.min(look), self.stream.writable()).await {
                return writable;
            }
            let quiet = began.elapsed();
            if quiet >= patience.idle || (quiet >= patience.scarce && patience.memory.scarce()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers"));
            }
        }
    }

    /// Writes the whole frame.
    pub(crate) async fn write(&self, frame: Frame, patience: Patience<'_>) -> io::Result<()> {
        let mut parts = frame.0;
        for part in &mut parts {
            if let Part::File { file, offset, len } = part
                && *len <= INLINE_FILE
            {
                *part = Part::Bytes(read_range(file, *offset, *len)?.into());
            }
        }
        // What lies before and behind a range of a file goes into the same packets: each of its own wakes the peer.
        let corked = parts.len() > 1 && parts.iter().any(|part| matches!(part, Part::File { .. }));
        if corked {
            sockopt::set_tcp_cork(&self.stream, true)?;
        }
        self.write_parts(&mut parts, patience).await?;
        if corked {
            sockopt::set_tcp_cork(&self.stream, false)?;
        }
        Ok(())
    }

    async fn write_parts(&self, parts: &mut [Part], patience: Patience<'_>) -> io::Result<()> {
        let mut at = 0;
        while at < parts.len() {
            match &parts[at] {
                Part::Bytes(_) => {
                    let end = parts[at..].iter().position(|part| matches!(part, Part::File { .. }));
                    let end = end.map_or(parts.len(), |n| at + n).min(at + IOVECS);
                    self.write_bytes(&mut parts[at..end], patience).await?;
                    at = end;
                }
                Part::File { file, offset, len } => {
                    self.write_file(file, *offset, *len, patience).await?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    async fn write_bytes(&self, parts: &mut [Part], patience: Patience<'_>) -> io::Result<()> {
        loop {
            let written = {
                let slices: SmallVec<[IoSlice<'_>; IOVECS]> = parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Bytes(bytes) if !bytes.is_empty() => Some(IoSlice::new(bytes)),
                        _ => None,
                    })
                    .collect();
                if slices.is_empty() {
                    return Ok(());
                }
                self.stream.try_write_vectored(&slices)
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => advance(parts, n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable(patience).await?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn write_file(
        &self,
        file: &Arc<File>,
        offset: u64,
        len: usize,
        patience: Patience<'_>,
    ) -> io::Result<()> {
        ahead(file, offset, len);
        let (mut at, end) = (offset, offset + len as u64);
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                rustix::fs::sendfile(&self.stream, &**file, Some(&mut at), left).map_err(io::Error::from)
            });
            match sent {
                // The range was cut off under us (the log was truncated): the frame cannot be completed.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable(patience).await?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Asks the kernel for the range and what a sequential reader wants next, in large reads and before anyone waits for
/// them; its own read-ahead is a tenth as long. Costs next to nothing where the pages are there.
fn ahead(file: &File, offset: u64, len: usize) {
    // Advice: where it is not taken the read is slower, nothing else.
    let _ = fadvise(file, offset, NonZeroU64::new(len as u64 + READ_AHEAD), Advice::WillNeed);
}

fn read_range(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; len];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut buf, offset)?;
    Ok(buf)
}

/// Takes `n` bytes off the front of the byte parts.
fn advance(parts: &mut [Part], mut n: usize) {
    for part in parts {
        if let Part::Bytes(bytes) = part {
            let step = n.min(bytes.len());
            bytes.advance(step);
            n -= step;
        }
    }
}
