//! What is said about the connection: TLS, `-L`, credentials, identifiers, the way out.

use safe_rt::Scheme;

use super::*;

fn tls() -> TlsArgs {
    TlsArgs {
        cafile: None,
        capath: None,
        system: true,
        identity: None,
        alpn: None,
        version: None,
        insecure: false,
    }
}

#[test]
fn tls_is_what_any_word_about_it_turns_on() {
    let given = |words: &str| {
        let args = subscribe(&format!("-t a {words}")).connection;
        (args.endpoint.to_string(), args.tls)
    };
    let cafile = || Some(PathBuf::from("ca"));
    let at = |endpoint: &str, tls| (name(endpoint), Some(tls));
    let own = TlsArgs {
        cafile: cafile(),
        system: false,
        ..tls()
    };
    assert_eq!(
        given("--cafile ca"),
        at("mqtts://localhost:8883", own.clone())
    );
    assert_eq!(given("--ca ca"), given("--cafile ca"));
    let all = TlsArgs {
        capath: Some("cas".into()),
        system: true,
        identity: Some(("c".into(), "k".into())),
        alpn: Some(name("mqtt")),
        version: Some(TlsVersion::Tls13),
        insecure: true,
        ..own
    };
    let words = "--cafile ca --capath cas --tls-use-os-certs --cert c --key k --tls-alpn mqtt -p 443 \
                 -h x --tls-version tlsv1.3 --insecure";
    assert_eq!(given(words), at("mqtts://x:443", all));
    // Whoever says nothing of authorities means those of the system.
    for words in ["-p 8883", "--tls-use-os-certs"] {
        assert_eq!(given(words), at("mqtts://localhost:8883", tls()), "{words}");
    }
    for port in [443, 8443] {
        let (endpoint, found) = given(&format!("-p {port}"));
        assert_eq!(
            (endpoint, found),
            at(&format!("mqtts://localhost:{port}"), tls())
        );
    }
    assert_eq!(given("-p 1883"), (name("mqtt://localhost:1883"), None));
    rejects(&[
        ("sub -t a --cert c", UsageError::CertWithoutKey),
        ("sub -t a --cafile ca --key k", UsageError::CertWithoutKey),
        ("sub -t a --cafile ca --tls-alpn ''", UsageError::Alpn(0)),
        (
            "sub -t a --tls-version tlsv1.1",
            UsageError::TlsVersion(name("tlsv1.1")),
        ),
        ("sub -t a --unix /s --cafile ca", UsageError::TlsForPlain),
        ("sub -L mqtt://h/a --cafile ca", UsageError::TlsForPlain),
    ]);
}

#[test]
fn a_url_says_everything_at_once() {
    let of = |url: &str| {
        let args = publish(&format!("-n -L {url}"));
        let who = args.connection.credentials.map(|who| {
            let password = match who.password {
                Some(PasswordSource::Given(password)) => Some(password.0.clone()),
                None => None,
                other => panic!("{other:?}"),
            };
            (who.user_name, password)
        });
        (
            args.connection.endpoint.to_string(),
            args.topic.as_str().to_owned(),
            who,
        )
    };
    let who = |user: &str, password: Option<&str>| {
        Some((name(user), password.map(|text| text.as_bytes().to_vec())))
    };
    assert_eq!(
        of("mqtt://h/a/b"),
        (name("mqtt://h:1883"), name("a/b"), None)
    );
    assert_eq!(
        of("MQTTS://me:p:w@h:8884/a"),
        (name("mqtts://h:8884"), name("a"), who("me", Some("p:w")))
    );
    assert_eq!(of("mqtt://me@[::1]/a").0, "mqtt://[::1]:1883");
    assert_eq!(
        of("mqtt://me@[::1]:9/a"),
        (name("mqtt://[::1]:9"), name("a"), who("me", None))
    );
    let unix = subscribe("-L unix:/run/broker.sock -t a").connection;
    assert_eq!(unix.endpoint.to_string(), "unix:/run/broker.sock");
    assert_eq!(subscribe("--unix /run/broker.sock -t a").connection, unix);
    // More filters may follow.
    assert_eq!(subscriptions("-L mqtt://h/a -t b").len(), 2);
    rejects(&[
        ("pub -n -L h/a", UsageError::UrlScheme),
        ("pub -n -L http://h/a", UsageError::UrlScheme),
        ("pub -n -L mqtt://h", UsageError::UrlTopic),
        ("pub -n -L mqtt://h:x/a", UsageError::Port(name("x"))),
        ("pub -n -L mqtt://h:0/a", UsageError::Port(name("0"))),
    ]);
    let error = parse(split("pub -n -L me:secret@h/a")).unwrap_err().error;
    assert!(
        !format!("{error} {error:?}").contains("secret"),
        "{error:?}"
    );
    // Which features the whole build has is what counts, and not those of this crate.
    for (scheme, url) in [(Scheme::Ws, "ws://h/a"), (Scheme::Wss, "wss://h:8084/a")] {
        let parsed = parse(split(&format!("pub -n -L {url}")));
        match scheme.is_available() {
            true => assert!(parsed.is_ok(), "{parsed:?}"),
            false => assert_eq!(parsed.unwrap_err().error, UsageError::NoWebSocket),
        }
    }
}

