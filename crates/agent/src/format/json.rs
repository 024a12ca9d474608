//! A message as JSON, and a payload that is JSON in it, written as cJSON writes it.
//!
//! The payload is read and written again in one pass: the order of names and those that are there
//! twice stay, blanks go, numbers have 15 digits or 17. What cJSON takes beyond RFC 8259 is taken:
//! leading zeros, a dot without a digit after it, control characters in strings.

use super::{Fields, Moment, NotJson};

/// How deeply arrays and objects of a payload may be nested.
pub const JSON_DEPTH_MAX: usize = 1_000;

/// Characters of a number that count.
const NUMBER_LEN: usize = 63;

/// Appends the message; `nested` takes the payload as JSON, else it is a string.
pub(super) fn write(
    message: &Fields<'_>,
    moment: &Moment,
    nested: bool,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let payload = match (message.payload, nested) {
        (b"", _) => b"null".to_vec(),
        (payload, true) => transform(payload, pretty)?,
        (payload, false) => {
            let mut text = Vec::with_capacity(payload.len() + 2);
            write_string(payload, &mut text);
            text
        }
    };
    let mut topic = Vec::new();
    write_string(message.topic.as_bytes(), &mut topic);
    let mut members: Vec<(&str, Vec<u8>)> = vec![
        ("tst", format!("\"{}\"", moment.json()).into_bytes()),
        ("topic", topic),
        ("qos", (message.qos as u8).to_string().into_bytes()),
        ("retain", u8::from(message.retain).to_string().into_bytes()),
        ("payloadlen", message.payload.len().to_string().into_bytes()),
    ];
    if message.packet_id > 0 {
        members.push(("mid", message.packet_id.to_string().into_bytes()));
    }
    members.push(("payload", payload));
    let (open, between, colon, close): (&str, &str, &str, &str) = match pretty {
        true => ("{\n\t", ",\n\t", ":\t", "\n}"),
        false => ("{", ",", ":", "}"),
    };
    for (n, (name, value)) in members.iter().enumerate() {
        out.extend(if n == 0 { open } else { between }.bytes());
        out.extend(format!("\"{name}\"{colon}").bytes());
        out.extend_from_slice(value);
    }
    out.extend(close.bytes());
    Ok(())
}

/// Appends a string with its quotes; it ends at the first null, as texts in C do.
fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes.iter().take_while(|byte| **byte != 0) {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..=0x1f => out.extend(format!("\\u{byte:04x}").bytes()),
            other => out.push(other),
        }
    }
    out.push(b'"');
}

/// Writes a number with as few digits as give it back.
fn write_number(number: f64, out: &mut Vec<u8>) {
    if !number.is_finite() {
        out.extend(b"null");
        return;
    }
    let short = general(number, 15);
    let read: f64 = short.parse().unwrap_or(f64::NAN);
    let largest = number.abs().max(read.abs());
    let text = match (read - number).abs() <= largest * f64::EPSILON {
        true => short,
        false => general(number, 17),
    };
    out.extend(text.bytes());
}

/// A number as `%.{digits}g` of C has it.
fn general(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = i32::try_from(digits).unwrap_or(i32::MAX);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= places {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(places - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{number:.decimals$}"))
}

/// Where in a value the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Array,
    Object,
}

/// Reads a payload as JSON and writes it again, as the value of a member of an object.
fn transform(payload: &[u8], pretty: bool) -> Result<Vec<u8>, NotJson> {
    // A null ends the text, and then some of it is left.
    if payload.contains(&0) {
        return Err(NotJson);
    }
    let payload = match payload.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) if !rest.is_empty() => rest,
        _ => payload,
    };
    let mut reader = Reader {
        rest: payload,
        out: Vec::with_capacity(payload.len()),
        inside: Vec::new(),
        pretty,
    };
    reader.value()?;
    Ok(reader.out)
}

