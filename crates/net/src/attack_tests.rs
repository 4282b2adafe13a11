//! Clients that send slowly, and clients that do not read: what they may hold, and that others are served meanwhile.

use tokio::time::{sleep, timeout};

use super::tests::*;
use crate::{
    BufferPool,
    intake::Memory,
    transport::{Patience, Transport},
};

/// Announces `len` bytes and sends `sent` of them.
async fn begin(world: &World, len: u32, sent: usize) -> TcpStream {
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    client.write_all(&len.to_be_bytes()).await.expect("sent");
    client.write_all(&vec![0; sent]).await.expect("sent");
    client
}

async fn answered(world: &World, len: usize, within: Duration) {
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    let echoed = async {
        send(&mut client, &vec![b'x'; len]).await;
        receive(&mut client).await.len()
    };
    assert_eq!(timeout(within, echoed).await, Ok(len), "{len} bytes are answered");
}

#[tokio::test]
async fn those_who_trickle_take_nothing_from_others_and_go_when_memory_is_scarce() {
    let limits = Limits { queued_max_bytes: 12 << 20, ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    let mut trickling = Vec::new();
    for _ in 0..160 {
        let mut client = begin(&world, 2 << 20, 20_000).await;
        trickling.push(tokio::spawn(async move {
            while client.write_all(&[0]).await.is_ok() {
                sleep(Duration::from_millis(300)).await;
            }
        }));
    }
    sleep(Duration::from_millis(300)).await;
    // Small requests have a share of their own, so they pass at once.
    for len in [10, 1000, 16_000] {
        answered(&world, len, Duration::from_secs(1)).await;
    }
    // Large ones pass when those who are too slow have gone.
    answered(&world, 1 << 20, Duration::from_secs(15)).await;
    let some_are_closed = async {
        while !trickling.iter().any(JoinHandle::is_finished) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), some_are_closed).await.expect("those who are too slow go");
    trickling.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_slow_frame_is_whole_in_the_end_while_there_is_memory() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = begin(&world, 60_000, 20_000).await;
    for _ in 0..4 {
        sleep(Duration::from_millis(700)).await;
        client.write_all(&[0; 10_000]).await.expect("sent");
    }
    assert_eq!(receive(&mut client).await.len(), 60_000);
}

#[tokio::test]
async fn half_a_frame_does_not_keep_a_connection_open() {
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    for sent in [0, 100, 50_000, 400_000] {
        let mut client = begin(&world, 1 << 20, sent).await;
        assert_eq!(timeout(Duration::from_secs(5), closed(&mut client)).await, Ok(true), "{sent}");
    }
}

#[tokio::test]
async fn who_does_not_read_is_closed_after_the_idle_limit() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    let (len, body) = ((1u32 << 20).to_be_bytes(), vec![b'x'; 1 << 20]);
    let sending =
        async { while client.write_all(&len).await.is_ok() && client.write_all(&body).await.is_ok() {} };
    timeout(Duration::from_secs(20), sending).await.expect("the broker ends the connection");
}

#[tokio::test]
async fn who_does_not_read_is_closed_early_when_memory_is_scarce() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port 0 is always free");
    let _client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let transport = Transport::new(listener.accept().await.expect("accepted").0);
    let memory = Memory::new(BufferPool::new(0), 1 << 20);
    let patience =
        Patience { idle: Duration::from_secs(600), scarce: Duration::from_millis(100), memory: &memory };
    let frame = || bytes::Bytes::from(vec![0; 64 << 20]).into();
    let plenty = timeout(Duration::from_millis(500), transport.write(frame(), patience)).await;
    assert!(plenty.is_err(), "it waits while there is memory");
    let _held = memory.try_reserve(800 << 10).expect("nothing is taken");
    let scarce = timeout(Duration::from_secs(10), transport.write(frame(), patience)).await;
    let error = scarce.expect("it does not wait for long").expect_err("nobody reads");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn ready_answers_behind_a_late_one_are_bounded() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut client, b"w").await;
    let (mut rx, mut tx) = client.split();
    let body = vec![b'x'; 1 << 20];
    let writing = async {
        for _ in 0..30 {
            tx.write_all(&(1u32 << 20).to_be_bytes()).await.expect("sent");
            tx.write_all(&body).await.expect("sent");
        }
    };
    let reading = async {
        while world.service.calls.load(Ordering::SeqCst) < 9 {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(300)).await;
        assert_eq!(world.service.calls.load(Ordering::SeqCst), 9, "8 MiB of answers, and the late one");
        world.service.go.add_permits(1);
        let mut all = vec![0; 5 + 30 * ((1 << 20) + 4)];
        rx.read_exact(&mut all).await.expect("every answer");
    };
    timeout(Duration::from_secs(20), async { tokio::join!(writing, reading) }).await.expect("in time");
}

#[tokio::test]
async fn who_waits_gives_back_what_the_request_does_not_hold() {
    let limits = Limits { queued_max_bytes: 12 << 20, ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    let large = |start: &[u8]| [start, &vec![b'x'; 8 << 20][..]].concat();
    let mut waiting = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut waiting, &large(b"w0")).await;
    // As long as that one waits, no second one had room beside it.
    answered(&world, 8 << 20, Duration::from_secs(5)).await;
    world.service.go.add_permits(1);
    assert_eq!(receive(&mut waiting).await, large(b"w0"));
}

#[tokio::test]
async fn those_who_left_are_noticed_though_nothing_more_is_read_of_them() {
    let connections = ConnectionLimits { total: Some(1), ..ConnectionLimits::default() };
    let world = world(Limits { in_flight_max: 2, ..Limits::default() }, connections).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    for _ in 0..3 {
        send(&mut client, b"w").await;
    }
    while world.service.calls.load(Ordering::SeqCst) < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    // There is room for one.
    answered(&world, 1, Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_burst_of_small_requests_is_served_in_order_and_whole() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut client, b"w").await;
    let mut burst = Vec::new();
    for i in 0..1000u32 {
        burst.extend([&8u32.to_be_bytes()[..], b"burs", &i.to_be_bytes()].concat());
    }
    client.write_all(&burst).await.expect("sent");
    while world.service.calls.load(Ordering::SeqCst) < 64 {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.service.calls.load(Ordering::SeqCst), 64, "as many as may be in flight");
    world.service.go.add_permits(1);
    assert_eq!(receive(&mut client).await, b"w");
    for i in 0..1000u32 {
        assert_eq!(receive(&mut client).await[4..], i.to_be_bytes());
    }
}
