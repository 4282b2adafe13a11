//! Frames over real sockets: order, limits, memory, drain.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
};
pub(crate) use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::Semaphore;
pub(crate) use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{
    Admission, BufferPool, ConnectionInfo, Frame, FrameService, Listener, Outcome, Part, SecurityProtocol,
    Shutdown, bind, serve,
};
pub(crate) use crate::{ConnectionLimits, Limits};

/// Echoes frames; `w…` waits until a later `g` lets it go, `s` says nothing, `c` closes, `f` sends a file.
pub(crate) struct Echo {
    pub(crate) go: Arc<Semaphore>,
    pub(crate) calls: AtomicUsize,
    file: Arc<std::fs::File>,
}

impl FrameService for Echo {
    type Session = usize;

    fn open(&self, _: ConnectionInfo) -> usize {
        0
    }

    fn call(&self, session: &mut usize, frame: Bytes) -> Outcome {
        *session += 1;
        self.calls.fetch_add(1, Ordering::SeqCst);
        let reply = framed(&frame);
        match frame.first() {
            Some(b'w') => {
                let go = self.go.clone();
                let answer = async move {
                    go.acquire().await.expect("never closed").forget();
                    Some(reply)
                };
                let holds = frame.get(1).filter(|&&next| next == b'0').map(|_| 0);
                Outcome::Later { answer: answer.boxed(), holds }
            }
            Some(b'g') => {
                self.go.add_permits(1);
                Outcome::Now(reply)
            }
            Some(b's') => Outcome::Silent,
            Some(b'c') => Outcome::Close,
            Some(b'f') => {
                let (len, head) = (100_000usize, 100_003u32);
                let file = Part::File { file: self.file.clone(), offset: 5, len };
                let head = Part::Bytes(Bytes::copy_from_slice(&head.to_be_bytes()));
                Outcome::Now(Frame(
                    [head, file, Part::Bytes(Bytes::from_static(b"end"))].into_iter().collect(),
                ))
            }
            _ => Outcome::Now(reply),
        }
    }
}

fn framed(body: &[u8]) -> Frame {
    let len = u32::try_from(body.len()).expect("short").to_be_bytes();
    Bytes::from([&len[..], body].concat()).into()
}

pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) service: Arc<Echo>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

pub(crate) async fn world(limits: Limits, connections: ConnectionLimits) -> World {
    let file = tempfile::tempfile().expect("a temporary file");
    let content: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).expect("it takes the bytes");
    let service =
        Arc::new(Echo { go: Arc::new(Semaphore::new(0)), calls: AtomicUsize::new(0), file: Arc::new(file) });
    let listener = Listener {
        name: "TEST".into(),
        protocol: SecurityProtocol::Plaintext,
        host: "127.0.0.1".into(),
        port: 0,
    };
    let bound = bind(&listener, &limits).await.expect("port 0 is always free");
    let addr = bound.local_addr().expect("it is bound");
    let shutdown = Shutdown::new();
    let (s, d) = (service.clone(), shutdown.clone());
    let admission = Admission::new(connections);
    let serving = tokio::spawn(async move {
        serve(vec![bound], s, limits, admission, BufferPool::new(8 << 20), &d).await;
    });
    World { addr, service, shutdown, serving }
}

pub(crate) async fn send(stream: &mut TcpStream, body: &[u8]) {
    let len = u32::try_from(body.len()).expect("short").to_be_bytes();
    stream.write_all(&[&len[..], body].concat()).await.expect("sent");
}

pub(crate) async fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let len = stream.read_u32().await.expect("a length");
    let mut body = vec![0; len as usize];
    stream.read_exact(&mut body).await.expect("a body");
    body
}

pub(crate) async fn closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn answers_leave_in_the_order_of_the_requests() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    for body in [&b"w1"[..], b"2", b"s", b"w3", b"g", b"4", b"g"] {
        send(&mut client, body).await;
    }
    for want in [&b"w1"[..], b"2", b"w3", b"g", b"4", b"g"] {
        assert_eq!(receive(&mut client).await, want);
    }
}

fn together(bodies: &[&[u8]]) -> Vec<u8> {
    bodies
        .iter()
        .flat_map(|body| [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat())
        .collect()
}

#[tokio::test]
async fn answers_to_what_arrived_together_leave_together() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    let now: Vec<&[u8]> = std::iter::repeat_n(&b"now"[..], 50).collect();
    // Those that are ready at once, and those that become ready together.
    let later: Vec<&[u8]> = [&b"w"[..]; 20].into_iter().chain([&b"g"[..]; 20]).collect();
    for bodies in [now, later] {
        let bytes = together(&bodies);
        client.write_all(&bytes).await.expect("sent");
        let mut first = vec![0; bytes.len()];
        assert_eq!(client.read(&mut first).await.expect("answers"), bytes.len(), "in one piece");
        assert!(first == bytes);
    }
    // With a file between, more than is gathered, and a refusal at the end, what came before it is still answered.
    let large = vec![b'x'; 50_000];
    let bodies = [&b"1"[..], b"f", &large, b"2", &large, &large, b"3", b"c", b"4"];
    client.write_all(&together(&bodies)).await.expect("sent");
    for body in &bodies[..7] {
        let answer = receive(&mut client).await;
        assert!(if *body == b"f" { answer.ends_with(b"end") } else { answer == *body });
    }
    assert!(closed(&mut client).await);
}

