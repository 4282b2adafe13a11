//! What no broker can do without when a producer sends a request for each partition: the floor under its rows of many
//! partitions on this machine.

use std::{
    fs::{File, OpenOptions},
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::Result;

use crate::limits::thread_cpu;

const TOTAL: usize = 1 << 29;
/// Several requests arrive at once when the producer is ahead.
const BUFFER: usize = 1 << 18;
const ANSWER: [u8; 64] = [0; 64];

/// CPU-s/GB of a thread that receives requests of `size` bytes over loopback, checks their CRC, appends each to the next of
/// `files` files (in `dir`, which it creates and removes) and answers those that arrived together with one write.
pub fn produce(size: usize, files: usize, dir: &Path) -> Result<f64> {
    std::fs::create_dir(dir)?;
    let logs: Result<Vec<File>, _> = (0..files)
        .map(|n| OpenOptions::new().create_new(true).write(true).open(dir.join(n.to_string())))
        .collect();
    let used = logs.map_err(Into::into).and_then(|logs| serve(size, &logs));
    std::fs::remove_dir_all(dir)?;
    used
}

fn serve(size: usize, logs: &[File]) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut requests = TcpStream::connect(listener.local_addr()?)?;
    let mut answers = requests.try_clone()?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let count = TOTAL / size;
    let sender = std::thread::spawn(move || -> Result<()> {
        let request = vec![3u8; size];
        (0..count).try_for_each(|_| requests.write_all(&request))?;
        Ok(())
    });
    let reader = std::thread::spawn(move || -> Result<()> {
        let mut answer = ANSWER;
        (0..count).try_for_each(|_| answers.read_exact(&mut answer))?;
        Ok(())
    });
    let (mut buffer, mut filled) = (vec![0u8; BUFFER.max(2 * size)], 0);
    let (mut done, mut ends) = (0, vec![0u64; logs.len()]);
    let before = thread_cpu();
    while done < count {
        let came = stream.read(&mut buffer[filled..])?;
        anyhow::ensure!(came > 0, "the sender has gone");
        filled += came;
        let whole = filled / size;
        for request in buffer.chunks_exact(size).take(whole) {
            black_box(crc32c::crc32c(request));
            let log = done % logs.len();
            logs[log].write_all_at(request, ends[log])?;
            ends[log] += size as u64;
            done += 1;
        }
        stream.write_all(&ANSWER.repeat(whole))?;
        buffer.copy_within(whole * size..filled, 0);
        filled -= whole * size;
    }
    let used = thread_cpu() - before;
    sender.join().expect("the sender does not panic")?;
    reader.join().expect("the reader does not panic")?;
    Ok(used / ((count * size) as f64 / 1e9))
}
