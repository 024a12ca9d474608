//! The control socket itself: who may ask, and what odd questions do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use agent::control::{CONTROL_CLIENTS_MAX, CONTROL_REQUEST_BYTES_MAX};

use crate::support::on_fibers;
use crate::temp_dir::TempDir;
use crate::{NOWHERE, answer, start};

fn connect(folder: &TempDir) -> UnixStream {
    let stream = UnixStream::connect(folder.path().join("state/control.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends a line, and reads one.
fn exchange(stream: &UnixStream, line: &str) -> String {
    { stream }
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
    read(stream)
}

fn read(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn nobody_but_its_owner_may_ask_and_odd_questions_harm_nobody() {
    on_fibers(|| {
        let folder = TempDir::new("agent-socket");
        let running = start(&folder, NOWHERE, "");
        let path = folder.path().join("state/control.sock");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // Several questions on one connection, those that are none among them.
        let stream = connect(&folder);
        for (line, expected) in [
            ("", "expected a JSON object"),
            ("status", "expected a JSON object"),
            (r#"{"schema":7,"verb":"status"}"#, "`schema`"),
            (r#"{"schema":1,"verb":"dance"}"#, "no verb"),
            (
                r#"{"schema":1,"verb":"connect","seconds":18446744073709551615}"#,
                "at most 86400 seconds",
            ),
        ] {
            let told = exchange(&stream, line);
            assert!(
                told.starts_with(r#"{"schema":1,"ok":false,"error":"#),
                "{told}"
            );
            assert!(told.contains(expected), "{told}");
        }
        let told = exchange(&stream, r#"{"schema":1,"verb":"status"}"#);
        assert!(
            told.starts_with(r#"{"schema":1,"ok":true,"status":{"schema":1,"#),
            "{told}"
        );
        drop(stream);

        // One that is too long is told, and the connection is over.
        let stream = connect(&folder);
        let long = vec![b'x'; CONTROL_REQUEST_BYTES_MAX + 2_000];
        { &stream }.write_all(&long).unwrap();
        let told = read(&stream);
        assert!(told.contains("at most"), "{told}");
        assert_eq!({ &stream }.read(&mut [0; 16]).unwrap_or(0), 0);

        // As many as may ask, and one more.
        let clients: Vec<UnixStream> = (0..CONTROL_CLIENTS_MAX).map(|_| connect(&folder)).collect();
        for client in &clients {
            assert!(exchange(client, r#"{"schema":1,"verb":"status"}"#).contains("\"ok\":true"));
        }
        let refused = read(&connect(&folder));
        assert!(refused.contains("\"ok\":false"), "{refused}");
        drop(clients);
        fiber::sleep(Duration::from_millis(200)).unwrap();
        answer(folder.path(), &["status"]);

        // Killed, it leaves its socket, and the next one takes its place.
        drop(running);
        assert!(path.exists());
        let running = start(&folder, NOWHERE, "");
        answer(folder.path(), &["status"]);
        drop(running);
    });
}