#[test]
fn a_password_is_given_in_one_of_three_ways_and_the_last_counts() {
    let password = |words: &str| {
        let args = publish(&format!("-t a -n -u me {words}"));
        args.connection.credentials.and_then(|who| who.password)
    };
    let file = PasswordSource::File("file".into());
    let variable = PasswordSource::Environment(name("SECRET"));
    assert_eq!(password("--pw-file file"), Some(file));
    assert_eq!(password("-P x --pw-env SECRET"), Some(variable));
    assert_eq!(password(""), None);
    rejects(&[(
        "pub -t a -n --pw-file x",
        UsageError::PasswordWithoutUserName,
    )]);
}

#[test]
fn an_identifier_may_be_made_of_a_prefix() {
    let id = |words: &str| publish(&format!("-t a -n {words}")).connection.client_id;
    assert_eq!(id("-I meter-"), ClientIdArgs::Prefix(name("meter-")));
    assert_eq!(id("--id-prefix=x"), ClientIdArgs::Prefix(name("x")));
    rejects(&[
        ("pub -t a -n -i a -I b", UsageError::IdAndPrefix),
        ("pub -t a -n -I b -c", UsageError::KeptSessionWithoutId),
    ]);
    let longest = "x".repeat(65_525);
    assert_eq!(
        id(&format!("-I {longest}")),
        ClientIdArgs::Prefix(longest.clone())
    );
    let too_long = parse(split(&format!("pub -t a -n -I {longest}x")));
    assert!(matches!(
        too_long.unwrap_err().error,
        UsageError::ClientId(_)
    ));
}

#[test]
fn the_way_out_can_be_chosen() {
    let args =
        subscribe("-t a -A 127.0.0.2 --interface lo --proxy http://me:secret@p:3128 -M 7 --quiet")
            .connection;
    assert_eq!(args.local_address, "127.0.0.2".parse().ok());
    assert_eq!(args.interface.as_deref(), Some("lo"));
    assert_eq!(args.window, NonZeroU16::new(7));
    assert!(args.quiet);
    assert!(!format!("{args:?}").contains("secret"), "{args:?}");
    rejects(&[
        ("sub -t a -A name", UsageError::BindAddress(name("name"))),
        ("sub -t a -M 0", UsageError::Window(name("0"))),
        (
            "sub -t a --proxy http://p",
            UsageError::Proxy(safe_rt::ProxyUrlError::NoPort),
        ),
    ]);
}

#[test]
fn without_a_broker_the_agents_own_is_meant() {
    let own = |words: &str| publish(&format!("-t a -n {words}")).connection.own;
    let of = |is_apart| OwnArgs {
        is_apart,
        ..OwnArgs::default()
    };
    for words in ["", "-d --quiet -V 311 --nodelay --timeout 3"] {
        assert_eq!(own(words), Some(of(false)), "{words}");
    }
    // What another connection need not have.
    for words in [
        "-i a",
        "-u a",
        "--will-topic a",
        "-M 1",
        "-A 127.0.0.1",
        "--insecure",
    ] {
        assert_eq!(own(words), Some(of(true)), "{words}");
    }
    let keep_alive = own("-k 9").unwrap();
    assert!(keep_alive.keep_alive_is_given && keep_alive.is_apart);
    assert!(own("--tls-use-os-certs").unwrap().trust_is_given);
    assert!(!own("--cert a --key b").unwrap().trust_is_given);
    let configured = own("--config a.toml --state-dir /s --set cloud.user=me").unwrap();
    assert!(configured.is_needed && !configured.is_apart);
    assert_eq!(configured.source.set.len(), 2);
    for words in ["-h a", "-p 1884", "--unix /s", "-L mqtt://a/b"] {
        assert_eq!(own(words), None, "{words}");
        let words = format!("pub -t a -n {words} --config a.toml");
        rejects(&[(&words, UsageError::ConfigAndBroker)]);
    }
}
