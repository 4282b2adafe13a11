//! The load of `scripts/bench`: one client, driven the same way against any broker.
//!
//! Each command prints one line of JSON on standard output. Rates are in 10^6 payload bytes per second, times in
//! milliseconds unless the name says otherwise. Latencies count from the time a record was *meant* to be sent, so that a
//! broker that stalls is charged for every record that had to wait (no coordinated omission).

mod args;
mod bare;
mod bare_requests;
mod connections;
mod consume;
mod first_ack;
mod latency;
mod limits;
mod partitions;
mod produce;

use anyhow::{Result, bail};
use args::Args;

const USAGE: &str = "usage: ottla-bench COMMAND [key=value]... [-- PROGRAM ARGUMENT...]
  produce      brokers topic partitions size count acks producers [linger]
  consume      brokers topic partitions size count
  latency      brokers topic size rate seconds acks
  first-ack    brokers topic -- PROGRAM ARGUMENT...    starts PROGRAM, ends it after the first acknowledged record
  partitions   brokers topic partitions [replication]  creates a topic, waits for an ack on its last partition
  probe        brokers topic partition                 waits for an ack on a partition
  limits                                               what the machine can do
  connections  brokers count                           holds idle connections until standard input ends";

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1));
    match args.command.as_str() {
        "produce" => produce::run(&args),
        "consume" => consume::run(&args),
        "latency" => latency::run(&args),
        "limits" => limits::run(),
        "first-ack" => first_ack::run(&args),
        "partitions" => partitions::run(&args),
        "probe" => partitions::probe(&args),
        "connections" => connections::run(&args),
        other => bail!("no command {other:?}\n{USAGE}"),
    }
}
