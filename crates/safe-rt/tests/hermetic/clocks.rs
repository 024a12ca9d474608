//! Certificates and a wall clock that cannot be right: judged as of the clock floor, and nothing else
//! goes by the wall clock at all.

use std::time::Duration;

use safe_rt::{ClientTlsOptions, ClockFloor, ClockVerdict, ServerTlsOptions, TlsErrorKind, Utc};

use crate::pki::{Authority, SERVER_NAME, Validity, authority_and_server};
use crate::refusal::{VERSIONS, kind};
use crate::support::{ROOMY, paused, shake};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The floor that a wall clock of today is so far behind.
fn ahead_of_the_clock(by: Duration) -> ClockFloor {
    let floor = ClockFloor::new();
    assert!(floor.raise(fiber::wall_time() + by));
    assert!(matches!(
        floor.check(fiber::wall_time()),
        ClockVerdict::Behind { .. }
    ));
    floor
}

fn this_year() -> i32 {
    let text = Utc(fiber::wall_time()).to_string();
    text[..4].parse().expect("a year")
}

#[test]
fn a_certificate_is_judged_at_the_floor_while_the_clock_is_behind_it() {
    const FLOOR: Duration = YEAR.saturating_mul(8);
    // (from, to, years after today; what comes of it)
    let table = [
        (4, 12, None),
        (-26, 74, None),
        (-4, 4, Some(TlsErrorKind::Expired)),
        (12, 16, Some(TlsErrorKind::NotValidYet)),
    ];
    for version in VERSIONS {
        for (from, to, expected) in table {
            paused(move || {
                let this_year = this_year();
                let authority = Authority::new("test authority");
                let server =
                    authority.server(&[SERVER_NAME], Validity(this_year + from, this_year + to));
                let floor = ahead_of_the_clock(FLOOR);
                let client = ClientTlsOptions::new(authority.trust())
                    .version(version)
                    .clock_floor(floor)
                    .build()
                    .expect("options");
                let server = ServerTlsOptions::new(server.identity())
                    .build()
                    .expect("options");
                let (client, _) = shake(&client, &server, ROOMY);
                let found = client.map_err(|error| kind(&error));
                assert_eq!(found.as_ref().err(), expected.as_ref(), "{from} to {to}");
            });
        }
    }
}

#[test]
fn a_floor_that_rises_counts_from_the_next_handshake_on() {
    paused(|| {
        let this_year = this_year();
        let authority = Authority::new("test authority");
        let server = authority.server(&[SERVER_NAME], Validity(this_year + 4, this_year + 12));
        let client = ClientTlsOptions::new(authority.trust())
            .build()
            .expect("options");
        let server = ServerTlsOptions::new(server.identity())
            .build()
            .expect("options");
        let attempt = || shake(&client, &server, ROOMY).0;
        let early = attempt().expect_err("it is not valid yet");
        assert_eq!(kind(&early), TlsErrorKind::NotValidYet);
        assert!(client.clock_floor().raise(fiber::wall_time() + 8 * YEAR));
        drop(attempt().expect("it is valid by now"));
    });
}

#[test]
fn a_server_judges_its_clients_at_its_floor() {
    for version in VERSIONS {
        paused(move || {
            let (authority, server) = authority_and_server();
            let this_year = this_year();
            let device = authority.issue(
                &["device.test"],
                rcgen::ExtendedKeyUsagePurpose::ClientAuth,
                Validity(this_year + 4, this_year + 12),
                &rcgen::PKCS_ED25519,
            );
            let client = ClientTlsOptions::new(authority.trust())
                .identity(device.identity())
                .version(version)
                .build()
                .expect("options");
            let options = ServerTlsOptions::new(server.identity())
                .require_client_certificate(authority.trust());
            let by_the_clock = options.clone().build().expect("options");
            let by_the_floor = options
                .clock_floor(ahead_of_the_clock(8 * YEAR))
                .build()
                .expect("options");
            let (_, refused) = shake(&client, &by_the_clock, ROOMY);
            assert_eq!(
                kind(&refused.expect_err("it is not valid yet")),
                TlsErrorKind::NotValidYet
            );
            let (_, served) = shake(&client, &by_the_floor, ROOMY);
            drop(served.expect("it is valid at the floor"));
        });
    }
}
