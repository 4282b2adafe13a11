//! ListPartitionReassignments (46), version 0 (KIP-455), on a controller's listener.
//!
//! Any controller tells which partitions are being moved, as far as it has applied the metadata.
//!
//! Not done: authorization.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::list_reassignments;
use ottla_metadata::ImageCell;
use ottla_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::{Handler, Reply, RequestContext};

pub(crate) struct ListPartitionReassignments {
    image: Arc<ImageCell>,
}

impl ListPartitionReassignments {
    pub(crate) fn new(image: Arc<ImageCell>) -> Self {
        Self { image }
    }
}

impl Handler for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    type Response = ListPartitionReassignmentsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        _: &RequestContext,
        request: ListPartitionReassignmentsRequest,
    ) -> Reply<ListPartitionReassignmentsResponse> {
        Reply::Now(list_reassignments(&self.image.load(), &request))
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::api;

    use super::*;
    use crate::api::testing::{ask, body};

    #[tokio::test]
    async fn every_controller_answers() {
        let handler = ListPartitionReassignments::new(Arc::default());
        let answer = ask(&handler, 0, ListPartitionReassignmentsRequest::default()).await;
        assert_eq!(body(api::LIST_PARTITION_REASSIGNMENTS, 0, answer), "000000000000000100");
    }
}
