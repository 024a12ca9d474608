//! The names that a configuration may use, each in one place.

use std::fmt;

/// A table of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Section {
    /// `[device]`: who the device is.
    Device,
    /// `[cloud]`: how to connect.
    Cloud,
    /// `[telemetry]`: what to publish.
    Telemetry,
    /// `[[subscription]]`: what to subscribe to; may be repeated.
    Subscription,
}

impl Section {
    /// All of them, in the order in which they are documented.
    pub(super) const ALL: [Self; 4] = [
        Self::Device,
        Self::Cloud,
        Self::Telemetry,
        Self::Subscription,
    ];

    /// Its name without brackets.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Cloud => "cloud",
            Self::Telemetry => "telemetry",
            Self::Subscription => "subscription",
        }
    }

    /// The names that may stand in it.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Device => &["id"],
            Self::Cloud => &[
                "endpoint",
                "user",
                "password",
                "password_file",
                "password_env",
                "authority",
                "certificate",
                "key",
                "alpn",
                "keep_alive",
                "session",
            ],
            Self::Telemetry => &["topic", "interval", "qos"],
            Self::Subscription => &["topic", "qos"],
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscription => write!(f, "[[{}]]", self.name()),
            Self::Device | Self::Cloud | Self::Telemetry => write!(f, "[{}]", self.name()),
        }
    }
}

/// A setting, by the table it stands in and its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub section: Section,
    /// The name.
    pub name: &'static str,
}

impl Key {
    pub(super) const fn new(section: Section, name: &'static str) -> Self {
        Self { section, name }
    }

    /// A line that sets it, as it could stand in the file.
    pub(super) const fn example(self) -> &'static str {
        match self.name.as_bytes() {
            b"id" => "id = \"meter-17\"",
            b"endpoint" => "endpoint = \"mqtts://broker.example:8883\"",
            b"user" => "user = \"meter-17\"",
            b"password" => "password = \"...\"",
            b"password_file" => "password_file = \"password\"",
            b"password_env" => "password_env = \"AGENT_PASSWORD\"",
            b"authority" => "authority = \"ca.pem\"",
            b"certificate" => "certificate = \"device.pem\"",
            b"key" => "key = \"device.key\"",
            b"alpn" => "alpn = [\"mqtt\"]",
            b"keep_alive" => "keep_alive = \"60s\"",
            b"session" => "session = \"kept\"",
            b"interval" => "interval = \"60s\"",
            b"qos" => "qos = 1",
            _ => "topic = \"site/4/meter-17\"",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in {}", self.name, self.section)
    }
}

/// The name of `known` that `found` was probably meant to be.
pub(super) fn meant(
    found: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    known
        .map(|name| (distance(&found, name), name))
        .filter(|&(distance, name)| distance <= 1 + name.len() / 4)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// How many characters must be put in, left out or replaced to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, a) in from.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_nearly_right_is_guessed_and_a_strange_one_is_not() {
        let keys = || Section::Cloud.keys().iter().copied();
        for (found, expected) in [
            ("keepalive", Some("keep_alive")),
            ("keep-alive", Some("keep_alive")),
            ("Endpoint", Some("endpoint")),
            ("endpiont", Some("endpoint")),
            ("passwordfile", Some("password_file")),
            ("sesion", Some("session")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(meant(found, keys()), expected, "{found}");
        }
    }

    #[test]
    fn every_example_sets_the_key_it_is_for() {
        for section in Section::ALL {
            for name in section.keys() {
                let example = Key::new(section, name).example();
                assert!(example.starts_with(&format!("{name} = ")), "{example}");
            }
        }
    }
}
