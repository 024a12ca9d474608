//! What is kept of a message until it is acknowledged, as words of a command line.

use std::process::ExitCode;

use crate::program;

/// Where messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nowhere but in the client.
    Nothing,
    /// In the store that lives as long as the program.
    Memory,
    /// In a folder: written.
    Flushed,
    /// In a folder: the disk is sure of it.
    Synced,
}

/// With their words.
pub const KEEPS: [(Keep, &str); 4] = [
    (Keep::Nothing, "nothing"),
    (Keep::Memory, "memory"),
    (Keep::Flushed, "flushed"),
    (Keep::Synced, "synced"),
];

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Publishes so many messages at QoS 1, by as many fibers as the window has places, each of which waits
    /// for its message. Prints `ns` and `cpu_ns` of each, `written`: bytes of it that were written to files,
    /// and with a server `p50_us` and `p99_us`: round trips of a packet that no store has to do with.
    Publish {
        /// The server, which acknowledges; 0 for none: then fibers wait until their message is stored.
        port: u16,
        /// Where messages are kept.
        keep: Keep,
        /// For the store.
        folder: String,
        /// How many may be on their way.
        window: usize,
        /// How many in all.
        count: usize,
    },
    /// Appends to a file and waits until the disk is sure, so many times, with nothing else. Prints
    /// `sync_us`: the time that one takes, on average.
    Append {
        /// For the file.
        folder: String,
        /// Bytes that are appended each time.
        bytes: usize,
        /// How often.
        count: usize,
    },
}

impl Errand {
    /// The words of the command line.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Publish {
                port,
                keep,
                folder,
                window,
                count,
            } => {
                let word = KEEPS.iter().find(|(one, _)| one == keep);
                let word = word.map_or("", |(_, word)| word);
                let (port, window, count) =
                    (port.to_string(), window.to_string(), count.to_string());
                let words = ["publish", &port, word, folder, &window, &count];
                words.map(str::to_owned).into()
            }
            Self::Append {
                folder,
                bytes,
                count,
            } => {
                let words = ["append", folder, &bytes.to_string(), &count.to_string()];
                words.map(str::to_owned).into()
            }
        }
    }

    /// What the words ask for; `None` when they ask for nothing.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let at_least_1 = |word: &String| word.parse().ok().filter(|number| *number > 0);
        match words {
            [verb, port, keep, folder, window, count] if verb == "publish" => Some(Self::Publish {
                port: port.parse().ok()?,
                keep: KEEPS.iter().find(|(_, word)| word == keep)?.0,
                folder: folder.clone(),
                window: at_least_1(window)?,
                count: at_least_1(count)?,
            }),
            [verb, folder, bytes, count] if verb == "append" => Some(Self::Append {
                folder: folder.clone(),
                bytes: at_least_1(bytes)?,
                count: at_least_1(count)?,
            }),
            _ => None,
        }
    }
}

/// Does with `perform` what the command line asks for.
pub fn main(perform: impl FnOnce(Errand) -> Result<(), String>) -> ExitCode {
    program::run(0, Errand::parse, |_, errand| perform(errand))
}

#[cfg(test)]
mod tests {
    use super::{Errand, KEEPS};

    #[test]
    fn words_say_the_errand_that_made_them() {
        for (keep, _) in KEEPS {
            let errand = Errand::Publish {
                port: 1883,
                keep,
                folder: "/a folder".to_owned(),
                window: 100,
                count: 5,
            };
            assert_eq!(Errand::parse(&errand.words()), Some(errand));
        }
        let errand = Errand::Append {
            folder: "/f".to_owned(),
            bytes: 9,
            count: 5,
        };
        assert_eq!(Errand::parse(&errand.words()), Some(errand));
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "publish 1883 paper /f 100 5",
            "publish 1883 memory /f 0 5",
            "append /f 0 5",
            "append /f 5",
            "",
        ] {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            assert_eq!(Errand::parse(&words), None, "{text}");
        }
    }
}
