//! A cost at some number of things: what is done, as a value and as words of a command line.

use std::fmt;
use std::process::ExitCode;

use crate::program;

/// What there is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Messages are published before there is a connection, and are sent when it comes. Each of them is one
    /// that is measured.
    Queued,
    /// The same, with the store in memory.
    Stored,
    /// Subscriptions, which get the messages in turn.
    Filters,
    /// Fibers that wait for something else while messages are published.
    Fibers,
    /// Connections that are idle while messages are published on another. Prints `each` as well: the bytes
    /// of memory that one takes.
    Connections,
    /// Devices that publish in turn to brokers in the same thread, over connections in memory. Prints
    /// `each` as well.
    Devices,
}

/// With its word, and whether the number is that of the messages as well.
const ALL: [(Beside, &str); 6] = [
    (Beside::Queued, "queued"),
    (Beside::Stored, "stored"),
    (Beside::Filters, "filters"),
    (Beside::Fibers, "fibers"),
    (Beside::Connections, "connections"),
    (Beside::Devices, "devices"),
];

/// What a process does. It prints `ns` and `cpu_ns` of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// What there is a number of.
    pub beside: Beside,
    /// The number.
    pub n: usize,
    /// How many messages are measured.
    pub count: usize,
}

impl Sweep {
    /// The words of the command line.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        self.to_string().split(' ').map(str::to_owned).collect()
    }

    /// What the words ask for; `None` when they ask for nothing.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let [beside, n, count] = words else {
            return None;
        };
        let at_least_1 = |word: &String| word.parse().ok().filter(|number| *number > 0);
        Some(Self {
            beside: ALL.iter().find(|(_, word)| word == beside)?.0,
            n: at_least_1(n)?,
            count: at_least_1(count)?,
        })
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = ALL.iter().find(|(beside, _)| *beside == self.beside);
        let word = word.map_or("", |(_, word)| word);
        write!(f, "{word} {} {}", self.n, self.count)
    }
}

/// Does with `perform` what the command line asks for: the port of a server, and a sweep.
pub fn main(perform: impl FnOnce(u16, Sweep) -> Result<(), String>) -> ExitCode {
    program::run(1, Sweep::parse, |words, sweep| {
        let port = words.first().and_then(|port| port.parse().ok());
        perform(port.ok_or("a port is a number")?, sweep)
    })
}

#[cfg(test)]
mod tests {
    use super::{ALL, Sweep};

    #[test]
    fn words_say_the_sweep_that_made_them() {
        for (beside, _) in ALL {
            let sweep = Sweep {
                beside,
                n: 10,
                count: 500,
            };
            assert_eq!(Sweep::parse(&sweep.words()), Some(sweep));
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["stars 1 1", "queued 0 1", "queued 1", "queued 1 1 1", ""] {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            assert_eq!(Sweep::parse(&words), None, "{text}");
        }
    }
}
