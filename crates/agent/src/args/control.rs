//! The words after `agent status`, `agent fibers`, `agent queue`, `agent wait` and `agent reload`.

use std::path::PathBuf;
use std::time::Duration;

use super::flags::Opt;
use super::words::{Word, Words};
use super::{Command, Tool, UsageError};
use crate::config::parse_length;

/// How long `agent wait` waits unless `--timeout` says otherwise.
pub const WAIT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// What is asked of a running agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlArgs {
    /// Where its socket is (`--socket`, or `--state-dir`); `None` to look for it.
    pub socket: Option<PathBuf>,
    /// What is asked.
    pub ask: Ask,
}

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How it is.
    Status(Form),
    /// What its fibers do.
    Fibers(Form),
    /// The messages that wait.
    QueueList(Form),
    /// The same with their payloads, a line of JSON for each.
    QueueExport,
    /// Withdraws the oldest messages that were not sent.
    QueueDrop {
        /// How many; `u64::MAX` for all.
        count: u64,
    },
    /// Waits for something.
    Wait {
        /// For what.
        goal: Goal,
        /// How long at most.
        timeout: Duration,
    },
    /// Has it read its configuration again.
    Reload,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// As one JSON object (`--json`).
    Json,
    /// For Prometheus (`--metrics`).
    Metrics,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// There is a connection.
    Online,
    /// The device has a certificate or a user name to show, and the agent runs with it.
    Provisioned,
    /// The broker has everything that was published.
    Drained,
}

/// Understands the words after the tool.
pub(super) fn parse(tool: Tool, words: &mut Words) -> Result<Command, UsageError> {
    let mut given = Given::default();
    while let Some(word) = words.next()? {
        let (opt, mut value) = match word {
            Word::Flag(opt, value) => (opt, value),
            Word::Operand(word) => {
                let word = word.to_string_lossy().into_owned();
                if tool != Tool::Queue || given.verb.is_some() {
                    return Err(UsageError::UnknownOption(word));
                }
                given.verb = Some(word);
                continue;
            }
        };
        match opt {
            Opt::Help => return Ok(Command::Help(tool)),
            Opt::Version => return Ok(Command::Version),
            Opt::Json => given.form = Form::Json,
            Opt::Metrics => given.form = Form::Metrics,
            Opt::All => given.count = Some(u64::MAX),
            Opt::Socket => given.socket = Some(value.path()?),
            Opt::StateDir => {
                given.socket = Some(value.path()?.join(crate::control::SOCKET_NAME));
            }
            Opt::Count => given.count = Some(value.number(UsageError::Count)?),
            Opt::For => given.goal = Some(goal(value.text()?)?),
            Opt::Timeout => given.timeout = Some(timeout(value.text()?)?),
            _ => return Err(value.unexpected()),
        }
    }
    let Given {
        form,
        verb,
        count,
        goal,
        timeout,
        socket,
    } = given;
    let ask = match (tool, verb.as_deref()) {
        (Tool::Status, _) => Ask::Status(form),
        (Tool::Fibers, _) => Ask::Fibers(form),
        (Tool::Reload, _) => Ask::Reload,
        (Tool::Wait, _) => Ask::Wait {
            goal: goal.unwrap_or(Goal::Online),
            timeout: timeout.unwrap_or(WAIT_TIMEOUT_DEFAULT),
        },
        (_, Some("ls")) => Ask::QueueList(form),
        (_, Some("export")) => Ask::QueueExport,
        (_, Some("drop")) => Ask::QueueDrop {
            count: count.ok_or(UsageError::NoCount)?,
        },
        (_, Some(other)) => return Err(UsageError::UnknownCommand(format!("queue {other}"))),
        (_, None) => return Err(UsageError::NoCommand),
    };
    Ok(Command::Control(ControlArgs { socket, ask }))
}

#[derive(Default)]
struct Given {
    form: Form,
    verb: Option<String>,
    count: Option<u64>,
    goal: Option<Goal>,
    timeout: Option<Duration>,
    socket: Option<PathBuf>,
}

