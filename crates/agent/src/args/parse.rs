//! From words to what they mean: the tool, and then each word in its turn.

use std::time::Duration;

use lexopt::Arg;

use super::flags::Opt;
use super::given::Given;
use super::words::{self, Value, Word, Words};
use super::{
    Command, CompletionsArgs, ExplainArgs, Rejected, RunArgs, Shell, SourceArgs, Tool, UsageError,
    config, control, demo, doctor, identity,
};
use crate::config::parse_length;

/// Understands all words.
pub(super) fn command(mut parser: lexopt::Parser) -> Result<Command, Rejected> {
    let tool = match choose(&mut parser) {
        Ok(Choice::Tool(tool)) => tool,
        Ok(Choice::Command(command)) => return Ok(command),
        Err(error) => {
            return Err(Rejected {
                tool: Tool::Agent,
                error,
            });
        }
    };
    let mut words = Words::new(tool, parser);
    let command = match tool {
        Tool::Agent => Err(UsageError::NoCommand),
        Tool::Run => run(&mut words),
        Tool::Pub | Tool::Sub | Tool::Request => Given::parse(tool, &mut words),
        Tool::CheckConfig => config::check(&mut words),
        Tool::Config => config::config(&mut words),
        Tool::Init => config::init(&mut words),
        Tool::Explain => explain(&mut words),
        Tool::Demo => demo::parse(&mut words),
        Tool::Provision => identity::provision(&mut words),
        Tool::Deprovision => identity::deprovision(&mut words),
        Tool::Cert => identity::cert(&mut words),
        Tool::Doctor => doctor::parse(&mut words),
        Tool::Status | Tool::Fibers | Tool::Queue | Tool::Wait | Tool::Reload => {
            control::parse(tool, &mut words)
        }
        Tool::Completions => completions(&mut words),
        Tool::Man => man(&mut words),
    };
    command.map_err(|error| Rejected { tool, error })
}

enum Choice {
    Tool(Tool),
    Command(Command),
}

/// Understands the first word.
fn choose(parser: &mut lexopt::Parser) -> Result<Choice, UsageError> {
    let Some(arg) = parser.next().map_err(UsageError::from_parser)? else {
        return Err(UsageError::NoCommand);
    };
    match arg {
        Arg::Long("help") => Ok(Choice::Command(Command::Help(Tool::Agent))),
        Arg::Long("version") => Ok(Choice::Command(Command::Version)),
        Arg::Value(word) => match word.to_str().and_then(Tool::find) {
            Some(tool) => Ok(Choice::Tool(tool)),
            None => Err(UsageError::UnknownCommand(
                word.to_string_lossy().into_owned(),
            )),
        },
        Arg::Short(_) | Arg::Long(_) => Err(UsageError::UnknownOption(words::spelled(&arg))),
    }
}

fn run(words: &mut Words) -> Result<Command, UsageError> {
    let (mut source, mut limit, mut debug) = (SourceArgs::default(), None, false);
    while let Some((opt, value)) = words.next_flag()? {
        let Some(mut value) = source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Run)),
            Opt::Version => return Ok(Command::Version),
            Opt::For => limit = Some(length(&mut value, UsageError::For)?),
            Opt::Debug => debug = true,
            _ => return Err(value.unexpected()),
        }
    }
    Ok(Command::Run(RunArgs {
        source,
        limit,
        debug,
    }))
}

fn explain(words: &mut Words) -> Result<Command, UsageError> {
    let mut args = ExplainArgs::default();
    while let Some(word) = words.next()? {
        match word {
            Word::Flag(Opt::Help, _) => return Ok(Command::Help(Tool::Explain)),
            Word::Flag(Opt::Version, _) => return Ok(Command::Version),
            Word::Flag(Opt::Markdown, _) => args.markdown = true,
            Word::Flag(_, value) => return Err(value.unexpected()),
            Word::Operand(code) => args.codes.push(code.to_string_lossy().into_owned()),
        }
    }
    Ok(Command::Explain(args))
}

fn completions(words: &mut Words) -> Result<Command, UsageError> {
    let mut shell = None;
    while let Some(word) = words.next()? {
        match word {
            Word::Flag(Opt::Help, _) => return Ok(Command::Help(Tool::Completions)),
            Word::Flag(Opt::Version, _) => return Ok(Command::Version),
            Word::Flag(_, value) => return Err(value.unexpected()),
            Word::Operand(word) => {
                shell = Some(match word.to_str() {
                    Some("bash") => Shell::Bash,
                    Some("zsh") => Shell::Zsh,
                    Some("fish") => Shell::Fish,
                    _ => return Err(UsageError::Shell(word.to_string_lossy().into_owned())),
                });
            }
        }
    }
    let shell = shell.ok_or_else(|| UsageError::Shell(String::new()))?;
    Ok(Command::Completions(CompletionsArgs { shell }))
}

fn man(words: &mut Words) -> Result<Command, UsageError> {
    match words.next_flag()? {
        None => Ok(Command::Man),
        Some((Opt::Help, _)) => Ok(Command::Help(Tool::Man)),
        Some((Opt::Version, _)) => Ok(Command::Version),
        Some((_, value)) => Err(value.unexpected()),
    }
}

/// A length of time with its unit.
pub(super) fn length(
    value: &mut Value<'_>,
    wrong: fn(String) -> UsageError,
) -> Result<Duration, UsageError> {
    let text = value.text()?;
    parse_length(&text).map_err(|_| wrong(text))
}
