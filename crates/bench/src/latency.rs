//! A fixed rate: time from when a record was meant to be sent to its acknowledgement, and to its arrival at a consumer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};

use crate::{args::Args, partitions::wait_for_ack};

/// The first part of the run warms both sides up and is not counted.
const WARM_UP: Duration = Duration::from_secs(3);

struct Acks {
    start: Instant,
    micros: Mutex<Histogram<u64>>,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Duration>;

    fn delivery(&self, result: &DeliveryResult<'_>, meant: Box<Duration>) {
        if result.is_ok() && *meant >= WARM_UP {
            let late = self.start.elapsed().saturating_sub(*meant);
            record(&mut self.micros.lock().expect("nobody panics with it"), late);
        }
    }
}

fn record(histogram: &mut Histogram<u64>, late: Duration) {
    histogram.saturating_record(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are legal")
}

pub fn run(args: &Args) -> Result<()> {
    let (topic, size): (String, usize) = (args.text("topic")?.to_owned(), args.number("size")?);
    let (rate, seconds): (u32, u64) = (args.number("rate")?, args.number("seconds")?);
    wait_for_ack(args, &topic, 0)?;
    let consumer: BaseConsumer = args
        .client()?
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "500")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&topic, 0, Offset::End)?;
    consumer.assign(&assignment)?;
    let mut config = args.client()?;
    config.set("acks", args.text("acks")?).set("linger.ms", "0").set("enable.idempotence", "false");
    let start = Instant::now() + Duration::from_millis(1500);
    let acks = Acks { start, micros: Mutex::new(histogram()) };
    let producer: ThreadedProducer<Acks> = config.create_with_context(acks)?;
    let done = Arc::new(AtomicBool::new(false));
    let arrivals = std::thread::spawn({
        let done = done.clone();
        move || arrivals(&consumer, start, &done)
    });
    let total = u64::from(rate) * (seconds + WARM_UP.as_secs());
    for i in 0..total {
        let meant = Duration::from_nanos(i * 1_000_000_000 / u64::from(rate));
        let ahead = (start + meant).saturating_duration_since(Instant::now());
        if !ahead.is_zero() {
            std::thread::sleep(ahead);
        }
        let mut payload = vec![b'x'; size.max(16)];
        payload[..8].copy_from_slice(&u64::try_from(meant.as_nanos())?.to_be_bytes());
        let record = BaseRecord::<(), [u8], Box<Duration>>::with_opaque_to(&topic, Box::new(meant));
        producer.send(record.partition(0).payload(&payload)).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(60))?;
    done.store(true, Ordering::Relaxed);
    let end_to_end = arrivals.join().ok().context("the consumer panicked")??;
    let acks = producer.context().micros.lock().expect("nobody panics with it").clone();
    println!("{{{}, {}, \"records\": {total}}}", quantiles("ack", &acks), quantiles("e2e", &end_to_end));
    Ok(())
}

fn arrivals(consumer: &BaseConsumer, start: Instant, done: &AtomicBool) -> Result<Histogram<u64>> {
    let mut histogram = histogram();
    while !done.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message?;
        let now = start.elapsed();
        let Some(stamp) = message.payload().and_then(|payload| payload.first_chunk::<8>()) else { continue };
        let meant = Duration::from_nanos(u64::from_be_bytes(*stamp));
        if meant >= WARM_UP {
            record(&mut histogram, now.saturating_sub(meant));
        }
    }
    Ok(histogram)
}

fn quantiles(name: &str, histogram: &Histogram<u64>) -> String {
    let at = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
    let [p50, p99, p999] = [at(0.5), at(0.99), at(0.999)];
    format!(
        "\"{name}_p50\": {p50:.3}, \"{name}_p99\": {p99:.3}, \"{name}_p999\": {p999:.3}, \"{name}_n\": {}",
        histogram.len()
    )
}
