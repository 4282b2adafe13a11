//! A connection that sends what it is told, well-formed or not.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use bytes::Bytes;
use ottla_protocol::{
    Decodable, HeaderVersion, Message, Request, decode_response, encode_request, header::parse_response,
};

use super::PATIENCE;

pub struct Client {
    pub stream: TcpStream,
    next: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the node accepts")
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, next: 0 })
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and does not wait for its answer.
    pub fn send<R: Request + Message + HeaderVersion>(
        &mut self,
        version: i16,
        request: &R,
    ) -> io::Result<()> {
        self.next += 1;
        let frame = encode_request(version, self.next, Some("test"), request);
        self.write(&frame.expect("the version can say this"))
    }

    /// The next whole answer, without its length; `None` when the node has closed the connection.
    ///
    /// # Panics
    /// When nothing happens.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        let mut len = [0; 4];
        if !self.fill(&mut len) {
            return None;
        }
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.fill(&mut frame).then(|| frame.into())
    }

    /// False when the connection is closed before `out` is full.
    fn fill(&mut self, out: &mut [u8]) -> bool {
        match self.stream.read_exact(out) {
            Ok(()) => true,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("neither an answer nor a close for {PATIENCE:?}")
            }
            Err(_) => false,
        }
    }

    /// The answer to the oldest request of this type that was sent; `None` when the connection is closed.
    pub fn try_receive<R: Request>(&mut self, version: i16) -> Option<R::Response>
    where
        R::Response: Decodable,
    {
        let mut frame = self.next_frame()?;
        parse_response(R::KEY, version, &mut frame).expect("a response head");
        Some(decode_response(R::KEY, version, &mut frame).expect("a response body"))
    }

    /// As [`try_receive`](Self::try_receive).
    ///
    /// # Panics
    /// When the connection is closed.
    pub fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        self.try_receive::<R>(version).expect("an answer before the close")
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request + Message + HeaderVersion>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).expect("the node reads");
        self.receive::<R>(version)
    }

    /// Waits until the node has closed the connection; whole answers before that are counted.
    pub fn answers_before_close(&mut self) -> usize {
        std::iter::from_fn(|| self.next_frame()).count()
    }
}
