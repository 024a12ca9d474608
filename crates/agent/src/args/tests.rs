//! Command lines as a table: what they mean, or which error they are.

mod link;
mod more;

use super::*;
use mqtt::topic::TopicError;
use safe_rt::EndpointError;

#[track_caller]
fn publish(words: &str) -> PubArgs {
    match parse(split(&format!("pub {words}"))) {
        Ok(Command::Pub(args)) => *args,
        other => panic!("{words}: {other:?}"),
    }
}

#[track_caller]
fn subscribe(words: &str) -> SubArgs {
    match parse(split(&format!("sub {words}"))) {
        Ok(Command::Sub(args)) => *args,
        other => panic!("{words}: {other:?}"),
    }
}

/// Words between blanks; `''` is an empty one.
fn split(words: &str) -> Vec<String> {
    words
        .split_whitespace()
        .map(|word| if word == "''" { "" } else { word }.to_owned())
        .collect()
}

#[track_caller]
fn rejects(table: &[(&str, UsageError)]) {
    for (words, error) in table {
        match parse(split(words)) {
            Err(rejected) => assert_eq!(rejected.error, *error, "{words}"),
            Ok(command) => panic!("{words} is taken: {command:?}"),
        }
    }
}

/// What is subscribed to, with which quality of service.
#[track_caller]
fn subscriptions(words: &str) -> Vec<(String, u8)> {
    let all = subscribe(words).subscriptions;
    all.into_iter()
        .map(|(filter, qos)| (filter.as_str().to_owned(), qos as u8))
        .collect()
}

fn name(text: &str) -> String {
    text.to_owned()
}

#[test]
fn the_defaults_are_mosquittos() {
    let args = subscribe("-t a");
    assert_eq!(
        args.connection.endpoint.to_string(),
        "mqtt://localhost:1883"
    );
    let connection = ConnectionArgs {
        own: Some(OwnArgs::default()),
        endpoint: args.connection.endpoint.clone(),
        tls: None,
        client_id: ClientIdArgs::Random,
        credentials: None,
        will: None,
        keep_alive: Duration::from_secs(60),
        clean_start: true,
        local_address: None,
        interface: None,
        proxy: None,
        window: None,
        timeout: Some(Duration::from_secs(30)),
        debug: false,
        quiet: false,
    };
    let expected = SubArgs {
        connection: connection.clone(),
        subscriptions: vec![(TopicFilter::new("a").unwrap(), QoS::AtMostOnce)],
        unsubscribe: vec![],
        exit_subscribed: false,
        wait: None,
        take: TakeArgs::default(),
        output: OutputArgs {
            verbose: false,
            format: None,
            pretty: false,
            line_end: true,
        },
    };
    assert_eq!(args, expected);
    let expected = PubArgs {
        connection,
        topic: TopicName::new("a").unwrap(),
        source: MessageSource::Text(vec![]),
        qos: QoS::AtMostOnce,
        retain: false,
        repeat: NonZeroU32::MIN,
        repeat_delay: Duration::ZERO,
    };
    assert_eq!(publish("-t a -n"), expected);
}

#[test]
fn every_option_is_taken_by_letter_and_by_name() {
    let long = "--host broker --port 1884 --username me --pw secret --id meter --keepalive 5 \
        --disable-clean-session --debug --qos 1 --topic a/b";
    let short = "-h broker -p 1884 -u me -P secret -i meter -k 5 -c -d -q 1 -t a/b";
    let attached = "-hbroker --port=1884 -u=me --pw=secret -imeter -k5 -cdq1 --topic=a/b";
    let expected = publish(&format!("{long} --message hello --retain"));
    assert_eq!(
        expected.connection.endpoint.to_string(),
        "mqtt://broker:1884"
    );
    let credentials = expected.connection.credentials.clone().unwrap();
    assert_eq!(credentials.user_name, "me");
    let password = PasswordSource::Given(Password(b"secret".to_vec()));
    assert_eq!(credentials.password, Some(password));
    let id = ClientIdArgs::Given(ClientId::new("meter").unwrap());
    assert_eq!(expected.connection.client_id, id);
    assert_eq!(expected.connection.keep_alive, Duration::from_secs(5));
    assert!(!expected.connection.clean_start && expected.connection.debug && expected.retain);
    assert_eq!((&*expected.topic, expected.qos), ("a/b", QoS::AtLeastOnce));
    assert_eq!(expected.source, MessageSource::Text(b"hello".to_vec()));
    for words in [short, attached] {
        assert_eq!(publish(&format!("{words} -m hello -r")), expected);
        assert_eq!(publish(&format!("{words} -rm hello")), expected);
    }
    let expected = subscribe(&format!("{long} --verbose -C 3 -W 2 --timeout 7"));
    assert_eq!(expected.take.count.map(NonZeroU64::get), Some(3));
    assert_eq!(expected.wait, Some(Duration::from_secs(2)));
    assert_eq!(expected.connection.timeout, Some(Duration::from_secs(7)));
    assert!(expected.output.verbose);
    assert_eq!(
        subscribe(&format!("{short} -v -C3 -W2 --timeout=7")),
        expected
    );
}

