//! From the start of a process to the first record it acknowledges.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};

use crate::{args::Args, partitions::wait_for_ack};

pub fn run(args: &Args) -> Result<()> {
    let (program, arguments) = args.program.split_first().context("-- PROGRAM is missing")?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start")?;
    let acked = wait_for_ack(args, args.text("topic")?, 0);
    let took = started.elapsed().as_secs_f64() * 1e3;
    if args.number_or("keep", 0)? == 0 || acked.is_err() {
        child.kill()?;
        child.wait()?;
    }
    acked?;
    println!("{{\"first_ack_ms\": {took:.1}, \"pid\": {}}}", child.id());
    Ok(())
}
