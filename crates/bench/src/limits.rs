//! What the machine can do at best, measured beside the brokers: nothing can be faster than this.

use std::{
    fs::OpenOptions,
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    bare::{self, Way},
    bare_requests,
};

const MIB: usize = 1 << 20;

pub fn run() -> Result<()> {
    println!("| limit | value |\n|---|---|");
    for (name, size) in [("64 KiB", 64 << 10), ("1 MiB", MIB), ("64 MiB", 64 * MIB)] {
        println!("| memcpy, {name}, GB/s | {:.1} |", memcpy(size));
    }
    let data = vec![7u8; MIB];
    let crc = rate(MIB, || {
        black_box(crc32c::crc32c(black_box(&data)));
    });
    println!("| crc32c, 1 MiB, GB/s | {crc:.1} |");
    for (name, size) in [("16 KiB", 16 << 10), ("128 KiB", 128 << 10), ("1 MiB", MIB)] {
        let (wall, sent, received) = loopback(size)?;
        println!("| loopback, {name}: GB/s | {wall:.2} |");
        println!("| loopback, {name}: CPU-s/GB to send, to receive | {sent:.2}, {received:.2} |");
    }
    for (name, size) in [("16 KiB", 16 << 10), ("128 KiB", 128 << 10), ("1 MiB", MIB)] {
        let (wall, used) = sequential_write(size)?;
        println!("| write, {name}: GB/s, CPU-s/GB | {wall:.2}, {used:.2} |");
    }
    let (p50, p99) = fdatasync(4096)?;
    println!("| fdatasync after 4 KiB appended: p50, p99 ms | {p50:.2}, {p99:.2} |");
    let (p50, p99) = bare::round_trip()?;
    println!("| 1 KiB there, 64 B back, a millisecond apart: p50, p99 ms | {p50:.2}, {p99:.2} |");
    for (name, way) in Way::ALL {
        let path = scratch()?.1;
        let used = bare::produce(way, &path);
        std::fs::remove_file(path)?;
        // Not every file system has every way.
        let used = used.map_or_else(|problem| problem.to_string(), |used| format!("{used:.2}"));
        println!("| receive 1 MiB, CRC, write {name}: CPU-s/GB | {used} |");
    }
    // No multiple of a page, as no record batch is.
    for (name, size) in [("10 KB", 10_007), ("40 KB", 40_009)] {
        for files in [1, 100] {
            let used = bare_requests::produce(size, files, &scratch_dir())?;
            println!("| receive {name}, CRC, append to one of {files}, answer: CPU-s/GB | {used:.2} |");
        }
    }
    Ok(())
}

/// GB/s of something that handles `bytes` at a time.
fn rate(bytes: usize, mut each: impl FnMut()) -> f64 {
    let started = Instant::now();
    let mut done = 0usize;
    while started.elapsed() < Duration::from_millis(500) {
        each();
        done += bytes;
    }
    done as f64 / 1e9 / started.elapsed().as_secs_f64()
}

fn memcpy(size: usize) -> f64 {
    let (from, mut to) = (vec![1u8; size], vec![2u8; size]);
    rate(size, || black_box(&mut to).copy_from_slice(black_box(&from)))
}

/// CPU seconds of the calling thread.
pub fn thread_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn loopback(size: usize) -> Result<(f64, f64, f64)> {
    const TOTAL: usize = 2 << 30;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let receiver = std::thread::spawn(move || -> Result<f64> {
        let (mut stream, _) = listener.accept()?;
        let mut buf = vec![0; size];
        let before = thread_cpu();
        while stream.read(&mut buf)? > 0 {}
        Ok(thread_cpu() - before)
    });
    let mut stream = TcpStream::connect(addr)?;
    let buf = vec![3u8; size];
    let (started, before) = (Instant::now(), thread_cpu());
    for _ in 0..TOTAL / size {
        stream.write_all(&buf)?;
    }
    let sent = thread_cpu() - before;
    drop(stream);
    let received = receiver.join().expect("the receiver does not panic")?;
    let gb = TOTAL as f64 / 1e9;
    Ok((gb / started.elapsed().as_secs_f64(), sent / gb, received / gb))
}

/// A path that nobody has.
fn scratch_dir() -> std::path::PathBuf {
    let dir = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    dir.join(format!("ottla-bench-limits-{}", std::process::id()))
}

fn scratch() -> Result<(std::fs::File, std::path::PathBuf)> {
    let path = scratch_dir();
    Ok((OpenOptions::new().create(true).truncate(true).write(true).open(&path)?, path))
}

fn sequential_write(size: usize) -> Result<(f64, f64)> {
    const TOTAL: usize = 1 << 30;
    let (mut file, path) = scratch()?;
    let buf = vec![5u8; size];
    let (started, before) = (Instant::now(), thread_cpu());
    for _ in 0..TOTAL / size {
        file.write_all(&buf)?;
    }
    let used = thread_cpu() - before;
    let gb = TOTAL as f64 / 1e9;
    let wall = gb / started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok((wall, used / gb))
}

fn fdatasync(size: usize) -> Result<(f64, f64)> {
    let (file, path) = scratch()?;
    let buf = vec![5u8; size];
    let mut micros = Histogram::<u64>::new(3)?;
    for i in 0..2000u64 {
        file.write_all_at(&buf, i * size as u64)?;
        let started = Instant::now();
        file.sync_data()?;
        micros.saturating_record(u64::try_from(started.elapsed().as_micros())?);
    }
    std::fs::remove_file(path)?;
    Ok((micros.value_at_quantile(0.5) as f64 / 1e3, micros.value_at_quantile(0.99) as f64 / 1e3))
}
