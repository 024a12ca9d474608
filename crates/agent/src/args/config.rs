//! The words after `agent check-config`, `agent config` and `agent init`, and those by which every
//! tool is told where the configuration comes from.

use std::path::PathBuf;

use super::flags::Opt;
use super::words::{Value, Word, Words};
use super::{Command, Tool, UsageError};
use crate::config::{Assignment, Level, Source};

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceArgs {
    /// The file that takes the place of `/etc/agent` (`--config`).
    pub file: Option<PathBuf>,
    /// The folder below which `/etc` and `/usr` are looked for (`--root`).
    pub root: Option<PathBuf>,
    /// What is set over everything else (`--set`, `--state-dir`).
    pub set: Vec<Assignment>,
}

impl SourceArgs {
    /// Returns the layers, with the environment of this process.
    #[must_use]
    pub fn source(&self) -> Source {
        let mut source = Source::system();
        if let Some(root) = &self.root {
            source = source.root(root);
        }
        if let Some(file) = &self.file {
            source = source.file(file);
        }
        self.set.iter().cloned().fold(source, Source::assign)
    }

    /// Takes an option, if it is one of these; gives it back if not.
    pub(super) fn take<'a>(
        &mut self,
        opt: Opt,
        mut value: Value<'a>,
    ) -> Result<Option<Value<'a>>, UsageError> {
        match opt {
            Opt::Config => self.file = Some(value.path()?),
            Opt::Root => self.root = Some(value.path()?),
            Opt::Set => {
                let text = value.text()?;
                self.set.push(text.parse().map_err(UsageError::Setting)?);
            }
            Opt::StateDir => self.set.push(Assignment::state_dir(&value.text()?)),
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }
}

/// What `agent check-config` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// How much is checked.
    pub level: Level,
    /// Whether warnings are errors.
    pub deny_warnings: bool,
}

/// What `agent config` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// What to print of it.
    pub print: ConfigPrint,
}

/// What `agent config` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigPrint {
    /// Every setting.
    Show {
        /// Also where each comes from.
        origin: bool,
        /// As JSON, which has that in any case.
        json: bool,
    },
    /// One setting.
    Get(String),
    /// The keys that there are, of one table or of all.
    List {
        /// Also what they mean.
        doc: bool,
        /// As a document.
        markdown: bool,
        /// The table.
        section: Option<String>,
    },
}

pub(super) fn check(words: &mut Words) -> Result<Command, UsageError> {
    let mut args = CheckArgs {
        source: SourceArgs::default(),
        level: Level::Files,
        deny_warnings: false,
    };
    while let Some((opt, value)) = words.next_flag()? {
        let Some(mut value) = args.source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::CheckConfig)),
            Opt::Version => return Ok(Command::Version),
            Opt::DenyWarnings => args.deny_warnings = true,
            Opt::Level => {
                args.level = match value.text()?.as_str() {
                    "syntax" => Level::Syntax,
                    "files" => Level::Files,
                    other => return Err(UsageError::Level(other.to_owned())),
                }
            }
            _ => return Err(value.unexpected()),
        }
    }
    Ok(Command::CheckConfig(args))
}

pub(super) fn config(words: &mut Words) -> Result<Command, UsageError> {
    let mut source = SourceArgs::default();
    let (mut origin, mut json, mut doc, mut markdown) = (None, None, None, None);
    let mut operands = Vec::new();
    while let Some(word) = words.next()? {
        let (opt, value) = match word {
            Word::Flag(opt, value) => (opt, value),
            Word::Operand(word) => {
                operands.push(word.to_string_lossy().into_owned());
                continue;
            }
        };
        let Some(value) = source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Config)),
            Opt::Version => return Ok(Command::Version),
            Opt::Origin => origin = Some(value.unexpected()),
            Opt::Json => json = Some(value.unexpected()),
            Opt::Doc => doc = Some(value.unexpected()),
            Opt::Markdown => markdown = Some(value.unexpected()),
            _ => return Err(value.unexpected()),
        }
    }
    let mut operands = operands.into_iter();
    let print = match (operands.next().as_deref(), operands.next(), operands.next()) {
        (_, _, Some(word)) => return Err(UsageError::UnknownOption(word)),
        (Some("show"), None, _) => ConfigPrint::Show {
            origin: origin.take().is_some(),
            json: json.take().is_some(),
        },
        (Some("get"), Some(key), _) => ConfigPrint::Get(key),
        (Some("list"), section, _) => ConfigPrint::List {
            doc: doc.take().is_some(),
            markdown: markdown.take().is_some(),
            section,
        },
        (Some("show"), Some(word), _) => return Err(UsageError::UnknownOption(word)),
        (Some("get"), None, _) => return Err(UsageError::NoKey),
        (None, ..) => return Err(UsageError::ConfigWord(String::new())),
        (Some(other), ..) => return Err(UsageError::ConfigWord(other.to_owned())),
    };
    // An option of one that was given to another.
    match origin.or(json).or(doc).or(markdown) {
        Some(unexpected) => Err(unexpected),
        None => Ok(Command::Config(ConfigArgs { source, print })),
    }
}

