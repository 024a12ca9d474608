//! What the device tells the demonstration, and what it is told: one line each.
//!
//! Pure. The device is a program of its own that may be killed at any moment, so what it says is kept by
//! the other side: a line that came is known, whatever becomes of the device.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Longest line, in bytes with its end: the messages that are open at once are the most of it.
pub const DEMO_LINE_BYTES_MAX: usize = 64 * 1024;

/// What the device tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It runs, as this process.
    Started(u32),
    /// What it does about its identity, in words.
    Identity(String),
    /// The messages that an earlier process left behind are known again, this many of them.
    Found(usize),
    /// There is a connection.
    Connected {
        /// The cloud kept the session.
        kept: bool,
    },
    /// The connection is lost.
    Lost {
        /// Messages without an outcome at that moment.
        open: BTreeSet<u64>,
        /// Milliseconds until the next attempt.
        retry: Option<u64>,
        /// Why, in words.
        cause: String,
    },
    /// Anything else about the link, in words.
    Link(String),
    /// A message is in the queue on the disk.
    Stored(u64),
    /// The cloud acknowledged a message, which may have come more than once.
    Acknowledged {
        /// Its number.
        sequence: u64,
        /// Whether it may have come more than once.
        maybe_twice: bool,
    },
    /// A message was given up.
    GivenUp(u64),
    /// A command came, with these words.
    Obeyed(u64, String),
    /// The cloud acknowledged the answer to a command.
    Answered(u64),
}

/// What the device is told.
pub(super) const ENOUGH: &str = "enough";

/// The line is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoLine;

impl fmt::Display for NoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a line of the device, found something else")
    }
}

impl std::error::Error for NoLine {}

/// A text without the ends of lines in it.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split(['\r', '\n']);
        f.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| write!(f, " {part}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(process) => write!(f, "started {process}"),
            Self::Identity(text) => write!(f, "identity {}", OneLine(text)),
            Self::Found(count) => write!(f, "found {count}"),
            Self::Connected { kept: true } => f.write_str("connected kept"),
            Self::Connected { kept: false } => f.write_str("connected new"),
            Self::Lost { open, retry, cause } => {
                f.write_str("lost ")?;
                for (at, sequence) in open.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{sequence}")?;
                }
                match retry {
                    Some(millis) => write!(f, " {millis}")?,
                    None => f.write_str(" -")?,
                }
                write!(f, " {}", OneLine(cause))
            }
            Self::Link(text) => write!(f, "link {}", OneLine(text)),
            Self::Stored(sequence) => write!(f, "stored {sequence}"),
            Self::Acknowledged {
                sequence,
                maybe_twice,
            } => {
                let copies = if *maybe_twice { "maybe" } else { "once" };
                write!(f, "acknowledged {sequence} {copies}")
            }
            Self::GivenUp(sequence) => write!(f, "given-up {sequence}"),
            Self::Obeyed(number, text) => write!(f, "obeyed {number} {}", OneLine(text)),
            Self::Answered(number) => write!(f, "answered {number}"),
        }
    }
}

impl FromStr for Line {
    type Err = NoLine;

    fn from_str(line: &str) -> Result<Self, NoLine> {
        let (word, rest) = line.split_once(' ').ok_or(NoLine)?;
        let number = |text: &str| text.parse().map_err(|_| NoLine);
        Ok(match word {
            "started" => Self::Started(rest.parse().map_err(|_| NoLine)?),
            "identity" => Self::Identity(rest.to_owned()),
            "found" => Self::Found(rest.parse().map_err(|_| NoLine)?),
            "connected" => Self::Connected {
                kept: match rest {
                    "kept" => true,
                    "new" => false,
                    _ => return Err(NoLine),
                },
            },
            "lost" => {
                let mut parts = rest.splitn(3, ' ');
                let mut part = || parts.next().ok_or(NoLine);
                let (open, retry, cause) = (part()?, part()?, part()?);
                Self::Lost {
                    open: open
                        .split(',')
                        .filter(|text| !text.is_empty())
                        .map(number)
                        .collect::<Result<_, _>>()?,
                    retry: match retry {
                        "-" => None,
                        millis => Some(number(millis)?),
                    },
                    cause: cause.to_owned(),
                }
            }
            "link" => Self::Link(rest.to_owned()),
            "stored" => Self::Stored(number(rest)?),
            "acknowledged" => {
                let (sequence, copies) = rest.split_once(' ').ok_or(NoLine)?;
                Self::Acknowledged {
                    sequence: number(sequence)?,
                    maybe_twice: match copies {
                        "maybe" => true,
                        "once" => false,
                        _ => return Err(NoLine),
                    },
                }
            }
            "given-up" => Self::GivenUp(number(rest)?),
            "obeyed" => {
                let (sequence, text) = rest.split_once(' ').ok_or(NoLine)?;
                Self::Obeyed(number(sequence)?, text.to_owned())
            }
            "answered" => Self::Answered(number(rest)?),
            _ => return Err(NoLine),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_nothing_else() {
        let lines = [
            Line::Started(17),
            Line::Identity("key made here".to_owned()),
            Line::Found(0),
            Line::Connected { kept: true },
            Line::Connected { kept: false },
            Line::Lost {
                open: BTreeSet::from([3, 4, 9]),
                retry: Some(250),
                cause: "the stream was cut off".to_owned(),
            },
            Line::Lost {
                open: BTreeSet::new(),
                retry: None,
                cause: String::new(),
            },
            Line::Link("not connected".to_owned()),
            Line::Stored(u64::MAX),
            Line::Acknowledged {
                sequence: 4,
                maybe_twice: true,
            },
            Line::Acknowledged {
                sequence: 5,
                maybe_twice: false,
            },
            Line::GivenUp(1),
            Line::Obeyed(2, "valve to 10 %".to_owned()),
            Line::Answered(2),
        ];
        for line in lines {
            assert_eq!(line.to_string().parse(), Ok(line.clone()), "{line}");
        }
        let broken = Line::Link("two\nlines\r\n".to_owned()).to_string();
        assert_eq!(broken, "link two lines  ");
        for text in [
            "",
            "stored",
            "stored x",
            "stored -1",
            "lost 1,2",
            "lost 1,,x - why",
            "connected",
            "connected old",
            "acknowledged 4",
            "acknowledged 4 twice",
            "obeyed 4",
            "hello there",
        ] {
            assert_eq!(text.parse::<Line>(), Err(NoLine), "{text}");
        }
    }
}
