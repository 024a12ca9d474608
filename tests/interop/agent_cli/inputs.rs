//! What the programs are given to send, and options, beside Mosquitto's: the same, but for what the
//! manual page tells as a difference.

use super::beside::publish;
use super::*;

#[test]
fn an_empty_input_removes_nothing_and_an_empty_file_does() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let folder = TempDir::new("agent-empty");
    let empty = folder.write("empty", "");
    let empty = empty.to_str().unwrap();
    let port_text = port.to_string();
    for (program, code) in [(program().as_os_str(), 65), ("mosquitto_pub".as_ref(), 1)] {
        publish(&peers, port, "state", b"kept", &["-r", "-q", "1"]);
        let publish = |script: &str, more: &[&str]| {
            let mut command = Command::new(program);
            if code == 65 {
                command.arg("pub");
            }
            command.args(["-h", "127.0.0.1", "-p", &port_text, "-r", "-t", "state"]);
            command.args(more);
            run(in_shell(script, &command))
        };
        // Whoever was to write it has failed.
        let finished = publish("false | \"$@\"", &["-s"]);
        assert_eq!(finished.code(), Some(code), "{}", finished.stderr);
        let kept = ["-t", "state", "-C", "1", "-W", "20"];
        let kept = mosquitto_sub(&peers, port, &kept).unwrap();
        assert_eq!(kept.finish(PROCESS_TIMEOUT).unwrap().stdout, "kept\n");
        expect_success(&publish("exec \"$@\"", &["-f", empty]));
        let gone = mosquitto_sub(&peers, port, &["-t", "state", "-W", "1"]).unwrap();
        assert_eq!(gone.finish(PROCESS_TIMEOUT).unwrap().stdout, "");
    }
}

#[test]
fn what_differs_from_theirs_is_what_the_manual_page_tells() {
    let Some(peers) = peers() else { return };
    let page = run(agent_alone(&["man"])).stdout.replace("\\-", "-");
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let folder = TempDir::new("agent-differences");
    let pki = tests::pki::Pki::new();
    let authority = folder.write("authority.crt", pki.authority.certificate());
    let authority = authority.to_str().unwrap();
    folder.write("mosquitto_sub", "-W 1\n");
    let url = format!("mqtt://127.0.0.1:{port}/a");
    let all: [(&str, &[&str], i32, i32); 7] = [
        // Without a difference: it says nothing of a will that there is not.
        ("", &["-t", "a", "--will-qos", "1", "-W", "1"], 27, 27),
        (
            "-A with a host name",
            &["-t", "a", "-A", "localhost", "-W", "1"],
            27,
            64,
        ),
        (
            "-L mqtt://... with --cafile",
            &["-L", &url, "--cafile", authority, "-W", "1"],
            8,
            64,
        ),
        (
            "-V 5, -D, -x",
            &["-t", "a", "-V", "5", "-x", "5", "-W", "1"],
            27,
            64,
        ),
        (
            "--proxy socks5h://...",
            &["-t", "a", "-W", "1", "--proxy", "socks5h://127.0.0.1:1"],
            1,
            64,
        ),
        // Theirs takes its time from there; ours waits on, and is sent a message.
        ("files with defaults", &["-t", "kept", "-C", "2"], 27, 0),
        ("exit codes", &["-t", "a", "-q", "3"], 1, 64),
    ];
    for (about, words, theirs, ours) in all {
        assert!(page.contains(about), "{about}: {page}");
        let at = ["-h", "127.0.0.1", "-p", &port.to_string()];
        let at: &[&str] = if words[0] == "-L" { &[] } else { &at };
        let mut command = Command::new("mosquitto_sub");
        command.env("XDG_CONFIG_HOME", folder.path());
        let found = run_owned(command.args(at).args(words));
        assert_eq!(found.code(), Some(theirs), "{words:?}: {}", found.stderr);
        let mut command = Command::new(program());
        command.env("XDG_CONFIG_HOME", folder.path()).arg("sub");
        let mut command = command.args(at).args(words);
        if about == "files with defaults" {
            command = command.args(["-i", "ours"]);
            let running = Running::start(command).unwrap();
            broker.wait_for_suback("ours");
            thread::sleep(Duration::from_millis(1_200));
            for text in ["one", "two"] {
                publish(&peers, port, "kept", text.as_bytes(), &[]);
            }
            assert_eq!(running.finish(PROCESS_TIMEOUT).unwrap().code(), Some(ours));
            continue;
        }
        let found = run_owned(command);
        assert_eq!(found.code(), Some(ours), "{words:?}: {}", found.stderr);
    }
}

fn agent_alone(words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words);
    command
}

#[track_caller]
fn run_owned(command: &mut Command) -> Finished {
    process::run(command, PROCESS_TIMEOUT).unwrap()
}
