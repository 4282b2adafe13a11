//! Names and version ranges, in the schemas' spelling and in Rust's.

use anyhow::{Context, Result, bail};

/// `ListOffsets` to `list_offsets`, as kafka-protocol does it: an underscore before every word, where a digit
/// starts a word as a capital does, and neighbouring capitals are one word up to the last.
pub(crate) fn snake(name: &str) -> String {
    let starts = |c: char| c.is_uppercase() || c.is_ascii_digit();
    let mut out = String::with_capacity(name.len() + 8);
    let mut previous = '_';
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let next_lower = chars.peek().is_some_and(|next| next.is_lowercase());
        if starts(c) && !out.is_empty() && (!starts(previous) || (c.is_uppercase() && next_lower)) {
            out.push('_');
        }
        previous = c;
        out.extend(c.to_lowercase());
    }
    out
}

/// A field's name in Rust: snake case, keywords made raw or suffixed as kafka-protocol does.
pub(crate) fn field(name: &str) -> String {
    let name = snake(name);
    if matches!(name.as_str(), "type" | "match") { format!("_{name}") } else { name }
}

/// `ListOffsets` to `LIST_OFFSETS`.
pub(crate) fn screaming(name: &str) -> String {
    snake(name).to_uppercase()
}

/// A closed range of versions; empty if `from > to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) from: i16,
    pub(crate) to: i16,
}

impl Versions {
    /// No version.
    pub(crate) const NONE: Self = Self { from: 1, to: 0 };

    /// Reads `3`, `1-4`, `2+` or `none`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let number = |s: &str| s.trim().parse::<i16>().with_context(|| format!("not a version: {text:?}"));
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(from) = text.strip_suffix('+') {
            return Ok(Self { from: number(from)?, to: i16::MAX });
        }
        let range = match text.split_once('-') {
            Some((from, to)) => Self { from: number(from)?, to: number(to)? },
            None => Self { from: number(text)?, to: number(text)? },
        };
        if range.from > range.to {
            bail!("versions {text:?} run backwards");
        }
        Ok(range)
    }

    /// Whether no version is in it.
    pub(crate) const fn is_empty(self) -> bool {
        self.from > self.to
    }

    /// The versions that are in both.
    pub(crate) fn and(self, other: Self) -> Self {
        let both = Self { from: self.from.max(other.from), to: self.to.min(other.to) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// Whether every version of `other` is in it.
    pub(crate) const fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.from <= other.from && other.to <= self.to)
    }

    /// A Rust condition on `version` that holds for the versions in `self`, given that those of `all` are the
    /// only ones that occur; `None` if it always holds, `Some("false")` if never.
    pub(crate) fn condition(self, all: Self) -> Option<String> {
        let own = self.and(all);
        if own.is_empty() {
            return Some("false".to_owned());
        }
        match (own.from > all.from, own.to < all.to) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", own.from)),
            (false, true) => Some(format!("version <= {}", own.to)),
            (true, true) if own.from == own.to => Some(format!("version == {}", own.from)),
            (true, true) => Some(format!("({}..={}).contains(&version)", own.from, own.to)),
        }
    }

    /// The opposite of [`Self::condition`], where that is a condition.
    pub(crate) fn unless(self, all: Self) -> String {
        let own = self.and(all);
        match (own.from > all.from, own.to < all.to) {
            (true, false) => format!("version < {}", own.from),
            (false, true) => format!("version > {}", own.to),
            (true, true) => format!("!({}..={}).contains(&version)", own.from, own.to),
            (false, false) => "false".to_owned(),
        }
    }

    /// `3`, `1-4`: for documentation.
    pub(crate) fn show(self) -> String {
        if self.from == self.to { self.from.to_string() } else { format!("{}-{}", self.from, self.to) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafka_protocol() {
        assert_eq!(snake("ListOffsetsRequest"), "list_offsets_request");
        assert_eq!(snake("KRaftVersionRecord"), "k_raft_version_record");
        assert_eq!(snake("ISRs"), "is_rs");
        assert_eq!(snake("memberId"), "member_id");
        assert_eq!(snake("Enable2Pc"), "enable_2_pc");
        assert_eq!(field("Type"), "_type");
        assert_eq!(screaming("SaslHandshake"), "SASL_HANDSHAKE");
    }

    #[test]
    fn conditions_say_no_more_than_needed() {
        let all = Versions { from: 1, to: 11 };
        let condition = |text| Versions::parse(text).expect("a range").condition(all);
        assert_eq!(condition("0+"), None);
        assert_eq!(condition("4+").as_deref(), Some("version >= 4"));
        assert_eq!(condition("0-3").as_deref(), Some("version <= 3"));
        assert_eq!(condition("2-7").as_deref(), Some("(2..=7).contains(&version)"));
        assert_eq!(condition("5").as_deref(), Some("version == 5"));
        assert_eq!(condition("12+").as_deref(), Some("false"));
    }
}