struct Reader<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    inside: Vec<Inside>,
    pretty: bool,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        let blanks = self.rest.iter().take_while(|byte| **byte <= b' ').count();
        self.rest = &self.rest[blanks..];
    }

    /// Takes a byte if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// A whole value, its end, and that nothing but blanks follows.
    fn value(&mut self) -> Result<(), NotJson> {
        loop {
            self.skip_blanks();
            // What begins with a member goes on with its value.
            if !self.begin()? {
                continue;
            }
            // The value is complete, and with it perhaps what it is in.
            loop {
                self.skip_blanks();
                let Some(inside) = self.inside.last().copied() else {
                    return match self.rest {
                        [] => Ok(()),
                        _ => Err(NotJson),
                    };
                };
                if self.take(b',') {
                    self.separate(inside);
                    if inside == Inside::Object {
                        self.name()?;
                    }
                    break;
                }
                let end = match inside {
                    Inside::Array => b']',
                    Inside::Object => b'}',
                };
                if !self.take(end) {
                    return Err(NotJson);
                }
                self.close(inside);
            }
        }
    }

    /// The beginning of a value: true if it is also its end.
    fn begin(&mut self) -> Result<bool, NotJson> {
        let words: [&[u8]; 3] = [b"null", b"false", b"true"];
        for word in words {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.out.extend_from_slice(word);
                self.rest = rest;
                return Ok(true);
            }
        }
        match self.rest.first() {
            Some(b'"') => self.string().map(|()| true),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| true),
            Some(b'[') => self.open(Inside::Array),
            Some(b'{') => self.open(Inside::Object),
            _ => Err(NotJson),
        }
    }

    /// The beginning of an array or an object: true if it is empty.
    fn open(&mut self, inside: Inside) -> Result<bool, NotJson> {
        if self.inside.len() >= JSON_DEPTH_MAX {
            return Err(NotJson);
        }
        self.rest = &self.rest[1..];
        self.skip_blanks();
        self.inside.push(inside);
        match inside {
            Inside::Array => {
                self.out.push(b'[');
                if self.take(b']') {
                    self.close(inside);
                    return Ok(true);
                }
            }
            Inside::Object => {
                self.out.push(b'{');
                if self.pretty {
                    self.out.push(b'\n');
                }
                if self.take(b'}') {
                    self.close_with(inside, false);
                    return Ok(true);
                }
                self.name()?;
            }
        }
        Ok(false)
    }

    fn close(&mut self, inside: Inside) {
        self.close_with(inside, true);
    }

    fn close_with(&mut self, inside: Inside, line_end: bool) {
        self.inside.pop();
        match inside {
            Inside::Array => self.out.push(b']'),
            Inside::Object => {
                if self.pretty {
                    if line_end {
                        self.out.push(b'\n');
                    }
                    self.indent(self.inside.len() + 1);
                }
                self.out.push(b'}');
            }
        }
    }

    fn separate(&mut self, inside: Inside) {
        self.out.push(b',');
        match (self.pretty, inside) {
            (false, _) => {}
            (true, Inside::Array) => self.out.push(b' '),
            (true, Inside::Object) => self.out.push(b'\n'),
        }
    }

    fn indent(&mut self, depth: usize) {
        self.out.resize(self.out.len() + depth, b'\t');
    }

    /// The name of a member and its colon.
    fn name(&mut self) -> Result<(), NotJson> {
        self.skip_blanks();
        if self.pretty {
            self.indent(self.inside.len() + 1);
        }
        if self.rest.first() != Some(&b'"') {
            return Err(NotJson);
        }
        self.string()?;
        self.skip_blanks();
        if !self.take(b':') {
            return Err(NotJson);
        }
        self.out.push(b':');
        if self.pretty {
            self.out.push(b'\t');
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotJson> {
        let usual = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'e' | b'E' | b'.');
        let len = self.rest.iter().take(NUMBER_LEN).take_while(usual).count();
        let text = std::str::from_utf8(&self.rest[..len]).map_err(|_| NotJson)?;
        // As far as it is a number; what follows cannot go on then.
        let (len, number) = (1..=text.len())
            .rev()
            .find_map(|len| text[..len].parse::<f64>().ok().map(|number| (len, number)))
            .ok_or(NotJson)?;
        self.rest = &self.rest[len..];
        write_number(number, &mut self.out);
        Ok(())
    }

    fn string(&mut self) -> Result<(), NotJson> {
        let inside = &self.rest[1..];
        let mut len = 0;
        loop {
            match inside.get(len) {
                Some(b'"') => break,
                Some(b'\\') => len += 2,
                Some(_) => len += 1,
                None => return Err(NotJson),
            }
        }
        let decoded = decode(&inside[..len])?;
        self.rest = &inside[len + 1..];
        write_string(&decoded, &mut self.out);
        Ok(())
    }
}

/// Takes the escapes out of what stands between quotes.
fn decode(mut text: &[u8]) -> Result<Vec<u8>, NotJson> {
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        if byte != b'\\' {
            decoded.push(byte);
            text = rest;
            continue;
        }
        let (&letter, after) = rest.split_first().ok_or(NotJson)?;
        let plain = match letter {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'"' | b'\\' | b'/' => letter,
            b'u' => {
                let (character, len) = code_point(text)?;
                let mut buffer = [0; 4];
                decoded.extend(character.encode_utf8(&mut buffer).bytes());
                text = &text[len..];
                continue;
            }
            _ => return Err(NotJson),
        };
        decoded.push(plain);
        text = after;
    }
    Ok(decoded)
}

/// The character of `\uXXXX`, or of two of them, and how long it was.
fn code_point(text: &[u8]) -> Result<(char, usize), NotJson> {
    let first = unit(text).ok_or(NotJson)?;
    match first {
        0xdc00..=0xdfff => Err(NotJson),
        0xd800..=0xdbff => {
            let second = unit(&text[6..]).ok_or(NotJson)?;
            if !(0xdc00..=0xdfff).contains(&second) {
                return Err(NotJson);
            }
            let code = 0x1_0000 + (((first & 0x3ff) << 10) | (second & 0x3ff));
            char::from_u32(code).map(|found| (found, 12)).ok_or(NotJson)
        }
        code => char::from_u32(code).map(|found| (found, 6)).ok_or(NotJson),
    }
}

/// The number in `\uXXXX`; what are no digits count as zero, as theirs does.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let text = std::str::from_utf8(digits).ok();
    let all = digits.iter().all(u8::is_ascii_hexdigit);
    let number = text
        .filter(|_| all)
        .map(|text| u32::from_str_radix(text, 16));
    Some(number.and_then(Result::ok).unwrap_or(0))
}
