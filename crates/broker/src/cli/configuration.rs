//! From arguments to a configuration: reads the file, hands everything to the config crate.

use std::{fmt::Write as _, path::Path};

use ottla_config::{ConfigErrors, FileText, Inputs, Loaded, load, properties};

/// Reads the file, if there is one, and loads the configuration.
///
/// # Errors
/// One line per thing that is wrong, each with its place and a remedy.
pub fn load_config(
    file: Option<&Path>,
    environment: &[(String, String)],
    overrides: &[String],
) -> Result<Loaded, String> {
    let Some(path) = file else {
        return load(&Inputs { file: None, environment, overrides })
            .map_err(|errors: ConfigErrors| errors.to_string());
    };
    let shown = path.to_string_lossy();
    let bytes = std::fs::read(path).map_err(|fault| {
        format!("cannot read the configuration file {shown}: {fault}; without a file argument a cluster of one node starts")
    })?;
    let text = properties::decode(&bytes);
    let file = Some(FileText { path: &shown, text: &text });
    load(&Inputs { file, environment, overrides }).map_err(|errors| errors.to_string())
}

/// What `--check-config` prints when the configuration can be used: warnings, then what it amounts to.
#[must_use]
pub fn check_config(loaded: &Loaded) -> String {
    let mut text = String::new();
    for warning in &loaded.warnings {
        writeln!(text, "WARN {warning}").expect("strings take everything");
    }
    let broker = &loaded.broker;
    let roles = [("broker", broker.is_broker), ("controller", broker.is_controller)];
    let roles: Vec<&str> = roles.iter().filter(|(_, is)| *is).map(|(role, _)| *role).collect();
    let listeners: Vec<String> =
        broker.listeners.listeners.iter().map(|listener| listener.endpoint.to_string()).collect();
    let advertised: Vec<String> = broker.listeners.advertised.iter().map(ToString::to_string).collect();
    let lines = [
        ("node.id", broker.node_id.to_string()),
        ("process.roles", roles.join(",")),
        ("listeners", listeners.join(",")),
        ("advertised.listeners", advertised.join(",")),
        ("log.dirs", broker.dirs.log_dirs.join(",")),
    ];
    for (key, value) in lines {
        writeln!(text, "{key}={value}").expect("strings take everything");
    }
    text.push_str("The configuration is valid.");
    text
}
