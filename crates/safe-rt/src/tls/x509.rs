//! What people want to know of a certificate: whose it is, who issued it, and when it is valid.
//!
//! This reads what webpki, which decides, does not show: names as text and both dates (RFC 5280
//! section 4.1). Nothing is decided here. What is read may come from an attacker: every step is
//! bounded by the bytes that are there, nothing recurses, and a certificate that is not understood
//! gives no facts. A text has at most [`NAME_CHARS_MAX`] characters, none of which ends a line or
//! controls a terminal.

use core::fmt::Write as _;

use crate::utc::seconds_at;

/// Most characters of a name taken from a certificate, before the "..." that tells of more.
pub(super) const NAME_CHARS_MAX: usize = 128;
/// Bytes of a serial number that are shown; it has at most 20 (RFC 5280 section 4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;
/// Most parts of a distinguished name that are shown.
const NAME_PARTS_MAX: usize = 8;

/// The facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    /// As it is encoded.
    pub(super) serial: &'a [u8],
    /// The names as they are encoded, for comparing.
    pub(super) subject: &'a [u8],
    pub(super) issuer: &'a [u8],
    /// In seconds of Unix time; a time before 1970 or after 9999 is not known.
    pub(super) not_before: Option<u64>,
    pub(super) not_after: Option<u64>,
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version of a certificate.
const VERSION: u8 = 0xa0;

impl<'a> Facts<'a> {
    /// Reads the facts of a certificate in DER, if they are where RFC 5280 has them.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(certificate).expect(SEQUENCE)?);
        let mut fields = Der(outer.expect(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.expect(VERSION)?;
        }
        let serial = fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?;
        let mut validity = Der(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?), time(validity.next()?));
        let subject = fields.expect(SEQUENCE)?;
        Some(Self {
            serial,
            subject,
            issuer,
            not_before,
            not_after,
        })
    }

    /// Whether it names itself as its issuer, as roots do and certificates made at home.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

/// What is left of a sequence of values in DER.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next value: its tag and its content.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // A length in one to three bytes, big endian; nothing here is 16 MiB long.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = bytes
                    .iter()
                    .fold(0, |len, &byte| len << 8 | usize::from(byte));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Takes the next value if it has this tag.
    pub(super) fn expect(&mut self, expected: u8) -> Option<&'a [u8]> {
        match self.next()? {
            (tag, content) if tag == expected => Some(content),
            _ => None,
        }
    }
}

/// Reads `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
pub(super) fn time((tag, text): (u8, &[u8])) -> Option<u64> {
    let (year_len, century) = match tag {
        UTC_TIME => (2, None),
        GENERALIZED_TIME => (4, Some(0)),
        _ => return None,
    };
    let digits = text.strip_suffix(b"Z")?;
    if digits.len() != year_len + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    let (year, rest) = digits.split_at(year_len);
    let year = number(year);
    let year = century.unwrap_or(if year < 50 { 2000 } else { 1900 }) + year;
    let mut parts = rest.chunks(2).map(number);
    let mut three = || Some([parts.next()?, parts.next()?, parts.next()?]);
    let ([month, day, hour], [minute, second]) = (three()?, [parts.next()?, parts.next()?]);
    seconds_at([year, month, day], [hour, minute, second])
}

/// Returns a serial number as hexadecimal digits, without the zeros before it: at most
/// [`SERIAL_BYTES_MAX`] bytes of it.
pub(super) fn serial(encoded: &[u8]) -> String {
    let mut text = String::new();
    let significant = encoded.iter().skip_while(|byte| **byte == 0);
    for (place, byte) in significant.take(SERIAL_BYTES_MAX).enumerate() {
        let separator = if place == 0 { "" } else { ":" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{byte:02X}");
    }
    text
}

/// Returns a distinguished name as text, such as `"CN=broker.test, O=Example"`, in quotation marks.
pub(super) fn name(encoded: &[u8]) -> String {
    let mut sets = Der(encoded);
    let mut text = String::new();
    let mut parts = 0;
    while let Some(content) = sets.expect(SET) {
        let mut attributes = Der(content);
        while let Some((label, value)) = attributes.expect(SEQUENCE).and_then(attribute) {
            if parts == NAME_PARTS_MAX {
                return quoted(&(text + ", ..."));
            }
            let separator = if parts == 0 { "" } else { ", " };
            parts += 1;
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{label}={value}");
        }
    }
    if parts == 0 {
        return "(without a name)".to_owned();
    }
    quoted(&text)
}

/// Reads one attribute of a name; one of another sort than these is shown by the bytes of its OID.
fn attribute(content: &[u8]) -> Option<(String, String)> {
    let mut content = Der(content);
    let oid = content.expect(OID)?;
    let (tag, value) = content.next()?;
    let label = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        // emailAddress of PKCS #9.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        // domainComponent and userId of RFC 4519.
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        _ => "?",
    };
    let value = if tag == BMP_STRING {
        let units = value.chunks_exact(2);
        let units = units.map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
        char::decode_utf16(units)
            .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
            .take(NAME_CHARS_MAX + 1)
            .collect()
    } else {
        let longest = value.len().min(4 * (NAME_CHARS_MAX + 1));
        String::from_utf8_lossy(&value[..longest]).into_owned()
    };
    Some((label.to_owned(), value))
}

/// Returns `text` in quotation marks and [`visible`], with at most [`NAME_CHARS_MAX`] characters.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", visible(text, NAME_CHARS_MAX))
}

/// Returns `text`, shortened to `longest` characters, and with everything escaped that is not plainly
/// visible, or is a quotation mark: it comes from a peer and goes into logs.
pub(super) fn visible(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for (index, each) in text.chars().enumerate() {
        if index == longest {
            out.push_str("...");
            break;
        }
        match each {
            '\'' => out.push(each),
            each => out.extend(each.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests;
