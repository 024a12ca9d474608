//! Messages made by hand, so that writing and reading do not agree on the same mistake.

use core::net::Ipv4Addr;

use super::*;

const ID: u16 = 0x1234;
const NAME: &str = "broker.example";
const NAME_BYTES: &[u8] = b"\x06broker\x07example\x00";
/// The name of the question, again.
const SAME: &[u8] = &[0xC0, 0x0C];
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

fn question() -> Question<'static> {
    Question::with_id(ID, NAME, Family::V4).expect("a question")
}

fn asked(kind: u16) -> Vec<u8> {
    [NAME_BYTES, &kind.to_be_bytes(), &[0, 1]].concat()
}

fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("little data");
    [
        name,
        &kind.to_be_bytes(),
        &[0, 1],
        &ttl.to_be_bytes(),
        &len.to_be_bytes(),
        data,
    ]
    .concat()
}

fn message(id: u16, flags: u16, questions: &[Vec<u8>], answers: &[Vec<u8>]) -> Vec<u8> {
    let count = |list: &[Vec<u8>]| u16::try_from(list.len()).expect("few").to_be_bytes();
    [
        &id.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &count(questions),
        &count(answers),
        &[0; 4],
        &questions.concat(),
        &answers.concat(),
    ]
    .concat()
}

