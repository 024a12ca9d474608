//! Command lines of `run`, `request` and the small tools, and what `sub` and `pub` have beyond the
//! plain case.

use super::*;

#[test]
fn run_takes_a_configuration_and_perhaps_a_time() {
    let least = RunArgs {
        source: SourceArgs {
            file: Some(PathBuf::from("a.toml")),
            ..SourceArgs::default()
        },
        limit: None,
        debug: false,
    };
    let all = RunArgs {
        limit: Some(Duration::from_millis(1_500)),
        debug: true,
        ..least.clone()
    };
    for (words, args) in [
        ("run --config a.toml", &least),
        ("run --config=a.toml", &least),
        ("run -d --for 1500ms -c a.toml", &all),
    ] {
        assert_eq!(
            parse(split(words)),
            Ok(Command::Run(args.clone())),
            "{words}"
        );
    }
    rejects(&[
        ("run --config", UsageError::MissingValue(name("--config"))),
        ("run --config a --for 3", UsageError::For(name("3"))),
        ("run --config a --for x", UsageError::For(name("x"))),
        ("run --config a -h b", UsageError::UnknownOption(name("-h"))),
        ("run --config a -A b", UsageError::UnknownOption(name("-A"))),
        ("run --config a b", UsageError::UnknownOption(name("b"))),
        (
            "status --config a",
            UsageError::UnknownOption(name("--config")),
        ),
    ]);
}

#[test]
fn each_qos_is_for_the_filter_of_its_place() {
    let pair = |text: &str, qos| (text.to_owned(), qos);
    for (words, expected) in [
        ("-t a -t b -q 1 -q 2", [pair("a", 1), pair("b", 2)]),
        ("-q 2 -t a -q 0 -t b", [pair("a", 2), pair("b", 0)]),
        // As many are needed, else the last is for all, as with Mosquitto's program.
        ("-t a -t b -q 1", [pair("a", 1), pair("b", 1)]),
        ("-q 0 -q 1 -q 2 -t a -t b", [pair("a", 2), pair("b", 2)]),
    ] {
        assert_eq!(subscriptions(words), expected, "{words}");
    }
    assert_eq!(publish("-t a -n -q 1 -q 2").qos, QoS::ExactlyOnce);
}

#[test]
fn what_is_taken_and_how_it_is_printed() {
    let args = subscribe("-t # -T a/# -T b -C 3 -R --remove-retained --random-filter 12.5 -E");
    let hidden: Vec<&str> = args.take.hidden.iter().map(TopicFilter::as_str).collect();
    assert_eq!(hidden, ["a/#", "b"]);
    assert_eq!(args.take.count, NonZeroU64::new(3));
    assert_eq!(
        (
            args.take.retained,
            args.take.remove_retained,
            args.take.share
        ),
        (Retained::Hidden, true, Some(125))
    );
    assert!(args.exit_subscribed);
    let args = subscribe("-t a --retained-only --retain-as-published -F %t --pretty -N -v");
    assert_eq!(args.take.retained, Retained::Only);
    let expected = OutputArgs {
        verbose: true,
        format: Some(Format::parse(b"%t").unwrap()),
        pretty: true,
        line_end: false,
    };
    assert_eq!(args.output, expected);
    let args = subscribe("-U a -U b/#");
    assert!(args.subscriptions.is_empty());
    assert_eq!(args.unsubscribe.len(), 2);
    let waits = |words: &str| subscribe(&format!("-t a -W {words}")).wait;
    assert_eq!(waits("10"), Some(Duration::from_secs(10)));
    assert_eq!(waits("10s"), waits("10"));
    assert_eq!(waits("1500ms"), Some(Duration::from_millis(1_500)));
    rejects(&[
        ("sub -t a -R --retained-only", UsageError::NothingRetained),
        (
            "sub -t a -F %z",
            UsageError::Format(crate::format::FormatError::Letter('z')),
        ),
        ("sub -t a -W 0s", UsageError::Wait(name("0s"))),
        (
            "sub -t a --random-filter 0",
            UsageError::RandomFilter(name("0")),
        ),
        (
            "sub -t a --random-filter 0.05",
            UsageError::RandomFilter(name("0.05")),
        ),
        (
            "sub -t a --random-filter 100.1",
            UsageError::RandomFilter(name("100.1")),
        ),
        (
            "sub -t a --random-filter x",
            UsageError::RandomFilter(name("x")),
        ),
    ]);
    let share = |percent: &str| {
        subscribe(&format!("-t a --random-filter {percent}"))
            .take
            .share
    };
    assert_eq!((share("0.1"), share("100")), (Some(1), Some(1_000)));
}

