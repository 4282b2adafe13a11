//! raft-rs speaks slog; this forwards what it says to tracing.

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, Serializer};

struct ToTracing;

struct Fields(String);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        use std::fmt::Write;
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // raft-rs calls an ordinary election an info; ours says it once, in Kafka's words.
        let level = match record.level() {
            Level::Critical | Level::Error => tracing::Level::ERROR,
            Level::Warning => tracing::Level::WARN,
            Level::Info => tracing::Level::DEBUG,
            Level::Debug | Level::Trace => tracing::Level::TRACE,
        };
        if level > tracing::level_filters::LevelFilter::current() {
            return Ok(());
        }
        let mut fields = Fields(String::new());
        // Fields that cannot be printed are left out: the message is what matters.
        let _ = record.kv().serialize(record, &mut fields);
        let _ = values.serialize(record, &mut fields);
        let (message, fields) = (record.msg(), fields.0);
        match level {
            tracing::Level::ERROR => tracing::error!("{message}{fields}"),
            tracing::Level::WARN => tracing::warn!("{message}{fields}"),
            tracing::Level::DEBUG => tracing::debug!("{message}{fields}"),
            _ => tracing::trace!("{message}{fields}"),
        }
        Ok(())
    }
}

/// A logger for raft-rs.
pub(crate) fn logger() -> Logger {
    Logger::root(ToTracing, slog::o!())
}
