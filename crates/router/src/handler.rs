//! What an API's file implements, and the two stages of an answer.

use std::{marker::PhantomData, ops::RangeInclusive};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use ottla_net::Frame;
use ottla_protocol::{DecodeError, Encodable, EncodeError, Request};

use crate::RequestContext;

/// The answer to a request.
///
/// Stage one is over when [`Handler::handle`] returns: what the request does to the order of things has happened.
/// Stage two may overlap with later requests of the connection; answers leave in the order of the requests.
pub enum Reply<R> {
    /// Ready.
    Now(R),
    /// To be waited for.
    Later {
        /// What is waited for.
        answer: BoxFuture<'static, R>,
        /// Bytes of memory that the request holds meanwhile; `None` when it keeps slices of its frame.
        holds: Option<usize>,
    },
    /// Nothing is sent (acks=0).
    None,
    /// Nothing is sent, and the connection is closed.
    Close,
}

impl<R: 'static> Reply<R> {
    /// An answer to be waited for, which keeps slices of the frame.
    pub fn later(answer: impl Future<Output = R> + Send + 'static) -> Self {
        Self::Later { answer: answer.boxed(), holds: None }
    }

    /// The same without any slice of the frame, whose memory is free for others meanwhile; `bytes` are still held.
    #[must_use]
    pub fn holding(self, bytes: usize) -> Self {
        match self {
            Self::Later { answer, .. } => Self::Later { answer, holds: Some(bytes) },
            now => now,
        }
    }

    /// What `then` makes of the answer.
    pub(crate) fn map<T: 'static>(self, then: impl FnOnce(R) -> T + Send + 'static) -> Reply<T> {
        match self {
            Self::Now(answer) => Reply::Now(then(answer)),
            Self::Later { answer, holds } => Reply::Later { answer: answer.map(then).boxed(), holds },
            Self::None => Reply::None,
            Self::Close => Reply::Close,
        }
    }
}

/// One API. It is given what it needs by its constructor, and nothing else.
pub trait Handler: Send + Sync + 'static {
    /// The request, one type for all versions.
    type Request: Request;
    /// The answer, one type for all versions.
    type Response: IntoFrame + Send + 'static;
    /// The versions that are implemented.
    const VERSIONS: RangeInclusive<i16>;
    /// The lowest version that is advertised. Lower than what is implemented only where Kafka does so for the sake of
    /// clients that probe for exact versions.
    const ADVERTISED_FROM: i16 = *Self::VERSIONS.start();

    /// Stage one, which is synchronous: it may lock a partition and write to its log, but never waits for others.
    fn handle(&self, ctx: &RequestContext, request: Self::Request) -> Reply<Self::Response>;

    /// Whether an answer says, anywhere, that this node is not the active controller. Who forwarded the request in an
    /// Envelope is told so by the Envelope's answer.
    fn says_not_controller(_: &Self::Response) -> bool {
        false
    }
}

/// What can be sent as the answer to a request.
pub trait IntoFrame {
    /// The whole frame, length prefix and response head included.
    ///
    /// # Errors
    /// When the answer holds what the version cannot say.
    fn into_frame(self, key: i16, version: i16, correlation_id: i32) -> Result<Frame, EncodeError>;
}

impl<T: Encodable> IntoFrame for T {
    fn into_frame(self, key: i16, version: i16, correlation_id: i32) -> Result<Frame, EncodeError> {
        ottla_protocol::encode_response(key, version, correlation_id, &self).map(Frame::from)
    }
}

/// A handler whose types are forgotten.
pub(crate) trait Erased: Send + Sync {
    fn serve(&self, ctx: &RequestContext, body: Bytes) -> Result<Reply<Encoded>, DecodeError>;

    /// As [`serve`](Self::serve), for a request that came in an Envelope.
    fn serve_inner(&self, ctx: &RequestContext, body: Bytes) -> Result<Reply<Inner>, DecodeError>;
}

/// The answer to a request that came in an Envelope.
pub(crate) enum Inner {
    /// To be passed on.
    Answer(Encoded),
    /// It says that this node is not the active controller.
    NotController,
}

/// A frame, or why the handler's answer has none.
pub(crate) type Encoded = Result<Frame, EncodeError>;

pub(crate) struct Erase<H>(H, PhantomData<fn() -> H>);

impl<H> Erase<H> {
    pub(crate) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<H: Handler> Erase<H> {
    fn run<T: 'static>(
        &self,
        ctx: &RequestContext,
        mut body: Bytes,
        finish: impl FnOnce(H::Response) -> T + Send + 'static,
    ) -> Result<Reply<T>, DecodeError> {
        let request: H::Request = ottla_protocol::decode(ctx.api_key, ctx.api_version, &mut body)?;
        // The slices that the request keeps are what holds the frame from here on.
        drop(body);
        Ok(self.0.handle(ctx, request).map(finish))
    }
}

impl<H: Handler> Erased for Erase<H> {
    fn serve(&self, ctx: &RequestContext, body: Bytes) -> Result<Reply<Encoded>, DecodeError> {
        let (key, version, correlation_id) = (ctx.api_key, ctx.api_version, ctx.correlation_id);
        self.run(ctx, body, move |answer| answer.into_frame(key, version, correlation_id))
    }

    fn serve_inner(&self, ctx: &RequestContext, body: Bytes) -> Result<Reply<Inner>, DecodeError> {
        let (key, version, correlation_id) = (ctx.api_key, ctx.api_version, ctx.correlation_id);
        self.run(ctx, body, move |answer| {
            if H::says_not_controller(&answer) {
                Inner::NotController
            } else {
                Inner::Answer(answer.into_frame(key, version, correlation_id))
            }
        })
    }
}