fn goal(text: String) -> Result<Goal, UsageError> {
    match text.as_str() {
        "online" => Ok(Goal::Online),
        "provisioned" => Ok(Goal::Provisioned),
        "drained" => Ok(Goal::Drained),
        _ => Err(UsageError::Goal(text)),
    }
}

/// A length of time with its unit, or seconds, as scripts have them.
pub(super) fn timeout(text: String) -> Result<Duration, UsageError> {
    match (parse_length(&text), text.parse()) {
        (Ok(length), _) => Ok(length),
        (_, Ok(seconds)) => Ok(Duration::from_secs(seconds)),
        _ => Err(UsageError::Timeout(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(words: &[&str]) -> Ask {
        match super::super::parse(words.iter().copied()) {
            Ok(Command::Control(args)) => args.ask,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn each_question_is_understood() {
        for (words, expected) in [
            (&["status"][..], Ask::Status(Form::Text)),
            (&["status", "--json"], Ask::Status(Form::Json)),
            (&["status", "--metrics"], Ask::Status(Form::Metrics)),
            (&["fibers"], Ask::Fibers(Form::Text)),
            (&["fibers", "--json"], Ask::Fibers(Form::Json)),
            (&["queue", "ls"], Ask::QueueList(Form::Text)),
            (&["queue", "--json", "ls"], Ask::QueueList(Form::Json)),
            (&["queue", "export"], Ask::QueueExport),
            (
                &["queue", "drop", "--count", "3"],
                Ask::QueueDrop { count: 3 },
            ),
            (
                &["queue", "drop", "--all"],
                Ask::QueueDrop { count: u64::MAX },
            ),
            (&["reload"], Ask::Reload),
        ] {
            assert_eq!(ask(words), expected, "{words:?}");
        }
        let wait = |goal, secs| Ask::Wait {
            goal,
            timeout: Duration::from_secs(secs),
        };
        assert_eq!(ask(&["wait"]), wait(Goal::Online, 60));
        let words = ["wait", "--for", "drained", "--timeout", "5m"];
        assert_eq!(ask(&words), wait(Goal::Drained, 300));
        assert_eq!(ask(&["wait", "--timeout=7"]), wait(Goal::Online, 7));
    }

    #[test]
    fn the_socket_is_named_or_that_of_a_state_directory() {
        let socket = |words: &[&str]| match super::super::parse(words.iter().copied()) {
            Ok(Command::Control(args)) => args.socket,
            other => panic!("{other:?}"),
        };
        assert_eq!(socket(&["status"]), None);
        let named = socket(&["status", "--socket", "/a/b"]);
        assert_eq!(named, Some(PathBuf::from("/a/b")));
        let of_state = socket(&["reload", "--state-dir", "/a"]);
        assert_eq!(of_state, Some(PathBuf::from("/a/control.sock")));
    }

    #[test]
    fn what_does_not_belong_to_a_question_is_refused() {
        let refused = |words: &[&str]| {
            let rejected = super::super::parse(words.iter().copied()).unwrap_err();
            assert_eq!(Some(rejected.tool), Tool::find(words[0]), "{words:?}");
            rejected.error
        };
        assert_eq!(refused(&["queue"]), UsageError::NoCommand);
        assert_eq!(refused(&["queue", "drop"]), UsageError::NoCount);
        let unknown = UsageError::UnknownCommand("queue eat".to_owned());
        assert_eq!(refused(&["queue", "eat"]), unknown);
        let goal = UsageError::Goal("rich".to_owned());
        assert_eq!(refused(&["wait", "--for", "rich"]), goal);
        for words in [
            &["wait", "--json"][..],
            &["fibers", "--metrics"],
            &["status", "ls"],
            &["reload", "--all"],
        ] {
            assert!(
                matches!(refused(words), UsageError::UnknownOption(_)),
                "{words:?}"
            );
        }
    }
}
