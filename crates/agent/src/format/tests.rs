//! Layouts as a table; every line was printed by `mosquitto_sub` 2.0 as well.

use std::time::Duration;

use jiff::tz::{Offset, TimeZone};

use super::*;

const MESSAGE: Fields<'_> = Fields {
    topic: "a/b",
    payload: b"hello",
    qos: QoS::AtLeastOnce,
    retain: false,
    packet_id: 7,
};

/// 16:44:33.012345678 on Sunday, 29 November 2026, in Greenwich.
fn moment() -> Moment {
    let since_1970 = Duration::new(1_795_970_673, 12_345_678);
    Moment::new(since_1970, &TimeZone::UTC)
}

#[track_caller]
fn lay_out(format: &str, message: &Fields<'_>) -> String {
    let format = Format::parse(format.as_bytes()).expect("a format");
    let mut out = Vec::new();
    format
        .apply(message, &moment(), false, &mut out)
        .expect("no fault");
    String::from_utf8(out).expect("text")
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (format, expected) in table {
        assert_eq!(lay_out(format, &MESSAGE), *expected, "{format}");
    }
}

#[track_caller]
fn payload(format: &str, payload: &[u8], pretty: bool) -> Result<Vec<u8>, NotJson> {
    let Ok(format) = Format::parse(format.as_bytes()) else {
        panic!("no format: {format}")
    };
    let mut out = Vec::new();
    let message = Fields {
        payload,
        qos: QoS::AtMostOnce,
        packet_id: 0,
        ..MESSAGE
    };
    format
        .apply(&message, &moment(), pretty, &mut out)
        .map(|()| out)
}

#[test]
fn every_part_is_there_and_as_wide_as_it_is_asked_for() {
    check(&[
        ("%t %p %q %r %l %m", "a/b hello 1 0 5 7"),
        ("%%|%5%|100%%", "%|%|100%"),
        ("%-5t|", "a/b  |"),
        ("%05t|%5t|", "  a/b|  a/b|"),
        ("%.2t|%5.2t|%-8.2t|%5.t|", "a/|   a/|a/      |     |"),
        (
            "%010p|%-10p|%-010p|%3p|%5.2p|",
            "00000hello|hello     |hello     |hel|hello|",
        ),
        ("%x|%X", "68656c6c6f|68656C6C6F"),
        (
            "%8x|%-14x|%014X|",
            "    6865|6865          |00000000006865|",
        ),
        ("%5l|%05l|%-5l|%-05l|%.3l|", "    5|00005|5    |5    |5|"),
        ("%5m|%5q|%5r|", "    7|1|0|"),
        (
            "%5A|%05A|%-5C|%05C|%C|%5D|%5E|%05F|%5R|%5S|%5P|",
            "     |00000|     |     |||     |00000||     ||",
        ),
        ("%b|%10b|%.4b|", "aGVsbG8=|  aGVsbG8=|aGVs|"),
        ("", ""),
    ]);
}

#[test]
fn a_moment_has_every_letter_of_strftime() {
    check(&[
        (
            "%I|%40I|%.4I|%-30I|",
            "2026-11-29T16:44:33+0000|                2026-11-29T16:44:33+0000|2026|2026-11-29T16:44:33+0000      |",
        ),
        ("%U %20U", "1795970673.012345678 1795970673.012345678"),
        ("@@|@N", "@|012345678"),
        (
            "@a|@A|@b|@B|@c|@C|@d|@D|@e",
            "Sun|Sunday|Nov|November|Sun Nov 29 16:44:33 2026|20|29|11/29/26|29",
        ),
        (
            "@F|@g|@G|@h|@H|@I|@j|@k|@l|@m|@M",
            "2026-11-29|26|2026|Nov|16|04|333|16| 4|11|44",
        ),
        (
            "@n|@p|@P|@r|@R|@s|@S|@t|@T",
            "\n|PM|pm|04:44:33 PM|16:44|1795970673|33|\t|16:44:33",
        ),
        (
            "@u|@U|@V|@w|@W|@x|@X|@y|@Y|@z|@Z",
            "7|48|48|0|47|11/29/26|16:44:33|26|2026|+0000|UTC",
        ),
        (
            "@f|@i|@q|@v|@o|@E|@J|@K|@L|@O|@Q",
            "%f|%i|%q|%v|%o|%E|%J|%K|%L|%O|%Q",
        ),
        ("@%|@ |@0|@1|@9|@+|@-|@é", "%|% |%0|%1|       %9|%+|%-|%é"),
    ]);
}

