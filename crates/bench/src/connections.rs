//! Idle connections: each asks for ApiVersions once and then does nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use anyhow::Result;

use crate::args::Args;

/// ApiVersions version 0, correlation id 1, client id "bench".
const REQUEST: [u8; 19] = *b"\0\0\0\x0f\0\x12\0\0\0\0\0\x01\0\x05bench";

pub fn run(args: &Args) -> Result<()> {
    let count: usize = args.number("count")?;
    let started = Instant::now();
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(args.text("brokers")?)?;
        stream.write_all(&REQUEST)?;
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        stream.read_exact(&mut body)?;
        held.push(stream);
    }
    println!("{{\"seconds\": {:.3}}}", started.elapsed().as_secs_f64());
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
