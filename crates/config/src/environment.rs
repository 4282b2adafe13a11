//! `KAFKA_*` variables, mapped to keys as the `apache/kafka` image maps them.

/// Variables of Kafka's scripts and images that are no configuration keys.
const NOT_KEYS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_URL",
    "KAFKA_HOME",
    "KAFKA_CLUSTER_ID",
    "KAFKA_SSL_KEYSTORE_FILENAME",
    "KAFKA_SSL_KEYSTORE_CREDENTIALS",
    "KAFKA_SSL_KEY_CREDENTIALS",
    "KAFKA_SSL_TRUSTSTORE_FILENAME",
    "KAFKA_SSL_TRUSTSTORE_CREDENTIALS",
];

/// The key a variable sets, if it sets one: `_` stands for `.`, `__` for `_`, `___` for `-`.
#[must_use]
pub fn key_of(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_").filter(|rest| !rest.is_empty())?;
    if NOT_KEYS.contains(&variable) {
        return None;
    }
    Some(rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

/// The variable that sets a key.
#[must_use]
pub(crate) fn variable_of(key: &str) -> String {
    let name = key.replace('_', "__").replace('-', "___").replace('.', "_");
    format!("KAFKA_{}", name.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::{key_of, variable_of};

    #[test]
    fn a_key_is_set_by_its_variable() {
        for key in ["log.dirs", "a_b", "a-b.c", "listener.name.secure.scram-sha-256.sasl.jaas.config"] {
            assert_eq!(key_of(&variable_of(key)).as_deref(), Some(key));
        }
        assert_eq!(variable_of("log.dirs"), "KAFKA_LOG_DIRS");
    }

    #[test]
    fn as_the_image_maps_them() {
        let cases = [
            ("KAFKA_LOG_DIRS", Some("log.dirs")),
            ("KAFKA_NODE_ID", Some("node.id")),
            ("KAFKA_A__B", Some("a_b")),
            ("KAFKA_A___B", Some("a-b")),
            ("KAFKA_A____B", Some("a-.b")),
            (
                "KAFKA_LISTENER_NAME_SECURE_SCRAM-SHA-256_SASL_JAAS_CONFIG",
                Some("listener.name.secure.scram-sha-256.sasl.jaas.config"),
            ),
            ("KAFKA_HEAP_OPTS", None),
            ("KAFKA_LOG4J_LOGGERS", None),
            ("KAFKA_", None),
            ("CLUSTER_ID", None),
            ("kafka_log_dirs", None),
        ];
        for (variable, key) in cases {
            assert_eq!(key_of(variable).as_deref(), key, "{variable}");
        }
    }
}
