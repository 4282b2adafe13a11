//! What is known about one configuration key.

/// What a key configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A process: `server.properties`, and what may change while it runs.
    Broker,
    /// One topic.
    Topic,
    /// One group.
    Group,
    /// One client metrics subscription (KIP-714).
    ClientMetrics,
    /// A quota of a user, a client or an address.
    Quota,
}

/// Kafka's type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not in Kafka's definitions: a key of a plugin, or nobody's.
    Unknown,
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A double.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// The type's number in a DescribeConfigs response (KIP-569).
    #[must_use]
    pub fn wire(self) -> i8 {
        self as i8
    }

    /// Kafka's name of the type, as its messages have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// Whether values are kept from whoever asks: passwords, and what no definition vouches for.
    #[must_use]
    pub fn is_sensitive(self) -> bool {
        matches!(self, Self::Password | Self::Unknown)
    }
}

/// What holds when a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// The key has to be set.
    Required,
    /// No value.
    Null,
    /// This value, in Kafka's spelling.
    Value(&'static str),
}

/// Which values are valid, beside being of the key's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// All.
    Any,
    /// Numbers from here on.
    AtLeast(i64),
    /// Numbers from the first to the second, both included.
    Between(i64, i64),
    /// As `Between`, and one more number.
    BetweenOr(i64, i64, i64),
    /// Numbers from the first to the second that need not be whole.
    Fraction(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of some of these words.
    ListOf(&'static [&'static str]),
    /// A list without empty entries.
    NonEmptyList,
    /// Text with something in it.
    NonEmpty,
    /// Any text.
    NotNull,
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// Where a share group starts: `latest`, `earliest` or `by_duration:` and an ISO 8601 duration.
    OffsetReset,
}

/// How much a key matters, in Kafka's judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Every operator should know it.
    High,
    /// Some should.
    Medium,
    /// Few need it.
    Low,
}

/// When a value may change (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// At start only.
    ReadOnly,
    /// While the broker runs, for one broker.
    PerBroker,
    /// While the broker runs, for one broker or for all.
    ClusterWide,
    /// At any time, on the resource it belongs to.
    Dynamic,
}

/// Whether a value has an effect in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has.
    Implemented,
    /// It is checked, stored and shown, and does nothing yet.
    Accepted,
}

/// One configuration key: everything that is known about it, in one place.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// Kafka's name of it.
    pub name: &'static str,
    /// What it configures.
    pub scope: Scope,
    /// Type of the value.
    pub kind: Kind,
    /// Value when it is not set.
    pub default: DefaultValue,
    /// Valid values.
    pub range: Range,
    /// Importance.
    pub importance: Importance,
    /// When it may change.
    pub update: Update,
    /// Not shown by DescribeConfigs unless it was set.
    pub internal: bool,
    /// Whether it has an effect.
    pub status: Status,
    /// One sentence on what it does.
    pub doc: &'static str,
}

impl Key {
    /// The default as text; `None` when it is null or the key is required.
    #[must_use]
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::Value(text) => Some(text),
            DefaultValue::Required | DefaultValue::Null => None,
        }
    }

    /// Whether the broker may change it while it runs.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.update != Update::ReadOnly
    }

    /// The valid values in words, as the documentation shows them; empty when all are.
    #[must_use]
    pub fn valid_values(&self) -> String {
        match self.range {
            Range::Any | Range::NotNull => String::new(),
            Range::AtLeast(low) => format!("at least {low}"),
            Range::Between(low, high) => format!("{low} to {high}"),
            Range::BetweenOr(low, high, other) => format!("{low} to {high}, or {other}"),
            Range::Fraction(low, high) => format!("{low} to {high}"),
            Range::OneOf(words) => words.join(", "),
            Range::OneOfAnyCase(words) => format!("{} (in any case)", words.join(", ")),
            Range::ListOf(words) => format!("a list of {}", words.join(", ")),
            Range::NonEmptyList => "a list without empty entries".into(),
            Range::NonEmpty => "a text with something in it".into(),
            Range::ThrottledReplicas => "* or partition:broker, ...".into(),
            Range::OffsetReset => "latest, earliest or by_duration:PnDTnHnMn.nS".into(),
        }
    }
}
