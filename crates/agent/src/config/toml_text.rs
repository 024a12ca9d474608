//! Values as TOML.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A text in quotes, as a basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of texts.
pub(super) fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// An inline table of texts.
pub(super) fn map(map: &BTreeMap<String, String>) -> String {
    let is_bare = |name: &str| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !name.is_empty() && name.bytes().all(is_good)
    };
    let entries: Vec<_> = map
        .iter()
        .map(|(name, value)| match is_bare(name) {
            true => format!("{name} = {}", quoted(value)),
            false => format!("{} = {}", quoted(name), quoted(value)),
        })
        .collect();
    match entries.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", entries.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::{Raw, parse_value};
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for text in ["", "a", "a\"b\\c", "x\ny\tz", "\u{0}\u{7f}\u{85}", "ü€"] {
            match parse_value(&quoted(text)) {
                Some(Raw::Text(read)) => assert_eq!(read.as_str(), text),
                other => panic!("{text:?}: {other:?}"),
            }
        }
        let entries = [("plain", "1"), ("with space", "2"), ("", "3")];
        let entries = entries.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let Some(Raw::Table(read)) = parse_value(&map(&BTreeMap::from(entries))) else {
            panic!("a table is read as one");
        };
        let mut names: Vec<_> = read.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["", "plain", "with space"]);
    }
}
