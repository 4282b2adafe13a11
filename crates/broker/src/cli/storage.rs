//! Arguments of `ottla storage`: those of kafka-storage.sh.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use super::{Cli, CliError, unrecognized};

/// What the storage tool was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageCommand {
    /// Show what the log directories hold.
    Info {
        /// `--config`.
        config: PathBuf,
    },
    /// Format the log directories.
    Format(FormatArgs),
    /// Print a new cluster or directory id.
    RandomUuid,
}

/// Arguments of `format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatArgs {
    /// `--config`.
    pub config: PathBuf,
    /// `--cluster-id`; any text.
    pub cluster_id: String,
    /// `--ignore-formatted`.
    pub ignore_formatted: bool,
    /// `--release-version`.
    pub release_version: Option<String>,
    /// Each `--feature`, `name=level`.
    pub features: Vec<String>,
    /// Each `--add-scram`.
    pub scram: Vec<String>,
    /// Who the first controllers are.
    pub quorum: Quorum,
}

/// Who the controllers of a dynamic quorum are at first (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// Nothing was said.
    Unsaid,
    /// `--standalone`: this process.
    Standalone,
    /// `--no-initial-controllers`: found over the network.
    NoInitialControllers,
    /// `--initial-controllers`: `id@host:port:directory`, separated by commas.
    InitialControllers(String),
}

const USAGE: &str = "ottla storage [-h] {info,format,random-uuid} ...";

const HELP: &str = "\
usage: ottla storage [-h] {info,format,random-uuid} ...

Prepares log directories, as kafka-storage.sh does.

commands:
  info                   Get information about the log directories of this node.
  format                 Format the log directories of this node.
  random-uuid            Print a random UUID.

options:
  -h, --help             Prints this help and exits.";

const FORMAT_USAGE: &str = "\
ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
                            [--ignore-formatted]
                            [--release-version RELEASE_VERSION]
                            [--feature FEATURE] [--add-scram ADD_SCRAM]
                            [--standalone | --no-initial-controllers |
                            --initial-controllers INITIAL_CONTROLLERS]";

const FORMAT_HELP: &str = "\
usage: ottla storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
                            [--ignore-formatted]
                            [--release-version RELEASE_VERSION]
                            [--feature FEATURE] [--add-scram ADD_SCRAM]
                            [--standalone | --no-initial-controllers |
                            --initial-controllers INITIAL_CONTROLLERS]

Formats the log directories of this node.

options:
  -c, --config CONFIG    The configuration file.
  -t, --cluster-id ID    The cluster id; see ottla storage random-uuid.
                         Write -t=ID for one that begins with a dash.
  -g, --ignore-formatted Leaves directories alone that are formatted already.
  -s, --standalone       This controller is a quorum of its own at first.
  -N, --no-initial-controllers
                         The quorum is found by
                         controller.quorum.bootstrap.servers.
  -I, --initial-controllers ID@HOST:PORT:DIRECTORY,...
                         The controllers the quorum begins with.
  -r, --release-version VERSION
                         The release whose features the cluster begins with.
  -f, --feature NAME=LEVEL
                         The level of one feature; may be repeated.
  -S, --add-scram CREDENTIAL
                         A credential the cluster begins with; not supported
                         yet.
  -h, --help             Prints this help and exits.";

const INFO_USAGE: &str = "ottla storage info [-h] --config CONFIG";

const INFO_HELP: &str = "\
usage: ottla storage info [-h] --config CONFIG

Shows the log directories of this node and what is wrong with them; exits with
1 when something is.

options:
  -c, --config CONFIG    The configuration file.
  -h, --help             Prints this help and exits.";

const UUID_USAGE: &str = "ottla storage random-uuid [-h]";

const UUID_HELP: &str = "\
usage: ottla storage random-uuid [-h]

Prints a random UUID, fit for a cluster id or a directory id.

options:
  -h, --help             Prints this help and exits.";

/// Reads the arguments behind `storage`.
pub(super) fn parse(mut parser: Parser) -> Result<Cli, CliError> {
    let error = |message: String| CliError::new(USAGE, "ottla storage", message);
    match parser.next().map_err(|fault| error(fault.to_string()))? {
        None => Err(error("too few arguments".into())),
        Some(Arg::Long("help") | Arg::Short('h')) => Ok(Cli::Help(HELP)),
        Some(Arg::Value(command)) => match command.to_string_lossy().as_ref() {
            "info" => info(parser),
            "format" => format(parser),
            "random-uuid" => random_uuid(parser),
            other => {
                let choices = "(choose from 'info', 'format', 'random-uuid')";
                Err(error(format!("invalid choice: '{other}' {choices}")))
            }
        },
        Some(other) => Err(error(unrecognized(&other))),
    }
}

