//! `ottla storage format`: gives log directories their identity.

use std::path::Path;

use ottla_config::BrokerConfig;
use ottla_controller::{ELR_NEEDS, LATEST, RELEASES, Release, supported_features};
use ottla_metadata::{Fact, feature, records};
use ottla_protocol::{StrBytes, persisted::metadata::FeatureLevelRecord};
use ottla_raft::{Membership, Voter, VoterEndpoint, write_bootstrap};
use ottla_storage::METADATA_TOPIC;
use ottla_types::{Clock, SystemClock, TopicPartition};
use rand::RngCore;
use uuid::Uuid;

use super::{
    Outcome, directories,
    identity::{agree, distinct, format_one, read_one},
    parse_id, random_id,
};
use crate::cli::{FormatArgs, Quorum};

/// What a new cluster begins with.
struct Plan {
    metadata_directory_id: Uuid,
    /// What the bootstrap snapshot says of the quorum.
    quorum: Membership,
    release: Release,
    features: Vec<(String, i16)>,
}

pub(super) fn run(args: &FormatArgs, config: &BrokerConfig, rng: &mut dyn RngCore) -> Outcome {
    let planned = release(args).and_then(|release| {
        let features = features(args, release)?;
        kraft_version(args)?;
        credentials(args)?;
        let (metadata_directory_id, quorum) = quorum(args, config, rng)?;
        Ok(Plan { metadata_directory_id, quorum, release, features })
    });
    match planned {
        Ok(plan) => format(args, config, &plan, rng),
        Err(message) => Outcome::failed(message),
    }
}

/// The snapshot that says with whom and with which features the cluster begins.
fn bootstrap(dir: &str, plan: &Plan) -> Result<(), String> {
    let level = plan.features.first().map_or(0, |(_, level)| *level);
    let facts = plan.features.iter().map(|(name, feature_level)| {
        let name = StrBytes::from_string(name.clone());
        let record = FeatureLevelRecord { name, feature_level: *feature_level, ..Default::default() };
        Fact::at_level(record, level)
    });
    let at = SystemClock::new().wall();
    let facts = records::encode(&facts.collect::<Vec<_>>(), at);
    let dir = Path::new(dir).join(TopicPartition::new(METADATA_TOPIC, 0).to_string());
    write_bootstrap(&dir, &plan.quorum, facts, at).map_err(|fault| fault.to_string())
}

/// Formats what is not formatted yet, after all directories were looked at.
fn format(args: &FormatArgs, config: &BrokerConfig, plan: &Plan, rng: &mut dyn RngCore) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut dirs, mut found) = (Vec::new(), Vec::new());
    for dir in directories(config) {
        let path = Path::new(&dir);
        match read_one(&dir) {
            Ok(_) if path.exists() && !path.is_dir() => {
                outcome.say(format!("I/O error trying to read log directory {dir}. Ignoring..."));
            }
            Ok(meta) => {
                dirs.push(dir);
                found.push(meta);
            }
            Err(fault) => {
                outcome.say(format!("I/O error trying to read log directory {dir}. Ignoring..."));
                outcome.err.push_str(&format!("{fault}\n"));
            }
        }
    }
    let fail = |mut outcome: Outcome, message: String| {
        outcome.err.push_str(&format!("{message}\n"));
        outcome.code = 1;
        outcome
    };
    if let Err(message) = distinct(&dirs) {
        return fail(outcome, message);
    }
    if dirs.is_empty() {
        return fail(outcome, "No available log directories to format.".into());
    }
    if let Err(message) = agree(&dirs, &found, config.node_id, Some(&args.cluster_id)) {
        return fail(outcome, message);
    }
    let formatted = dirs.iter().zip(&found).find(|(_, meta)| meta.is_some());
    if let Some((dir, _)) = formatted.filter(|_| !args.ignore_formatted) {
        return fail(
            outcome,
            format!(
                "Log directory {dir} is already formatted. Use --ignore-formatted to ignore this directory and format \
                 the others."
            ),
        );
    }
    if found.iter().all(Option::is_some) {
        outcome.say("All of the log directories are already formatted.");
        return outcome;
    }
    let dynamic = matches!(args.quorum, Quorum::Standalone | Quorum::InitialControllers(_));
    for (dir, _) in dirs.iter().zip(&found).filter(|(_, meta)| meta.is_none()) {
        let is_metadata = *dir == config.dirs.metadata_log_dir;
        let kind = match (is_metadata, dynamic && config.is_controller) {
            (true, true) => "dynamic metadata voter",
            (true, false) => "metadata",
            (false, _) => "data",
        };
        let release = plan.release.name;
        outcome.say(format!("Formatting {kind} directory {dir} with metadata.version {release}."));
        let directory_id = if is_metadata { plan.metadata_directory_id } else { random_id(rng) };
        // The identity last: without it the directory counts as not formatted.
        let written = if is_metadata && config.is_controller { bootstrap(dir, plan) } else { Ok(()) };
        let formatted =
            written.and_then(|()| format_one(dir, &args.cluster_id, config.node_id, directory_id));
        if let Err(message) = formatted {
            return fail(outcome, message);
        }
    }
    outcome
}

