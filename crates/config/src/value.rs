//! Values: text to typed and back, with Kafka's words when it does not fit.

use std::fmt;

use crate::key::{Key, Kind, Range};

/// A value that is of its key's type and within its limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a BOOLEAN.
    Boolean(bool),
    /// Of an INT, SHORT or LONG.
    Number(i64),
    /// Of a DOUBLE.
    Real(f64),
    /// Of a STRING, CLASS, PASSWORD or an unknown key.
    Text(String),
    /// Of a LIST.
    List(Vec<String>),
}

impl Value {
    /// Reads a value of a key.
    ///
    /// # Errors
    /// Kafka's message, which names key and value, when it is not of the type or not valid.
    pub fn parse(key: &Key, text: &str) -> Result<Self, String> {
        let value = read(key, text)?;
        check(key, &value)?;
        Ok(value)
    }
}

/// Kafka's message about a value.
fn invalid(key: &Key, value: impl fmt::Display, problem: impl fmt::Display) -> String {
    format!("Invalid value {value} for configuration {}: {problem}", key.name)
}

/// What Java's `trim` takes off: everything up to the space.
pub(crate) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn read(key: &Key, text: &str) -> Result<Value, String> {
    let trimmed = java_trim(text);
    let number = |parsed: Option<i64>| {
        parsed
            .map(Value::Number)
            .ok_or_else(|| invalid(key, text, format_args!("Not a number of type {}", key.kind.name())))
    };
    match key.kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Kind::Boolean => Err(invalid(key, text, "Expected value to be either true or false")),
        Kind::Int => number(trimmed.parse::<i32>().ok().map(i64::from)),
        Kind::Short => number(trimmed.parse::<i16>().ok().map(i64::from)),
        Kind::Long => number(trimmed.parse().ok()),
        Kind::Double => read_double(trimmed)
            .map(Value::Real)
            .ok_or_else(|| invalid(key, text, "Not a number of type DOUBLE")),
        Kind::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(trimmed.split(',').map(|item| java_trim(item).to_owned()).collect())),
        Kind::String | Kind::Class => Ok(Value::Text(trimmed.to_owned())),
        Kind::Password | Kind::Unknown => Ok(Value::Text(text.to_owned())),
    }
}

fn check(key: &Key, value: &Value) -> Result<(), String> {
    match (key.range, value) {
        (Range::AtLeast(low), Value::Number(n)) => bounds(key, value, *n as f64, Some(low as f64), None),
        (Range::Between(low, high), Value::Number(n)) => {
            bounds(key, value, *n as f64, Some(low as f64), Some(high as f64))
        }
        (Range::AtLeast(low), Value::Real(n)) => bounds(key, value, *n, Some(low as f64), None),
        (Range::Between(low, high), Value::Real(n)) => {
            bounds(key, value, *n, Some(low as f64), Some(high as f64))
        }
        (Range::Fraction(low, high), Value::Real(n)) => bounds(key, value, *n, Some(low), Some(high)),
        (Range::BetweenOr(low, high, other), Value::Number(n))
            if !(low..=high).contains(n) && *n != other =>
        {
            let problem = format!("Value must be between {low} and {high} or equal to {other}");
            Err(invalid(key, value, problem))
        }
        (Range::OneOf(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
            Err(invalid(key, text, format_args!("String must be one of: {}", words.join(", "))))
        }
        (Range::OneOfAnyCase(words), Value::Text(text))
            if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) =>
        {
            Err(invalid(
                key,
                text,
                format_args!("String must be one of (case insensitive): {}", words.join(", ")),
            ))
        }
        (Range::ListOf(words), Value::List(items)) => check_list(key, words, items),
        (Range::NonEmptyList, Value::List(items)) if items.iter().any(String::is_empty) => {
            Err(format!("Configuration '{}' values must not be empty.", key.name))
        }
        (Range::NonEmpty, Value::Text(text)) if text.is_empty() => {
            Err(invalid(key, text, "String must be non-empty"))
        }
        (Range::ThrottledReplicas, Value::List(items)) => check_throttled(key, items),
        (Range::OffsetReset, Value::Text(text)) => check_offset_reset(key, text),
        _ => Ok(()),
    }
}

