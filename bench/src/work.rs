//! What a program is asked to do, as a value and as words of a command line.
//!
//! Each side does the same work in its own terms: where this says fiber, a peer has a task.

/// A piece of work that one process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `fibers` fibers give up their turns `count` times each. Prints `ns`.
    Yield {
        /// How many at once.
        fibers: usize,
        /// Turns of each.
        count: usize,
    },
    /// Starts a fiber that does nothing and waits for its end, `count` times. Prints `ns`.
    Spawn {
        /// How many in all.
        count: usize,
    },
    /// A number goes through a channel of one place and comes back through another, `count` times
    /// in all, each way counted. Prints `ns`.
    Hop {
        /// Ways in all.
        count: usize,
    },
    /// Two fibers wake each other through the runtime's cheapest signal, `count` wakes in all.
    /// Prints `ns`.
    Event {
        /// Wakes in all.
        count: usize,
    },
    /// Arms a timer and cancels it, `count` times, while `live` others are armed. Prints `ns`.
    Timer {
        /// Timers that are armed all the time.
        live: usize,
        /// How many more, one after the other.
        count: usize,
    },
    /// `pairs` pairs of fibers play ping-pong over TCP in one process, `count` messages in all, each
    /// way counted. Prints `ns`.
    Tcp {
        /// Connections.
        pairs: usize,
        /// Messages in all.
        count: usize,
    },
    /// `fibers` fibers wait with 1 KiB of locals each. Prints `bytes` of resident memory of each.
    Memory {
        /// How many.
        fibers: usize,
    },
    /// As many waiting fibers as there can be, up to `fibers`. Prints `made`.
    Most {
        /// How many are asked for.
        fibers: usize,
    },
    /// A TCP server that sends back what comes, for so many connections, until all are closed. Prints
    /// `port`, and at the end what [`crate::program::Meter`] says.
    Echo {
        /// Connections that are accepted.
        connections: usize,
    },
    /// A TCP server whose first connection never runs dry while so many others get a time stamp now
    /// and then. Prints `port`, and at the end `p99_us` and `samples`: from the stamp to the fiber
    /// that has read it.
    Firehose {
        /// The quiet connections.
        quiet: usize,
    },
    /// Sleeps for `micros`, `count` times. Prints `overshoot_us`, the median.
    Overshoot {
        /// Length of a sleep.
        micros: usize,
        /// How many.
        count: usize,
    },
    /// Waits for `millis` beside fibers that wait for a message, a connection and an hour. Prints
    /// `switches`: how often a thread of the process went to sleep meanwhile.
    Idle {
        /// How long.
        millis: usize,
    },
}

impl Work {
    /// The words of the command line.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        let (name, numbers) = match self {
            Self::Yield { fibers, count } => ("yield", vec![fibers, count]),
            Self::Spawn { count } => ("spawn", vec![count]),
            Self::Hop { count } => ("hop", vec![count]),
            Self::Event { count } => ("event", vec![count]),
            Self::Timer { live, count } => ("timer", vec![live, count]),
            Self::Tcp { pairs, count } => ("tcp", vec![pairs, count]),
            Self::Memory { fibers } => ("memory", vec![fibers]),
            Self::Most { fibers } => ("most", vec![fibers]),
            Self::Echo { connections } => ("echo", vec![connections]),
            Self::Firehose { quiet } => ("firehose", vec![quiet]),
            Self::Overshoot { micros, count } => ("overshoot", vec![micros, count]),
            Self::Idle { millis } => ("idle", vec![millis]),
        };
        let mut words = vec![name.to_owned()];
        words.extend(numbers.iter().map(usize::to_string));
        words
    }

    /// The work that the words ask for; `None` when they ask for none.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let (name, rest) = words.split_first()?;
        let numbers: Vec<usize> = rest
            .iter()
            .map(|word| word.parse().ok())
            .collect::<Option<_>>()?;
        Some(match (name.as_str(), numbers.as_slice()) {
            ("yield", &[fibers, count]) => Self::Yield { fibers, count },
            ("spawn", &[count]) => Self::Spawn { count },
            ("hop", &[count]) => Self::Hop { count },
            ("event", &[count]) => Self::Event { count },
            ("timer", &[live, count]) => Self::Timer { live, count },
            ("tcp", &[pairs, count]) => Self::Tcp { pairs, count },
            ("memory", &[fibers]) => Self::Memory { fibers },
            ("most", &[fibers]) => Self::Most { fibers },
            ("echo", &[connections]) => Self::Echo { connections },
            ("firehose", &[quiet]) => Self::Firehose { quiet },
            ("overshoot", &[micros, count]) => Self::Overshoot { micros, count },
            ("idle", &[millis]) => Self::Idle { millis },
            _ => return None,
        })
    }

    /// Operations of it that a figure per operation counts.
    #[must_use]
    pub fn operations(self) -> usize {
        match self {
            Self::Yield { fibers, count } => fibers * count,
            Self::Spawn { count }
            | Self::Hop { count }
            | Self::Event { count }
            | Self::Timer { count, .. }
            | Self::Tcp { count, .. }
            | Self::Overshoot { count, .. } => count,
            Self::Memory { fibers } | Self::Most { fibers } => fibers,
            Self::Echo { connections } => connections,
            Self::Firehose { quiet } => quiet,
            Self::Idle { millis } => millis,
        }
    }

    /// The same work with `times` as many operations.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        let mut longer = self;
        match &mut longer {
            Self::Yield { count, .. }
            | Self::Spawn { count }
            | Self::Hop { count }
            | Self::Event { count }
            | Self::Timer { count, .. }
            | Self::Tcp { count, .. }
            | Self::Overshoot { count, .. }
            | Self::Idle { millis: count } => *count *= times,
            Self::Memory { .. } | Self::Most { .. } | Self::Echo { .. } | Self::Firehose { .. } => {
            }
        }
        longer
    }
}

#[cfg(test)]
mod tests {
    use super::Work;

    #[test]
    fn words_say_the_work_that_made_them() {
        let all = [
            Work::Yield {
                fibers: 10,
                count: 5,
            },
            Work::Spawn { count: 1 },
            Work::Hop { count: 2 },
            Work::Event { count: 3 },
            Work::Timer {
                live: 100,
                count: 7,
            },
            Work::Tcp { pairs: 2, count: 8 },
            Work::Memory { fibers: 9 },
            Work::Most { fibers: 9 },
            Work::Echo { connections: 4 },
            Work::Firehose { quiet: 4 },
            Work::Overshoot {
                micros: 250,
                count: 4,
            },
            Work::Idle { millis: 1_000 },
        ];
        for work in all {
            assert_eq!(Work::parse(&work.words()), Some(work));
        }
    }

    #[test]
    fn other_words_are_refused() {
        for words in [&["yield", "10"][..], &["hop", "x"], &["walk", "1"], &[]] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(Work::parse(&words), None);
        }
    }
}
