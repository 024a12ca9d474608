//! Several revocation lists of one issuer: which of them counts.

use rcgen::SerialNumber;
use safe_rt::{
    ClientTlsOptions, Error, Pin, ServerTlsOptions, Socket, TlsErrorKind, TlsVersion, Trust,
};

use crate::handshake::kind;
use crate::pki::{Authority, Leaf, SERVER_NAME, VALID, Validity};
use crate::support::{ROOMY, paused, shake};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const NOBODY: &[SerialNumber] = &[];
/// Issued after [`VALID`].
const NEWER: Validity = Validity(2010, 2100);

fn meet(
    version: TlsVersion,
    trust: Trust,
    server: &Leaf,
) -> (Result<Socket, Error>, Result<Socket, Error>) {
    let client = ClientTlsOptions::new(trust).version(version).build();
    let server = ServerTlsOptions::new(server.identity()).build();
    shake(&client.expect("options"), &server.expect("options"), ROOMY)
}

#[track_caller]
fn refused(version: TlsVersion, trust: Trust, server: &Leaf, expected: TlsErrorKind) {
    let (client, _server) = meet(version, trust, server);
    let error = client.expect_err("refused");
    assert_eq!(kind(&error), Some(expected), "{error}");
}

#[track_caller]
fn accepted(version: TlsVersion, trust: Trust, server: &Leaf) {
    let (client, _server) = meet(version, trust, server);
    client.expect("a client");
}

/// Gives the lists to a trust, in this order and in the other one.
fn either_way(trust: &Trust, lists: [String; 2]) -> [Trust; 2] {
    let [one, two] = &lists;
    [[one, two], [two, one]].map(|lists| {
        lists.into_iter().fold(trust.clone(), |trust, list| {
            trust.crl_pem(list.as_bytes()).expect("a list")
        })
    })
}

#[test]
fn the_newest_list_counts_in_whatever_order_they_come() {
    for version in VERSIONS {
        paused(move || {
            let root = Authority::new("root");
            let server = root.server(&[SERVER_NAME], VALID);
            let revoked = std::slice::from_ref(&server.serial);
            let lists = [root.crl(NOBODY, VALID), root.crl(revoked, NEWER)];
            for trust in either_way(&root.trust(), lists) {
                refused(version, trust, &server, TlsErrorKind::Revoked);
            }
            // What was on hold is not any more.
            let lists = [root.crl(revoked, VALID), root.crl(NOBODY, NEWER)];
            for trust in either_way(&root.trust(), lists) {
                accepted(version, trust, &server);
            }
            // Also if it is the newest that is over.
            let lists = [
                root.crl(NOBODY, VALID),
                root.crl(NOBODY, Validity(2010, 2011)),
            ];
            for trust in either_way(&root.trust(), lists) {
                let expected = TlsErrorKind::RevocationUnknown;
                refused(version, trust.clone(), &server, expected);
                accepted(version, trust.allow_expired_crls(), &server);
            }
        });
    }
}

#[test]
fn an_authority_that_renewed_its_key_has_a_list_for_either() {
    for version in VERSIONS {
        paused(move || {
            let (old, new) = (Authority::new("root"), Authority::new("root"));
            let both = old.trust().also(new.trust()).expect("two authorities");
            let leaf = |root: &Authority| root.server(&[SERVER_NAME], VALID);
            // What one of them revoked is not the other one's; below it is an authority once.
            let below = old.intermediate("below");
            let [good_old, bad_old] = [leaf(&old), leaf(&old)];
            let [good_new, bad_new] = [leaf(&new), leaf(&new)];
            let good_below = leaf(&below);
            let lists = [
                old.crl(std::slice::from_ref(&bad_old.serial), VALID),
                new.crl(std::slice::from_ref(&bad_new.serial), NEWER),
            ];
            for trust in either_way(&both, lists) {
                for good in [&good_old, &good_new] {
                    accepted(version, trust.clone(), good);
                }
                for bad in [&bad_old, &bad_new] {
                    refused(version, trust.clone(), bad, TlsErrorKind::Revoked);
                }
                // Each certificate of a chain is asked for with a list of its own issuer.
                let unknown = TlsErrorKind::RevocationUnknown;
                refused(version, trust.clone(), &good_below, unknown);
                let revoked = std::slice::from_ref(&good_below.serial);
                for (list, is_good) in [
                    (below.crl(NOBODY, VALID), true),
                    (below.crl(revoked, VALID), false),
                ] {
                    let trust = trust.clone().crl_pem(list.as_bytes()).expect("a list");
                    match is_good {
                        true => accepted(version, trust, &good_below),
                        false => refused(version, trust, &good_below, TlsErrorKind::Revoked),
                    }
                }
            }
        });
    }
}