#[tokio::test]
async fn frames_of_every_size_arrive_whole() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    let (mut rx, mut tx) = client.split();
    let sizes =
        [1, 2, 3, 16_383, 16_384, 16_385, 40_000, 131_067, 131_068, 131_072, 700_001, 3 << 20, 7_000_001, 5];
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|n| (0..*n).map(|i| (i % 253) as u8).collect()).collect();
    let writing = async {
        for body in &bodies {
            tx.write_all(&u32::try_from(body.len()).expect("short").to_be_bytes()).await.expect("sent");
            tx.write_all(body).await.expect("sent");
        }
    };
    let reading = async {
        for body in &bodies {
            let len = rx.read_u32().await.expect("a length") as usize;
            assert_eq!(len, body.len());
            let mut got = vec![0; len];
            rx.read_exact(&mut got).await.expect("a body");
            assert!(got == *body, "frame of {len} bytes is whole");
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn file_ranges_are_sent_between_bytes() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut client, b"f").await;
    let body = receive(&mut client).await;
    assert_eq!(body.len(), 100_003);
    assert!(body[..100_000].iter().zip(5u32..).all(|(b, i)| *b == (i % 251) as u8));
    assert_eq!(&body[100_000..], b"end");
}

#[tokio::test]
async fn a_frame_over_the_limit_and_a_refused_one_close_the_connection() {
    let limits = Limits { request_max_bytes: 1000, ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    for prefix in [1001i32, -1, 0, i32::MAX] {
        let mut client = TcpStream::connect(world.addr).await.expect("connected");
        client.write_all(&prefix.to_be_bytes()).await.expect("sent");
        assert!(closed(&mut client).await, "{prefix}");
    }
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut client, b"before").await;
    send(&mut client, b"c").await;
    send(&mut client, b"after").await;
    assert_eq!(receive(&mut client).await, b"before");
    assert!(closed(&mut client).await);
    assert_eq!(world.service.calls.load(Ordering::SeqCst), 2, "nothing is served after the refusal");
}

#[tokio::test]
async fn announcing_much_takes_nothing_from_others() {
    let limits = Limits { queued_max_bytes: 4 << 20, ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    let mut announcers = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(world.addr).await.expect("connected");
        client.write_all(&(100i32 << 20).to_be_bytes()).await.expect("sent");
        client.write_all(&[0; 100]).await.expect("sent");
        announcers.push(client);
    }
    let mut client = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut client, &vec![b'x'; 1 << 20]).await;
    assert_eq!(receive(&mut client).await.len(), 1 << 20);
}

#[tokio::test]
async fn too_many_from_one_address_are_closed() {
    let limits = ConnectionLimits { per_ip: Some(2), ..ConnectionLimits::default() };
    let world = world(Limits::default(), limits).await;
    let mut first = TcpStream::connect(world.addr).await.expect("connected");
    let mut second = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut first, b"1").await;
    send(&mut second, b"2").await;
    assert_eq!((receive(&mut first).await, receive(&mut second).await), (b"1".to_vec(), b"2".to_vec()));
    let mut third = TcpStream::connect(world.addr).await.expect("connected");
    assert!(closed(&mut third).await);
    assert_eq!(world.service.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn idle_connections_are_closed_but_not_those_that_wait_for_an_answer() {
    let limits = Limits { idle: Duration::from_millis(50), ..Limits::default() };
    let world = world(limits, ConnectionLimits::default()).await;
    let mut waiting = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut waiting, b"w").await;
    let mut idle = TcpStream::connect(world.addr).await.expect("connected");
    assert!(closed(&mut idle).await);
    world.service.go.add_permits(1);
    assert_eq!(receive(&mut waiting).await, b"w");
}

#[tokio::test]
async fn a_shutdown_answers_what_is_in_flight_and_closes_the_rest() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let mut busy = TcpStream::connect(world.addr).await.expect("connected");
    let mut idle = TcpStream::connect(world.addr).await.expect("connected");
    send(&mut idle, b"1").await;
    assert_eq!(receive(&mut idle).await, b"1");
    send(&mut busy, b"w").await;
    while world.service.calls.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    world.shutdown.start();
    assert!(closed(&mut idle).await);
    world.service.go.add_permits(1);
    assert_eq!(receive(&mut busy).await, b"w");
    assert!(closed(&mut busy).await);
    world.serving.await.expect("it ends");
    assert!(TcpStream::connect(world.addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let world = world(Limits::default(), ConnectionLimits::default()).await;
    let listener = Listener {
        name: "EXTERNAL".into(),
        protocol: SecurityProtocol::Plaintext,
        host: "127.0.0.1".into(),
        port: world.addr.port(),
    };
    let Err(error) = bind(&listener, &Limits::default()).await else { panic!("the port is taken") };
    let text = error.to_string();
    assert!(
        text.contains(&world.addr.to_string())
            && text.contains("EXTERNAL")
            && text.contains("Another process")
    );
}
