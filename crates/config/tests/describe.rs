//! DescribeConfigs against what Kafka 4.4.0 answered: the files in `facts/`, one per situation.

use std::{collections::BTreeMap, path::Path};

use ottla_config::{
    ConfigEntry, ConfigSource, Kind, Layers, Origin, Overrides, Settings, describe_broker,
    describe_broker_default, describe_client_metrics, describe_group, describe_topic,
};

test_each_file::test_each_path! { for ["txt"] in "./crates/config/tests/facts" => as_kafka_answers }

fn as_kafka_answers([path]: [&Path; 1]) {
    let text = std::fs::read_to_string(path).unwrap();
    let (situation, sections) = read(&text);
    let layers = Layers::new(situation.fixed.into(), situation.cluster, situation.broker);
    for (title, expected) in sections {
        let entries = match title {
            "topic" | "some of topic" => describe_topic(&situation.topic, &layers),
            "broker" | "some of broker" => describe_broker(&layers),
            "default" => describe_broker_default(&layers),
            "group" => describe_group(&situation.group, &layers),
            "metrics" => describe_client_metrics(&situation.metrics),
            other => panic!("unknown section {other}"),
        };
        let actual: BTreeMap<String, String> = entries
            .iter()
            .filter(|entry| !entry.name.starts_with("ottla."))
            .map(|entry| (entry.name.clone(), show(entry)))
            .collect();
        let expected: BTreeMap<String, String> = expected
            .iter()
            .map(|line| (line.split(" | ").next().unwrap().to_owned(), (*line).to_owned()))
            .collect();
        for (name, line) in &expected {
            assert_eq!(actual.get(name), Some(line), "[{title}] {name}");
        }
        if !title.starts_with("some") {
            let (actual, expected): (Vec<_>, Vec<_>) = (actual.keys().collect(), expected.keys().collect());
            assert_eq!(actual, expected, "[{title}] names");
        }
    }
}

#[derive(Default)]
struct Situation {
    fixed: Settings,
    cluster: Overrides,
    broker: Overrides,
    topic: Overrides,
    group: Overrides,
    metrics: Overrides,
}

fn read(text: &str) -> (Situation, Vec<(&str, Vec<&str>)>) {
    let mut situation = Situation::default();
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push((title, Vec::new()));
        } else if let Some((_, lines)) = sections.last_mut() {
            lines.push(line);
        } else {
            let (layer, pair) = line.split_once(' ').unwrap();
            let (key, value) = pair.split_once('=').unwrap();
            let overrides = match layer {
                "fixed" => {
                    situation.fixed.set(key, value, Origin::Argument);
                    if key == "node.id" {
                        situation.fixed.set("broker.id", value, Origin::Derived("node.id"));
                    }
                    continue;
                }
                "cluster" => &mut situation.cluster,
                "broker" => &mut situation.broker,
                "topic" => &mut situation.topic,
                "group" => &mut situation.group,
                "metrics" => &mut situation.metrics,
                other => panic!("unknown layer {other}"),
            };
            overrides.insert(key.into(), value.into());
        }
    }
    (situation, sections)
}

fn show(entry: &ConfigEntry) -> String {
    let letter = |source| match source {
        ConfigSource::DynamicTopic => 'T',
        ConfigSource::DynamicBroker => 'B',
        ConfigSource::DynamicDefaultBroker => 'C',
        ConfigSource::StaticBroker => 'S',
        ConfigSource::Default => 'D',
        ConfigSource::Group => 'G',
        ConfigSource::ClientMetrics => 'M',
        other => panic!("{other:?}"),
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "<null>".into());
    let value = format!("{} {}", letter(entry.source), text(&entry.value));
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|synonym| format!("{} {}={}", letter(synonym.source), synonym.name, text(&synonym.value)))
        .collect();
    let own = format!("{} {}={}", letter(entry.source), entry.name, text(&entry.value));
    let synonyms = match &synonyms[..] {
        [] => "-".to_owned(),
        [one] if *one == own => "=".to_owned(),
        several => several.join("; "),
    };
    let kind = match entry.kind {
        Kind::Unknown => "unknown".to_owned(),
        kind => kind.name().to_lowercase(),
    };
    let access = if entry.read_only { "ro" } else { "rw" };
    let hidden = if entry.is_sensitive { "*" } else { "" };
    format!("{} | {kind} | {access}{hidden} | {value} | {synonyms}", entry.name)
}
