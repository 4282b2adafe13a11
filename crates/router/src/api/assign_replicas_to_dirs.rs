//! AssignReplicasToDirs (73), version 0 (KIP-858).
//!
//! A broker says which of its log dirs hold which replicas.

use std::{ops::RangeInclusive, sync::Arc};

use ottla_controller::Command;
use ottla_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use ottla_types::ErrorCode;

use crate::{
    Handler, Reply, RequestContext,
    ask::{Ask, pick, relay},
};

pub(crate) struct AssignReplicasToDirs {
    controller: Arc<dyn Ask>,
}

impl AssignReplicasToDirs {
    pub(crate) fn new(controller: Arc<dyn Ask>) -> Self {
        Self { controller }
    }
}

impl Handler for AssignReplicasToDirs {
    type Request = AssignReplicasToDirsRequest;
    type Response = AssignReplicasToDirsResponse;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        &self,
        ctx: &RequestContext,
        request: AssignReplicasToDirsRequest,
    ) -> Reply<AssignReplicasToDirsResponse> {
        let asked = self.controller.ask(ctx, Command::AssignReplicasToDirs(request));
        relay(asked, pick!(AssignReplicasToDirs), |error| {
            AssignReplicasToDirsResponse::default().with_error_code(error.code.0)
        })
    }

    fn says_not_controller(answer: &AssignReplicasToDirsResponse) -> bool {
        ErrorCode(answer.error_code) == ErrorCode::NOT_CONTROLLER
    }
}
