//! The installation step of `test.sh`, exercised without installing anything.
//!
//! `bash` runs `tests/install-peers.sh` with a PATH that holds stand-ins alone: package managers
//! that record the command line they were given, and, when they are told to succeed, put the
//! peers where a real one would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tests::temp_dir::TempDir;

use crate::tree;

/// The last one stands for Paho's client as well: a Python that fails has none.
const PEERS: [&str; 5] = [
    "mosquitto",
    "mosquitto_pub",
    "mosquitto_sub",
    "mosquitto_passwd",
    "python3",
];

/// Those that are installed one by one, with their packages.
const PROGRAMS_OF_THEIR_OWN: [(&str, &str); 2] =
    [("openssl", "openssl"), ("tinyproxy", "tinyproxy")];

/// A folder that is the whole PATH of the script under test.
struct Machine {
    folder: TempDir,
    /// Where a Python may be beside PATH.
    python_dirs: String,
}

/// What the script did.
struct Outcome {
    success: bool,
    errors: String,
    /// One line per call of a package manager or of sudo.
    recorded: Vec<String>,
}

impl Machine {
    /// A machine with OpenSSL, tinyproxy, a user id and nothing else.
    fn new(user: u32) -> Self {
        let machine = Self::bare(user);
        for (program, _) in PROGRAMS_OF_THEIR_OWN {
            machine.program(program, "exit 1");
        }
        machine
    }

