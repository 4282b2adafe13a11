//! Requests that are no commands of the controller's, as those about its quorum, passed on to the active one.

use std::sync::Arc;

use ottla_net::peer::{Peer, PeerError};
use ottla_protocol::{HeaderVersion, Message, Request, encode_request, header, messages::EnvelopeRequest};
use ottla_types::ErrorCode;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Asker, Controllers, Inner, PATIENCE, RETRY,
    wire::{self, Lane},
};
use crate::{Quorum, RequestContext};

/// Of requests in envelopes: nobody else sees it.
const CORRELATION_ID: i32 = 0;

impl Controllers {
    /// This node's own member of the quorum, if it has one.
    pub(crate) fn quorum(&self) -> Option<&Arc<dyn Quorum>> {
        self.inner.ways.quorum.as_ref()
    }

    /// Whether this node is the active controller.
    pub(crate) fn is_here(&self) -> bool {
        self.inner.quorum_in_office().is_some()
    }

    /// Asks the active controller, on another node, on behalf of who asked this one. `elsewhere`: an answer that says
    /// it is not the active one.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` when no active controller was found in time, `REQUEST_TIMED_OUT` when it did not answer,
    /// `UNSUPPORTED_VERSION` when it does not know such requests.
    pub(crate) fn pass_on<R>(
        &self,
        ctx: &RequestContext,
        request: R,
        elsewhere: fn(&R::Response) -> bool,
    ) -> impl Future<Output = Result<R::Response, ErrorCode>> + Send + use<R>
    where
        R: Request + Message + HeaderVersion + Send + Sync + 'static,
        R::Response: Send,
    {
        let (inner, asker) = (self.inner.clone(), Asker::of(ctx));
        async move { inner.pass_on(&request, &asker, elsewhere).await }
    }
}

impl Inner {
    async fn pass_on<R>(
        &self,
        request: &R,
        asker: &Asker,
        elsewhere: fn(&R::Response) -> bool,
    ) -> Result<R::Response, ErrorCode>
    where
        R: Request + Message + HeaderVersion,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut leader = self.ways.leader.clone();
        loop {
            let at = leader.borrow_and_update().clone();
            if let Some(at) = at.filter(|at| at.id != self.ways.node_id) {
                let peer = self.remote.peer(Lane::Clients, &at);
                let attempt = timeout_at(deadline, attempt(&peer, request, asker)).await;
                match attempt.map_err(|_| ErrorCode::REQUEST_TIMED_OUT)? {
                    Ok(Ok(answer)) if !elsewhere(&answer) => return Ok(answer),
                    Ok(Ok(_) | Err(ErrorCode::NOT_CONTROLLER)) => {}
                    Ok(Err(code)) => return Err(code),
                    Err(PeerError::Unsupported { .. } | PeerError::Unsayable(_)) => {
                        return Err(ErrorCode::UNSUPPORTED_VERSION);
                    }
                    Err(_) => {}
                }
            }
            if self.quorum_in_office().is_some() {
                // It is us now: the client asks again.
                return Err(ErrorCode::NOT_CONTROLLER);
            }
            let news = async {
                tokio::select! {
                    Ok(()) = leader.changed() => {}
                    () = sleep(RETRY) => {}
                }
            };
            timeout_at(deadline, news).await.map_err(|_| ErrorCode::NOT_CONTROLLER)?;
        }
    }
}

/// Asks once, in an Envelope; the inner error is the envelope's own.
async fn attempt<R>(
    peer: &Peer,
    request: &R,
    asker: &Asker,
) -> Result<Result<R::Response, ErrorCode>, PeerError>
where
    R: Request + Message + HeaderVersion,
{
    let frame = encode_request(asker.version, CORRELATION_ID, asker.client_id.as_deref(), request)?;
    let envelope = wire::envelope(frame, asker);
    let (_, answer) = peer.ask::<EnvelopeRequest>(0..=0, |_| envelope).await?;
    if answer.error_code != ErrorCode::NONE.0 {
        return Ok(Err(ErrorCode(answer.error_code)));
    }
    let mut body = answer.response_data.unwrap_or_default();
    header::parse_response(R::KEY, asker.version, &mut body)?;
    Ok(Ok(ottla_protocol::decode_response(R::KEY, asker.version, &mut body)?))
}
