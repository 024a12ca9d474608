//! The system's authorities in handshakes: read by the first, under its deadline, and kept.

use core::time::Duration;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use safe_rt::{ClientTlsOptions, ServerTlsOptions, Socket, TlsErrorKind, Trust};

use crate::alone::{is_alone, run_alone};
use crate::handshake::kind;
use crate::pki::{Authority, SERVER_NAME, VALID, authority_and_server};
use crate::support::{ROOMY, shake};
use crate::trust::Folder;

const VARIABLE: &str = "SSL_CERT_FILE";
/// Far longer than it takes to refuse a file.
const SHORT: Duration = Duration::from_secs(5);

/// Names this file, and no folder.
fn only(file: &Path) -> [(&'static str, &OsStr); 2] {
    [
        (VARIABLE, file.as_os_str()),
        ("SSL_CERT_DIR", OsStr::new("")),
    ]
}

/// Makes a pipe in the place of the file: reading it would wait until somebody has written.
fn pipe_in_its_place() -> PathBuf {
    let path = PathBuf::from(std::env::var_os(VARIABLE).expect("it was set"));
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("a program of the system").success());
    path
}

#[test]
fn the_first_handshake_reads_them_under_its_deadline_and_the_next_ones_do_not() {
    let test =
        "system_roots::the_first_handshake_reads_them_under_its_deadline_and_the_next_ones_do_not";
    if !is_alone() {
        let folder = Folder::new("system");
        let file = folder.place("bundle.crt");
        return run_alone(test, &only(&file));
    }
    let path = pipe_in_its_place();
    fiber::run(move || {
        let (authority, server) = authority_and_server();
        let server = ServerTlsOptions::new(server.identity()).build();
        let server = server.expect("options");
        // Nothing is read before it is needed.
        let client = ClientTlsOptions::new(Trust::system()).build();
        let client = client.expect("options");
        // A pipe in the place of the file holds nobody up: it is refused, and tried again by the next.
        let (ours, _silent) = fiber::net::pipe(ROOMY);
        let refused = fiber::timeout(SHORT, || Socket::tls_client(ours, &client, SERVER_NAME));
        let error = refused.expect("at once").expect_err("no authorities");
        assert!(error.to_string().contains("bundle.crt"), "{error}");
        std::fs::remove_file(&path).expect("our own file");
        std::fs::write(&path, Authority::new("late").pem()).expect("our own file");

        // One whose time is over does not get as far as reading them for others.
        let (ours, _silent) = fiber::net::pipe(ROOMY);
        let handshake = || Socket::tls_client(ours, &client, SERVER_NAME);
        let outcome = fiber::timeout(Duration::ZERO, handshake);
        let fiber::Elapsed(outcome) = outcome.expect_err("there is no time");
        let error = outcome.expect_err("no authorities");
        let cause = fiber::cause(&error);
        assert_eq!(cause, Some(fiber::Stopped::TimedOut), "{error}");

        std::fs::write(&path, authority.pem()).expect("our own file");
        let (ours, _theirs) = shake(&client, &server, ROOMY);
        ours.expect("a client");

        // What the file holds now is another handshake's only when they are read again.
        std::fs::write(&path, Authority::new("another").pem()).expect("our own file");
        let unknown = Authority::new("unknown").server(&[SERVER_NAME], VALID);
        let unknown = ServerTlsOptions::new(unknown.identity()).build();
        for _ in 0..3 {
            let (ours, _theirs) = shake(&client, &server, ROOMY);
            ours.expect("a client");
        }
        let unknown = unknown.expect("options");
        let error = shake(&client, &unknown, ROOMY).0.expect_err("nobody's");
        assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));
        // A value of its own reads for itself.
        let fresh = ClientTlsOptions::new(Trust::system()).build();
        let error = shake(&fresh.expect("options"), &server, ROOMY).0;
        let error = error.expect_err("another authority");
        assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));
    })
    .expect("the runtime ran");
}

#[test]
fn a_system_without_authorities_is_the_failure_of_the_handshake() {
    let test = "system_roots::a_system_without_authorities_is_the_failure_of_the_handshake";
    if !is_alone() {
        let folder = Folder::new("no-system");
        let file = folder.place("bundle.crt");
        return run_alone(test, &only(&file));
    }
    fiber::run(|| {
        let (_, server) = authority_and_server();
        let server = ServerTlsOptions::new(server.identity()).build();
        let client = ClientTlsOptions::new(Trust::system()).build();
        let (client, server) = (client.expect("options"), server.expect("options"));
        let error = shake(&client, &server, ROOMY).0.expect_err("nobody");
        let text = error.to_string();
        assert!(
            text.contains("the system has no trusted authorities"),
            "{text}"
        );
        assert!(text.contains("bundle.crt"), "{text}");
    })
    .expect("the runtime ran");
}