/// An answer: a response to what is asked, with recursion.
fn answer(answers: &[Vec<u8>]) -> Vec<u8> {
    message(ID, 0x8180, &[asked(A)], answers)
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn expect(message: &[u8], expected: Answer) {
    assert_eq!(question().heard(message), Some(Heard::Answer(expected)));
}

#[test]
fn a_question_is_written_as_the_standard_says() {
    let expected = [
        &[0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0][..],
        NAME_BYTES,
        &[0, 28, 0, 1],
    ];
    let question = Question::with_id(ID, NAME, Family::V6).expect("a question");
    assert_eq!(question.bytes(), expected.concat());
}

#[test]
fn addresses_are_taken_from_records_of_the_name_and_kind_alone() {
    let answers = [
        record(SAME, A, 300, &[192, 0, 2, 1]),
        record(SAME, AAAA, 300, &[0; 16]),
        record(b"\x05other\x00", A, 300, &[192, 0, 2, 9]),
        record(b"\x06BROKER\x07eXample\x00", A, 60, &[192, 0, 2, 2]),
    ];
    let expected = Answer::Addresses(vec![address(1), address(2)], seconds(60));
    expect(&answer(&answers), expected);
    expect(&answer(&[]), Answer::NoAddress);
    expect(&answer(&answers[1..3]), Answer::NoAddress);
}

#[test]
fn aliases_are_followed_in_any_order_and_up_to_the_bound() {
    let link = |n: usize| format!("\x03n{n:02}\x00").into_bytes();
    let chain = |len: usize| {
        let mut records = vec![record(SAME, CNAME, 50, &link(0))];
        records.extend((1..len).map(|n| record(&link(n - 1), CNAME, 40, &link(n))));
        records.push(record(&link(len - 1), A, 300, &[192, 0, 2, 1]));
        records.reverse();
        answer(&records)
    };
    expect(&chain(1), Answer::Addresses(vec![address(1)], seconds(50)));
    let longest = chain(ALIASES_MAX);
    expect(&longest, Answer::Addresses(vec![address(1)], seconds(40)));
    expect(&chain(ALIASES_MAX + 1), Answer::TooManyAliases);
    let circle = [
        record(SAME, CNAME, 50, &link(0)),
        record(&link(0), CNAME, 50, NAME_BYTES),
    ];
    expect(&answer(&circle), Answer::TooManyAliases);
    expect(&answer(&circle[..1]), Answer::NoAddress);
}

#[test]
fn what_is_no_answer_to_the_question_is_passed_over() {
    let good = [record(SAME, A, 300, &[192, 0, 2, 1])];
    let other = [b"\x05other\x00".as_slice(), &[0, 1, 0, 1]].concat();
    let other_class = [NAME_BYTES, &[0, 1, 0, 3]].concat();
    let mut promising = answer(&good);
    promising[7] = 200;
    let mut endless = answer(&good);
    let len = endless.len();
    // A name that is itself.
    endless[len - 16..len - 14].copy_from_slice(&[0xC0, (len - 16) as u8]);
    let table = [
        ("another id", message(ID + 1, 0x8180, &[asked(A)], &good)),
        ("a question", message(ID, 0x0100, &[asked(A)], &good)),
        (
            "another kind of query",
            message(ID, 0x9180, &[asked(A)], &good),
        ),
        ("no question", message(ID, 0x8180, &[], &good)),
        ("no question, no name", message(ID, 0x8183, &[], &[])),
        ("another kind", message(ID, 0x8180, &[asked(AAAA)], &good)),
        ("another name", message(ID, 0x8180, &[other], &good)),
        ("another class", message(ID, 0x8180, &[other_class], &good)),
        (
            "two questions",
            message(ID, 0x8180, &[asked(A), asked(A)], &good),
        ),
        ("records that are not there", promising),
        ("a name without an end", endless),
        ("nothing", Vec::new()),
        ("an id", ID.to_be_bytes().to_vec()),
    ];
    for (what, message) in table {
        assert_eq!(question().heard(&message), None, "{what}");
    }
}

#[test]
fn each_response_code_is_told_apart() {
    let with_code = |code: u16| message(ID, 0x8180 | code, &[asked(A)], &[]);
    expect(&with_code(3), Answer::NoSuchName);
    for code in [1, 2, 4, 5, 9, 15] {
        expect(&with_code(code), Answer::Failed(code as u8));
    }
    // A server that understood nothing repeats nothing.
    expect(&message(ID, 0x8181, &[], &[]), Answer::Failed(1));
}

#[test]
fn an_answer_that_was_cut_is_told_wherever_the_cut_is() {
    let whole = [record(SAME, A, 300, &[192, 0, 2, 1])];
    let whole = message(ID, 0x8380, &[asked(A)], &whole);
    assert_eq!(question().heard(&whole), Some(Heard::Truncated));
    let mut none = message(ID, 0x8380, &[asked(A)], &[]);
    assert_eq!(question().heard(&none), Some(Heard::Truncated));
    none.extend([0xC0; 3]);
    assert_eq!(question().heard(&none), Some(Heard::Truncated));
}

#[test]
fn a_lifetime_with_the_highest_bit_is_none() {
    for (ttl, expected) in [(0, 0), (1, 1), (0x7FFF_FFFF, 0x7FFF_FFFF), (0x8000_0000, 0)] {
        assert_eq!(lifetime(ttl), seconds(expected), "{ttl}");
    }
}

#[test]
fn of_thousands_of_records_the_first_are_read() {
    let many = |count: usize| answer(&vec![record(SAME, A, 300, &[192, 0, 2, 1]); count]);
    let addresses = Answer::Addresses(vec![address(1); RECORDS_MAX], seconds(300));
    expect(&many(RECORDS_MAX), addresses.clone());
    expect(&many(4_000), addresses);
}

#[test]
fn names_are_read_within_bounds_however_they_are_folded() {
    let none = |records: &[Vec<u8>]| assert_eq!(question().heard(&answer(records)), None);
    // Each name is one byte and the one before it, by way of a pointer: long ones at little cost.
    let mut records = vec![record(SAME, A, 300, &[192, 0, 2, 1])];
    let mut at = answer(&[]).len() + records[0].len();
    let mut before = 12;
    while at < 0x3FFF && records.len() < 1_000 {
        let pointer = (0xC000 | before as u16).to_be_bytes();
        let folded = record(&[&[1, b'a'][..], &pointer].concat(), 47, 1, &[]);
        before = at;
        at += folded.len();
        records.push(folded);
    }
    none(&records);
    let deep = records[..17].to_vec();
    expect(
        &answer(&deep),
        Answer::Addresses(vec![address(1)], seconds(300)),
    );
    none(&records[..18]);
    // A name as long as one may be, and a longer one.
    let long = |last: usize| {
        let label = [&[63][..], &[b'a'; 63]].concat();
        let end = [&[last as u8][..], &vec![b'a'; last], &[0]].concat();
        let name = [&label[..], &label, &label, &end].concat();
        vec![record(&name, A, 300, &[192, 0, 2, 1])]
    };
    expect(&answer(&long(61)), Answer::NoAddress);
    none(&long(62));
}

#[test]
fn what_else_a_server_adds_does_not_spoil_its_answer() {
    let odd = [
        record(SAME, 2, 300, b"\xC0"),
        record(SAME, 33, 300, b"\0"),
        record(SAME, A, 300, &[1]),
    ];
    let mut message = answer(&[record(SAME, A, 300, &[192, 0, 2, 1])]);
    // One in the section of authorities, and two more.
    message[9] = 1;
    message[11] = 2;
    message.extend(odd.concat());
    let expected = || Answer::Addresses(vec![address(1)], seconds(300));
    expect(&message, expected());
    // And among the answers it is passed over if it leads nowhere anyway.
    let among = [
        odd[0].clone(),
        odd[1].clone(),
        record(SAME, A, 300, &[192, 0, 2, 1]),
    ];
    expect(&answer(&among), expected());
    // An address that is none, and an alias with something behind it.
    assert_eq!(question().heard(&answer(&odd[2..])), None);
    let alias = record(SAME, CNAME, 300, b"\x03n00\x00x");
    assert_eq!(question().heard(&answer(&[alias])), None);
}

#[test]
fn no_bytes_make_a_panic() {
    let good = answer(&[
        record(SAME, CNAME, 50, b"\x03n00\x00"),
        record(b"\x03n00\x00", A, 300, &[192, 0, 2, 1]),
        // A text, a service, a set of kinds, options: kinds with a form of their own.
        record(SAME, 16, 1, b"\x03abc"),
        record(SAME, 33, 1, b"\0\0\0\0\0\0\x03n00\x00"),
        record(SAME, 47, 1, b"\x03n00\x00\x00\x01\x40"),
        record(SAME, 64, 1, b"\0\x01\x03n00\x00\0\x01\0\x03\x02h2"),
        record(b"\0", 41, 0, b"\0\x03\0\x01a"),
    ]);
    assert!(question().heard(&good).is_some());
    // xorshift: any numbers will do, the same each time.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("below a usize")
    };
    for _ in 0..200_000 {
        let mut bytes = good.clone();
        for _ in 0..=draw(6) {
            let at = 2 + draw(bytes.len() - 2);
            bytes[at] = draw(256) as u8;
        }
        if draw(4) == 0 {
            bytes.truncate(draw(bytes.len() + 1));
        }
        drop(question().heard(&bytes));
    }
    for len in 0..=good.len() {
        drop(question().heard(&good[..len]));
    }
    // Each kind there is, with little and with much data.
    for kind in 0..=300 {
        for data in [&[][..], &[0], &[0xC0, 0x0C], &[1; 7], &[0xFF; 40]] {
            drop(question().heard(&answer(&[record(SAME, kind, 1, data)])));
        }
    }
}
