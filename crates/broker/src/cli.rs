//! The command line: `ottla [server.properties] [--override key=value]...`, as kafka-server-start.sh has it, and
//! `ottla storage ...`, as kafka-storage.sh has it; what is answered to them, and the signals that end the process.

mod configuration;
mod print;
mod protocols;
mod signals;
mod storage;

use std::{ffi::OsString, fmt, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};

pub use configuration::{check_config, load_config};
pub use print::print;
pub use protocols::check as check_protocols;
pub(crate) use protocols::unsupported;
pub use signals::stop;
pub use storage::{FormatArgs, Quorum, StorageCommand};

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cli {
    /// Run the broker.
    Serve(ServeArgs),
    /// Run the storage tool.
    Storage(StorageCommand),
    /// Print this text and exit 0.
    Help(&'static str),
    /// Print the version and exit 0.
    Version,
}

/// Arguments of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeArgs {
    /// `server.properties`; without one the process is a cluster of one node.
    pub file: Option<PathBuf>,
    /// Each `--override`, as written.
    pub overrides: Vec<String>,
    /// `--auto-format`.
    pub auto_format: bool,
    /// `--check-config`: check the configuration, say so, and exit.
    pub check_config: bool,
}

impl ServeArgs {
    /// Whether log directories that are not formatted yet are formatted on the way.
    #[must_use]
    pub fn formats_on_the_way(&self) -> bool {
        self.auto_format || self.file.is_none()
    }
}

/// Arguments nobody understands. Printed, it is what goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// How the command is used.
    pub usage: &'static str,
    /// Name of the command, for the message.
    pub command: &'static str,
    /// What is wrong.
    pub message: String,
}

impl CliError {
    /// The exit code: Kafka's tools know only 1.
    pub const EXIT_CODE: u8 = 1;

    fn new(usage: &'static str, command: &'static str, message: impl Into<String>) -> Self {
        Self { usage, command, message: message.into() }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { usage, command, message } = self;
        write!(f, "usage: {usage}\n{command}: error: {message}")
    }
}

impl std::error::Error for CliError {}

const USAGE: &str = "\
ottla [-h] [--version] [--check-config] [--auto-format]
             [--override KEY=VALUE]... [SERVER.PROPERTIES]
       ottla storage {info,format,random-uuid} ...";

const HELP: &str = "\
usage: ottla [-h] [--version] [--check-config] [--auto-format]
             [--override KEY=VALUE]... [SERVER.PROPERTIES]
       ottla storage {info,format,random-uuid} ...

A broker that speaks Kafka's protocol. Without a file it is a cluster of one
node: clients on port 9092, data in ./data.

arguments:
  SERVER.PROPERTIES      Kafka's configuration file. KAFKA_* variables of the
                         environment win over it (KAFKA_LOG_DIRS=/data is
                         log.dirs=/data), and --override wins over both.

options:
  --override KEY=VALUE   Sets one key; may be repeated.
  --auto-format          Formats log directories that are not formatted yet
                         (without a file this is what happens). The cluster
                         id is CLUSTER_ID of the environment, or a new one.
  --check-config         Checks the configuration and exits.
  --version              Prints the version and exits.
  -h, --help             Prints this help and exits.

commands:
  storage                Formats log directories; see ottla storage --help.

environment:
  OTTLA_LOG              Log levels, for example info,ottla_raft=debug.";

/// Reads the arguments, the program's name first. A name such as `kafka-storage` chooses the command.
///
/// # Errors
/// The first argument that makes no sense, with the usage of its command.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, CliError> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let stem = std::path::Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if stem.trim_end_matches(".sh") == "kafka-storage" {
        return storage::parse(Parser::from_args(args));
    }
    let mut args = args.peekable();
    if args.next_if(|first| first == "storage").is_some() {
        return storage::parse(Parser::from_args(args));
    }
    serve(Parser::from_args(args))
}

fn serve(mut parser: Parser) -> Result<Cli, CliError> {
    let error = |message: String| CliError::new(USAGE, "ottla", message);
    let mut serve = ServeArgs::default();
    while let Some(arg) = parser.next().map_err(|fault| error(fault.to_string()))? {
        match arg {
            Arg::Long("override") => {
                let value = parser.value().and_then(ValueExt::string);
                let value = value.map_err(|_| error("argument --override: expected KEY=VALUE".into()))?;
                if !value.contains('=') {
                    return Err(error(format!(
                        "argument --override: expected KEY=VALUE, but read '{value}'"
                    )));
                }
                serve.overrides.push(value);
            }
            Arg::Long("auto-format") => serve.auto_format = true,
            Arg::Long("check-config") => serve.check_config = true,
            Arg::Long("version") => return Ok(Cli::Version),
            Arg::Long("help") | Arg::Short('h') => return Ok(Cli::Help(HELP)),
            Arg::Value(file) if serve.file.is_none() => serve.file = Some(file.into()),
            Arg::Value(extra) => {
                return Err(error(format!("unrecognized arguments: '{}'", extra.to_string_lossy())));
            }
            other => return Err(error(unrecognized(&other))),
        }
    }
    Ok(Cli::Serve(serve))
}

fn unrecognized(arg: &Arg<'_>) -> String {
    match arg {
        Arg::Long(name) => format!("unrecognized arguments: '--{name}'"),
        Arg::Short(name) => format!("unrecognized arguments: '-{name}'"),
        Arg::Value(value) => format!("unrecognized arguments: '{}'", value.to_string_lossy()),
    }
}

#[cfg(test)]
mod tests;
