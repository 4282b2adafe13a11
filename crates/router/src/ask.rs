//! Whom a handler asks when the cluster is to change.
//!
//! On a broker's listener the question goes to the active controller, wherever it is. On a controller's listener it is
//! this controller's to answer, or nobody's: a controller that is not the active one says NOT_CONTROLLER, and whoever
//! asked goes elsewhere.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use ottla_controller::{Answer, Command};
use ottla_protocol::{HeaderVersion, Message, Request};
use ottla_types::{ApiError, ErrorCode};

use crate::{Controllers, Handler, Quorum, Reply, RequestContext, quorum::refusal};

/// The answer to a command, or why there is none.
pub(crate) type Asked = BoxFuture<'static, Result<Answer, ApiError>>;

/// Takes commands.
pub(crate) trait Ask: Send + Sync + 'static {
    /// Hands a command over now, in the order of the calls. It is carried out whether or not the answer is polled.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when there is no active controller to be asked this way.
    fn ask(&self, ctx: &RequestContext, command: Command) -> Asked;

    /// The quorum's `kraft.version`, as far as this node knows.
    fn kraft_version(&self) -> i16 {
        0
    }

    /// This node's own member of the quorum, while it is the active controller.
    fn active(&self) -> Option<Arc<dyn Quorum>> {
        None
    }
}

impl Ask for Controllers {
    fn ask(&self, ctx: &RequestContext, command: Command) -> Asked {
        let answer = self.ask_for(ctx, command);
        async move { answer.await.map_err(ApiError::from) }.boxed()
    }

    fn kraft_version(&self) -> i16 {
        (Self::kraft_version(self))()
    }

    fn active(&self) -> Option<Arc<dyn Quorum>> {
        self.quorum().filter(|_| self.is_here()).cloned()
    }
}

/// This node's own controller, active or not.
pub(crate) struct Here(pub(crate) Arc<dyn Quorum>);

impl Ask for Here {
    fn ask(&self, _: &RequestContext, command: Command) -> Asked {
        let answer = self.0.submit(command);
        async move { answer.await.map_err(refusal) }.boxed()
    }

    fn kraft_version(&self) -> i16 {
        self.0.status().borrow().kraft_version
    }

    fn active(&self) -> Option<Arc<dyn Quorum>> {
        let in_office = self.0.status().borrow().in_office;
        in_office.then(|| self.0.clone())
    }
}

/// The reply that passes on what the controller says; `failed` makes the answer of an error.
pub(crate) fn relay<R: Send + 'static>(
    asked: Asked,
    pick: fn(Answer) -> R,
    failed: impl FnOnce(ApiError) -> R + Send + 'static,
) -> Reply<R> {
    Reply::later(async move { asked.await.map_or_else(failed, pick) })
}

/// As [`relay`], for requests that say how long they wait: REQUEST_TIMED_OUT after that, though the command goes on.
pub(crate) fn relay_within<R: Send + 'static>(
    wait: Duration,
    asked: Asked,
    pick: fn(Answer) -> R,
    failed: impl FnOnce(ApiError) -> R + Send + 'static,
) -> Reply<R> {
    let asked = async move {
        let timed_out = Err(ErrorCode::REQUEST_TIMED_OUT.into());
        tokio::time::timeout(wait, asked).await.unwrap_or(timed_out)
    };
    relay(asked.boxed(), pick, failed)
}

/// A handler of this node's own member of the quorum, which brokers can serve wherever the active controller is.
pub(crate) trait AboutQuorum: Handler {
    /// The answer of somebody who is not the active controller.
    fn is_elsewhere(answer: &Self::Response) -> bool;

    /// The answer when nobody else can give one.
    fn refuse(request: &Self::Request, code: ErrorCode) -> Self::Response;
}

/// What a broker serves of an API that is about the quorum: it answers itself when it is the active controller, and
/// passes the request on when it is not.
pub(crate) struct PassedOn<H> {
    controllers: Arc<Controllers>,
    here: Option<H>,
}

impl<H> PassedOn<H> {
    /// `here` makes the handler of this node's own member of the quorum, if it is one.
    pub(crate) fn new(controllers: Arc<Controllers>, here: impl FnOnce(Arc<dyn Quorum>) -> H) -> Self {
        let here = controllers.quorum().cloned().map(here);
        Self { controllers, here }
    }
}

impl<H, Q> Handler for PassedOn<H>
where
    H: AboutQuorum<Request = Q, Response = Q::Response>,
    Q: Request + Message + HeaderVersion + Clone + Send + Sync + 'static,
    Q::Response: Send + 'static,
{
    type Request = Q;
    type Response = Q::Response;
    const VERSIONS: RangeInclusive<i16> = H::VERSIONS;

    fn handle(&self, ctx: &RequestContext, request: Q) -> Reply<Q::Response> {
        if let Some(here) = self.here.as_ref().filter(|_| self.controllers.is_here()) {
            return here.handle(ctx, request);
        }
        let answer = self.controllers.pass_on(ctx, request.clone(), H::is_elsewhere);
        Reply::later(async move { answer.await.unwrap_or_else(|code| H::refuse(&request, code)) })
    }
}

/// The response in an answer of this kind.
macro_rules! pick {
    ($kind:ident) => {
        |answer| match answer {
            ottla_controller::Answer::$kind(response) => response,
            _ => unreachable!("an answer is of its command's kind"),
        }
    };
}
pub(crate) use pick;
