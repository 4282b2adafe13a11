//! `ottla storage format`: gives log directories their identity.

use std::path::Path;

use ottla_config::BrokerConfig;
use ottla_controller::{bootstrap_features, supported_features};
use rand::RngCore;
use uuid::Uuid;

use super::{
    Outcome, directories,
    identity::{agree, format_one, read_one},
    parse_id, random_id,
};
use crate::cli::{FormatArgs, Quorum};

/// The release whose features a new cluster begins with.
const RELEASE: &str = "4.4-IV2";

pub(super) fn run(args: &FormatArgs, config: &BrokerConfig, rng: &mut dyn RngCore) -> Outcome {
    let checked = features(args)
        .and_then(|()| credentials(args))
        .and_then(|()| quorum(args, config))
        .map(|chosen| chosen.unwrap_or_else(|| random_id(rng)));
    match checked {
        Ok(metadata_directory_id) => format(args, config, metadata_directory_id, rng),
        Err(message) => Outcome::failed(message),
    }
}

/// Formats what is not formatted yet, after all directories were looked at.
fn format(args: &FormatArgs, config: &BrokerConfig, metadata_id: Uuid, rng: &mut dyn RngCore) -> Outcome {
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
        outcome.say(format!("Formatting {kind} directory {dir} with metadata.version {RELEASE}."));
        let directory_id = if is_metadata { metadata_id } else { random_id(rng) };
        if let Err(message) = format_one(dir, &args.cluster_id, config.node_id, directory_id) {
            return fail(outcome, message);
        }
    }
    outcome
}

/// The features asked for must be those a new cluster begins with: others cannot be recorded yet.
fn features(args: &FormatArgs) -> Result<(), String> {
    let bootstrap = bootstrap_features();
    let supported = supported_features();
    if let Some(release) = &args.release_version {
        if args.features.iter().any(|feature| feature.starts_with("metadata.version=")) {
            return Err(
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.".into()
            );
        }
        if release != RELEASE && !RELEASE.starts_with(&format!("{release}-")) {
            return Err(format!(
                "--release-version {release} is not supported yet: a new cluster begins with metadata.version {RELEASE}. \
                 Leave the option out"
            ));
        }
    }
    for feature in &args.features {
        let (name, level) = feature
            .split_once('=')
            .ok_or_else(|| format!("Can't parse feature=level string {feature}: equals sign not found."))?;
        let level: i16 = level.trim().parse().map_err(|_| {
            format!("Can't parse feature=level string {feature}: unable to parse {level} as a short.")
        })?;
        let Some(range) = supported.iter().find(|range| *range.name == *name) else {
            let names: Vec<&str> = supported.iter().map(|range| &*range.name).collect();
            return Err(format!("Unsupported feature: {name}. Supported features are: {}", names.join(", ")));
        };
        if level < range.min.min(0) || level > range.max {
            return Err(format!("No feature:{name} with feature level {level}"));
        }
        let begins_with = bootstrap.iter().find(|(known, _)| known == name).map_or(0, |(_, level)| *level);
        // Raft keeps this one itself; both levels stand for what it does anyway.
        if level != begins_with && name != "kraft.version" {
            return Err(format!(
                "--feature {feature} is not supported yet: a new cluster begins with {name}={begins_with}. Leave the \
                 option out, and use kafka-features.sh when the cluster runs"
            ));
        }
    }
    Ok(())
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

/// Checks how the quorum begins; gives the id of the metadata directory when it was chosen.
fn quorum(args: &FormatArgs, config: &BrokerConfig) -> Result<Option<Uuid>, String> {
    let is_static = !config.quorum.voters.is_empty();
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
        Quorum::InitialControllers(text) => initial_controllers(text, config),
        // Without servers to ask, a process that is both roles is a quorum of its own.
        Quorum::Unsaid if config.is_controller && !is_static && !config.quorum.bootstrap_servers.is_empty() => {
            Err("Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
                 --standalone, --initial-controllers, or --no-initial-controllers."
                .into())
        }
        _ => Ok(None),
    }
}

fn initial_controllers(text: &str, config: &BrokerConfig) -> Result<Option<Uuid>, String> {
    let mut own = None;
    for entry in text.split(',').map(str::trim) {
        let (id, address) = entry.split_once('@').ok_or("No @ found in dynamic voter string.")?;
        let id: i32 =
            id.parse().map_err(|_| format!("Failed to parse node id in dynamic voter string: '{id}'"))?;
        let (_, directory) = address.rsplit_once(':').ok_or("No colon following port could be found.")?;
        let directory = parse_id(directory)
            .ok_or_else(|| format!("Failed to parse directory ID in dynamic voter string: '{directory}'"))?;
        if id == config.node_id {
            own = Some(directory);
        }
    }
    if text.contains(',') {
        return Err("--initial-controllers with more than one controller is not supported yet".into());
    }
    own.map(Some).ok_or_else(|| format!("--initial-controllers does not name this node, {}", config.node_id))
}