#[test]
fn authorities_below_the_root_may_renew_their_keys_too() {
    for version in VERSIONS {
        paused(move || {
            let root = Authority::new("root");
            let (old, new) = (root.intermediate("middle"), root.intermediate("middle"));
            let root_list = root.crl(NOBODY, VALID);
            let trust = root.trust().crl_pem(root_list.as_bytes()).expect("a list");
            let server = old.server(&[SERVER_NAME], VALID);
            let renewed = new.server(&[SERVER_NAME], VALID);
            let lists = [
                old.crl(std::slice::from_ref(&server.serial), VALID),
                new.crl(NOBODY, NEWER),
            ];
            for trust in either_way(&trust, lists) {
                refused(version, trust.clone(), &server, TlsErrorKind::Revoked);
                accepted(version, trust, &renewed);
            }
        });
    }
}

#[test]
fn a_newer_list_that_somebody_else_signed_takes_nothing_away() {
    for version in VERSIONS {
        paused(move || {
            let (root, impostor) = (Authority::new("root"), Authority::new("root"));
            let [good, bad] = [(); 2].map(|()| root.server(&[SERVER_NAME], VALID));
            let revoked = std::slice::from_ref(&bad.serial);
            let lists = || [root.crl(revoked, VALID), impostor.crl(NOBODY, NEWER)];
            for trust in either_way(&root.trust(), lists()) {
                refused(version, trust.clone(), &bad, TlsErrorKind::Revoked);
                accepted(version, trust, &good);
            }
            // None of them is the issuer's: nothing is known.
            let another = Authority::new("root");
            let lists = [another.crl(NOBODY, VALID), impostor.crl(NOBODY, NEWER)];
            for trust in either_way(&root.trust(), lists) {
                refused(version, trust, &good, TlsErrorKind::RevocationUnknown);
            }
        });
    }
}

#[test]
fn with_several_lists_pins_hold_and_so_does_what_is_asked_of_clients() {
    for version in VERSIONS {
        paused(move || {
            let root = Authority::new("root");
            let server = root.server(&[SERVER_NAME], VALID);
            let [good, bad] = ["good.test", "bad.test"].map(|name| root.client(name));
            let revoked = std::slice::from_ref(&bad.serial);
            let lists = || [root.crl(NOBODY, VALID), root.crl(revoked, NEWER)];
            for trust in either_way(&root.trust(), lists()) {
                let pin = Trust::pins([Pin::from_sha256([1; 32])]).expect("a pin");
                let pinned = trust.clone().also(pin).expect("both");
                refused(version, pinned, &server, TlsErrorKind::PinMismatch);

                let server = ServerTlsOptions::new(server.identity())
                    .require_client_certificate(trust)
                    .build()
                    .expect("options");
                let with = |leaf: &Leaf| {
                    let options = ClientTlsOptions::new(root.trust()).version(version);
                    let client = options.identity(leaf.identity()).build();
                    shake(&client.expect("options"), &server, ROOMY).1
                };
                with(&good).expect("a server");
                let error = with(&bad).expect_err("refused");
                assert_eq!(kind(&error), Some(TlsErrorKind::Revoked), "{error}");
            }
        });
    }
}
