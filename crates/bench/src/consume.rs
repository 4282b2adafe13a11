//! Everything a topic has, as fast as it comes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use crate::args::Args;

pub fn run(args: &Args) -> Result<()> {
    let (topic, count): (&str, u64) = (args.text("topic")?, args.number("count")?);
    let partitions: i32 = args.number_or("partitions", 1)?;
    let mut config = args.client()?;
    config
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "1048576")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    let started = Instant::now();
    consumer.assign(&assignment)?;
    let (mut seen, mut bytes) = (0u64, 0u64);
    while seen < count {
        let message = consumer.poll(Duration::from_secs(30)).context("nothing for 30 s")??;
        bytes += message.payload_len() as u64;
        seen += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"seconds\": {seconds:.3}, \"mb_per_s\": {:.1}, \"bytes\": {bytes}}}",
        bytes as f64 / 1e6 / seconds
    );
    Ok(())
}
