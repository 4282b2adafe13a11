//! A peer that is played by the test: pipelining, what is in flight when it ends, waits, hostile answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use ottla_protocol::{
    api, encode_response, header,
    messages::{
        ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, MetadataRequest,
        api_versions_response::ApiVersion,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// What a played peer does with each request behind ApiVersions: the bytes to send, or `None` to close.
type Play = Box<dyn FnMut(i16, i16, i32) -> Option<Vec<u8>> + Send>;

fn options() -> PeerOptions {
    PeerOptions {
        request_timeout: Duration::from_secs(5),
        backoff: (Duration::from_millis(20), Duration::from_millis(80)),
        max_response_bytes: 1 << 20,
        ..PeerOptions::default()
    }
}

fn versions() -> ApiVersionsResponse {
    let one =
        |(key, from, to)| ApiVersion::default().with_api_key(key).with_min_version(from).with_max_version(to);
    let keys = [(api::API_VERSIONS, 0, 3), (api::HEARTBEAT, 0, 2)].map(one);
    ApiVersionsResponse::default().with_api_keys(keys.to_vec())
}

async fn request(stream: &mut TcpStream) -> io::Result<(i16, i16, i32)> {
    let length = stream.read_u32().await?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    Ok(header::peek(&frame).expect("a head"))
}

/// Speaks ApiVersions 3 at most, then plays.
async fn play(mut stream: TcpStream, mut play: Play) -> io::Result<()> {
    loop {
        let (key, version, correlation_id) = request(&mut stream).await?;
        let answer = match key {
            api::API_VERSIONS if version > 3 => {
                let refused = versions().with_error_code(35);
                encode_response(key, 0, correlation_id, &refused).expect("encodes").to_vec()
            }
            api::API_VERSIONS => {
                encode_response(key, version, correlation_id, &versions()).expect("encodes").to_vec()
            }
            _ => match play(key, version, correlation_id) {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        stream.write_all(&answer).await?;
    }
}

/// A peer whose connections are all played by what `made` makes, and how many there were.
async fn peer(options: PeerOptions, made: impl Fn() -> Play + Send + 'static) -> (Peer, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(play(stream, made()));
        }
    });
    (Peer::new("127.0.0.1", port, options), count)
}

fn answer(version: i16, correlation_id: i32, code: i16) -> Vec<u8> {
    let response = HeartbeatResponse::default().with_error_code(code);
    encode_response(api::HEARTBEAT, version, correlation_id, &response).expect("encodes").to_vec()
}

fn ok() -> Play {
    Box::new(|_, version, id| Some(answer(version, id, 27)))
}

async fn heartbeat(peer: &Peer) -> Result<(i16, HeartbeatResponse), PeerError> {
    peer.ask(0..=4, |_| HeartbeatRequest::default()).await
}

#[tokio::test]
async fn the_highest_common_version_is_spoken() {
    let (peer, count) = peer(options(), ok).await;
    let (version, answer) = heartbeat(&peer).await.expect("answered");
    assert_eq!((version, answer.error_code), (2, 27));
    let unknown = peer.ask(3..=4, |_| HeartbeatRequest::default()).await;
    assert!(matches!(unknown, Err(PeerError::Unsupported { api: api::HEARTBEAT })));
    let unknown = peer.ask(0..=13, |_| MetadataRequest::default()).await;
    assert!(matches!(unknown, Err(PeerError::Unsupported { api: api::METADATA })));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn many_are_in_flight_and_each_gets_its_own_answer() {
    // Answers the tenth and all before it at once.
    let held = || -> Play {
        let mut held = Vec::new();
        let mut count = 0;
        Box::new(move |_, version, id| {
            count += 1;
            held.extend(answer(version, id, i16::try_from(id).expect("small")));
            Some(if count % 10 == 0 { std::mem::take(&mut held) } else { Vec::new() })
        })
    };
    let (peer, count) = peer(options(), held).await;
    let all = futures::future::join_all((0..50).map(|_| heartbeat(&peer))).await;
    let codes: std::collections::BTreeSet<_> =
        all.into_iter().map(|answer| answer.expect("answered").1.error_code).collect();
    assert_eq!(codes.len(), 50);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_waits_is_told_when_the_peer_goes_and_the_next_connects_anew() {
    let (peer, count) = peer(options(), || {
        let mut left = 2;
        Box::new(move |_, version, id| {
            left -= 1;
            (left >= 0).then(|| if left == 1 { answer(version, id, 0) } else { Vec::new() })
        })
    })
    .await;
    heartbeat(&peer).await.expect("the first is answered");
    // The second hangs, the third makes it close.
    let (second, third) = tokio::join!(heartbeat(&peer), heartbeat(&peer));
    assert!(matches!((second, third), (Err(PeerError::Disconnected), Err(PeerError::Disconnected))));
    heartbeat(&peer).await.expect("a new connection");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn silence_is_a_timeout_and_costs_the_connection() {
    let options = PeerOptions { request_timeout: Duration::from_millis(100), ..options() };
    let (peer, count) = peer(options.clone(), || Box::new(|_, _, _| Some(Vec::new()))).await;
    assert!(matches!(heartbeat(&peer).await, Err(PeerError::TimedOut)));
    assert!(matches!(heartbeat(&peer).await, Err(PeerError::TimedOut)));
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // Who is patient is answered.
    let (peer, _) = self::peer(options, || {
        Box::new(|_, version, id| {
            std::thread::sleep(Duration::from_millis(300));
            Some(answer(version, id, 0))
        })
    })
    .await;
    let asked = peer.ask_within(Duration::from_secs(60), 0..=4, |_| HeartbeatRequest::default()).await;
    assert_eq!(asked.expect("answered").1.error_code, 0);
}

#[tokio::test]
async fn close_fails_what_is_in_flight() {
    let (peer, _) = peer(options(), || Box::new(|_, _, _| Some(Vec::new()))).await;
    let asking = tokio::spawn({
        let peer = peer.clone();
        async move { heartbeat(&peer).await }
    });
    while peer.open_link().is_none() {
        tokio::task::yield_now().await;
    }
    peer.close();
    assert!(matches!(asking.await.expect("it ends"), Err(PeerError::Disconnected)));
}

#[tokio::test]
async fn nobody_there_is_asked_less_and_less_often() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let peer = Peer::new("127.0.0.1", port, options());
    let began = Instant::now();
    for _ in 0..4 {
        assert!(matches!(heartbeat(&peer).await, Err(PeerError::Connect(_))));
    }
    // 20 + 40 + 80 between the four.
    assert!(began.elapsed() >= Duration::from_millis(140), "{:?}", began.elapsed());
    // The wait is within the request's time.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free again");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        play(stream, ok()).await
    });
    heartbeat(&peer).await.expect("somebody is there now");
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(body.len()).expect("short"));
    frame.put_slice(body);
    frame.to_vec()
}