/// The release whose features a new cluster begins with: the newest, if no other is asked for.
fn release(args: &FormatArgs) -> Result<Release, String> {
    let level = args.features.iter().find_map(|asked| {
        let (name, level) = asked.split_once('=')?;
        (name == feature::METADATA_VERSION).then(|| level.trim().parse::<i16>().ok())?
    });
    match (&args.release_version, level) {
        (Some(_), Some(_)) => {
            Err("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".into())
        }
        (Some(name), None) => Release::named(name).ok_or_else(|| {
            let names: Vec<&str> = RELEASES.iter().map(|release| release.name).collect();
            format!("Unknown metadata.version '{name}'. Supported metadata.version are: {}", names.join(", "))
        }),
        (None, Some(level)) => Release::of_level(level).ok_or_else(|| {
            let (first, last) = (RELEASES[0].level, LATEST.level);
            format!("No MetadataVersion with feature level {level}. Valid feature levels are from {first} to {last}.")
        }),
        (None, None) => Ok(LATEST),
    }
}

/// The features a new cluster begins with: those of the release, where no other level is asked for.
fn features(args: &FormatArgs, release: Release) -> Result<Vec<(String, i16)>, String> {
    let mut bootstrap = release.features();
    let supported = supported_features();
    for asked in &args.features {
        let (name, level) = asked
            .split_once('=')
            .ok_or_else(|| format!("Can't parse feature=level string {asked}: equals sign not found."))?;
        let level: i16 = level.trim().parse().map_err(|_| {
            format!("Can't parse feature=level string {asked}: unable to parse {level} as a short.")
        })?;
        let Some(range) = supported.iter().find(|range| *range.name == *name) else {
            let names: Vec<&str> = supported.iter().map(|range| &*range.name).collect();
            return Err(format!("Unsupported feature: {name}. Supported features are: {}", names.join(", ")));
        };
        if level < range.min.min(0) || level > range.max {
            return Err(format!("No feature:{name} with feature level {level}"));
        }
        let (needed, _) = ELR_NEEDS;
        if name == feature::ELIGIBLE_LEADER_REPLICAS_VERSION && level > 0 && release.level < needed {
            return Err(format!(
                "{name} could not be set to {level} because it depends on metadata.version level {needed}"
            ));
        }
        // Raft keeps this one itself: it goes by how the voters are known.
        if name != feature::KRAFT_VERSION && name != feature::METADATA_VERSION {
            bootstrap.retain(|(known, _)| known != name);
            bootstrap.push((name.to_owned(), level));
        }
    }
    bootstrap[1..].sort_unstable();
    bootstrap.retain(|(_, level)| *level > 0);
    Ok(bootstrap)
}

/// Voters are known by their directories where `kraft.version` is 1, and by node id alone where it is 0: how the quorum
/// begins says which it is.
fn kraft_version(args: &FormatArgs) -> Result<(), String> {
    const FLAGS: &str = "--standalone, --initial-controllers, or --no-initial-controllers";
    let levels = args.features.iter().filter_map(|asked| asked.split_once('='));
    let mut levels = levels.filter(|(name, _)| *name == feature::KRAFT_VERSION);
    let level: Option<i16> = levels.next().and_then(|(_, level)| level.trim().parse().ok());
    match (level, args.quorum != Quorum::Unsaid) {
        (Some(0), true) => Err(format!(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags {FLAGS} is used. \
             For dynamic controllers support, try removing the --feature flag for kraft.version."
        )),
        (Some(level), false) if level > 0 => Err(format!(
            "Cannot set kraft.version to {level} unless controller.quorum.voters is empty and one of the flags {FLAGS} is \
             used. For dynamic controllers support, try using one of {FLAGS} and removing controller.quorum.voters."
        )),
        _ => Ok(()),
    }
}