#[test]
fn a_time_zone_moves_the_clock_and_has_a_name() {
    let zone = TimeZone::fixed(Offset::from_seconds(-12_600).unwrap());
    let moment = Moment::new(Duration::from_secs(1_795_970_673), &zone);
    let format = Format::parse(b"%I @c @z @s %U").unwrap();
    let mut out = Vec::new();
    format.apply(&MESSAGE, &moment, false, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "2026-11-29T13:14:33-0330 Sun Nov 29 13:14:33 2026 -0330 1795970673 1795970673.000000000"
    );
    // Beyond the calendar there is its end.
    let late = Moment::new(Duration::MAX, &TimeZone::UTC);
    assert!(late.iso().starts_with("9999-12-3"), "{}", late.iso());
}

#[test]
fn weeks_and_half_days_are_told_at_their_edges() {
    let at = |seconds: u64| Moment::new(Duration::from_secs(seconds), &TimeZone::UTC);
    let text = |moment: &Moment, letters: &str| {
        let mut out = Vec::new();
        letters.bytes().for_each(|letter| {
            moment.write(letter, &mut out);
            out.push(b' ');
        });
        String::from_utf8(out).unwrap()
    };
    // Midnight and noon of the first day of 2027, a Friday in the last week of 2026.
    let (midnight, noon) = (at(1_798_761_600), at(1_798_761_600 + 12 * 3600));
    assert_eq!(
        text(&midnight, "IlkpPUWVGgjew"),
        "12 12  0 AM am 00 00 53 2026 26 001  1 5 "
    );
    assert_eq!(text(&noon, "IlkpP"), "12 12 12 PM pm ");
}

#[test]
fn escapes_are_characters() {
    let out = lay_out("\\0\\a\\e\\n\\r\\t\\v\\\\", &MESSAGE);
    assert_eq!(out.as_bytes(), b"\0\x07\x1b\n\r\t\x0b\\");
}

#[test]
fn what_is_no_format_is_told() {
    let table = [
        ("%", FormatError::Incomplete),
        ("%-", FormatError::Incomplete),
        ("%0", FormatError::Incomplete),
        ("%5", FormatError::Incomplete),
        ("%5.2", FormatError::Incomplete),
        ("a@", FormatError::Incomplete),
        ("\\", FormatError::IncompleteEscape),
        ("\\q", FormatError::Escape('q')),
        ("%z", FormatError::Letter('z')),
        ("%é", FormatError::Letter('é')),
        ("%0-5t", FormatError::Letter('-')),
        ("%--5t", FormatError::Letter('-')),
        ("%s %", FormatError::Letter('s')),
        ("%65536t", FormatError::Width),
        ("%99999999999999999999999t", FormatError::Width),
    ];
    for (text, error) in table {
        assert_eq!(Format::parse(text.as_bytes()), Err(error), "{text}");
    }
    assert!(Format::parse(b"%65535t%.99999999999999999999999t").is_ok());
}

#[test]
fn a_message_is_json_with_its_payload_as_a_string() {
    let head = "{\"tst\":\"2026-11-29T16:44:33.012345Z+0000\",\"topic\":\"a/b\",\"qos\":1,\"retain\":0,\
        \"payloadlen\":5,\"mid\":7,\"payload\":\"hello\"}";
    check(&[("%j", head), ("%5j", head)]);
    let tail = |bytes: &[u8]| {
        let out = payload("%j", bytes, false).unwrap();
        let at = out
            .windows(10)
            .position(|part| part == b"\"payload\":")
            .unwrap();
        out[at + 10..out.len() - 1].to_vec()
    };
    for (bytes, expected) in [
        (&b""[..], &b"null"[..]),
        (
            b"\"\\/\x08\x0c\n\r\t\x01\x1f\x7f",
            b"\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"",
        ),
        (b"\xff\xc3(", b"\"\xff\xc3(\""),
        (b"a\0b", b"\"a\""),
    ] {
        assert_eq!(tail(bytes), expected);
    }
}