    fn bare(user: u32) -> Self {
        let machine = Self {
            folder: TempDir::new("installer"),
            python_dirs: String::new(),
        };
        machine.program("id", &format!("echo {user}"));
        // `env NAME=value program ...`, recorded with the program.
        machine.program(
            "env",
            "export \"$1\"; prefix=\"$1 \"; export prefix; shift; exec \"$@\"",
        );
        machine
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/bash\n{body}\n")).expect("a stand-in can be written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, executable).expect("a stand-in can be made executable");
    }

    fn with_peers(self, peers: &[&str]) -> Self {
        for peer in peers {
            self.program(peer, ":");
        }
        self
    }

    /// A package manager that records its command line, then runs `body`.
    fn with_manager(self, name: &str, body: &str) -> Self {
        self.program(
            name,
            &format!("echo \"${{prefix-}}{name} $*\" >>\"$RECORD\"\n{body}"),
        );
        self
    }

    /// A package manager that succeeds, and a word of its command line that makes the peers appear.
    fn with_working_manager(self, name: &str, installs_at: &str) -> Self {
        let folder = self.folder.path().display().to_string();
        let mut body = format!("case \" $* \" in *\" {installs_at} \"*)\n");
        for peer in PEERS {
            body += &format!(
                "printf '#!/bin/bash\\n' >{folder}/{peer}; /bin/chmod +x {folder}/{peer}\n"
            );
        }
        self.with_manager(name, &(body + ";; esac"))
    }

    fn with_sudo(self) -> Self {
        self.program("sudo", "echo \"sudo $*\" >>\"$RECORD\"; exec \"$@\"");
        self
    }

    fn install(&self) -> Outcome {
        self.run("install_peers")
    }

    /// Runs one of the script's functions.
    fn run(&self, function: &str) -> Outcome {
        let record = self.folder.path().join("record");
        let script = tree::root().join("tests/install-peers.sh");
        let output = Command::new("/bin/bash")
            .args(["-euo", "pipefail", "-c", ". \"$0\"; \"$1\""])
            .arg(&script)
            .arg(function)
            .env_clear()
            .env("PATH", self.folder.path())
            .env("PEER_DIRS", "")
            .env("PYTHON_DIRS", &self.python_dirs)
            .env("RECORD", &record)
            .output()
            .expect("bash can be started");
        assert!(
            output.stdout.is_empty(),
            "the installer prints to the error output alone"
        );
        Outcome {
            success: output.status.success(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            recorded: lines(&record),
        }
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_machine_with_all_peers_is_left_alone_in_silence() {
    let machine = Machine::new(0)
        .with_peers(&PEERS)
        .with_working_manager("apt-get", "install");
    let outcome = machine.install();
    assert!(outcome.success);
    assert_eq!((outcome.errors.as_str(), outcome.recorded.len()), ("", 0));
}

#[test]
fn a_program_of_its_own_is_installed_by_itself() {
    for (missing, package) in PROGRAMS_OF_THEIR_OWN {
        let machine = Machine::bare(0)
            .with_peers(&PEERS)
            .with_manager("apt-get", "exit 0");
        for (program, _) in PROGRAMS_OF_THEIR_OWN {
            if program != missing {
                machine.program(program, "exit 1");
            }
        }
        let outcome = machine.install();
        assert!(!outcome.success, "it is still missing");
        let told = format!("(missing: {missing})");
        assert!(outcome.errors.contains(&told), "{}", outcome.errors);
        let last = outcome.recorded.last().expect("a call");
        let call = format!("install -y --no-install-recommends {package}");
        assert!(last.ends_with(&call), "{last}");
    }
}

#[test]
fn one_missing_peer_is_enough_to_install() {
    let machine = Machine::new(0)
        .with_peers(&PEERS[1..])
        .with_working_manager("apt-get", "install");
    let outcome = machine.install();
    assert!(outcome.success, "{}", outcome.errors);
    assert!(
        outcome.errors.contains("(missing: mosquitto)"),
        "{}",
        outcome.errors
    );
    assert_eq!(outcome.recorded.len(), 2);
}

#[test]
fn a_python_without_paho_is_none_and_hides_none_behind_it() {
    let asked = r#"[ "$*" = "-c import paho.mqtt.client" ] || exit 2"#;
    let machine = Machine::new(0)
        .with_peers(&PEERS[..4])
        .with_working_manager("apk", "add");
    machine.program("python3", &format!("{asked}; exit 1"));
    let outcome = machine.install();
    assert!(outcome.success, "{}", outcome.errors);
    let told = "(missing: paho-mqtt)";
    assert!(outcome.errors.contains(told), "{}", outcome.errors);

    let mut machine = Machine::new(0).with_peers(&PEERS[..4]);
    machine.program("python3", &format!("{asked}; exit 1"));
    let other = TempDir::new("other-python");
    other.write("python3", format!("#!/bin/bash\n{asked}\n"));
    let executable = fs::Permissions::from_mode(0o755);
    let python = other.path().join("python3");
    fs::set_permissions(python, executable).expect("a stand-in can be made executable");
    machine.python_dirs = other.path().display().to_string();
    let outcome = machine.install();
    assert!(outcome.success, "{}", outcome.errors);
    assert_eq!(outcome.errors, "");
}

#[test]
fn where_no_package_brings_paho_another_way_is_told() {
    let machine = Machine::new(501)
        .with_peers(&PEERS[..4])
        .with_manager("brew", ":");
    let outcome = machine.install();
    assert!(!outcome.success);
    assert_eq!(outcome.recorded, ["brew install --quiet mosquitto"]);
    let told = "still missing after the installation: paho-mqtt\n\
        install-peers: try: python3 -m pip install paho-mqtt";
    assert!(outcome.errors.contains(told), "{}", outcome.errors);
}

#[test]
fn every_known_package_manager_gets_its_own_command_line() {
    let apt_update = "DEBIAN_FRONTEND=noninteractive apt-get -qq update";
    let apt_install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
        --no-install-recommends mosquitto mosquitto-clients python3-paho-mqtt";
    let cases: [(&str, &str, &[&str]); 5] = [
        ("apt-get", "install", &[apt_update, apt_install]),
        (
            "dnf",
            "install",
            &["dnf --quiet install -y mosquitto python3-paho-mqtt"],
        ),
        (
            "apk",
            "add",
            &["apk add --quiet mosquitto mosquitto-clients py3-paho-mqtt"],
        ),
        (
            "pacman",
            "-S",
            &["pacman -S --noconfirm --needed mosquitto python-paho-mqtt"],
        ),
        ("brew", "install", &["brew install --quiet mosquitto"]),
    ];
    for (manager, installs_at, expected) in cases {
        let outcome = Machine::new(0)
            .with_working_manager(manager, installs_at)
            .install();
        assert!(outcome.success, "{manager}: {}", outcome.errors);
        assert_eq!(outcome.recorded, expected, "{manager}");
    }
}

#[test]
fn valgrind_is_installed_alone() {
    let machine = Machine::new(0).with_working_manager("dnf", "install");
    let outcome = machine.run("install_valgrind");
    // The stand-in brings the peers alone, so valgrind is still missing.
    assert!(!outcome.success);
    assert_eq!(outcome.recorded, ["dnf --quiet install -y valgrind"]);
    let told = "still missing after the installation: valgrind";
    assert!(outcome.errors.contains(told), "{}", outcome.errors);

    let machine = Machine::new(0).with_peers(&["valgrind"]);
    assert!(machine.run("install_valgrind").success);
}

#[test]
fn an_ordinary_user_installs_through_sudo() {
    let machine = Machine::new(1000)
        .with_sudo()
        .with_working_manager("apk", "add");
    let outcome = machine.install();
    assert!(outcome.success, "{}", outcome.errors);
    let call = "apk add --quiet mosquitto mosquitto-clients py3-paho-mqtt";
    assert_eq!(outcome.recorded, [format!("sudo {call}"), call.to_owned()]);
}

#[test]
fn an_ordinary_user_without_sudo_is_told_the_command() {
    let outcome = Machine::new(1000)
        .with_working_manager("apk", "add")
        .install();
    assert!(!outcome.success);
    assert!(outcome.recorded.is_empty());
    let told = "not root and no sudo; run as root: apk add --quiet mosquitto mosquitto-clients \
        py3-paho-mqtt";
    assert!(outcome.errors.contains(told), "{}", outcome.errors);
}

#[test]
fn a_failing_package_manager_is_named_with_its_exit_code() {
    let outcome = Machine::new(0)
        .with_manager("apt-get", "exit 100")
        .install();
    assert!(!outcome.success);
    assert_eq!(
        outcome.recorded,
        ["DEBIAN_FRONTEND=noninteractive apt-get -qq update"]
    );
    let told =
        "the package manager failed (exit code 100): env DEBIAN_FRONTEND=noninteractive apt-get";
    assert!(outcome.errors.contains(told), "{}", outcome.errors);
    assert!(
        outcome
            .errors
            .contains("install Mosquitto and Paho's client for Python by hand")
    );
}

#[test]
fn a_machine_without_a_package_manager_is_told_so() {
    let outcome = Machine::new(0).install();
    assert!(!outcome.success);
    assert!(
        outcome.errors.contains("no known package manager"),
        "{}",
        outcome.errors
    );
    let missing = "(missing: mosquitto mosquitto_pub mosquitto_sub mosquitto_passwd paho-mqtt)";
    assert!(outcome.errors.contains(missing), "{}", outcome.errors);
}

#[test]
fn a_package_manager_that_installs_nothing_is_not_believed() {
    let outcome = Machine::new(0).with_manager("dnf", ":").install();
    assert!(!outcome.success);
    assert_eq!(outcome.recorded.len(), 1);
    assert!(
        outcome
            .errors
            .contains("still missing after the installation"),
        "{}",
        outcome.errors
    );
}