#[test]
fn there_are_five_kinds_of_message() {
    let table = [
        ("-m ''", MessageSource::Text(vec![])),
        ("-m -5", MessageSource::Text(b"-5".to_vec())),
        ("-m --", MessageSource::Text(b"--".to_vec())),
        ("-m =x", MessageSource::Text(b"=x".to_vec())),
        ("-n", MessageSource::Text(vec![])),
        ("--null-message", MessageSource::Text(vec![])),
        ("-l", MessageSource::Lines),
        ("--stdin-line", MessageSource::Lines),
        ("-s", MessageSource::Stdin),
        ("--stdin-file", MessageSource::Stdin),
        ("-f x", MessageSource::File("x".into())),
        ("--file -", MessageSource::File("-".into())),
    ];
    for (words, source) in table {
        assert_eq!(publish(&format!("-t a {words}")).source, source, "{words}");
    }
}

#[test]
fn the_last_topic_of_pub_counts_and_every_one_of_sub() {
    assert_eq!(&*publish("-t a -t b -n").topic, "b");
    let filters = subscriptions("-t a/# -t +/b -t a/#");
    assert_eq!(
        filters,
        [
            ("a/#".to_owned(), 0),
            ("+/b".to_owned(), 0),
            ("a/#".to_owned(), 0)
        ]
    );
}