/// Whatever a peer sends back, the request fails and the connection is not used again.
#[tokio::test]
async fn hostile_answers_are_refused() {
    let too_long = |_: i32| ((1u32 << 20) + 1).to_be_bytes().to_vec();
    let negative = |_: i32| (-1i32).to_be_bytes().to_vec();
    let short = |_: i32| framed(&[0, 0]);
    let other = |id: i32| framed(&[&(id + 1).to_be_bytes()[..], &[0; 6]].concat());
    let cut_off = |id: i32| framed(&[&id.to_be_bytes()[..], &[0; 3]].concat());
    let hostile: [fn(i32) -> Vec<u8>; 5] = [too_long, negative, short, other, cut_off];
    for make in hostile {
        let (peer, count) = peer(options(), move || Box::new(move |_, _, id| Some(make(id)))).await;
        for _ in 0..2 {
            let answer = heartbeat(&peer).await;
            assert!(matches!(answer, Err(PeerError::Corrupt(_))), "{answer:?}");
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn an_array_that_its_bytes_cannot_hold_is_refused_before_memory_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let (_, _, id) = request(&mut stream).await.expect("ApiVersions");
        // No error, 900,000 APIs in no bytes.
        let body = [&id.to_be_bytes()[..], &[0, 0], &[0xa1, 0xf7, 0x36], &[0; 8]].concat();
        stream.write_all(&framed(&body)).await.expect("sent");
        stream.read_u8().await
    });
    let peer = Peer::new("127.0.0.1", port, options());
    assert!(matches!(heartbeat(&peer).await, Err(PeerError::Corrupt(_))));
}

#[tokio::test]
async fn large_answers_are_slices_of_one_buffer() {
    let big = |version, id| {
        let mut response = versions();
        response.api_keys =
            (0..40_000).map(|_| ApiVersion::default().with_api_key(1).with_max_version(2)).collect();
        encode_response(api::API_VERSIONS, version, id, &response).expect("encodes").to_vec()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let (_, version, id) = request(&mut stream).await.expect("ApiVersions");
        stream.write_all(&big(version, id)).await.expect("sent");
        stream.read_u8().await
    });
    let peer = Peer::new("127.0.0.1", port, options());
    let link = peer.link().await.expect("it connects");
    assert_eq!(link.version(1, &(0..=9)), Some(2));
}

#[tokio::test]
async fn a_contact_lasts_as_long_as_the_other_side() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let within = Duration::from_secs(5);
    let call = async || contact("127.0.0.1", port, within).await.expect("somebody listens");
    let last = |mut contact: Contact| tokio::spawn(async move { contact.lost().await });
    let lasting = last(call().await);
    let (held, _) = listener.accept().await.expect("a connection");
    // What nobody accepts lasts until the listener goes.
    let waiting = last(call().await);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!lasting.is_finished() && !waiting.is_finished());
    drop(held);
    lasting.await.expect("it ends");
    drop(listener);
    waiting.await.expect("it ends");
    let refused = contact("127.0.0.1", port, within).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
