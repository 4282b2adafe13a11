//! The syntax of Java's `.properties` files, as `java.util.Properties.load` reads it.

use std::{borrow::Cow, iter::Peekable, str::Chars};

/// One key and its value, and the line the key stands in (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved; empty when there is none.
    pub value: String,
    /// Number of the line it starts in.
    pub line: usize,
}

/// A `\u` without four hexadecimal digits after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u must be followed by four hexadecimal digits")]
pub struct BadEscape {
    /// Number of the line.
    pub line: usize,
}

/// The text of a file: UTF-8, or Latin-1 (which Java reads) when it is not valid UTF-8.
#[must_use]
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Reads a file's text. A key may occur more than once; the last one holds.
///
/// # Errors
/// A malformed `\u` escape. Everything else means something.
pub fn parse(text: &str) -> Result<Vec<Property>, BadEscape> {
    logical_lines(text)
        .into_iter()
        .map(|(line, text)| {
            let (key, value) = split(&text);
            let unescape = |text| unescape(text).ok_or(BadEscape { line });
            Ok(Property { key: unescape(key)?, value: unescape(value)?, line })
        })
        .collect()
}

const BLANK: [char; 3] = [' ', '\t', '\u{c}'];

/// Joins continued lines; drops blank ones and comments. A comment does not continue, and a continuation of nothing
/// is a line like any other, unless the text ends there.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, (natural, ends_text)) in natural_lines(text).enumerate() {
        let natural = natural.trim_start_matches(BLANK);
        open = open.filter(|(_, joined)| !joined.is_empty());
        if open.is_none() && (natural.is_empty() || natural.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = natural.len() - natural.trim_end_matches('\\').len();
        let continues = backslashes % 2 == 1;
        let (_, joined) = open.get_or_insert_with(|| (number + 1, String::new()));
        joined.push_str(if continues { &natural[..natural.len() - 1] } else { natural });
        if !continues || ends_text {
            lines.extend(open.take());
        }
    }
    lines.extend(open.filter(|(_, joined)| !joined.is_empty()));
    lines
}

/// Lines end with `\n`, `\r` or `\r\n`. Beside each: whether no more than one character of its end is left.
fn natural_lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = text.find(['\n', '\r']) else { return Some((text, true)) };
        let (line, end) = text.split_at(end);
        rest = end.strip_prefix("\r\n").or_else(|| end.get(1..));
        Some((line, end.len() == 1))
    })
}

/// Key and value: the key ends at the first `=`, `:` or blank that is not escaped; blanks around that one
/// separator belong to neither.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (BLANK.contains(&c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANK);
    let value = rest.strip_prefix(['=', ':']).map_or(rest, |value| value.trim_start_matches(BLANK));
    (key, value)
}

fn unescape(text: &str) -> Option<String> {
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    units.push(hex(&mut chars)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => continue,
            },
            c => c,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    (0..4).try_fold(0, |unit, _| Some(unit << 4 | chars.next()?.to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|property| (property.key, property.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        pairs(text).remove(0)
    }

    #[test]
    fn separators() {
        for text in
            ["a=b", "a:b", "a b", "a = b", "a\t:\tb", "  a  b", "a=b\r\n", "\u{c}a\u{c}=\u{c}b", "a\\\n=b"]
        {
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a==b"), ("a".into(), "=b".into()));
        assert_eq!(one("a"), ("a".into(), String::new()));
        assert_eq!(one("=b"), (String::new(), "b".into()));
        assert_eq!(one("a = b c = d "), ("a".into(), "b c = d ".into()));
    }

    #[test]
    fn escapes() {
        assert_eq!(one(r"a\=b\:c\ d=e"), ("a=b:c d".into(), "e".into()));
        assert_eq!(one(r"p=C:\\x\ty\q"), ("p".into(), "C:\\x\tyq".into()));
        assert_eq!(one(r"p=\u00e9\uD83D\uDE00"), ("p".into(), "\u{e9}\u{1f600}".into()));
        assert_eq!(one(r"p=\ud83d"), ("p".into(), "\u{fffd}".into()));
        assert_eq!(parse("a=1\n\nb=\\u12g4"), Err(BadEscape { line: 3 }));
        assert_eq!(parse("b=\\u12"), Err(BadEscape { line: 1 }));
    }

    #[test]
    fn comments_and_continuations() {
        let text = "# one\n! two\\\na=1,\\\n   2,\\\r\n\t3\n\nb=x\\\\\nc=y\\";
        assert_eq!(
            parse(text).unwrap(),
            [
                Property { key: "a".into(), value: "1,2,3".into(), line: 3 },
                Property { key: "b".into(), value: "x\\".into(), line: 7 },
                Property { key: "c".into(), value: "y".into(), line: 8 },
            ]
        );
        assert_eq!(pairs("a=1\\\n# not a comment"), [("a".into(), "1# not a comment".into())]);
        let nothing = (String::new(), String::new());
        assert_eq!(pairs("\\\n\\\n\n"), []);
        assert_eq!(pairs("\\\n#x\na"), [("a".into(), String::new())]);
        assert_eq!(pairs("\\"), [nothing], "as Java has it");
    }

    #[test]
    fn both_encodings() {
        assert_eq!(decode("é".as_bytes()), "é");
        assert_eq!(decode(b"\xe9"), "é");
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).*") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_what_matters(text in "[a\\\\u0D8\n\r =:#!\t]{0,40}") {
            let lines = natural_lines(&text).count();
            if let Ok(properties) = parse(&text) {
                prop_assert!(properties.iter().all(|property| property.line <= lines));
            }
        }

        #[test]
        fn what_is_escaped_comes_back(key in "[^\u{0}]{1,12}", value in "[^\u{0}]{0,12}") {
            let escape = |text: &str| text.chars().map(|c| match c {
                '\n' => "\\n".into(),
                '\r' => "\\r".into(),
                c if c == '\\' || c.is_ascii_whitespace() || "=:#!".contains(c) => format!("\\{c}"),
                c => c.to_string(),
            }).collect::<String>();
            let text = format!("{} = {}", escape(&key), escape(&value));
            prop_assert_eq!(one(&text), (key, value));
        }
    }
}
