//! `key=value` arguments.

use std::{collections::HashMap, str::FromStr};

use anyhow::{Context, Result};
use rdkafka::ClientConfig;

/// The command line.
pub struct Args {
    pub command: String,
    /// What stands after `--`.
    pub program: Vec<String>,
    values: HashMap<String, String>,
}

impl Args {
    pub fn parse(args: impl Iterator<Item = String>) -> Self {
        let args: Vec<String> = args.collect();
        let split = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let values = args[..split].iter().skip(1).filter_map(|arg| arg.split_once('='));
        Self {
            command: args.first().cloned().unwrap_or_default(),
            program: args.get(split + 1..).unwrap_or_default().to_vec(),
            values: values.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        self.values.get(key).map(String::as_str).with_context(|| format!("{key}=... is missing"))
    }

    pub fn number<T: FromStr>(&self, key: &str) -> Result<T> {
        let text = self.text(key)?;
        text.parse().ok().with_context(|| format!("{key}={text} is not a number of its kind"))
    }

    pub fn number_or<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        if self.values.contains_key(key) { self.number(key) } else { Ok(default) }
    }

    /// A client of the brokers that are named, as impatient as the library allows.
    pub fn client(&self) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.text("brokers")?)
            .set("reconnect.backoff.ms", "1")
            .set("reconnect.backoff.max.ms", "5")
            .set("topic.metadata.refresh.fast.interval.ms", "5")
            .set("retry.backoff.ms", "5")
            .set("log_level", "2");
        Ok(config)
    }
}