#[test]
fn a_will_is_what_its_topic_makes() {
    let will = |words: &str| subscribe(&format!("-t a {words}")).connection.will;
    let made = |topic: &str, payload: &str, qos, retain| {
        Some(Will {
            topic: name(topic),
            payload: payload.as_bytes().to_vec(),
            qos,
            retain,
        })
    };
    assert_eq!(will(""), None);
    let least = made("gone", "", QoS::AtMostOnce, false);
    assert_eq!(will("--will-topic gone"), least);
    assert_eq!(will("--will-topic before --will-topic=gone"), least);
    let words = "--will-topic gone/1 --will-payload bye --will-qos 2 --will-retain";
    let all = made("gone/1", "bye", QoS::ExactlyOnce, true);
    assert_eq!(will(words), all);
    assert_eq!(publish(&format!("-t a -n {words}")).connection.will, all);
    // The order does not matter, and a payload may be empty.
    let words = "--will-retain --will-qos 1 --will-payload '' --will-topic x";
    assert_eq!(will(words), made("x", "", QoS::AtLeastOnce, true));
    let longest = "x".repeat(65_535);
    let words = format!("--will-topic x --will-payload {longest}");
    assert_eq!(will(&words), made("x", &longest, QoS::AtMostOnce, false));
    let too_long = format!("sub -t a --will-topic x --will-payload {longest}x");
    let topic = |text: &str, error| UsageError::WillTopic {
        text: name(text),
        error,
    };
    let wildcard = TopicError::WildcardInName { at: 2 };
    rejects(&[
        (&too_long, UsageError::WillPayload(65_536)),
        ("sub -t a --will-payload x", UsageError::WillWithoutTopic),
        ("sub -t a --will-retain", UsageError::WillWithoutTopic),
        ("sub -t a --will-topic a/#", topic("a/#", wildcard)),
        ("sub -t a --will-topic ''", topic("", TopicError::Empty)),
        (
            "sub -t a --will-topic x --will-qos 3",
            UsageError::WillQoS(name("3")),
        ),
        (
            "sub -t a --will-topic x --will-retain=1",
            UsageError::UnexpectedValue(name("--will-retain")),
        ),
    ]);
    for (error, text) in [
        (
            UsageError::WillPayload(65_536),
            "invalid will payload of 65536 bytes: expected at most 65535",
        ),
        (
            UsageError::WillQoS(name("3")),
            "invalid will QoS given: \"3\", expected 0, 1 or 2",
        ),
        (
            UsageError::WillWithoutTopic,
            "a will needs a topic: expected --will-topic",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_host_is_a_name_or_an_address() {
    let endpoint = |words: &str| {
        publish(&format!("-t a -n {words}"))
            .connection
            .endpoint
            .to_string()
    };
    assert_eq!(endpoint("-h 192.0.2.1"), "mqtt://192.0.2.1:1883");
    assert_eq!(endpoint("-h ::1"), "mqtt://[::1]:1883");
    assert_eq!(endpoint("-h [::1] -p 9"), "mqtt://[::1]:9");
    let wrong = |text: &str, error| UsageError::Host {
        text: name(text),
        error,
    };
    rejects(&[
        ("pub -t a -n -h ''", wrong("", EndpointError::NoHost)),
        (
            "pub -t a -n -h a/b",
            wrong("a/b", EndpointError::Path(name("/b:1883"))),
        ),
        (
            "pub -t a -n -h me@b",
            wrong("me@b", EndpointError::UserInfo),
        ),
        (
            "pub -t a -n -h b:1",
            wrong("b:1", EndpointError::BadIpv6(name("b:1"))),
        ),
    ]);
}

#[test]
fn numbers_out_of_range_are_rejected() {
    let at = |text: &str| name(text);
    rejects(&[
        ("pub -t a -n -p 0", UsageError::Port(at("0"))),
        ("pub -t a -n -p -1", UsageError::Port(at("-1"))),
        ("pub -t a -n -p 65536", UsageError::Port(at("65536"))),
        ("pub -t a -n -p +1", UsageError::Port(at("+1"))),
        ("pub -t a -n -p ''", UsageError::Port(at(""))),
        ("pub -t a -n -q 3", UsageError::QoS(at("3"))),
        ("pub -t a -n -q 256", UsageError::QoS(at("256"))),
        ("pub -t a -n -q x", UsageError::QoS(at("x"))),
        ("pub -t a -n -k 4", UsageError::KeepAlive(at("4"))),
        ("pub -t a -n -k 65536", UsageError::KeepAlive(at("65536"))),
        ("sub -t a -C 0", UsageError::Count(at("0"))),
        ("sub -t a -C -1", UsageError::Count(at("-1"))),
        ("sub -t a -W 0", UsageError::Wait(at("0"))),
        ("sub -t a -W 1.5", UsageError::Wait(at("1.5"))),
        ("sub -t a --timeout x", UsageError::Timeout(at("x"))),
    ]);
    assert_eq!(
        publish("-t a -n -k 65535").connection.keep_alive,
        Duration::from_secs(65_535)
    );
    assert_eq!(publish("-t a -n --timeout 0").connection.timeout, None);
}

#[test]
fn what_is_missing_or_contradicts_itself_is_rejected() {
    rejects(&[
        ("pub -t a", UsageError::NoMessage),
        ("pub -m x", UsageError::NoTopic),
        ("pub", UsageError::NoTopic),
        ("sub", UsageError::NoFilter),
        (
            "pub -t a -m x -m y",
            UsageError::SeveralMessages(["-m", "-m"]),
        ),
        ("pub -t a -n -l", UsageError::SeveralMessages(["-n", "-l"])),
        (
            "pub -t a -f x -m y",
            UsageError::SeveralMessages(["-f", "-m"]),
        ),
        ("pub -t a -n -P x", UsageError::PasswordWithoutUserName),
        ("sub -t a -c", UsageError::KeptSessionWithoutId),
        ("sub -t a -i ''", UsageError::EmptyClientId),
    ]);
    assert_eq!(
        publish("-t a -n -u ''")
            .connection
            .credentials
            .unwrap()
            .user_name,
        ""
    );
}

#[test]
fn topics_are_checked() {
    let topic = |text: &str, error| UsageError::Topic {
        text: name(text),
        error,
    };
    let filter = |text: &str, error| UsageError::Filter {
        text: name(text),
        error,
    };
    rejects(&[
        (
            "pub -t a/# -n",
            topic("a/#", TopicError::WildcardInName { at: 2 }),
        ),
        ("pub -t '' -n", topic("", TopicError::Empty)),
        (
            "sub -t a#",
            filter("a#", TopicError::MultiLevelWildcard { at: 1 }),
        ),
        ("sub -t a -t ''", filter("", TopicError::Empty)),
    ]);
}

#[test]
fn options_of_the_other_tool_and_of_neither_are_rejected() {
    let unknown = |text: &str| UsageError::UnknownOption(name(text));
    rejects(&[
        ("pub -t a -n -v", unknown("-v")),
        ("pub -t a -n -C 1", unknown("-C")),
        ("pub -t a -n -W 1", unknown("-W")),
        ("sub -t a -m x", unknown("-m")),
        ("sub -t a -r", unknown("-r")),
        ("sub -t a -l", unknown("-l")),
        ("sub -t a --bogus", unknown("--bogus")),
        ("sub -t a --tim 3", unknown("--tim")),
        ("sub -t a extra", unknown("extra")),
        ("sub -t a -- -v", unknown("-v")),
        ("--bogus", unknown("--bogus")),
        ("-t a", unknown("-t")),
        ("pub -t a -n -F %p", unknown("-F")),
        ("sub -t a -e b", unknown("-e")),
        ("request -t a -l", unknown("-l")),
        ("pub -t", UsageError::MissingValue(name("-t"))),
        (
            "pub -t a --message",
            UsageError::MissingValue(name("--message")),
        ),
        (
            "pub -t a -n --retain=x",
            UsageError::UnexpectedValue(name("--retain")),
        ),
        ("", UsageError::NoCommand),
        ("walk", UsageError::UnknownCommand(name("walk"))),
    ]);
}

#[test]
fn the_tool_that_can_help_is_named_with_the_error() {
    for (words, tool) in [
        ("run -x", Tool::Run),
        ("pub -x", Tool::Pub),
        ("subscribe -x", Tool::Sub),
        ("x", Tool::Agent),
    ] {
        assert_eq!(parse(split(words)).unwrap_err().tool, tool, "{words}");
    }
}

#[test]
fn help_and_version_stand_anywhere() {
    let table = [
        ("--help", Command::Help(Tool::Agent)),
        ("run --config x --help", Command::Help(Tool::Run)),
        ("run --version", Command::Version),
        ("pub --help", Command::Help(Tool::Pub)),
        ("publish -t a --help", Command::Help(Tool::Pub)),
        ("sub -v --help", Command::Help(Tool::Sub)),
        ("--version", Command::Version),
        ("sub --version", Command::Version),
    ];
    for (words, command) in table {
        assert_eq!(parse(split(words)), Ok(command), "{words}");
    }
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_taken_where_bytes_are_meant() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || OsString::from_vec(b"\xff\0x".to_vec());
    let words = |last: [OsString; 2]| {
        ["pub", "-t", "a"]
            .map(OsString::from)
            .into_iter()
            .chain(last)
    };
    let Ok(Command::Pub(args)) = parse(words(["-m".into(), odd()])) else {
        panic!("a message")
    };
    assert_eq!(args.source, MessageSource::Text(b"\xff\0x".to_vec()));
    let Ok(Command::Pub(args)) = parse(words(["-f".into(), odd()])) else {
        panic!("a file")
    };
    assert_eq!(args.source, MessageSource::File(odd().into()));
    let error = parse(words(["-t".into(), odd()])).unwrap_err().error;
    assert_eq!(error, UsageError::NotUnicode(name("-t")));
}

#[test]
fn a_password_does_not_show() {
    let shown = format!("{:?}", publish("-t a -n -u me -P secret"));
    assert!(
        shown.contains("me") && !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
}
