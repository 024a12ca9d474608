//! The last good configuration: when it is kept, and when a device runs on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agent::config::{ConfigErrors, Source, Started, keep};

use crate::layers::{load, setting, source};
use crate::temp_dir::TempDir;

const PROXY: &str = "http://user:hunter3@proxy:3128";

fn start(source: Source) -> Result<Started, ConfigErrors> {
    fiber::run(move || source.start()).unwrap()
}

/// A configuration that uses everything that is not simply a text, and what was kept of it.
fn good() -> TempDir {
    let root = crate::folder();
    let state = root.path().join("state");
    let main = format!(
        "[cloud]\nendpoint = \"mqtts://good\"\nuser = \"u\"\npassword = \"hunter2\"\nauthority = \"../../ca.pem\"\n\
         certificate = \"../../device.pem\"\nkey = \"../../device.key\"\nproxy = \"{PROXY}\"\n\
         [state]\ndir = \"{}\"\n[provision]\nmethod = \"https\"\nurl = \"https://p\"\n\
         parameters = {{ a = \"1\", \"b c\" = \"2\" }}\n\
         [[command]]\nname = \"x\"\nprogram = \"/bin/true\"\nargs = [\"a\\nb\", \"c\"]\n[commands]\ntopic = \"c\"\n\
         [[subscription]]\ntopic = \"a\"\n[[subscription]]\ntopic = \"b\"\nqos = 0\n",
        state.display(),
    );
    root.write("etc/agent/agent.toml", main);
    let source = source(&root, &[("AGENT_CLOUD__KEEP_ALIVE", "77s")]);
    fiber::run(move || {
        let effective = source.load().unwrap_or_else(|errors| panic!("{errors}"));
        keep(&effective).unwrap();
        keep(&effective).unwrap();
    })
    .unwrap();
    root
}

#[test]
fn a_device_with_a_faulty_configuration_runs_on_the_last_good_one_and_says_so() {
    let root = good();
    let before = load(source(&root, &[("AGENT_CLOUD__KEEP_ALIVE", "77s")])).unwrap();
    let text = fs::read_to_string(root.path().join("etc/agent/agent.toml")).unwrap();
    for (rest, code) in [
        ("[clout]\n", "C004"),
        ("[log]\nfilter = \"loud\"\n", "C010"),
        ("this is no TOML", "C003"),
    ] {
        root.write("etc/agent/agent.toml", format!("{text}{rest}"));
        let state = root.path().join("state");
        // Where the state is cannot be read in a text that is no TOML.
        let variables = [("STATE_DIRECTORY", state.to_str().unwrap())];
        let started = start(source(&root, &variables)).unwrap_or_else(|errors| panic!("{errors}"));
        let rejected = started.rejected.expect("it is faulty");
        assert_eq!(rejected.errors.problems()[0].error.code(), code);
        let told = rejected.to_string();
        let last = told.lines().last().unwrap();
        let expected = "1 error, nothing was changed: the agent runs on the configuration of 20";
        assert!(last.starts_with(expected), "{last}");
        assert!(!told.contains("hunter"), "{told}");
        // It is the same, whatever layer it came from.
        let changes = started.effective.changes(&before).to_string();
        assert_eq!(changes, "", "{code}");
        let alive = setting(&started.effective, "cloud.keep_alive");
        assert_eq!(alive.0, "\"77s\"");
        let password = started
            .effective
            .config()
            .cloud
            .credentials
            .clone()
            .unwrap()
            .password;
        assert_eq!(password.unwrap().0, b"hunter2");
        let proxy = agent::config::ProxyChoice::Proxy(PROXY.parse().unwrap());
        assert_eq!(started.effective.config().cloud.proxy, proxy);
        assert!(!started.effective.config().cloud.port_is_set);
    }
}

#[test]
fn a_good_configuration_is_started_with_whatever_was_kept() {
    let root = good();
    let text = fs::read_to_string(root.path().join("etc/agent/agent.toml")).unwrap();
    root.write(
        "etc/agent/agent.toml",
        text.replace("mqtts://good", "mqtts://new"),
    );
    let started = start(source(&root, &[])).unwrap();
    assert!(started.rejected.is_none());
    assert_eq!(started.effective.config().cloud.endpoint.host(), "new");
}

#[test]
fn what_is_kept_is_for_its_owner_alone_and_of_no_use_when_it_was_changed() {
    let root = good();
    let path = root.path().join("state/config/good.toml");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    root.write("etc/agent/agent.toml", "[clout]\n");
    let state = root.path().join("state");
    let variables = [("STATE_DIRECTORY", state.to_str().unwrap())];
    let kept = fs::read_to_string(&path).unwrap();
    assert!(start(source(&root, &variables)).is_ok());
    for torn in [
        &kept[..kept.len() - 1],
        "",
        &kept.replace("mqtts://good", "mqtts://evil"),
    ] {
        root.write("state/config/good.toml", torn);
        let errors = start(source(&root, &variables)).unwrap_err();
        assert!(errors.to_string().contains("error[C004]"), "{errors}");
    }
}

#[test]
fn without_one_that_was_kept_a_faulty_configuration_starts_nothing() {
    let root = TempDir::new();
    root.write("etc/agent/agent.toml", "[clout]\n");
    let errors = start(source(&root, &[])).unwrap_err();
    assert_eq!(errors.exit().code(), 78);
}
