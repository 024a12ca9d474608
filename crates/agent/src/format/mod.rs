//! How `-F` lays out a message: the grammar of `mosquitto_sub`, byte for byte.
//!
//! ```text
//!   % [-] [0] [width] [.precision] letter      a part of the message
//!   @ letter                                   a part of the time, as strftime; @N nanoseconds
//!   \ letter                                   \\ \0 \a \e \n \r \t \v
//! ```
//!
//! A [`Format`] is understood once and then applied to every message. It is pure: the time is given.
//! What real programs print was compared with what this prints, oddities included: a width cuts a
//! payload and never a topic, and counts the digits of a payload in hexadecimal before it cuts the
//! bytes. `%b` is ours: the payload in base64.

mod json;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use mqtt::QoS;

pub use self::json::JSON_DEPTH_MAX;
pub use self::time::Moment;

/// Largest width of a field, in bytes.
pub const FIELD_WIDTH_MAX: usize = 65_535;

/// What a format is applied to.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever prints a message has all of it"
)]
pub struct Fields<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
    /// The quality of service it was delivered with.
    pub qos: QoS,
    /// Whether the broker had kept it from before.
    pub retain: bool,
    /// The packet identifier; 0 at QoS 0.
    pub packet_id: u16,
}

/// A layout that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Part(Part, Layout),
    Time(u8),
    Nanoseconds,
}

/// What a letter after `%` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `%A %E %F %S`: a number among the properties of MQTT 5, which 3.1.1 has not.
    NoNumber,
    /// `%C`: a text among them, as wide as it is asked for.
    NoText,
    /// `%D %P %R`: those that have no width.
    Nothing,
    /// `%I`
    Iso,
    /// `%U`
    Seconds,
    /// `%j`, and `%J` with the payload as JSON
    Json { nested: bool },
    /// `%l`
    Length,
    /// `%m`
    PacketId,
    /// `%p`
    Payload,
    /// `%x`, and `%X` in capitals
    Hexadecimal { capital: bool },
    /// `%b`
    Base64,
    /// `%q`
    QoS,
    /// `%r`
    Retain,
    /// `%t`
    Topic,
}

/// What stands between `%` and the letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layout {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Why a text is no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// It ends where a letter after `%` or `@` must stand.
    Incomplete,
    /// It ends after a backslash.
    IncompleteEscape,
    /// There is no such letter after `%`.
    Letter(char),
    /// There is no such letter after a backslash.
    Escape(char),
    /// A field is wider than [`FIELD_WIDTH_MAX`].
    Width,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("incomplete format specifier"),
            Self::IncompleteEscape => f.write_str("incomplete escape specifier"),
            Self::Letter(found) => write!(f, "invalid format specifier {found:?}"),
            Self::Escape(found) => write!(f, "invalid escape specifier {found:?}"),
            Self::Width => write!(f, "a field is wider than {FIELD_WIDTH_MAX}"),
        }
    }
}

impl std::error::Error for FormatError {}

/// The payload is to be shown as JSON, and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload is not valid JSON")
    }
}

impl std::error::Error for NotJson {}

