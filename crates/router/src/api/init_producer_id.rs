//! InitProducerId (22), versions 0–5 (KIP-98, KIP-360, KIP-730, KIP-890).
//!
//! Versions: 3 carries the producer's id and epoch, for bumping; 4 and 5 may answer PRODUCER_FENCED and
//! TRANSACTION_ABORTABLE. An idempotent producer without a transactional id gets a fresh id each time.
//!
//! Not done: transactional ids (there is no transaction coordinator yet), authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::{Answer, Command};
use ottla_metadata::ImageCell;
use ottla_protocol::messages::{
    AllocateProducerIdsRequest, BrokerId, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};
use ottla_types::{ErrorCode, NodeId};
use parking_lot::Mutex;

use crate::{Controllers, Handler, Reply, RequestContext};

/// Hands out producer ids from blocks of the controller's.
struct Ids {
    controllers: Arc<Controllers>,
    image: Arc<ImageCell>,
    node_id: NodeId,
    /// What is left of the block: from, to.
    left: Mutex<(i64, i64)>,
    /// Held by whoever asks for the next block, so that only one does.
    asking: tokio::sync::Mutex<()>,
}

impl Ids {
    fn take(&self) -> Option<i64> {
        let mut left = self.left.lock();
        let (next, end) = *left;
        (next < end).then(|| {
            left.0 = next + 1;
            next
        })
    }

    async fn next(&self) -> Result<i64, ErrorCode> {
        loop {
            let _asking = self.asking.lock().await;
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let epoch = self.image.load().broker(self.node_id).map(|broker| broker.epoch);
            // Not registered yet: the client asks again.
            let epoch = epoch.ok_or(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)?;
            let request = AllocateProducerIdsRequest::default()
                .with_broker_id(BrokerId(self.node_id))
                .with_broker_epoch(epoch);
            let block = match self.controllers.ask(Command::AllocateProducerIds(request)).await {
                Ok(Answer::AllocateProducerIds(block)) if block.error_code == 0 => block,
                Ok(Answer::AllocateProducerIds(_)) | Err(_) => {
                    return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
                }
                Ok(_) => unreachable!("an answer is of its command's kind"),
            };
            let start = block.producer_id_start.0;
            *self.left.lock() = (start, start + i64::from(block.producer_id_len));
        }
    }
}

pub(crate) struct InitProducerId {
    ids: Arc<Ids>,
}

impl InitProducerId {
    pub(crate) fn new(controllers: Arc<Controllers>, image: Arc<ImageCell>, node_id: NodeId) -> Self {
        let ids = Ids {
            controllers,
            image,
            node_id,
            left: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        };
        Self { ids: Arc::new(ids) }
    }
}

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;
    type Response = InitProducerIdResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(&self, _: &RequestContext, request: InitProducerIdRequest) -> Reply<InitProducerIdResponse> {
        // Both or neither; "neither" is what a new producer says.
        if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
            return Reply::Now(refused(ErrorCode::INVALID_REQUEST));
        }
        match &request.transactional_id {
            Some(id) if id.is_empty() => return Reply::Now(refused(ErrorCode::INVALID_REQUEST)),
            Some(_) => return Reply::Now(refused(ErrorCode::COORDINATOR_NOT_AVAILABLE)),
            None => {}
        }
        if let Some(id) = self.ids.take() {
            return Reply::Now(given(id));
        }
        let ids = self.ids.clone();
        Reply::later(async move { ids.next().await.map_or_else(refused, given) })
    }
}

fn given(id: i64) -> InitProducerIdResponse {
    InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0)
}

fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code.0)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