/// One value of an option, which may begin with a dash.
fn value(
    parser: &mut Parser,
    usage: &'static str,
    command: &'static str,
    option: &str,
) -> Result<String, CliError> {
    parser
        .value()
        .and_then(ValueExt::string)
        .map_err(|_| CliError::new(usage, command, format!("argument {option}: expected one argument")))
}

fn info(mut parser: Parser) -> Result<Cli, CliError> {
    const COMMAND: &str = "ottla storage info";
    let error = |message: String| CliError::new(INFO_USAGE, COMMAND, message);
    let mut config = None;
    while let Some(arg) = parser.next().map_err(|fault| error(fault.to_string()))? {
        match arg {
            Arg::Long("config") | Arg::Short('c') => {
                config = Some(value(&mut parser, INFO_USAGE, COMMAND, "--config/-c")?);
            }
            Arg::Long("help") | Arg::Short('h') => return Ok(Cli::Help(INFO_HELP)),
            other => return Err(error(unrecognized(&other))),
        }
    }
    let config = config.ok_or_else(|| error("argument --config/-c is required".into()))?;
    Ok(Cli::Storage(StorageCommand::Info { config: config.into() }))
}

fn random_uuid(mut parser: Parser) -> Result<Cli, CliError> {
    let error = |message: String| CliError::new(UUID_USAGE, "ottla storage random-uuid", message);
    match parser.next().map_err(|fault| error(fault.to_string()))? {
        None => Ok(Cli::Storage(StorageCommand::RandomUuid)),
        Some(Arg::Long("help") | Arg::Short('h')) => Ok(Cli::Help(UUID_HELP)),
        Some(other) => Err(error(unrecognized(&other))),
    }
}

fn format(mut parser: Parser) -> Result<Cli, CliError> {
    const COMMAND: &str = "ottla storage format";
    let error = |message: String| CliError::new(FORMAT_USAGE, COMMAND, message);
    let (mut config, mut cluster_id) = (None, None);
    let mut quorum: Option<(&str, Quorum)> = None;
    let (mut ignore_formatted, mut release_version) = (false, None);
    let (mut features, mut scram) = (Vec::new(), Vec::new());
    while let Some(arg) = parser.next().map_err(|fault| error(fault.to_string()))? {
        let option = match &arg {
            Arg::Long("config") | Arg::Short('c') => "--config/-c",
            Arg::Long("cluster-id") | Arg::Short('t') => "--cluster-id/-t",
            Arg::Long("release-version") | Arg::Short('r') => "--release-version/-r",
            Arg::Long("feature") | Arg::Short('f') => "--feature/-f",
            Arg::Long("add-scram") | Arg::Short('S') => "--add-scram/-S",
            Arg::Long("initial-controllers") | Arg::Short('I') => "--initial-controllers/-I",
            Arg::Long("standalone") | Arg::Short('s') => "--standalone/-s",
            Arg::Long("no-initial-controllers") | Arg::Short('N') => "--no-initial-controllers/-N",
            Arg::Long("ignore-formatted") | Arg::Short('g') => "--ignore-formatted/-g",
            Arg::Long("help") | Arg::Short('h') => return Ok(Cli::Help(FORMAT_HELP)),
            other => return Err(error(unrecognized(other))),
        };
        let mut take = || value(&mut parser, FORMAT_USAGE, COMMAND, option);
        let said = match option {
            "--config/-c" => {
                config = Some(take()?);
                continue;
            }
            "--cluster-id/-t" => {
                cluster_id = Some(take()?);
                continue;
            }
            "--release-version/-r" => {
                release_version = Some(take()?);
                continue;
            }
            "--feature/-f" => {
                features.push(take()?);
                continue;
            }
            "--add-scram/-S" => {
                scram.push(take()?);
                continue;
            }
            "--ignore-formatted/-g" => {
                ignore_formatted = true;
                continue;
            }
            "--standalone/-s" => Quorum::Standalone,
            "--no-initial-controllers/-N" => Quorum::NoInitialControllers,
            _ => Quorum::InitialControllers(take()?),
        };
        if let Some((before, _)) = quorum.replace((option, said)).filter(|(before, _)| *before != option) {
            return Err(error(format!("argument {option}: not allowed with argument {before}")));
        }
    }
    let cluster_id = cluster_id.ok_or_else(|| error("argument --cluster-id/-t is required".into()))?;
    let config = config.ok_or_else(|| error("argument --config/-c is required".into()))?.into();
    let quorum = quorum.map_or(Quorum::Unsaid, |(_, quorum)| quorum);
    let args = FormatArgs { config, cluster_id, ignore_formatted, release_version, features, scram, quorum };
    Ok(Cli::Storage(StorageCommand::Format(args)))
}
