//! A controller's entry in the metadata: where it listens and what it can work with (KIP-919).

use std::{sync::Arc, time::Duration};

use ottla_config::{BrokerConfig, SecurityProtocol};
use ottla_controller::{Answer, Command, supported_features};
use ottla_metadata::{Endpoint, Image, ImageCell};
use ottla_net::Bound;
use ottla_protocol::{
    StrBytes,
    messages::{
        ControllerRegistrationRequest,
        controller_registration_request::{Feature, Listener},
    },
};
use ottla_router::Controllers;
use ottla_types::ErrorCode;
use tracing::{info, warn};
use uuid::Uuid;

use crate::listeners::own_host_name;

/// Where this node's controller listens, as others are told.
pub(crate) fn endpoints(config: &BrokerConfig, bound: &[Bound]) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for name in &config.listeners.controllers {
        let here = bound.iter().find(|bound| **bound.name() == **name);
        let configured = config.listeners.listeners.iter().find(|listener| listener.endpoint.name == *name);
        let advertised = config.listeners.advertised.iter().find(|endpoint| endpoint.name == *name);
        let Some(endpoint) = advertised.or(configured.map(|listener| &listener.endpoint)) else { continue };
        let port = match (endpoint.port, here.and_then(|bound| bound.local_addr().ok())) {
            (0, Some(address)) => address.port(),
            (port, _) => port,
        };
        // An address that means all of them is none to connect to.
        let anywhere = matches!(endpoint.host.as_str(), "" | "0.0.0.0" | "::");
        let host = if anywhere { own_host_name() } else { endpoint.host.clone() };
        let protocol = config.listeners.protocol(name).unwrap_or(SecurityProtocol::Plaintext);
        endpoints.push(Endpoint {
            name: name.as_str().into(),
            host: host.into(),
            port,
            security_protocol: protocol.id(),
        });
    }
    endpoints
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

/// Registers this controller with whoever is active, until the image says that it is. Ends then.
pub(crate) async fn register(
    node_id: i32,
    incarnation: Uuid,
    endpoints: Vec<Endpoint>,
    controllers: Arc<Controllers>,
    image: Arc<ImageCell>,
) {
    let listeners = endpoints.iter().map(|at| {
        Listener::default()
            .with_name(text(&at.name))
            .with_host(text(&at.host))
            .with_port(at.port)
            .with_security_protocol(at.security_protocol)
    });
    let features = supported_features().into_iter().map(|feature| {
        Feature::default()
            .with_name(text(&feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    let request = ControllerRegistrationRequest::default()
        .with_controller_id(node_id)
        .with_incarnation_id(incarnation)
        .with_listeners(listeners.collect())
        .with_features(features.collect());
    let is_known = |image: &Image| {
        image.controllers.get(&node_id).is_some_and(|known| known.incarnation_id == incarnation)
    };
    let mut wait = Duration::from_millis(100);
    loop {
        match controllers.ask(Command::RegisterController(request.clone())).await {
            Ok(Answer::RegisterController(answer)) if answer.error_code == 0 => {
                let mut watch = image.watch();
                if tokio::time::timeout(Duration::from_secs(5), watch.until(is_known)).await.is_ok() {
                    info!("[ControllerRegistrationManager id={node_id}] Controller registered");
                    return;
                }
            }
            Ok(Answer::RegisterController(answer)) => warn!(
                "[ControllerRegistrationManager id={node_id}] The registration of this controller was refused: {}",
                ErrorCode(answer.error_code)
            ),
            Ok(_) => unreachable!("an answer is of its command's kind"),
            // Nobody leads yet.
            Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
    }
}
