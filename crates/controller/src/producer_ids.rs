//! Blocks of producer ids (KIP-730).

use ottla_protocol::{
    messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse},
    persisted::metadata::ProducerIdsRecord,
};
use ottla_types::ErrorCode;

use crate::Turn;

/// Ids in a block.
pub const BLOCK_LEN: i32 = 1000;

impl Turn<'_, '_> {
    pub(crate) fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
    ) -> AllocateProducerIdsResponse {
        let mut response = AllocateProducerIdsResponse::default();
        if let Err(code) = self.check_broker_epoch(request.broker_id.0, request.broker_epoch) {
            response.error_code = code.0;
            return response;
        }
        let start = self.image().next_producer_id;
        let Some(next_producer_id) = start.checked_add(i64::from(BLOCK_LEN)) else {
            response.error_code = ErrorCode::UNKNOWN_SERVER_ERROR.0;
            return response;
        };
        self.add(ProducerIdsRecord {
            broker_id: request.broker_id.0,
            broker_epoch: request.broker_epoch,
            next_producer_id,
            ..Default::default()
        });
        response.producer_id_start = ottla_protocol::messages::ProducerId(start);
        response.producer_id_len = BLOCK_LEN;
        response
    }
}
