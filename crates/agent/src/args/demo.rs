//! The words after `agent demo`.

use std::path::PathBuf;
use std::time::Duration;

use super::flags::Opt;
use super::words::Words;
use super::{Command, Tool, UsageError};
use crate::config::parse_length;

/// Longest `--for`: both sides keep a book of every message.
pub const RUN_FOR_MAX: Duration = Duration::from_secs(3600);

/// Most faults of one round (`--fault`).
pub const DEMO_FAULTS_MAX: usize = 100;

/// What can be done to a device and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The link is cut inside a packet.
    Cut,
    /// Nothing passes for a while, and the link stays.
    Stall,
    /// Acknowledgements are left out, then the link is cut.
    DropAcks,
    /// The broker dies, with what it kept for the device.
    KillBroker,
    /// The device's process is killed, and started again.
    PowerCut,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Cut,
        Self::Stall,
        Self::DropAcks,
        Self::KillBroker,
        Self::PowerCut,
    ];

    /// Returns what it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Stall => "stall",
            Self::DropAcks => "drop-acks",
            Self::KillBroker => "kill-broker",
            Self::PowerCut => "power-cut",
        }
    }
}

/// What `agent demo` is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoArgs {
    /// What decides when the link is cut; `None` for a random number.
    pub seed: Option<u64>,
    /// How long to go on; `None` for one round of faults.
    pub run_for: Option<Duration>,
    /// The faults of a round, in order; none for the usual ones.
    pub faults: Vec<Fault>,
    /// Whether the keyboard says what happens.
    pub interactive: bool,
    /// The folder of the demonstration whose device this process is to be.
    pub device: Option<PathBuf>,
}

/// Understands the words.
pub(super) fn parse(words: &mut Words) -> Result<Command, UsageError> {
    let mut args = DemoArgs::default();
    while let Some((opt, mut value)) = words.next_flag()? {
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Demo)),
            Opt::Version => return Ok(Command::Version),
            Opt::Seed => args.seed = Some(value.number(UsageError::Seed)?),
            Opt::For => {
                let text = value.text()?;
                args.run_for = Some(duration(&text).ok_or(UsageError::RunFor(text))?);
            }
            Opt::Fault => {
                let text = value.text()?;
                let found = Fault::ALL.into_iter().find(|fault| fault.name() == text);
                let is_full = args.faults.len() >= DEMO_FAULTS_MAX;
                match found.filter(|_| !is_full) {
                    Some(fault) => args.faults.push(fault),
                    None => return Err(UsageError::Fault(text)),
                }
            }
            Opt::Interactive => args.interactive = true,
            Opt::Device => args.device = Some(value.path()?),
            _ => return Err(value.unexpected()),
        }
    }
    Ok(Command::Demo(args))
}

/// A whole number and its unit; at most [`RUN_FOR_MAX`].
fn duration(text: &str) -> Option<Duration> {
    parse_length(text)
        .ok()
        .filter(|duration| *duration <= RUN_FOR_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn demo(words: &str) -> Result<Command, UsageError> {
        let words = ["demo"].into_iter().chain(words.split_whitespace());
        parse(words).map_err(|rejected| {
            assert_eq!(rejected.tool, Tool::Demo);
            rejected.error
        })
    }

    #[test]
    fn a_seed_and_a_time_are_taken_and_neither_is_needed() {
        let table = [
            ("", None, None),
            ("--seed 0", Some(0), None),
            ("--seed=18446744073709551615", Some(u64::MAX), None),
            ("--for 60s", None, Some(60_000)),
            ("--for 500ms --seed 7", Some(7), Some(500)),
            ("--for=5m", None, Some(300_000)),
            ("--for 1h", None, Some(3_600_000)),
        ];
        for (words, seed, millis) in table {
            let run_for = millis.map(Duration::from_millis);
            let expected = Command::Demo(DemoArgs {
                seed,
                run_for,
                ..DemoArgs::default()
            });
            assert_eq!(demo(words), Ok(expected), "{words}");
        }
        let words = "--fault power-cut --interactive --fault=cut --fault cut";
        let expected = DemoArgs {
            faults: vec![Fault::PowerCut, Fault::Cut, Fault::Cut],
            interactive: true,
            ..DemoArgs::default()
        };
        assert_eq!(demo(words), Ok(Command::Demo(expected)));
        let expected = DemoArgs {
            device: Some("/tmp/x".into()),
            ..DemoArgs::default()
        };
        assert_eq!(demo("--device /tmp/x"), Ok(Command::Demo(expected)));
        assert_eq!(demo("--help"), Ok(Command::Help(Tool::Demo)));
        assert_eq!(demo("--seed 1 --version"), Ok(Command::Version));
    }

    #[test]
    fn what_is_no_seed_no_time_or_not_known_is_rejected() {
        for text in ["", "x", "-1", "1.5", "18446744073709551616"] {
            let rejected = demo(&format!("--seed={text}"));
            assert_eq!(rejected, Err(UsageError::Seed(text.to_owned())));
        }
        for text in [
            "",
            "60",
            "s",
            "1.5s",
            "60 s",
            "-1s",
            "1d",
            "61m",
            "2h",
            "99999999999999999h",
        ] {
            let word = format!("--for={text}");
            let rejected = parse(["demo", &word]).unwrap_err().error;
            assert_eq!(rejected, UsageError::RunFor(text.to_owned()));
        }
        for text in ["", "cuts", "Cut", "all"] {
            let rejected = demo(&format!("--fault={text}"));
            assert_eq!(rejected, Err(UsageError::Fault(text.to_owned())));
        }
        let too_many = "--fault cut ".repeat(DEMO_FAULTS_MAX + 1);
        assert_eq!(demo(&too_many), Err(UsageError::Fault("cut".to_owned())));
        for word in ["-h", "--host", "again", "--seed=1=2 x"] {
            let rejected = demo(word);
            assert!(rejected.is_err(), "{word}: {rejected:?}");
        }
        let missing = UsageError::MissingValue("--for".to_owned());
        assert_eq!(demo("--for"), Err(missing));
    }
}
