//! Controllers: registration (KIP-919), and taking one out of the list.

use ottla_protocol::{
    messages::{
        ControllerRegistrationRequest, ControllerRegistrationResponse, UnregisterControllerRequest,
        UnregisterControllerResponse,
    },
    persisted::metadata::{
        RegisterControllerRecord, UnregisterControllerRecord,
        register_controller_record::{ControllerEndpoint, ControllerFeature},
    },
};
use ottla_types::ErrorCode;

use crate::{Turn, text};

/// The level of `metadata.version` (3.7-IV0) from which controllers register.
pub(crate) const REGISTRATIONS: i16 = 15;
/// The level (4.4-IV2) from which they can be unregistered.
const UNREGISTRATIONS: i16 = 33;

impl Turn<'_, '_> {
    pub(crate) fn register_controller(
        &mut self,
        request: &ControllerRegistrationRequest,
    ) -> ControllerRegistrationResponse {
        let response = ControllerRegistrationResponse::default().with_error_message(None);
        let refuse = |code: ErrorCode, why: &str| {
            response.clone().with_error_code(code.0).with_error_message(Some(text(why)))
        };
        if self.state.level() < REGISTRATIONS {
            let why = "The current MetadataVersion is too old to support controller registrations.";
            return refuse(ErrorCode::UNSUPPORTED_VERSION, why);
        }
        if request.controller_id < 0 {
            return refuse(ErrorCode::INVALID_REQUEST, "A controller id is never negative.");
        }
        let end_points = request.listeners.iter().map(|at| ControllerEndpoint {
            name: at.name.clone(),
            host: at.host.clone(),
            port: at.port,
            security_protocol: at.security_protocol,
            ..Default::default()
        });
        let features = request.features.iter().map(|feature| ControllerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..Default::default()
        });
        self.add(RegisterControllerRecord {
            controller_id: request.controller_id,
            incarnation_id: request.incarnation_id,
            zk_migration_ready: false,
            end_points: end_points.collect(),
            features: features.collect(),
            ..Default::default()
        });
        response
    }

    pub(crate) fn unregister_controller(
        &mut self,
        request: &UnregisterControllerRequest,
    ) -> UnregisterControllerResponse {
        let id = request.controller_id;
        let refusal = if id == self.state.settings.node_id {
            Some((
                ErrorCode::INVALID_REQUEST,
                "Controller cannot unregister itself while it is active.".to_owned(),
            ))
        } else if self.state.level() < UNREGISTRATIONS {
            let why = "The current MetadataVersion is too old to support controller unregistration.";
            Some((ErrorCode::UNSUPPORTED_VERSION, why.to_owned()))
        } else if !self.image().controllers.contains_key(&id) {
            let why = format!("Controller ID {id} is not currently registered.");
            Some((ErrorCode::CONTROLLER_ID_NOT_REGISTERED, why))
        } else {
            None
        };
        let response = UnregisterControllerResponse::default().with_error_message(None);
        if let Some((code, why)) = refusal {
            return response.with_error_code(code.0).with_error_message(Some(text(&why)));
        }
        self.add(UnregisterControllerRecord { controller_id: id, ..Default::default() });
        response
    }
}
