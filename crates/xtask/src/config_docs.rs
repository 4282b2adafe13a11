//! `config-docs`: docs/CONFIG.md, written from the table of configuration keys.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result, bail};
use ottla_config::{DefaultValue, Key, Scope, Status, Update, table};

/// Writes the page, or with `check` only says whether it is up to date.
///
/// # Errors
/// The page can not be written, or differs when it is checked.
pub fn run(page: &Path, check: bool) -> Result<()> {
    let text = render();
    if !check {
        std::fs::create_dir_all(page.parent().context("the page has a directory")?)?;
        return std::fs::write(page, text).with_context(|| format!("cannot write {}", page.display()));
    }
    let found = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    if found != text {
        bail!("{} is out of date: run cargo run -p ottla-xtask -- config-docs", page.display());
    }
    Ok(())
}

const HEAD: &str = "\
# Configuration

<!-- Generated from crates/config by `cargo run -p ottla-xtask -- config-docs`; do not edit. -->

Keys, types, defaults and valid values are those of Apache Kafka 4.4, and a few of our own that begin with `ottla.`.
A value comes from, the later ones winning:

1. its default;
2. `server.properties`, the file named on the command line;
3. the environment: `KAFKA_LOG_DIRS` sets `log.dirs` (`_` stands for `.`, `__` for `_`, `___` for `-`);
4. `--override key=value`;
5. what was set while the cluster runs, with `kafka-configs.sh`: on all brokers, on one broker, on a topic.

Started without a file, Ottla is a cluster of one node: clients on 9092, the controller on loopback, data in
`./data`. `ottla --check-config server.properties` says what is wrong with a file.

**Effect**: *yes* means the key does what it says; *not yet* means it is checked, stored and shown, and a warning at
start says that it does nothing. **Change**: *at start* needs a restart; *broker* may be set while it runs on one
broker, *cluster* also on all brokers at once. What is set on topics while the cluster runs acts at once. Of what is set on
brokers these act at once: what topics get that say nothing themselves (`log.*`, `message.max.bytes`,
`min.insync.replicas`, `compression.*`, `unclean.leader.election.enable` and their like), `max.connections`,
`max.connections.per.ip` and its overrides (for connections to come), `num.replica.fetchers`,
`leader.replication.throttled.rate`, `follower.replication.throttled.rate`, `cordoned.log.dirs`,
`replica.alter.log.dirs.io.max.bytes.per.second` and `producer.id.expiration.ms`. Other keys are checked as Kafka checks
them, stored and shown, but keep the value of the start.
";

/// The whole page.
#[must_use]
pub fn render() -> String {
    let mut page = String::from(HEAD);
    let counts = |scope: Scope| {
        let keys = || table::of(scope).filter(|key| !key.internal);
        (keys().filter(|key| key.status == Status::Implemented).count(), keys().count())
    };
    for (scope, title) in [
        (Scope::Broker, "Broker"),
        (Scope::Topic, "Topic"),
        (Scope::Group, "Group"),
        (Scope::ClientMetrics, "Client metrics"),
        (Scope::Quota, "Quotas"),
    ] {
        let (done, all) = counts(scope);
        write!(page, "\n## {title}\n\n{done} of {all} keys have an effect.\n\n")
            .expect("strings take everything");
        page.push_str("| Key | Type | Default | Valid values | Change | Effect | Meaning |\n");
        page.push_str("|---|---|---|---|---|---|---|\n");
        table::of(scope).filter(|key| !key.internal).for_each(|key| row(&mut page, key));
    }
    page
}

fn row(page: &mut String, key: &Key) {
    let default = match key.default {
        DefaultValue::Required => "(required)".to_owned(),
        DefaultValue::Null => "(none)".to_owned(),
        DefaultValue::Value("") => "(empty)".to_owned(),
        DefaultValue::Value(text) => format!("`{text}`"),
    };
    let change = match key.update {
        Update::ReadOnly => "at start",
        Update::PerBroker => "broker",
        Update::ClusterWide => "cluster",
        Update::Dynamic => "any time",
    };
    let effect = match key.status {
        Status::Implemented => "yes",
        Status::Accepted => "not yet",
    };
    let (name, kind, valid) = (key.name, key.kind.name().to_lowercase(), key.valid_values());
    writeln!(page, "| `{name}` | {kind} | {default} | {valid} | {change} | {effect} | {} |", key.doc)
        .expect("strings take everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIG.md"), true).unwrap();
    }

    #[test]
    fn rows_do_not_break_the_table() {
        let page = render();
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        assert!(rows.clone().count() > 400);
        rows.for_each(|row| assert_eq!(row.matches(" | ").count(), 6, "{row}"));
    }
}