fn credentials(args: &FormatArgs) -> Result<(), String> {
    match args.scram.first() {
        Some(text) if !text.contains('=') => {
            Err(format!("Failed to find equals sign in SCRAM argument '{text}'"))
        }
        Some(_) => Err("--add-scram is not supported yet: this version does not authenticate clients".into()),
        None => Ok(()),
    }
}

/// How the quorum begins, and the id of the metadata directory.
fn quorum(
    args: &FormatArgs,
    config: &BrokerConfig,
    rng: &mut dyn RngCore,
) -> Result<(Uuid, Membership), String> {
    let is_static = !config.quorum.voters.is_empty();
    let dynamic = |voters| Membership { kraft_version: 1, voters };
    match &args.quorum {
        Quorum::Standalone | Quorum::InitialControllers(_) if is_static => {
            Err("You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                 --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
                 controller.quorum.bootstrap.servers instead."
                .into())
        }
        Quorum::Standalone if !config.is_controller => {
            Err("You can only use --standalone on a controller.".into())
        }
        Quorum::Standalone => {
            let directory_id = random_id(rng);
            let alone = Voter { id: config.node_id, directory_id, endpoints: own_endpoints(config) };
            Ok((directory_id, dynamic(vec![alone])))
        }
        Quorum::InitialControllers(text) => {
            let voters = initial_controllers(text, config)?;
            let own = voters.iter().find(|voter| voter.id == config.node_id);
            let own = own.ok_or_else(|| {
                format!("--initial-controllers does not name this node, {}", config.node_id)
            })?;
            Ok((own.directory_id, dynamic(voters)))
        }
        // Without servers to ask, a process that is both roles is a quorum of its own.
        Quorum::Unsaid if config.is_controller && !is_static && !config.quorum.bootstrap_servers.is_empty() => {
            Err("Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
                 --standalone, --initial-controllers, or --no-initial-controllers."
                .into())
        }
        Quorum::NoInitialControllers if !is_static => Ok((random_id(rng), dynamic(Vec::new()))),
        _ => Ok((random_id(rng), Membership::default())),
    }
}

fn own_endpoints(config: &BrokerConfig) -> Vec<VoterEndpoint> {
    let endpoint =
        |at: ottla_metadata::Endpoint| VoterEndpoint { name: at.name, host: at.host, port: at.port };
    crate::controller_registration::endpoints(config, &[]).into_iter().map(endpoint).collect()
}

/// The voters of `id@host:port:directory`, separated by commas.
fn initial_controllers(text: &str, config: &BrokerConfig) -> Result<Vec<Voter>, String> {
    let listener: std::sync::Arc<str> =
        config.listeners.controllers.first().map_or("CONTROLLER", String::as_str).into();
    let mut voters: Vec<Voter> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let (id, address) = entry.split_once('@').ok_or("No @ found in dynamic voter string.")?;
        let id: i32 =
            id.parse().map_err(|_| format!("Failed to parse node id in dynamic voter string: '{id}'"))?;
        let (address, directory) =
            address.rsplit_once(':').ok_or("No colon following port could be found.")?;
        let directory_id = parse_id(directory)
            .ok_or_else(|| format!("Failed to parse directory ID in dynamic voter string: '{directory}'"))?;
        let (host, port) = address.rsplit_once(':').ok_or("No colon following hostname could be found.")?;
        let port: u16 =
            port.parse().map_err(|_| format!("Failed to parse port in dynamic voter string: '{port}'"))?;
        if id < 0 {
            return Err(format!("Invalid negative node id {id} in dynamic voter string."));
        }
        if voters.iter().any(|voter| voter.id == id) {
            return Err(format!("Node id {id} is given twice in --initial-controllers"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let endpoint = VoterEndpoint { name: listener.clone(), host: host.into(), port };
        voters.push(Voter { id, directory_id, endpoints: vec![endpoint] });
    }
    voters.sort_by_key(|voter| voter.id);
    Ok(voters)
}