pub(super) fn init(words: &mut Words) -> Result<Command, UsageError> {
    match words.next_flag()? {
        None => Ok(Command::Init),
        Some((Opt::Help, _)) => Ok(Command::Help(Tool::Init)),
        Some((Opt::Version, _)) => Ok(Command::Version),
        Some((_, value)) => Err(value.unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn parsed(words: &str) -> Result<Command, UsageError> {
        parse(words.split_whitespace()).map_err(|rejected| rejected.error)
    }

    #[test]
    fn a_configuration_is_checked_as_far_as_is_asked_for() {
        let source = SourceArgs {
            file: Some(PathBuf::from("a.toml")),
            root: Some(PathBuf::from("/mnt")),
            set: vec![
                "cloud.keep_alive=30s".parse().unwrap(),
                Assignment::state_dir("/data"),
            ],
        };
        let words =
            "check-config -c a.toml --root /mnt --set cloud.keep_alive=30s --state-dir=/data";
        let args = CheckArgs {
            source,
            level: Level::Files,
            deny_warnings: false,
        };
        assert_eq!(parsed(words), Ok(Command::CheckConfig(args.clone())));
        let strict = CheckArgs {
            level: Level::Syntax,
            deny_warnings: true,
            ..args
        };
        let words = format!("{words} --level syntax --deny-warnings");
        assert_eq!(parsed(&words), Ok(Command::CheckConfig(strict)));
        for (words, error) in [
            (
                "check-config --level all",
                UsageError::Level("all".to_owned()),
            ),
            ("check-config a", UsageError::UnknownOption("a".to_owned())),
            (
                "check-config --origin",
                UsageError::UnknownOption("--origin".to_owned()),
            ),
        ] {
            assert_eq!(parsed(words), Err(error), "{words}");
        }
        let wrong = parsed("check-config --set keep_alive=30s");
        assert!(matches!(wrong, Err(UsageError::Setting(_))), "{wrong:?}");
    }

    #[test]
    fn what_is_printed_of_a_configuration_is_chosen_by_a_word() {
        let section = || Some("cloud".to_owned());
        for (words, print) in [
            (
                "config show",
                ConfigPrint::Show {
                    origin: false,
                    json: false,
                },
            ),
            (
                "config show --origin",
                ConfigPrint::Show {
                    origin: true,
                    json: false,
                },
            ),
            (
                "config --json show",
                ConfigPrint::Show {
                    origin: false,
                    json: true,
                },
            ),
            (
                "config get cloud.user",
                ConfigPrint::Get("cloud.user".to_owned()),
            ),
            (
                "config list",
                ConfigPrint::List {
                    doc: false,
                    markdown: false,
                    section: None,
                },
            ),
            (
                "config list --doc cloud",
                ConfigPrint::List {
                    doc: true,
                    markdown: false,
                    section: section(),
                },
            ),
            (
                "config list --markdown",
                ConfigPrint::List {
                    doc: false,
                    markdown: true,
                    section: None,
                },
            ),
        ] {
            let source = SourceArgs::default();
            assert_eq!(
                parsed(words),
                Ok(Command::Config(ConfigArgs { source, print })),
                "{words}"
            );
        }
        let unknown = |word: &str| UsageError::UnknownOption(word.to_owned());
        for (words, error) in [
            ("config", UsageError::ConfigWord(String::new())),
            (
                "config set a.b c",
                UsageError::UnknownOption("c".to_owned()),
            ),
            ("config drop", UsageError::ConfigWord("drop".to_owned())),
            ("config get", UsageError::NoKey),
            ("config get a --doc", unknown("--doc")),
            ("config list --origin", unknown("--origin")),
            ("config show a", unknown("a")),
            ("config show --level files", unknown("--level")),
        ] {
            assert_eq!(parsed(words), Err(error), "{words}");
        }
        assert_eq!(parsed("init"), Ok(Command::Init));
        assert_eq!(parsed("init --help"), Ok(Command::Help(Tool::Init)));
        assert_eq!(parsed("init x"), Err(unknown("x")));
    }
}
