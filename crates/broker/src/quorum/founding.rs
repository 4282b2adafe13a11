//! How this node's quorum begins: with the voters it was formatted with, with those of the configuration, alone, or not
//! before a leader takes it in.

use std::path::Path;

use anyhow::{Result, bail};
use ottla_config::BrokerConfig;
use ottla_raft::{Founding, Membership, Voter, VoterEndpoint};
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
    if config.quorum.bootstrap_servers.is_empty() {
        let alone = Voter { id: config.node_id, directory_id, endpoints: endpoints.to_vec() };
        return Ok(Founding::Dynamic(vec![alone]));
    }
    Ok(Founding::Join)
}
