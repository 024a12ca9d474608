//! The layers: which value holds, where it comes from, and what is wrong in each of them.

use std::ffi::OsString;

use agent::config::{Applies, Config, ConfigErrors, Effective, Level, Origin, Source};

use crate::temp_dir::TempDir;

const MAIN: &str = "[cloud]\nendpoint = \"mqtt://main\"\nkeep_alive = \"10s\"\nuser = \"main\"\n";

/// The layers below a folder, with these variables.
pub(crate) fn source(root: &TempDir, variables: &[(&str, &str)]) -> Source {
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Source::system().root(root.path()).variables(variables)
}

pub(crate) fn load(source: Source) -> Result<Effective, ConfigErrors> {
    fiber::run(move || source.load()).unwrap()
}

#[track_caller]
fn loaded(source: Source) -> Effective {
    load(source).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What a setting is, and where it comes from.
#[track_caller]
pub(crate) fn setting(effective: &Effective, path: &str) -> (String, String) {
    let mut found = effective
        .settings()
        .iter()
        .filter(|effect| effect.path() == path);
    let effect = found
        .next()
        .unwrap_or_else(|| panic!("{path} is not there"));
    assert!(found.next().is_none(), "{path} is there twice");
    (
        effect.value().unwrap_or_default(),
        effect.origin().to_string(),
    )
}

#[test]
fn each_layer_goes_over_the_ones_before_and_every_value_knows_its_place() {
    let root = TempDir::new();
    let vendor = root.write(
        "usr/lib/agent/conf.d/10-a.toml",
        "[log]\nfilter = \"error\"\n[queue]\nmax_messages = 1\n",
    );
    root.write(
        "usr/lib/agent/conf.d/20-b.toml",
        "[cloud]\nkeep_alive = \"5s\"\n",
    );
    let main = root.write("etc/agent/agent.toml", MAIN);
    root.write(
        "etc/agent/conf.d/20-late.toml",
        "[cloud]\n  user = \"late\"\n",
    );
    root.write(
        "etc/agent/conf.d/10-early.toml",
        "[cloud]\nuser = \"early\"\nkeep_alive = \"20s\"\n",
    );
    root.write(
        "etc/agent/conf.d/.hidden.toml",
        "[cloud]\nuser = \"hidden\"\n",
    );
    root.write("etc/agent/conf.d/README", "no TOML");
    let credentials = root.write("run/cloud.password", "hunter2\n");
    root.write("run/other-secret", "for another program");
    let run = root.path().join("run");
    let variables = [
        ("AGENT_CLOUD__KEEP_ALIVE", "30s"),
        ("AGENT_QUEUE__MAX_MESSAGES", "2"),
        ("AGENT_SCHEDULE__WINDOWS", "0 3 * * *"),
        // None of ours.
        ("AGENT_PASSWORD", "x"),
        ("CREDENTIALS_DIRECTORY", run.to_str().unwrap()),
        ("STATE_DIRECTORY", "/var/lib/one:/var/lib/two"),
        ("RUNTIME_DIRECTORY", "/run/one"),
    ];
    let source = source(&root, &variables)
        .set("queue.max_messages=3")
        .unwrap();
    let source = source.set("provision.parameters.SerialNumber=A-1").unwrap();
    let source = source.set("provision.method=https").unwrap();
    let effective = loaded(source.set("provision.url=https://p").unwrap());
    let late = root.path().join("etc/agent/conf.d/20-late.toml");
    for (path, value, origin) in [
        (
            "cloud.endpoint",
            "\"mqtt://main:1883\"",
            format!("{}:2:12", main.display()),
        ),
        (
            "log.filter",
            "\"error\"",
            format!("{}:2:10", vendor.display()),
        ),
        ("cloud.user", "\"late\"", format!("{}:2:10", late.display())),
        (
            "cloud.password",
            "\"***\"",
            format!("{}:1:1", credentials.display()),
        ),
        (
            "cloud.keep_alive",
            "\"30s\"",
            "environment AGENT_CLOUD__KEEP_ALIVE".to_owned(),
        ),
        (
            "queue.max_messages",
            "3",
            "option --set queue.max_messages".to_owned(),
        ),
        ("cloud.session", "\"kept\"", "default".to_owned()),
        (
            "schedule.windows",
            "[\"0 3 * * *\"]",
            "environment AGENT_SCHEDULE__WINDOWS".to_owned(),
        ),
        (
            "provision.parameters",
            "{ SerialNumber = \"***\" }",
            "option --set provision.parameters.SerialNumber".to_owned(),
        ),
    ] {
        assert_eq!(
            setting(&effective, path),
            (value.to_owned(), origin),
            "{path}"
        );
    }
    let config = effective.config();
    assert_eq!(config.queue.max_messages, 3);
    assert_eq!(config.state.dir.to_str(), Some("/var/lib/one"));
    let socket = config.control.socket.as_deref();
    assert_eq!(
        socket.and_then(|path| path.to_str()),
        Some("/run/one/control.sock")
    );
    let password = config.cloud.credentials.as_ref().unwrap().password.as_ref();
    assert_eq!(password.unwrap().0, b"hunter2");
}

#[test]
fn a_file_that_is_named_takes_the_place_of_etc_alone() {
    let root = TempDir::new();
    root.write("usr/lib/agent/conf.d/a.toml", "[queue]\nmax_messages = 7\n");
    root.write("etc/agent/agent.toml", "this is no TOML");
    root.write("etc/agent/conf.d/a.toml", "[nor this");
    let file = root.write(
        "own/agent.toml",
        "[cloud]\nendpoint = \"mqtt://own\"\npassword_file = \"pw\"\nuser = \"u\"\n",
    );
    root.write("own/pw", "hunter2");
    let effective = loaded(source(&root, &[]).file(&file));
    assert_eq!(effective.config().cloud.endpoint.host(), "own");
    assert_eq!(effective.config().queue.max_messages, 7);

    let missing = load(source(&root, &[]).file(root.path().join("missing.toml"))).unwrap_err();
    assert_eq!(missing.problems()[0].error.code(), "C001");
    assert_eq!(missing.exit().code(), 66);
}

#[test]
fn tables_that_may_be_there_several_times_add_up_over_the_files() {
    let root = TempDir::new();
    let main = format!(
        "{MAIN}[[subscription]]\ntopic = \"a\"\nqos = 0\n[[subscription]]\ntopic = \"b\"\n"
    );
    root.write("etc/agent/agent.toml", main);
    let more = "[[subscription]]\ntopic = \"c\"\n[[subscription]]\ntopic = \"a\"\nqos = 2\n";
    root.write("etc/agent/conf.d/more.toml", more);
    let effective = loaded(source(&root, &[]));
    let found: Vec<_> = effective
        .config()
        .subscriptions
        .iter()
        .map(|subscription| (subscription.topic.as_str(), subscription.qos as u8))
        .collect();
    assert_eq!(found, [("a", 2), ("b", 1), ("c", 1)]);
    assert_eq!(setting(&effective, "subscription.a.qos").0, "2");
}

#[test]
fn faults_of_all_layers_are_told_at_once_with_their_places() {
    let root = TempDir::new();
    root.write(
        "etc/agent/agent.toml",
        "[cloud]\nendpoint = \"mqtt://h\"\nkeep_alive = 30\n",
    );
    root.write("etc/agent/conf.d/a.toml", "[queue]\nmax_disk = \"1TB\"\n");
    let variables = [
        ("AGENT_CLOUD__KEEPALIVE", "30s"),
        ("AGENT_TELEMETRY__INTERVAL", "1y"),
        ("AGENT_SUBSCRIPTION__TOPIC", "a"),
        ("AGENT_CLOUDS__USER", "a"),
    ];
    let source = source(&root, &variables)
        .set("cloud.password=hunter2")
        .unwrap();
    let errors = load(source.set("cloud.user=u").unwrap()).unwrap_err();
    let told = errors
        .to_string()
        .replace(&root.path().display().to_string(), "ROOT");
    for expected in [
        "error[C009]: `keep_alive` in [cloud] has no unit\n  --> ROOT/etc/agent/agent.toml:3:14\n",
        "error[C010]: `max_disk` in [queue] is no size\n  --> ROOT/etc/agent/conf.d/a.toml:2:12\n",
        "error[C004]: there is no table [clouds]\n  --> environment AGENT_CLOUDS__USER\n",
        "error[C005]: there is no key `keepalive` in [cloud]\n  --> environment AGENT_CLOUD__KEEPALIVE\n",
        "error[C042]: [[subscription]] can be set in files alone\n  --> environment AGENT_SUBSCRIPTION__TOPIC\n",
        "--> environment AGENT_TELEMETRY__INTERVAL\n    |\n    | AGENT_TELEMETRY__INTERVAL=1y\n    |                           ^^\n",
        "error[C041]: `password` in [cloud] cannot be set on the command line\n  --> option --set cloud.password\n   =",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(errors.exit().code(), 78);
    let order: Vec<_> = errors
        .problems()
        .iter()
        .map(|problem| &problem.origin)
        .collect();
    assert!(
        matches!(order[0], Origin::File { .. }) && matches!(order.last(), Some(Origin::Flag(_)))
    );
}

#[test]
fn what_is_no_setting_is_told_without_its_value() {
    for text in ["cloud", "hunter2", "cloud.user", "user=hunter2"] {
        let refused = Source::system().set(text).unwrap_err().to_string();
        assert!(refused.contains("expected SECTION.KEY=VALUE"), "{refused}");
        assert!(
            !text.contains('=') || !refused.contains("hunter2"),
            "{refused}"
        );
    }
}

#[test]
fn of_several_passwords_the_one_of_the_highest_layer_counts() {
    let root = TempDir::new();
    root.write(
        "etc/agent/agent.toml",
        format!("{MAIN}password_file = \"missing\"\n"),
    );
    let effective = loaded(source(&root, &[("AGENT_CLOUD__PASSWORD", "hunter2")]));
    let credentials = effective.config().cloud.credentials.clone().unwrap();
    assert_eq!(credentials.password.unwrap().0, b"hunter2");

    let both = [
        ("AGENT_CLOUD__PASSWORD", "hunter2"),
        ("AGENT_CLOUD__PASSWORD_FILE", "/x"),
    ];
    let errors = load(source(&root, &both)).unwrap_err();
    assert_eq!(errors.problems()[0].error.code(), "C021", "{errors}");
    assert!(!errors.to_string().contains("hunter2"), "{errors}");
}

#[test]
fn a_credential_of_the_service_manager_is_taken_by_its_name() {
    let root = TempDir::new();
    root.write(
        "etc/agent/agent.toml",
        format!("{MAIN}credential = \"mqtt\"\n"),
    );
    root.write("run/mqtt", "hunter2\n");
    root.write("run/extra.toml", "[queue]\nmax_messages = 9\n");
    let folder = root.path().join("run").to_str().unwrap().to_owned();
    let effective = loaded(source(&root, &[("CREDENTIALS_DIRECTORY", &folder)]));
    let credentials = effective.config().cloud.credentials.clone().unwrap();
    assert_eq!(credentials.password.unwrap().0, b"hunter2");
    assert_eq!(effective.config().queue.max_messages, 9);
}

#[test]
fn the_syntax_is_checked_without_the_files_that_are_named() {
    let root = TempDir::new();
    root.write(
        "etc/agent/agent.toml",
        format!("{MAIN}password_file = \"missing\"\n"),
    );
    let source = source(&root, &[]);
    let checked = fiber::run(move || (source.check(Level::Syntax), source.check(Level::Files)));
    let (syntax, files) = checked.unwrap();
    assert!(syntax.is_ok());
    assert_eq!(files.unwrap_err().problems()[0].error.code(), "C028");
}

#[test]
fn a_folder_with_too_many_files_is_refused() {
    let root = TempDir::new();
    root.write("etc/agent/agent.toml", MAIN);
    for number in 0..=agent::config::CONFIG_FILES_MAX {
        root.write(&format!("etc/agent/conf.d/{number:03}.toml"), "");
    }
    let errors = load(source(&root, &[])).unwrap_err();
    assert_eq!(errors.problems()[0].error.code(), "C043", "{errors}");
}

#[test]
fn what_changed_is_told_with_when_it_takes_effect() {
    let root = TempDir::new();
    let main = |rest: &str| {
        root.write(
            "etc/agent/agent.toml",
            format!("{MAIN}password_file = \"pw\"\n{rest}"),
        )
    };
    main("[[subscription]]\ntopic = \"a\"\n");
    root.write("etc/agent/pw", "old");
    let before = loaded(source(&root, &[]));
    assert!(loaded(source(&root, &[])).changes(&before).is_empty());

    main("[log]\nfilter = \"debug\"\n[[subscription]]\ntopic = \"b\"\n[queue]\nmax_messages = 5\n");
    root.write("etc/agent/pw", "new");
    let after = loaded(source(&root, &[("AGENT_CLOUD__KEEP_ALIVE", "1m")]));
    let changes = after.changes(&before);
    let told = changes
        .to_string()
        .replace(&root.path().display().to_string(), "ROOT");
    let expected = [
        "cloud.password_file: other contents of \"ROOT/etc/agent/pw\", with the next connection (ROOT/etc/agent/agent.toml:5:17)",
        "cloud.keep_alive: \"1m\" instead of \"10s\", with the next connection (environment AGENT_CLOUD__KEEP_ALIVE)",
        "queue.max_messages: 5 instead of 100000, at the next start (ROOT/etc/agent/agent.toml:11:16)",
        "subscription.b.topic: \"b\" instead of nothing, at once (ROOT/etc/agent/agent.toml:9:9)",
        "subscription.b.qos: 1 instead of nothing, at once (default)",
        "log.filter: \"debug\" instead of \"warn,agent=info\", at once (ROOT/etc/agent/agent.toml:7:10)",
        "subscription.a.topic: nothing instead of \"a\", at once (default)",
        "subscription.a.qos: nothing instead of 1, at once (default)",
    ];
    assert_eq!(told, expected.join("\n"));
    let count = |applies| changes.that_apply(applies).count();
    let counts = [Applies::Live, Applies::Reconnect, Applies::Restart].map(count);
    assert_eq!(counts, [5, 2, 1]);
    assert!(changes.touches(agent::config::Section::Queue));
    assert!(!changes.touches(agent::config::Section::Device));
}

#[test]
fn the_identifier_takes_its_place_in_every_topic_once_it_is_known() {
    let root = TempDir::new();
    let rest = "[telemetry]\ntopic = \"d/{id}/up\"\n[[subscription]]\ntopic = \"d/{id}/#\"\n\
                [metrics]\ntopic = \"d/{id}/m\"\n[commands]\ntopic = \"d/{id}/c\"\n\
                [[command]]\nname = \"x\"\nprogram = \"/bin/true\"\n";
    root.write("etc/agent/agent.toml", format!("{MAIN}{rest}"));
    let topics = |config: &Config| {
        [
            config.telemetry.as_ref().unwrap().topic.as_str().to_owned(),
            config.subscriptions[0].topic.as_str().to_owned(),
            config.metrics.as_ref().unwrap().topic.as_str().to_owned(),
            config.commands.as_ref().unwrap().topic.as_str().to_owned(),
        ]
    };
    let mut config = loaded(source(&root, &[])).into_config();
    assert_eq!(
        topics(&config),
        ["d/{id}/up", "d/{id}/#", "d/{id}/m", "d/{id}/c"]
    );
    config
        .set_device_id(&mqtt::ClientId::new("m#").unwrap())
        .unwrap_err();
    assert_eq!(config.device.id, None);
    config
        .set_device_id(&mqtt::ClientId::new("m1").unwrap())
        .unwrap();
    assert_eq!(topics(&config), ["d/m1/up", "d/m1/#", "d/m1/m", "d/m1/c"]);
    let known = loaded(source(&root, &[("AGENT_DEVICE__ID", "m2")])).into_config();
    assert_eq!(topics(&known), ["d/m2/up", "d/m2/#", "d/m2/m", "d/m2/c"]);
}
