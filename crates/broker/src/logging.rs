//! Log lines as Kafka's log4j prints them: `[2026-11-22 19:22:48,123] INFO message (logger)`.
//!
//! Lines go to standard output, each in one write. The logger is the event's target: give events that operators
//! know from Kafka its name (`target: "kafka.server.KafkaRaftServer"`). Nothing runs while nothing is logged.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write as _},
    str::FromStr as _,
    sync::Arc,
};

use ottla_types::Clock;
use time::{OffsetDateTime, UtcOffset};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// Starts logging for the process. Levels come from `OTTLA_LOG` (`info,ottla_raft=debug`), or from the variables of
/// Kafka's image `KAFKA_LOG4J_ROOT_LOGLEVEL` and `KAFKA_LOG4J_LOGGERS`; INFO otherwise. Called once, by `main`,
/// before there are other threads (the local time zone is read here).
///
/// # Errors
/// A level that is none; logging then runs at INFO, and the caller prints what is wrong.
pub fn start(environment: &[(String, String)], clock: Arc<dyn Clock>) -> Result<(), String> {
    let (levels, problem) = match levels(environment) {
        Ok(levels) => (levels, None),
        Err(problem) => (Targets::new().with_default(LevelFilter::INFO), Some(problem)),
    };
    let no_colour = environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
    let lines = KafkaLines {
        clock,
        offset: UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC),
        colours: io::stdout().is_terminal() && !no_colour,
    };
    // A second call is a caller's mistake in a test at worst; the first subscriber stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init();
    problem.map_or(Ok(()), Err)
}

/// The levels the environment asks for.
fn levels(environment: &[(String, String)]) -> Result<Targets, String> {
    let variable =
        |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if let Some(text) = variable("OTTLA_LOG").filter(|text| !text.is_empty()) {
        // `debug` alone is a level, `ottla_raft=debug` alone leaves the rest at INFO.
        let asked = Targets::from_str(text).ok().filter(|_| text.split(',').all(says_a_level)).ok_or_else(|| {
            format!("environment variable OTTLA_LOG=\"{text}\" is no list of levels; write it as info,ottla_raft=debug")
        })?;
        return Ok(match asked.default_level() {
            Some(_) => asked,
            None => asked.with_default(LevelFilter::INFO),
        });
    }
    let named = |name: &str, text: &str| {
        log4j_level(text).map_err(|problem| format!("environment variable {name}: {problem}"))
    };
    const ROOT: &str = "KAFKA_LOG4J_ROOT_LOGLEVEL";
    const LOGGERS: &str = "KAFKA_LOG4J_LOGGERS";
    let root = variable(ROOT).map_or(Ok(LevelFilter::INFO), |text| named(ROOT, text))?;
    let mut targets = Targets::new().with_default(root);
    let loggers = variable(LOGGERS).unwrap_or_default();
    for entry in loggers.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((logger, level)) = entry.split_once('=') else {
            return Err(format!("environment variable {LOGGERS}: '{entry}' is not LOGGER=LEVEL"));
        };
        targets = targets.with_target(logger.trim(), named(LOGGERS, level.trim())?);
    }
    Ok(targets)
}

/// A word alone is a level: a misspelt one would be taken for a target, and would silence nothing and show nothing.
fn says_a_level(entry: &str) -> bool {
    let entry = entry.trim();
    entry.is_empty() || entry.contains('=') || LevelFilter::from_str(entry).is_ok()
}

fn log4j_level(text: &str) -> Result<LevelFilter, String> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "ALL" | "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        "OFF" => LevelFilter::OFF,
        _ => return Err(format!("'{text}' is no log level; use TRACE, DEBUG, INFO, WARN, ERROR or OFF")),
    })
}

/// Prints events; knows the time and whether somebody looks.
struct KafkaLines {
    clock: Arc<dyn Clock>,
    offset: UtcOffset,
    colours: bool,
}

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl<S: Subscriber> Layer<S> for KafkaLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        LINE.with(|line| {
            // Formatting a value may log in turn; such an event is dropped rather than mixed in.
            let Ok(mut line) = line.try_borrow_mut() else { return };
            line.clear();
            let time = self.clock.wall().0;
            let written = write_line(&mut line, time, self.offset, self.colours, event);
            if written.is_ok() {
                // Standard output that is gone is no reason to stop.
                let _ = io::stdout().lock().write_all(line.as_bytes());
            }
        });
    }
}

fn write_line(
    line: &mut String,
    wall: i64,
    offset: UtcOffset,
    colours: bool,
    event: &Event<'_>,
) -> fmt::Result {
    write_time(line, wall, offset)?;
    let level = *event.metadata().level();
    let colour = match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        _ => "",
    };
    match colour {
        "" => write!(line, " {level} ")?,
        _ if !colours => write!(line, " {level} ")?,
        colour => write!(line, " {colour}{level}\u{1b}[0m ")?,
    }
    let mut message = Message { line, started: false };
    event.record(&mut message);
    writeln!(line, " ({})", event.metadata().target())
}

