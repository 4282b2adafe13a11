//! As many records as the broker takes.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rdkafka::{
    ClientContext,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode,
};

use crate::args::Args;

#[derive(Default)]
struct Count {
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.acknowledged } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn run(args: &Args) -> Result<()> {
    let (size, count): (usize, u64) = (args.number("size")?, args.number("count")?);
    let producers: u64 = args.number_or("producers", 1)?;
    let started = Instant::now();
    let failed: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..producers).map(|_| scope.spawn(|| one(args, size, count / producers))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a producer does not panic"))
            .sum::<Result<u64>>()
    })?;
    ensure!(failed == 0, "{failed} records were not acknowledged");
    let seconds = started.elapsed().as_secs_f64();
    let bytes = (count / producers * producers) as f64 * size as f64;
    println!("{{\"seconds\": {seconds:.3}, \"mb_per_s\": {:.1}, \"bytes\": {bytes}}}", bytes / 1e6 / seconds);
    Ok(())
}

fn one(args: &Args, size: usize, count: u64) -> Result<u64> {
    let topic = args.text("topic")?;
    let partitions: i32 = args.number_or("partitions", 1)?;
    let mut config = args.client()?;
    config
        .set("acks", args.text("acks")?)
        .set("linger.ms", args.text("linger").unwrap_or("5"))
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "262144")
        .set("queue.buffering.max.messages", "1000000");
    let producer: BaseProducer<Count> = config.create_with_context(Count::default())?;
    let payload: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
    for i in 0..count {
        let partition = i32::try_from(i % u64::from(partitions.unsigned_abs()))?;
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&payload);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(5));
            record = back;
        }
        if i % 1024 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let context = producer.context();
    ensure!(context.acknowledged.load(Ordering::Relaxed) + context.failed.load(Ordering::Relaxed) == count);
    Ok(context.failed.load(Ordering::Relaxed))
}
