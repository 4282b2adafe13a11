//! Creating many partitions, and waiting until one takes records.

use std::{
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rdkafka::{
    ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use crate::args::Args;

/// Kafka needs minutes for ten thousand partitions after a kill.
const PATIENCE: Duration = Duration::from_secs(600);

pub fn run(args: &Args) -> Result<()> {
    let (topic, partitions): (&str, i32) = (args.text("topic")?, args.number("partitions")?);
    let started = Instant::now();
    let admin: AdminClient<DefaultClientContext> = args.client()?.create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(args.number_or("replication", 1)?));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let results = block_on(admin.create_topics([&new], &options))?;
    for result in results {
        if let Err((name, code)) = result {
            bail!("{name}: {code}");
        }
    }
    wait_for_ack(args, topic, partitions - 1)?;
    println!("{{\"created_ms\": {:.1}}}", started.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

pub fn probe(args: &Args) -> Result<()> {
    let started = Instant::now();
    wait_for_ack(args, args.text("topic")?, args.number("partition")?)?;
    println!("{{\"acked_ms\": {:.1}}}", started.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

#[derive(Default)]
struct Acked(AtomicBool);

impl ClientContext for Acked {}

impl ProducerContext for Acked {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Returns when a record of acks=all was acknowledged by a partition of a topic, which is created if need be.
pub fn wait_for_ack(args: &Args, topic: &str, partition: i32) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    // The library backs off for long once a connection failed: it is let loose when there is someone to connect to.
    let brokers = args.text("brokers")?;
    while !brokers.split(',').any(|broker| TcpStream::connect(broker).is_ok()) {
        if Instant::now() > until {
            bail!("nobody listens");
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let mut config = args.client()?;
    config.set("acks", "all").set("linger.ms", "0").set("allow.auto.create.topics", "true");
    let producer: BaseProducer<Acked> = config.create_with_context(Acked::default())?;
    let mut sent = false;
    while !producer.context().0.load(Ordering::Relaxed) {
        if Instant::now() > until {
            bail!("no acknowledgement within {PATIENCE:?}");
        }
        if !sent {
            let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(b"first");
            sent = producer.send(record).is_ok();
        }
        producer.poll(Duration::from_millis(1));
        sent &= producer.in_flight_count() > 0;
    }
    Ok(())
}

/// Drives a future that is completed by another thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