impl Format {
    /// Understands a layout.
    ///
    /// # Errors
    ///
    /// [`FormatError`]: the first fault in it.
    pub fn parse(text: &[u8]) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            let piece = match byte {
                b'%' => match part(&mut rest)? {
                    None => {
                        literal.push(b'%');
                        continue;
                    }
                    Some(piece) => piece,
                },
                b'@' => match take(&mut rest).ok_or(FormatError::Incomplete)? {
                    b'@' => {
                        literal.push(b'@');
                        continue;
                    }
                    b'N' => Piece::Nanoseconds,
                    letter => Piece::Time(letter),
                },
                b'\\' => {
                    literal.push(escape(&mut rest)?);
                    continue;
                }
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// Appends the message as laid out, without a line end. `pretty` breaks JSON into lines.
    ///
    /// # Errors
    ///
    /// [`NotJson`] for `%J` with a payload that is no JSON; everything else is appended all the same.
    pub fn apply(
        &self,
        message: &Fields<'_>,
        moment: &Moment,
        pretty: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut outcome = Ok(());
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Nanoseconds => out.extend(format!("{:09}", moment.nanoseconds()).bytes()),
                Piece::Time(letter) => moment.write(*letter, out),
                Piece::Part(Part::Json { nested }, _) => {
                    let written = json::write(message, moment, *nested, pretty, out);
                    outcome = outcome.and(written);
                }
                Piece::Part(part, layout) => apply_part(*part, *layout, message, moment, out),
            }
        }
        outcome
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

/// The character that a text begins with, for an error.
fn shown(letter: u8, rest: &[u8]) -> char {
    let mut bytes = vec![letter];
    bytes.extend(rest.iter().take(3));
    String::from_utf8_lossy(&bytes)
        .chars()
        .next()
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// What follows a `%`; nothing for a second one.
fn part(rest: &mut &[u8]) -> Result<Option<Piece>, FormatError> {
    let mut layout = Layout::default();
    let next = |rest: &mut &[u8]| take(rest).ok_or(FormatError::Incomplete);
    let mut letter = next(rest)?;
    if letter == b'-' {
        layout.left = true;
        letter = next(rest)?;
    }
    if letter == b'0' {
        layout.zero = true;
        letter = next(rest)?;
    }
    while letter.is_ascii_digit() {
        layout.width = layout.width * 10 + usize::from(letter - b'0');
        if layout.width > FIELD_WIDTH_MAX {
            return Err(FormatError::Width);
        }
        letter = next(rest)?;
    }
    if letter == b'.' {
        let mut precision: usize = 0;
        letter = next(rest)?;
        while letter.is_ascii_digit() {
            precision = precision
                .saturating_mul(10)
                .saturating_add(usize::from(letter - b'0'));
            letter = next(rest)?;
        }
        layout.precision = Some(precision);
    }
    let part = match letter {
        b'%' => return Ok(None),
        b'A' | b'E' | b'F' | b'S' => Part::NoNumber,
        b'C' => Part::NoText,
        b'D' | b'P' | b'R' => Part::Nothing,
        b'I' => Part::Iso,
        b'U' => Part::Seconds,
        b'j' => Part::Json { nested: false },
        b'J' => Part::Json { nested: true },
        b'l' => Part::Length,
        b'm' => Part::PacketId,
        b'p' => Part::Payload,
        b'x' => Part::Hexadecimal { capital: false },
        b'X' => Part::Hexadecimal { capital: true },
        b'b' => Part::Base64,
        b'q' => Part::QoS,
        b'r' => Part::Retain,
        b't' => Part::Topic,
        other => return Err(FormatError::Letter(shown(other, rest))),
    };
    Ok(Some(Piece::Part(part, layout)))
}

fn escape(rest: &mut &[u8]) -> Result<u8, FormatError> {
    match take(rest).ok_or(FormatError::IncompleteEscape)? {
        b'\\' => Ok(b'\\'),
        b'0' => Ok(0),
        b'a' => Ok(0x07),
        b'e' => Ok(0x1b),
        b'n' => Ok(b'\n'),
        b'r' => Ok(b'\r'),
        b't' => Ok(b'\t'),
        b'v' => Ok(0x0b),
        other => Err(FormatError::Escape(shown(other, rest))),
    }
}

fn apply_part(
    part: Part,
    layout: Layout,
    message: &Fields<'_>,
    moment: &Moment,
    out: &mut Vec<u8>,
) {
    match part {
        Part::NoNumber => pad(layout.width, layout.zero, out),
        Part::NoText => pad(layout.width, false, out),
        Part::Nothing | Part::Json { .. } => {}
        Part::Iso => text(moment.iso().as_bytes(), layout, out),
        Part::Seconds => out.extend(moment.seconds().bytes()),
        Part::Length => number(message.payload.len(), layout, out),
        Part::PacketId => number(message.packet_id.into(), layout, out),
        Part::Payload => payload(message.payload, layout, out),
        Part::Hexadecimal { capital } => hexadecimal(message.payload, capital, layout, out),
        Part::Base64 => {
            let encoded = data_encoding::BASE64.encode(message.payload);
            text(encoded.as_bytes(), layout, out);
        }
        Part::QoS => out.push(b'0' + message.qos as u8),
        Part::Retain => out.push(b'0' + u8::from(message.retain)),
        Part::Topic => text(message.topic.as_bytes(), layout, out),
    }
}

fn pad(count: usize, zero: bool, out: &mut Vec<u8>) {
    let with = if zero { b'0' } else { b' ' };
    out.resize(out.len() + count, with);
}

/// A text, cut to the precision and filled with blanks to the width; both are bytes.
fn text(bytes: &[u8], layout: Layout, out: &mut Vec<u8>) {
    let len = layout.precision.unwrap_or(usize::MAX).min(bytes.len());
    let fill = layout.width.saturating_sub(len);
    if !layout.left {
        pad(fill, false, out);
    }
    out.extend_from_slice(&bytes[..len]);
    if layout.left {
        pad(fill, false, out);
    }
}

fn number(number: usize, layout: Layout, out: &mut Vec<u8>) {
    let digits = number.to_string();
    let fill = layout.width.saturating_sub(digits.len());
    if !layout.left {
        pad(fill, layout.zero, out);
    }
    out.extend(digits.bytes());
    if layout.left {
        pad(fill, false, out);
    }
}

/// The payload, cut and filled to the width.
fn payload(bytes: &[u8], layout: Layout, out: &mut Vec<u8>) {
    let len = match layout.width {
        0 => bytes.len(),
        width => bytes.len().min(width),
    };
    let fill = layout.width.saturating_sub(len);
    if !layout.left {
        pad(fill, layout.zero, out);
    }
    out.extend_from_slice(&bytes[..len]);
    if layout.left {
        pad(fill, false, out);
    }
}

/// The payload in hexadecimal. With a width half of what fits as bytes is shown, as theirs does.
fn hexadecimal(bytes: &[u8], capital: bool, layout: Layout, out: &mut Vec<u8>) {
    let len = match layout.width {
        0 => bytes.len(),
        width => bytes.len().min(width) / 2,
    };
    let fill = layout.width.saturating_sub(len * 2);
    if !layout.left {
        pad(fill, layout.zero, out);
    }
    let encoding = match capital {
        true => &data_encoding::HEXUPPER,
        false => &data_encoding::HEXLOWER,
    };
    out.extend(encoding.encode(&bytes[..len]).bytes());
    if layout.left {
        pad(fill, false, out);
    }
}