/// `NaN` passes, as in Kafka.
fn bounds(key: &Key, value: &Value, number: f64, low: Option<f64>, high: Option<f64>) -> Result<(), String> {
    match (low, high) {
        (Some(low), _) if number < low => {
            Err(invalid(key, value, format_args!("Value must be at least {low}")))
        }
        (_, Some(high)) if number > high => {
            Err(invalid(key, value, format_args!("Value must be no more than {high}")))
        }
        _ => Ok(()),
    }
}

fn check_list(key: &Key, words: &[&str], items: &[String]) -> Result<(), String> {
    if items.iter().any(String::is_empty) {
        return Err(format!("Configuration '{}' values must not be empty.", key.name));
    }
    match items.iter().find(|item| !words.contains(&item.as_str())) {
        Some(item) => Err(invalid(key, item, format_args!("String must be one of: {}", words.join(", ")))),
        None => Ok(()),
    }
}

fn check_throttled(key: &Key, items: &[String]) -> Result<(), String> {
    let is_replica = |item: &String| {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
    };
    if items == ["*"] || items.iter().all(is_replica) {
        return Ok(());
    }
    let problem = format!(
        "{} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        key.name
    );
    Err(invalid(key, format_args!("[{}]", items.join(", ")), problem))
}

fn check_offset_reset(key: &Key, text: &str) -> Result<(), String> {
    let duration = |text: &str| {
        let rest = text.strip_prefix(['P', 'p']).unwrap_or_default();
        rest.bytes().any(|byte| byte.is_ascii_digit())
            && rest.bytes().all(|byte| byte.is_ascii_digit() || b"DdTtHhMmSs.,+".contains(&byte))
    };
    if matches!(text, "latest" | "earliest") || text.strip_prefix("by_duration:").is_some_and(duration) {
        return Ok(());
    }
    let problem = format!(
        "Invalid value `{text}` for configuration {}. The value must be either 'earliest', 'latest' or of the format \
         'by_duration:<PnDTnHnMn.nS>'.",
        key.name
    );
    Err(invalid(key, text, problem))
}

impl fmt::Display for Value {
    /// As Kafka writes a value it parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Real(value) => f.write_str(&java_double(*value)),
            Self::Text(value) => f.write_str(value),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// As Java's `Double.parseDouble`, but for hexadecimal ones: a letter of the type may end it, and what is no number has
/// one spelling.
fn read_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(|c: char| c == '.' || c.is_ascii_digit()) {
        return text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text).parse().ok();
    }
    matches!(unsigned, "NaN" | "Infinity").then(|| text.parse().ok())?
}

/// As Java's `Double.toString`: decimal from 10^-3 to 10^7, otherwise with an exponent.
fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    let (digits, exponent) = text.split_once('E').expect("the format has an exponent");
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::Scope, table::find};

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (0.5, "0.5"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (2147483647.0, "2.147483647E9"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (f64::MAX, "1.7976931348623157E308"),
            (-2.5e-9, "-2.5E-9"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn values_are_trimmed_and_written_canonically() {
        let canonical = |name: &str, text: &str| {
            Value::parse(find(Scope::Broker, name).unwrap(), text).map(|value| value.to_string())
        };
        assert_eq!(canonical("log.retention.ms", " 5 "), Ok("5".into()));
        assert_eq!(canonical("sasl.enabled.mechanisms", "PLAIN , SCRAM"), Ok("PLAIN,SCRAM".into()));
        assert_eq!(canonical("log.cleaner.min.cleanable.ratio", ".25"), Ok("0.25".into()));
        let double = |text| canonical("log.cleaner.io.max.bytes.per.second", text);
        for (text, value) in
            [("0.5f", "0.5"), ("1e3D", "1000.0"), ("-2.", "-2.0"), ("NaN", "NaN"), ("-Infinity", "-Infinity")]
        {
            assert_eq!(double(text).as_deref(), Ok(value), "{text}");
        }
        for text in ["nan", "inf", "infinity", "INFINITY", "0.5ff", "f", ".", "", "+", "1_0"] {
            assert!(double(text).is_err(), "{text}");
        }
        assert_eq!(canonical("log.preallocate", "TRUE"), Ok("true".into()));
        assert_eq!(canonical("log.cleanup.policy", ""), Ok(String::new()));
    }
}
