//! `ottla storage info`: what the log directories hold.

use std::path::Path;

use ottla_config::BrokerConfig;
use ottla_storage::MetaProperties;

use super::{
    Outcome, directories,
    identity::{agree, distinct, read_one},
    show_id,
};

pub(super) fn run(config: &BrokerConfig) -> Outcome {
    let mut dirs = directories(config);
    dirs.sort();
    let (mut found, mut problems): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut metas = Vec::new();
    for dir in &dirs {
        let path = Path::new(dir);
        let meta = if !path.exists() {
            problems.push(format!("{dir} does not exist"));
            None
        } else if !path.is_dir() {
            problems.push(format!("{dir} is not a directory"));
            None
        } else {
            found.push(dir);
            match read_one(dir) {
                Ok(Some(meta)) => Some(meta),
                Ok(None) => {
                    problems.push(format!("{dir} is not formatted."));
                    None
                }
                Err(fault) => {
                    problems.push(fault);
                    None
                }
            }
        };
        metas.push(meta);
    }
    let one = distinct(&dirs).and_then(|()| agree(&dirs, &metas, config.node_id, None));
    problems.extend(one.err());
    print(&found, metas.iter().flatten().next(), &problems)
}

/// The layout of kafka-storage.sh.
fn print(found: &[&str], meta: Option<&MetaProperties>, problems: &[String]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut list = |one: &str, many: &str, items: &[&str]| {
        if !items.is_empty() {
            outcome.say(if items.len() == 1 { one } else { many });
            items.iter().for_each(|item| outcome.say(format!("  {item}")));
            outcome.say("");
        }
    };
    list("Found log directory:", "Found log directories:", found);
    if let Some(meta) = meta {
        let directory =
            meta.directory_id.map(|id| format!("directory.id={}, ", show_id(id))).unwrap_or_default();
        let line = format!(
            "Found metadata: {{cluster.id={}, {directory}node.id={}, version=1}}",
            meta.cluster_id, meta.node_id
        );
        outcome.say(line);
        outcome.say("");
    }
    let problems: Vec<&str> = problems.iter().map(String::as_str).collect();
    let mut list = |one: &str, many: &str, items: &[&str]| {
        if !items.is_empty() {
            outcome.say(if items.len() == 1 { one } else { many });
            items.iter().for_each(|item| outcome.say(format!("  {item}")));
            outcome.say("");
        }
    };
    list("Found problem:", "Found problems:", &problems);
    outcome.code = u8::from(!problems.is_empty());
    outcome
}
