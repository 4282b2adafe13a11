//! What no broker can do without, and nothing else: the floor under its rows on this machine.

use std::{
    fs::{File, OpenOptions},
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;
use rustix::{
    fs::OFlags,
    io::{ReadWriteFlags, pwritev2},
};

use crate::limits::thread_cpu;

const FRAME: usize = 1 << 20;
const TOTAL: usize = 1 << 30;
const PAGE: usize = 4096;
/// `RWF_DONTCACHE`, Linux 6.14.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// How the frames come to the disk.
#[derive(Clone, Copy)]
pub enum Way {
    Buffered,
    DontCache,
    /// From the buffer they were received in, which no record batch is aligned for: less than any broker needs.
    Direct,
    /// Buffered, over blocks that the file has already, which no log has.
    Over,
    /// As `DontCache`, each frame on the disk before the next: what acks=all costs who has one frame at a time.
    Synced,
}

impl Way {
    pub const ALL: [(&str, Self); 5] = [
        ("buffered", Self::Buffered),
        ("RWF_DONTCACHE", Self::DontCache),
        ("O_DIRECT without a copy", Self::Direct),
        ("buffered over written blocks", Self::Over),
        ("RWF_DONTCACHE, fdatasync", Self::Synced),
    ];

    fn open(self, path: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        if matches!(self, Self::Direct) {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        }
        let file = options.open(path)?;
        if matches!(self, Self::Over) {
            let zeros = vec![0; FRAME];
            (0..TOTAL / FRAME).try_for_each(|n| file.write_all_at(&zeros, (n * FRAME) as u64))?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(file)
    }

    fn write(self, file: &File, frame: &[u8], at: u64) -> Result<()> {
        if matches!(self, Self::DontCache | Self::Synced) {
            let written = pwritev2(file, &[std::io::IoSlice::new(frame)], at, DONTCACHE)?;
            anyhow::ensure!(written == frame.len(), "a short write");
            if matches!(self, Self::Synced) {
                file.sync_data()?;
            }
            return Ok(());
        }
        Ok(file.write_all_at(frame, at)?)
    }
}

/// CPU-s/GB of a thread that receives frames of 1 MiB over loopback, checks their CRC and writes them.
pub fn produce(way: Way, path: &Path) -> Result<f64> {
    let file = way.open(path)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> Result<()> {
        let mut stream = TcpStream::connect(addr)?;
        let frame = vec![3u8; FRAME];
        (0..TOTAL / FRAME).try_for_each(|_| stream.write_all(&frame))?;
        Ok(())
    });
    let (mut stream, _) = listener.accept()?;
    // In turn, as a broker's are that still writes one while the next arrives.
    let mut buffers = [vec![0u8; FRAME + PAGE], vec![0u8; FRAME + PAGE]];
    let before = thread_cpu();
    for n in 0..TOTAL / FRAME {
        let buffer = &mut buffers[n % 2];
        let aligned = buffer.as_ptr().align_offset(PAGE);
        let frame = &mut buffer[aligned..aligned + FRAME];
        stream.read_exact(frame)?;
        black_box(crc32c::crc32c(frame));
        way.write(&file, frame, (n * FRAME) as u64)?;
    }
    let used = thread_cpu() - before;
    sender.join().expect("the sender does not panic")?;
    Ok(used / (TOTAL as f64 / 1e9))
}

/// 1 KiB there and 64 bytes back over loopback, between threads that sleep a millisecond in between: p50, p99 in ms.
pub fn round_trip() -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut served, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    served.set_nodelay(true)?;
    let server = std::thread::spawn(move || -> Result<()> {
        let mut request = [0u8; 1024];
        while served.read_exact(&mut request).is_ok() {
            served.write_all(&request[..64])?;
        }
        Ok(())
    });
    let mut micros = Histogram::<u64>::new(3)?;
    let (request, mut answer) = ([7u8; 1024], [0u8; 64]);
    for _ in 0..3000 {
        std::thread::sleep(Duration::from_millis(1));
        let started = Instant::now();
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        micros.saturating_record(u64::try_from(started.elapsed().as_micros())?);
    }
    drop(stream);
    server.join().expect("the server does not panic")?;
    Ok((micros.value_at_quantile(0.5) as f64 / 1e3, micros.value_at_quantile(0.99) as f64 / 1e3))
}
