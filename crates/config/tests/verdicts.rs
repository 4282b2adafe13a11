//! Values set while the cluster runs: our verdict against the one Kafka 4.4.0 gave, in `verdicts.txt`.

use ottla_config::{
    BrokerResource, Layers, Overrides, Settings, validate_broker_override, validate_topic_override,
    validate_topic_overrides,
};

#[test]
fn verdicts_are_kafkas() {
    let lines = include_str!("verdicts.txt").lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let (input, verdict) = line.split_once(" => ").unwrap();
        let (scope, pair) = input.split_once(' ').unwrap();
        let (key, value) = pair.split_once('=').unwrap();
        let actual = match scope {
            "topic" => validate_topic_override(key, value),
            "one" => validate_broker_override(key, value, BrokerResource::One),
            "all" => validate_broker_override(key, value, BrokerResource::Default),
            other => panic!("unknown scope {other}"),
        };
        assert_eq!(actual.err().unwrap_or_else(|| "ok".into()), verdict, "{input}");
    }
}

#[test]
fn a_topics_values_are_held_against_each_other() {
    let layers = Layers::fixed_only(Settings::default());
    let verdict = |pairs: &[(&str, &str)]| {
        let overrides: Overrides =
            pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        validate_topic_overrides(&overrides, &layers)
    };
    assert_eq!(verdict(&[("retention.ms", "1"), ("cleanup.policy", "compact,delete")]), Ok(()));
    let conflict = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
    assert_eq!(
        verdict(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        Err(conflict.into())
    );
    let remote = "Tiered Storage functionality is disabled in the broker. \
                  Topic cannot be configured with remote log storage.";
    assert_eq!(verdict(&[("remote.storage.enable", "true")]), Err(remote.into()));
}
