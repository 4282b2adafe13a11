//! `ottla storage`: shows and formats log directories, with the output of kafka-storage.sh; and what the broker does
//! with directories that are not formatted when it starts.

mod format;
mod identity;
mod info;

use std::path::Path;

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD},
};
use ottla_config::BrokerConfig;
use rand::RngCore;
use uuid::Uuid;

use crate::cli::{StorageCommand, load_config};

pub(crate) use identity::JOIN_REMEDY;
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

/// Runs a command of the storage tool.
pub fn run(command: &StorageCommand, environment: &[(String, String)], rng: &mut dyn RngCore) -> Outcome {
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

/// An id from its 22 characters. As in Kafka the last four bits, which say nothing, may be anything.
fn parse_id(text: &str) -> Option<Uuid> {
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    Some(Uuid::from_bytes(LENIENT.decode(text).ok()?.try_into().ok()?))
}

/// The log directories, the one of the metadata first: Kafka formats it first.
fn directories(config: &BrokerConfig) -> Vec<String> {
    let metadata = &config.dirs.metadata_log_dir;
    let rest = config.dirs.log_dirs.iter().filter(|dir| *dir != metadata);
    std::iter::once(metadata).chain(rest).cloned().collect()
}

#[cfg(test)]
mod tests;
