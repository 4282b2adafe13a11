//! How this node's quorum begins: with the voters it was formatted with, with those of the configuration, alone, or not
//! before a leader takes it in.

use std::{net::IpAddr, path::Path};

use anyhow::{Result, bail};
use ottla_config::BrokerConfig;
use ottla_controller::bootstrap_features;
use ottla_metadata::records;
use ottla_protocol::persisted::metadata::MetadataRecord;
use ottla_raft::{Fault, Founding, Membership, SnapshotId, Voter, VoterEndpoint, checkpoint};
use uuid::Uuid;

/// Decides it. `dir` is that of the metadata log.
pub(super) fn founding(
    config: &BrokerConfig,
    dir: &Path,
    directory_id: Uuid,
    endpoints: &[VoterEndpoint],
) -> Result<Founding> {
    if let Some(formatted) = Membership::bootstrap(dir)? {
        return Ok(Founding::Dynamic(formatted.voters));
    }
    let fixed = &config.quorum.voters;
    if !fixed.is_empty() {
        if !fixed.iter().any(|voter| voter.id == config.node_id) {
            bail!(
                "controller.quorum.voters does not name this controller, node.id {}; every controller of a static \
                 quorum has to be in it",
                config.node_id
            );
        }
        let name = endpoints.first().map_or_else(|| "CONTROLLER".into(), |own| own.name.clone());
        let voter = |voter: &ottla_config::Voter| Voter {
            id: voter.id,
            directory_id: Uuid::nil(),
            endpoints: vec![VoterEndpoint {
                name: name.clone(),
                host: voter.host.as_str().into(),
                port: voter.port,
            }],
        };
        return Ok(Founding::Static(fixed.iter().map(voter).collect()));
    }
    // Nobody else is there to take it in.
    if config.quorum.bootstrap_servers.iter().all(|server| is_own(server, endpoints)) {
        let alone = Voter { id: config.node_id, directory_id, endpoints: endpoints.to_vec() };
        return Ok(Founding::Dynamic(vec![alone]));
    }
    Ok(Founding::Join)
}

/// Whether an address is one of this node's own controller listeners.
fn is_own((host, port): &(String, u16), endpoints: &[VoterEndpoint]) -> bool {
    let loopback = |host: &str| {
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    endpoints.iter().any(|own| {
        own.port == *port && (own.host.eq_ignore_ascii_case(host) || (loopback(&own.host) && loopback(host)))
    })
}

/// The features a new cluster begins with: this release's, in the levels that the node was formatted with. A level of 0
/// means that it begins without; features that are not served here are left out.
pub(crate) fn features(dir: &Path) -> Result<Vec<(String, i16)>> {
    let mut features = bootstrap_features();
    let batches = match checkpoint::read(dir, SnapshotId::BOOTSTRAP) {
        Ok(batches) => batches,
        Err(Fault::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(features);
        }
        Err(fault) => return Err(fault.into()),
    };
    let mut formatted = Vec::new();
    for batch in batches.iter().filter(|batch| !batch.header.is_control()) {
        let facts =
            records::decode(batch, 0).map_err(|why| anyhow::anyhow!("The bootstrap snapshot: {why}"))?;
        for fact in &facts {
            if let Some(MetadataRecord::FeatureLevel(level)) = fact.record() {
                formatted.push((level.name.to_string(), level.feature_level));
            }
        }
    }
    if formatted.is_empty() {
        return Ok(features);
    }
    for (name, level) in &mut features {
        let known = formatted.iter().find(|(formatted, _)| formatted == name);
        *level = known.map_or(0, |(_, known)| (*known).min(*level));
    }
    features.retain(|(_, level)| *level > 0);
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_controller_knows_its_own_address() {
        let endpoint =
            |host: &str, port| VoterEndpoint { name: "CONTROLLER".into(), host: host.into(), port };
        let own = |host: &str, port, at| is_own(&(host.to_owned(), port), &[at]);
        assert!(own("localhost", 9093, endpoint("localhost", 9093)));
        assert!(own("127.0.0.1", 9093, endpoint("LocalHost", 9093)), "another name of the same");
        assert!(own("Kafka-1.example", 9093, endpoint("kafka-1.example", 9093)));
        assert!(!own("localhost", 9094, endpoint("localhost", 9093)), "another process here");
        assert!(!own("localhost", 9093, endpoint("kafka-1.example", 9093)));
        assert!(!own("kafka-2.example", 9093, endpoint("kafka-1.example", 9093)));
    }
}
