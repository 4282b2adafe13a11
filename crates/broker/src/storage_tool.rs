//! `ottla storage`: shows and formats log directories, with the output of kafka-storage.sh; and what the broker does
//! with directories that are not formatted when it starts.

mod format;
mod identity;
mod info;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ottla_config::{BrokerConfig, Loaded};
use rand::{RngCore, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;

use crate::cli::{StorageCommand, load_config};

pub use identity::{Identity, ensure_formatted};

/// What a command prints and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output, with its line ends.
    pub out: String,
    /// For standard error, with its line ends.
    pub err: String,
    /// The exit code: 0, or 1 as Kafka's tool has it.
    pub code: u8,
}

impl Outcome {
    fn failed(message: impl AsRef<str>) -> Self {
        Self { out: String::new(), err: format!("{}\n", message.as_ref()), code: 1 }
    }

    /// Adds a line for standard output.
    fn say(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }
}

/// Runs a command of the storage tool and prints what it says; ids are drawn from the system.
#[must_use]
pub fn run(command: &StorageCommand, environment: &[(String, String)]) -> ExitCode {
    let outcome = execute(command, environment, &mut StdRng::from_os_rng());
    // A reader that left early changes nothing about what was done.
    let _ = io::stdout().lock().write_all(outcome.out.as_bytes());
    let _ = io::stderr().lock().write_all(outcome.err.as_bytes());
    ExitCode::from(outcome.code)
}

/// Formats the log directories that are not formatted: what a start without a file and `--auto-format` do. The
/// cluster's id is `CLUSTER_ID` of the environment, as Kafka's image has it, or a new one.
///
/// # Errors
/// A directory of another cluster or node, or one that can not be written.
pub fn format_on_the_way(loaded: &Loaded, environment: &[(String, String)]) -> anyhow::Result<Identity> {
    let cluster_id = environment.iter().find(|(name, _)| name == "CLUSTER_ID").map(|(_, id)| id.as_str());
    ensure_formatted(&loaded.broker, true, cluster_id, &mut StdRng::from_os_rng()).map_err(anyhow::Error::msg)
}

/// Does what a command of the storage tool asks.
pub fn execute(command: &StorageCommand, environment: &[(String, String)], rng: &mut dyn RngCore) -> Outcome {
    let load = |config: &Path| load_config(Some(config), environment, &[]).map(|loaded| loaded.broker);
    match command {
        StorageCommand::RandomUuid => {
            let mut outcome = Outcome::default();
            outcome.say(show_id(random_id(rng)));
            outcome
        }
        StorageCommand::Info { config } => {
            load(config).map_or_else(Outcome::failed, |config| info::run(&config))
        }
        StorageCommand::Format(args) => {
            load(&args.config).map_or_else(Outcome::failed, |config| format::run(args, &config, rng))
        }
    }
}

/// A random (version 4) id whose text does not begin with a dash, which command lines would take for an option.
pub fn random_id(rng: &mut dyn RngCore) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        if !show_id(id).starts_with('-') {
            return id;
        }
    }
}

/// An id as Kafka writes it: 22 characters of base64.
#[must_use]
pub fn show_id(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// An id from its 22 characters.
fn parse_id(text: &str) -> Option<Uuid> {
    Some(Uuid::from_bytes(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
}

/// The log directories, the one of the metadata first: Kafka formats it first.
fn directories(config: &BrokerConfig) -> Vec<String> {
    let metadata = &config.dirs.metadata_log_dir;
    let rest = config.dirs.log_dirs.iter().filter(|dir| *dir != metadata);
    std::iter::once(metadata).chain(rest).cloned().collect()
}

#[cfg(test)]
mod tests;