#[test]
fn a_message_is_repeated_with_a_delay() {
    let args = publish("-t a -n --repeat 3 --repeat-delay 0.25");
    assert_eq!(args.repeat.get(), 3);
    assert_eq!(args.repeat_delay, Duration::from_millis(250));
    assert_eq!(
        publish("-t a -n --repeat-delay 86400").repeat_delay,
        REPEAT_DELAY_MAX
    );
    rejects(&[
        ("pub -t a -n --repeat 0", UsageError::Repeat(name("0"))),
        (
            "pub -t a -n --repeat-delay -1",
            UsageError::RepeatDelay(name("-1")),
        ),
        (
            "pub -t a -n --repeat-delay 86401",
            UsageError::RepeatDelay(name("86401")),
        ),
        (
            "pub -t a -n --repeat-delay .",
            UsageError::RepeatDelay(name(".")),
        ),
    ]);
}

#[test]
fn a_request_has_two_topics_and_a_message() {
    let Ok(Command::Request(args)) = parse(split("request -t do/it -e done -m x -q 1 -W 3 -v"))
    else {
        panic!("a request")
    };
    assert_eq!(
        (&*args.topic, args.response_topic.as_str()),
        ("do/it", "done")
    );
    assert_eq!(args.source, MessageSource::Text(b"x".to_vec()));
    assert_eq!(
        (args.qos, args.wait),
        (QoS::AtLeastOnce, Some(Duration::from_secs(3)))
    );
    assert!(args.output.verbose);
    rejects(&[
        ("request -t a -m x", UsageError::NoResponseTopic),
        ("request -e a -m x", UsageError::NoTopic),
        ("request -t a -e b", UsageError::NoMessage),
        (
            "request -t a -e b/# -n",
            UsageError::Topic {
                text: name("b/#"),
                error: TopicError::WildcardInName { at: 2 },
            },
        ),
    ]);
}

#[test]
fn what_is_not_offered_is_refused_with_the_reason() {
    for (words, option, reason) in [
        ("pub -D publish content-type x", "-D", "MQTT 5"),
        ("sub --property", "--property", "MQTT 5"),
        ("sub -x 5", "-x", "MQTT 5"),
        ("sub -V 5", "-V 5", "MQTT 5"),
        ("pub --protocol-version=mqttv5", "-V mqttv5", "MQTT 5"),
        ("request -V 31", "-V 31", "3.1.1"),
        ("sub -S", "-S", "SRV"),
        ("sub --psk 00", "--psk", "certificate"),
        ("sub --tls-engine x", "--tls-engine", "--key"),
        ("sub --keyform engine", "--keyform engine", "--key"),
        ("sub --ciphers x", "--ciphers", "safe"),
        ("sub --proxy socks5h://a:1", "--proxy socks5h://", "HTTP"),
    ] {
        match parse(split(words)).unwrap_err().error {
            UsageError::NotOffered {
                option: found,
                reason: why,
            } => {
                assert_eq!(found, option, "{words}");
                assert!(why.contains(reason), "{words}: {why}");
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    rejects(&[
        ("sub -t a -V 6", UsageError::Protocol(name("6"))),
        ("run --config a -D x", UsageError::UnknownOption(name("-D"))),
    ]);
    subscribe("-t a -V mqttv311 --keyform pem --nodelay");
}

#[test]
fn small_tools_take_a_word() {
    let explain = |codes: &[&str], markdown| {
        let codes = codes.iter().map(|code| name(code)).collect();
        Ok(Command::Explain(ExplainArgs { codes, markdown }))
    };
    assert_eq!(parse(split("explain")), explain(&[], false));
    assert_eq!(
        parse(split("explain T021 c009")),
        explain(&["T021", "c009"], false)
    );
    assert_eq!(parse(split("explain --markdown")), explain(&[], true));
    let shell = |shell| Ok(Command::Completions(CompletionsArgs { shell }));
    assert_eq!(parse(split("completions bash")), shell(Shell::Bash));
    assert_eq!(parse(split("completions zsh")), shell(Shell::Zsh));
    assert_eq!(parse(split("completions fish")), shell(Shell::Fish));
    assert_eq!(parse(split("man")), Ok(Command::Man));
    rejects(&[
        ("completions", UsageError::Shell(name(""))),
        ("completions csh", UsageError::Shell(name("csh"))),
        ("man x", UsageError::UnknownOption(name("x"))),
        ("explain -x", UsageError::UnknownOption(name("-x"))),
    ]);
}