#[test]
fn a_payload_that_is_json_is_written_anew() {
    let tail = |text: &[u8]| {
        let out = payload("%J", text, false).ok()?;
        let at = out.windows(10).position(|part| part == b"\"payload\":")?;
        String::from_utf8(out[at + 10..out.len() - 1].to_vec()).ok()
    };
    for (text, expected) in [
        (
            "{\"a\":1.50,\"b\":[true,null,\"x\\u00e9\\/\\\"\\\\\\b\\u0001\\u007f\"],\"c\":1e3, \"d\":-0.0}",
            "{\"a\":1.5,\"b\":[true,null,\"xé/\\\"\\\\\\b\\u0001\u{7f}\"],\"c\":1000,\"d\":-0}",
        ),
        ("01", "1"),
        ("1.", "1"),
        ("-.5", "-0.5"),
        ("1e400", "null"),
        ("1e-400", "0"),
        ("0.30000000000000004", "0.3"),
        ("1e15", "1e+15"),
        ("123456789012345678901", "1.2345678901234568e+20"),
        ("2147483647.5", "2147483647.5"),
        ("1.7976931348623157e308", "1.79769313486232e+308"),
        ("5e-324", "4.94065645841247e-324"),
        ("0.00001234", "1.234e-05"),
        ("  7 \r\n\t ", "7"),
        ("\"a\\ud83d\\ude00\"", "\"a😀\""),
        ("\"\\u0000b\"", "\"\""),
        ("\"\\uzzzzb\"", "\"\""),
        ("\"a\nb\"", "\"a\\nb\""),
        ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
        ("{ \"a\" : { } , \"b\" : [ ] }", "{\"a\":{},\"b\":[]}"),
        ("\u{feff}1", "1"),
    ] {
        assert_eq!(tail(text.as_bytes()).as_deref(), Some(expected), "{text}");
    }
    for text in [
        "-",
        "--1",
        "7 x",
        "nul",
        "NaN",
        "[1,]",
        "[1",
        "{\"a\"}",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "1\0",
        "\"\\x\"",
        "\"a",
        "\"\\",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\u12\"",
        "0x10",
        "1+2",
        "1e",
        "1-1",
        "1.2.3",
        "]",
        ",",
        "[,1]",
        "\u{feff}",
        " ",
    ] {
        assert_eq!(
            payload("%J", text.as_bytes(), false),
            Err(NotJson),
            "{text}"
        );
    }
    // The rest is printed all the same.
    let format = Format::parse(b"%t %J|").unwrap();
    let mut out = Vec::new();
    let applied = format.apply(&MESSAGE, &moment(), false, &mut out);
    assert_eq!((applied, &out[..]), (Err(NotJson), &b"a/b |"[..]));
}

#[test]
fn json_is_broken_into_lines_where_that_is_wanted() {
    let text = b"{\"a\":[1,{\"b\":[]},{}],\"c\":\"x\"}";
    let out = payload("%J", text, true).unwrap();
    let expected = "{\n\t\"tst\":\t\"2026-11-29T16:44:33.012345Z+0000\",\n\t\"topic\":\t\"a/b\",\n\
        \t\"qos\":\t0,\n\t\"retain\":\t0,\n\t\"payloadlen\":\t29,\n\t\"payload\":\t{\n\
        \t\t\"a\":\t[1, {\n\t\t\t\t\"b\":\t[]\n\t\t\t}, {\n\t\t\t}],\n\t\t\"c\":\t\"x\"\n\t}\n}";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn nesting_is_bounded_and_costs_no_stack() {
    let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert!(payload("%J", &nested(JSON_DEPTH_MAX), false).is_ok());
    assert_eq!(
        payload("%J", &nested(JSON_DEPTH_MAX + 1), false),
        Err(NotJson)
    );
    assert_eq!(payload("%J", &b"[".repeat(1_000_000), false), Err(NotJson));
    let objects = [b"{\"a\":".repeat(1_001), b"1".to_vec(), b"}".repeat(1_001)].concat();
    assert_eq!(payload("%J", &objects, false), Err(NotJson));
}
