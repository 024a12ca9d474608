//! The words after `agent doctor`.

use std::path::PathBuf;

use lexopt::Arg;

use super::option;
use super::parse::Value;
use super::{Command, Tool, UsageError};
use crate::doctor;

/// What `agent doctor` is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorArgs {
    /// The configuration (`--config`); the system's unless given.
    pub config: Option<PathBuf>,
    /// The folder for what is kept (`--state-dir`).
    pub state_dir: Option<PathBuf>,
    /// Whether to print JSON.
    pub json: bool,
    /// These checks alone, and what they need (`--only`).
    pub only: Vec<&'static str>,
    /// Not these (`--skip`).
    pub skip: Vec<&'static str>,
    /// Whether to list the checks and do nothing.
    pub list: bool,
    /// Whether warnings count for the exit code.
    pub deny_warnings: bool,
    /// Whether to connect even where the agent runs.
    pub takeover: bool,
    /// Whether to publish to the topics themselves.
    pub touch: bool,
    /// Whether to log everything.
    pub debug: bool,
}

/// Understands them.
pub(super) fn parse(parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let mut args = DoctorArgs::default();
    while let Some(arg) = parser.next().map_err(UsageError::from_parser)? {
        let name = option::spelled(&arg);
        if let Arg::Value(_) = arg {
            return Err(UsageError::UnknownOption(name));
        }
        let mut value = Value {
            name: &name,
            parser: &mut *parser,
        };
        match name.as_str() {
            "--help" => return Ok(Command::Help(Tool::Doctor)),
            "--version" => return Ok(Command::Version),
            "--config" => args.config = Some(value.path()?),
            "--state-dir" => args.state_dir = Some(value.path()?),
            "--json" => args.json = true,
            "--only" => args.only = checks(&value.text()?)?,
            "--skip" => args.skip = checks(&value.text()?)?,
            "--list" => args.list = true,
            "--deny-warnings" => args.deny_warnings = true,
            "--takeover" => args.takeover = true,
            "--touch" => args.touch = true,
            "-d" | "--debug" => args.debug = true,
            _ => return Err(UsageError::UnknownOption(name)),
        }
    }
    Ok(Command::Doctor(Box::new(args)))
}

/// Names of checks, between commas.
fn checks(text: &str) -> Result<Vec<&'static str>, UsageError> {
    let names = text.split(',').map(str::trim);
    let known = names.map(|name| match doctor::check(name) {
        Some(check) => Ok(check.id),
        None => Err(UsageError::UnknownCheck(name.to_owned())),
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    fn doctor(words: &[&str]) -> Result<Box<DoctorArgs>, UsageError> {
        let words = ["doctor"].iter().chain(words).copied();
        match parse(words).map_err(|rejected| rejected.error)? {
            Command::Doctor(args) => Ok(args),
            other => panic!("expected the doctor, found {other:?}"),
        }
    }

    #[test]
    fn checks_are_named_and_a_strange_name_is_refused() {
        let args = doctor(&[
            "--config",
            "a.toml",
            "--only",
            "tls,dns",
            "--skip=ping",
            "--json",
        ]);
        let args = args.expect("understood");
        assert_eq!(args.only, ["tls", "dns"]);
        assert_eq!(args.skip, ["ping"]);
        assert!(args.json && !args.takeover);
        let refused = doctor(&["--config", "a.toml", "--only", "tsl"]).expect_err("strange");
        assert_eq!(refused, UsageError::UnknownCheck("tsl".to_owned()));
    }
}
