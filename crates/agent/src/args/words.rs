//! The words after a tool's name, one by one: options of the tool's table with their values, and
//! words that are none.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg;

use super::flags::{self, Opt};
use super::{Tool, UsageError};

/// The words of one tool that are still to be understood.
pub(super) struct Words {
    tool: Tool,
    parser: lexopt::Parser,
}

/// A word.
pub(super) enum Word<'a> {
    /// An option of the tool, and its value, if it has one, still to be taken.
    Flag(Opt, Value<'a>),
    /// A word that is no option.
    Operand(OsString),
}

impl Words {
    pub(super) const fn new(tool: Tool, parser: lexopt::Parser) -> Self {
        Self { tool, parser }
    }

    /// Returns the next one.
    pub(super) fn next(&mut self) -> Result<Option<Word<'_>>, UsageError> {
        let Some(arg) = self.parser.next().map_err(UsageError::from_parser)? else {
            return Ok(None);
        };
        let name = match arg {
            Arg::Value(word) => return Ok(Some(Word::Operand(word))),
            other => spelled(&other),
        };
        let opt = flags::look_up(self.tool, &name)?;
        let parser = &mut self.parser;
        Ok(Some(Word::Flag(opt, Value { name, parser })))
    }

    /// As [`Words::next`], where there are only options.
    pub(super) fn next_flag(&mut self) -> Result<Option<(Opt, Value<'_>)>, UsageError> {
        match self.next()? {
            None => Ok(None),
            Some(Word::Flag(opt, value)) => Ok(Some((opt, value))),
            Some(Word::Operand(word)) => Err(UsageError::UnknownOption(
                word.to_string_lossy().into_owned(),
            )),
        }
    }
}

/// The argument as it was written.
pub(super) fn spelled(arg: &Arg<'_>) -> String {
    match arg {
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
        Arg::Value(word) => word.to_string_lossy().into_owned(),
    }
}

/// An option's value, still to be taken.
pub(super) struct Value<'a> {
    name: String,
    parser: &'a mut lexopt::Parser,
}

impl Value<'_> {
    /// The option, for one that the tool's table has and its parser does not.
    pub(super) fn unexpected(self) -> UsageError {
        UsageError::UnknownOption(self.name)
    }

    fn raw(&mut self) -> Result<OsString, UsageError> {
        self.parser
            .value()
            .map_err(|_| UsageError::MissingValue(self.name.clone()))
    }

    pub(super) fn path(&mut self) -> Result<PathBuf, UsageError> {
        self.raw().map(PathBuf::from)
    }

    /// The value as it was given, text or not.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, UsageError> {
        self.raw().map(OsString::into_encoded_bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, UsageError> {
        self.raw()?
            .into_string()
            .map_err(|_| UsageError::NotUnicode(self.name.clone()))
    }

    /// Digits alone: no sign, no blank, no unit.
    pub(super) fn number<T: std::str::FromStr>(
        &mut self,
        wrong: fn(String) -> UsageError,
    ) -> Result<T, UsageError> {
        let text = self.text()?;
        digits(&text).ok_or_else(|| wrong(text))
    }

    /// Digits and perhaps a dot among them: no sign, no exponent.
    pub(super) fn decimal(&mut self, wrong: fn(String) -> UsageError) -> Result<f64, UsageError> {
        let text = self.text()?;
        let usual = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        match text.parse() {
            Ok(number) if usual => Ok(number),
            _ => Err(wrong(text)),
        }
    }
}

/// Understands digits alone.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let usual = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| usual)
}
