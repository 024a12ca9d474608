//! What a client is asked to do, as a value and as words of a command line.

use std::fmt;

/// The topic of a message that is published.
pub const TOPIC: &str = "site/4/meter-17/power";

/// What is done with the messages of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They are published, as many at a time as the window has room for. Where a side has fibers or
    /// tasks, each of the window's places is one that waits for its message.
    Publish,
    /// They are published by one fiber that waits for none of them, and for all at the end.
    Stream,
    /// They are received by a handler that may wait.
    Receive,
    /// They are received by a handler that is called where they were read.
    Inline,
    /// They are published one after the other.
    Trip,
    /// As [`Kind::Trip`], and each is timed. Prints `p50_us` and `p99_us`.
    Delay,
    /// Each is a connection that is made and ended.
    Connect,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Publish, "publish"),
    (Kind::Stream, "stream"),
    (Kind::Receive, "receive"),
    (Kind::Inline, "inline"),
    (Kind::Trip, "trip"),
    (Kind::Delay, "delay"),
    (Kind::Connect, "connect"),
];

/// A task of one process. Except where its kind says otherwise the process prints `ns` and `cpu_ns`: the
/// share of one message of the time, and of the process's time on a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// What is done.
    pub kind: Kind,
    /// The quality of service, 0 to 2.
    pub qos: u8,
    /// Bytes of a payload.
    pub bytes: usize,
    /// How many may be on their way.
    pub window: usize,
    /// How many in all.
    pub count: usize,
}

impl Task {
    /// The words of the command line.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        self.to_string().split(' ').map(str::to_owned).collect()
    }

    /// The task that the words ask for; `None` when they ask for none.
    #[must_use]
    pub fn parse(words: &[String]) -> Option<Self> {
        let [kind, numbers @ ..] = words else {
            return None;
        };
        let kind = KINDS.iter().find(|(_, name)| name == kind)?.0;
        let [qos, bytes, window, count] = numbers else {
            return None;
        };
        let qos = qos.parse().ok().filter(|qos| *qos <= 2)?;
        let at_least_1 = |word: &String| word.parse().ok().filter(|number| *number > 0);
        Some(Self {
            kind,
            qos,
            bytes: bytes.parse().ok()?,
            window: at_least_1(window)?,
            count: at_least_1(count)?,
        })
    }

    /// The filter by which a client asks [`super::sink`] for the messages of this task. They come
    /// under it as their topic.
    #[must_use]
    pub fn filter(self) -> String {
        let Self {
            qos,
            bytes,
            window,
            count,
            ..
        } = self;
        format!("send/{qos}/{bytes}/{window}/{count}")
    }

    /// The task whose messages a filter asks for.
    #[must_use]
    pub fn asked_by(filter: &str) -> Option<Self> {
        let mut words: Vec<String> = filter.split('/').map(str::to_owned).collect();
        if words.first()? != "send" {
            return None;
        }
        "receive".clone_into(&mut words[0]);
        Self::parse(&words)
    }

    /// With so many messages.
    #[must_use]
    pub const fn of(mut self, count: usize) -> Self {
        self.count = count;
        self
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, _)| *kind == self.kind);
        let name = name.map_or("", |(_, name)| name);
        let Self {
            qos,
            bytes,
            window,
            count,
            ..
        } = self;
        write!(f, "{name} {qos} {bytes} {window} {count}")
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Kind, Task};

    #[test]
    fn words_say_the_task_that_made_them() {
        for (kind, _) in KINDS {
            let task = Task {
                kind,
                qos: 1,
                bytes: 0,
                window: 100,
                count: 5,
            };
            assert_eq!(Task::parse(&task.words()), Some(task));
        }
    }

    #[test]
    fn a_filter_says_the_messages_that_it_asks_for() {
        let task = Task {
            kind: Kind::Receive,
            qos: 2,
            bytes: 256,
            window: 100,
            count: 5,
        };
        assert_eq!(Task::asked_by(&task.filter()), Some(task));
        assert_eq!(Task::asked_by("site/4/#"), None);
        assert_eq!(Task::asked_by("send/0/1/2"), None);
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "walk 0 1 1 1",
            "publish 3 1 1 1",
            "publish 1 1 0 1",
            "publish 1 1 1",
            "",
        ] {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            assert_eq!(Task::parse(&words), None, "{text}");
        }
    }
}
