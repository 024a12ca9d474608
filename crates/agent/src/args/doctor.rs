//! The words after `agent doctor`.

use std::time::Duration;

use super::flags::Opt;
use super::parse::length;
use super::words::{Value, Words};
use super::{Command, SourceArgs, Tool, UsageError};
use crate::doctor;

/// The least time from the beginning of one examination of `--watch` to that of the next.
pub const DOCTOR_WATCH_MIN: Duration = Duration::from_secs(5);

/// What `agent doctor` is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// Whether to print what shows it also where all is well (`--verbose`).
    pub verbose: bool,
    /// How often to examine again (`--watch`); once unless given.
    pub watch: Option<Duration>,
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
pub(super) fn parse(words: &mut Words) -> Result<Command, UsageError> {
    let mut args = DoctorArgs::default();
    while let Some((opt, value)) = words.next_flag()? {
        let Some(mut value) = args.source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Doctor)),
            Opt::Version => return Ok(Command::Version),
            Opt::Verbose => args.verbose = true,
            Opt::Watch => args.watch = Some(watch(&mut value)?),
            Opt::Json => args.json = true,
            Opt::Only => args.only = checks(&value.text()?)?,
            Opt::Skip => args.skip = checks(&value.text()?)?,
            Opt::List => args.list = true,
            Opt::DenyWarnings => args.deny_warnings = true,
            Opt::Takeover => args.takeover = true,
            Opt::Touch => args.touch = true,
            Opt::Debug => args.debug = true,
            _ => return Err(value.unexpected()),
        }
    }
    Ok(Command::Doctor(Box::new(args)))
}

/// How often to examine; providers count connections, and each examination is one.
fn watch(value: &mut Value<'_>) -> Result<Duration, UsageError> {
    let every = length(value, UsageError::Watch)?;
    match every >= DOCTOR_WATCH_MIN {
        true => Ok(every),
        false => Err(UsageError::Watch(format!("{} ms", every.as_millis()))),
    }
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
        let watch = |every| doctor(&["-v", "--watch", every]);
        let args = watch("1m").expect("understood");
        assert!(args.verbose && args.watch == Some(Duration::from_secs(60)));
        let refused = watch("4s").expect_err("too often");
        assert_eq!(refused, UsageError::Watch("4000 ms".to_owned()));
        let refused = doctor(&["--config", "a.toml", "--only", "tsl"]).expect_err("strange");
        assert_eq!(refused, UsageError::UnknownCheck("tsl".to_owned()));
    }
}
