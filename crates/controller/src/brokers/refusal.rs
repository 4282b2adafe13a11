//! Words for a registration that was refused: the answer has no place for them.

use ottla_metadata::Image;
use ottla_protocol::messages::BrokerRegistrationRequest;
use ottla_types::ErrorCode;

use super::check_features;
use crate::directories::is_reserved;

/// Why a broker was not registered, for whoever operates the controllers. `image` is what was known then.
#[must_use]
pub fn registration_refusal(image: &Image, request: &BrokerRegistrationRequest, code: ErrorCode) -> String {
    let known = match code {
        ErrorCode::INCONSISTENT_CLUSTER_ID => {
            Some(format!("its log dirs are formatted for cluster {}", request.cluster_id.as_str()))
        }
        ErrorCode::DUPLICATE_BROKER_REGISTRATION => {
            Some("another process with this node.id is alive, or was until a moment ago".into())
        }
        ErrorCode::INVALID_REGISTRATION | ErrorCode::UNSUPPORTED_VERSION => {
            foreign_dir(image, request).or_else(|| lacking(image, request))
        }
        _ => None,
    };
    let id = request.broker_id.0;
    match known {
        Some(why) => format!("Broker {id} was not registered: {why} ({code})"),
        None => format!("Broker {id} was not registered: {code}"),
    }
}

fn foreign_dir(image: &Image, request: &BrokerRegistrationRequest) -> Option<String> {
    let others = image.brokers.values().filter(|broker| broker.id != request.broker_id.0);
    let mut dirs = others.flat_map(|broker| broker.log_dirs.iter().map(|dir| (*dir, broker.id)));
    let (dir, owner) = dirs.find(|(dir, _)| request.log_dirs.contains(dir))?;
    Some(format!("its log dir with the directory id {dir} belongs to broker {owner}"))
}

fn lacking(image: &Image, request: &BrokerRegistrationRequest) -> Option<String> {
    if request.listeners.is_empty() {
        return Some("it has no listeners".into());
    }
    if request.log_dirs.iter().any(|dir| is_reserved(*dir)) {
        return Some("a log dir has a directory id that is reserved".into());
    }
    let lacks = check_features(image, request).err().and_then(|error| error.message);
    lacks.map(Into::into).or_else(|| Some("its log dirs have no directory ids, or one id twice".into()))
}

#[cfg(test)]
mod tests {
    use ottla_metadata::Fact;
    use ottla_protocol::{
        messages::{BrokerId, broker_registration_request::Listener},
        persisted::metadata::RegisterBrokerRecord,
    };
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong() {
        let mut image = Image::new();
        let record =
            RegisterBrokerRecord { broker_id: 1, log_dirs: vec![Uuid::from_u128(500)], ..Default::default() };
        image.apply(&Fact::at_level(record, 25));
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(2))
            .with_cluster_id("elsewhere".into())
            .with_listeners(vec![Listener::default()]);
        let said = |request: &BrokerRegistrationRequest, code| registration_refusal(&image, request, code);
        let cluster = said(&request, ErrorCode::INCONSISTENT_CLUSTER_ID);
        assert!(cluster.contains("Broker 2") && cluster.contains("elsewhere"), "{cluster}");
        assert!(said(&request, ErrorCode::DUPLICATE_BROKER_REGISTRATION).contains("another process"));
        let copied = request.clone().with_log_dirs(vec![Uuid::from_u128(500)]);
        let copied = said(&copied, ErrorCode::INVALID_REGISTRATION);
        assert!(copied.contains("belongs to broker 1"), "{copied}");
        let reserved = request.clone().with_log_dirs(vec![Uuid::from_u128(5)]);
        assert!(said(&reserved, ErrorCode::INVALID_REGISTRATION).contains("reserved"));
        assert!(said(&request, ErrorCode::UNSUPPORTED_VERSION).contains("metadata.version"));
    }
}