/// `[2026-11-22 19:22:48,123]`.
fn write_time(line: &mut String, wall: i64, offset: UtcOffset) -> fmt::Result {
    let nanos = i128::from(wall) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .to_offset(offset);
    let (hour, minute, second, milli) = time.to_hms_milli();
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    write!(line, "[{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{milli:03}]")
}

/// Writes the message first, then other fields as `name=value`.
struct Message<'a> {
    line: &'a mut String,
    started: bool,
}

impl Message<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let separator = if self.started { " " } else { "" };
        self.started = true;
        self.line.push_str(separator);
        let mut safe = OneLine(self.line);
        let written = match field.name() {
            "message" => safe.write_fmt(value),
            name => write!(safe, "{name}={value}"),
        };
        if written.is_err() {
            self.line.push_str("<unprintable>");
        }
    }
}

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.write(field, format_args!("{value}"));
    }
}

/// Keeps a record on one line: what clients send must not forge lines of their own.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() && c != '\t' {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Collects lines instead of printing them.
    struct Collect(Arc<Mutex<Vec<String>>>, bool);

    impl<S: Subscriber> Layer<S> for Collect {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = String::new();
            write_line(&mut line, 1_795_375_368_123, UtcOffset::UTC, self.1, event).unwrap();
            self.0.lock().unwrap().push(line);
        }
    }

    fn lines(levels: Targets, colours: bool, log: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let layer = Collect(Arc::clone(&lines), colours).with_filter(levels);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lines_are_kafkas() {
        let printed = lines(levels(&[]).unwrap(), false, || {
            tracing::info!(target: "kafka.server.KafkaRaftServer", "[KafkaRaftServer nodeId=1] Kafka Server started");
            tracing::warn!(target: "a", topic = "t\nforged", partitions = 3, "odd \u{1b}[0m");
            tracing::debug!("not shown");
        });
        assert_eq!(
            printed,
            [
                "[2026-11-22 19:22:48,123] INFO [KafkaRaftServer nodeId=1] Kafka Server started \
                 (kafka.server.KafkaRaftServer)\n",
                "[2026-11-22 19:22:48,123] WARN odd \\u{1b}[0m topic=t\\nforged partitions=3 (a)\n",
            ]
        );
        let coloured = lines(levels(&[]).unwrap(), true, || tracing::error!(target: "a", "x"));
        assert_eq!(coloured, ["[2026-11-22 19:22:48,123] \u{1b}[31mERROR\u{1b}[0m x (a)\n"]);
    }

    #[test]
    fn times_are_local_and_never_fail() {
        let time = |wall, offset| {
            let mut line = String::new();
            write_time(&mut line, wall, offset).unwrap();
            line
        };
        assert_eq!(time(0, UtcOffset::UTC), "[1970-01-01 00:00:00,000]");
        assert_eq!(time(7, UtcOffset::from_hms(2, 0, 0).unwrap()), "[1970-01-01 02:00:00,007]");
        assert_eq!(time(i64::MAX, UtcOffset::UTC), "[1970-01-01 00:00:00,000]");
    }

    #[test]
    fn levels_come_from_ours_or_from_the_images_variables() {
        let shown = |pairs: &[(&str, &str)]| {
            lines(levels(&environment(pairs)).unwrap(), false, || {
                tracing::info!(target: "kafka.x", "one");
                tracing::debug!(target: "kafka.x.Y", "two");
                tracing::debug!(target: "other", "three");
            })
            .len()
        };
        assert_eq!(shown(&[]), 1);
        assert_eq!(shown(&[("OTTLA_LOG", "debug")]), 3);
        assert_eq!(shown(&[("OTTLA_LOG", "kafka.x=debug")]), 2);
        assert_eq!(shown(&[("OTTLA_LOG", "off"), ("KAFKA_LOG4J_ROOT_LOGLEVEL", "DEBUG")]), 0);
        assert_eq!(shown(&[("KAFKA_LOG4J_ROOT_LOGLEVEL", "DEBUG")]), 3);
        assert_eq!(shown(&[("KAFKA_LOG4J_LOGGERS", "kafka.x=DEBUG, other=OFF")]), 2);
        for (name, text) in [
            ("OTTLA_LOG", "x=y=z"),
            ("OTTLA_LOG", "verbose"),
            ("OTTLA_LOG", "info,ottla_raft"),
            ("KAFKA_LOG4J_ROOT_LOGLEVEL", "loud"),
            ("KAFKA_LOG4J_LOGGERS", "a"),
            ("KAFKA_LOG4J_LOGGERS", "a=loud"),
        ] {
            let problem = levels(&environment(&[(name, text)])).expect_err(text);
            assert!(problem.starts_with(&format!("environment variable {name}")), "{problem}");
        }
    }
}
