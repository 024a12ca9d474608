//! Keys that are somewhere else: signers that are slow, that fail, that never answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fiber::{STACK_BYTES_MIN, Stopped, stack_high_water};
use rcgen::{
    ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    SignatureAlgorithm, SigningKey as _,
};
use safe_rt::{
    ClientTls, ClientTlsOptions, Error, HANDSHAKE_TIMEOUT_DEFAULT, Identity, ServerTls,
    ServerTlsOptions, SignatureScheme, Signer, Socket, TlsConfigError, TlsError, TlsErrorKind,
    TlsVersion,
};

use crate::handshake::kind;
use crate::pki::{Authority, Leaf, SERVER_NAME, VALID};
use crate::support::{ROOMY, Ticks, paused, read_text, shake};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const SECOND: Duration = Duration::from_secs(1);

/// What a signer does with a request, before it signs.
pub(crate) type Before = fn() -> io::Result<()>;

/// A key in other hands.
struct OtherHands {
    key: KeyPair,
    scheme: SignatureScheme,
    before: Before,
    asked: Arc<AtomicU32>,
}

impl Signer for OtherHands {
    fn schemes(&self) -> Vec<SignatureScheme> {
        vec![self.scheme]
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> io::Result<Vec<u8>> {
        assert_eq!(scheme, self.scheme, "a scheme that was not offered");
        self.asked.fetch_add(1, Ordering::Relaxed);
        (self.before)()?;
        self.key.sign(message).map_err(io::Error::other)
    }
}

/// A private PKI whose leaves sign through other hands.
pub(crate) struct Scene {
    pub(crate) authority: Authority,
    pub(crate) server: Leaf,
    pub(crate) client: Leaf,
    sort: Sort,
}

/// A sort of key.
#[derive(Clone, Copy)]
pub(crate) struct Sort(pub(crate) &'static SignatureAlgorithm, SignatureScheme);

pub(crate) const P256: Sort = Sort(&PKCS_ECDSA_P256_SHA256, SignatureScheme::EcdsaP256Sha256);
const P384: Sort = Sort(&PKCS_ECDSA_P384_SHA384, SignatureScheme::EcdsaP384Sha384);
const ED25519: Sort = Sort(&PKCS_ED25519, SignatureScheme::Ed25519);

impl Scene {
    pub(crate) fn new(sort: Sort) -> Self {
        let authority = Authority::new("test authority");
        let issue = |name, purpose| authority.issue(&[name], purpose, VALID, sort.0);
        Self {
            server: issue(SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth),
            client: issue("device", ExtendedKeyUsagePurpose::ClientAuth),
            authority,
            sort,
        }
    }

    /// An identity of `leaf` with a signer, and the count of its signatures.
    pub(crate) fn distant(&self, leaf: &Leaf, before: Before) -> (Identity, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let signer = OtherHands {
            key: KeyPair::from_pem_and_sign_algo(&leaf.key, self.sort.0).expect("a key"),
            scheme: self.sort.1,
            before,
            asked: Arc::clone(&asked),
        };
        let identity = Identity::with_signer(leaf.chain.as_bytes(), signer).expect("an identity");
        (identity, asked)
    }

    /// Both sides with client authentication.
    pub(crate) fn sides(
        &self,
        client: Identity,
        server: Identity,
        version: TlsVersion,
    ) -> (ClientTls, ServerTls) {
        let trust = self.authority.trust();
        let client = ClientTlsOptions::new(trust.clone()).identity(client);
        let server = ServerTlsOptions::new(server).require_client_certificate(trust);
        (
            client.version(version).build().expect("client options"),
            server.version(version).build().expect("server options"),
        )
    }

    /// A handshake in which the client's signer does `before` and the server's key is at hand.
    fn client_does(
        &self,
        before: Before,
        version: TlsVersion,
    ) -> (Result<Socket, Error>, Result<Socket, Error>) {
        let (identity, _) = self.distant(&self.client, before);
        let (client, server) = self.sides(identity, self.server.identity(), version);
        shake(&client, &server, ROOMY)
    }

    /// The other way round.
    fn server_does(
        &self,
        before: Before,
        version: TlsVersion,
    ) -> (Result<Socket, Error>, Result<Socket, Error>) {
        let (identity, _) = self.distant(&self.server, before);
        let (client, server) = self.sides(self.client.identity(), identity, version);
        shake(&client, &server, ROOMY)
    }
}

/// The client's outcome of a handshake whose server runs outside the caller's scopes.
fn client_alone(client: &ClientTls, server: &ServerTls) -> Result<Socket, Error> {
    let (ours, theirs) = fiber::net::pipe(ROOMY);
    let server = server.clone();
    drop(fiber::spawn(move || {
        Socket::tls_server(theirs, &server).map(drop)
    }));
    Socket::tls_client(ours, client, SERVER_NAME)
}

pub(crate) fn at_once() -> io::Result<()> {
    Ok(())
}

fn slowly() -> io::Result<()> {
    Ok(fiber::sleep(2 * SECOND)?)
}

fn never() -> io::Result<()> {
    Ok(fiber::sleep(24 * 3600 * SECOND)?)
}

fn refuses() -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the token is locked",
    ))
}

#[test]
fn a_signer_stands_in_for_a_key_on_either_side() {
    for version in VERSIONS {
        for sort in [P256, P384, ED25519] {
            paused(move || {
                let scene = Scene::new(sort);
                let (client, client_asked) = scene.distant(&scene.client, at_once);
                let (server, server_asked) = scene.distant(&scene.server, at_once);
                let (client, server) = scene.sides(client, server, version);
                let (client, server) = shake(&client, &server, ROOMY);
                let (client, server) = (client.expect("a client"), server.expect("a server"));
                io::Write::write_all(&mut &client, b"signed").expect("room in the pipe");
                assert_eq!(read_text(&server).expect("bytes"), "signed");
                assert_eq!(client_asked.load(Ordering::Relaxed), 1);
                assert_eq!(server_asked.load(Ordering::Relaxed), 1);
            });
        }
    }
}

#[test]
fn a_signer_that_waits_keeps_no_other_fiber_waiting() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let ticks = Ticks::start();
            let began = fiber::Instant::now();
            let (client, server) = scene.client_does(slowly, version);
            assert!(client.is_ok() && server.is_ok(), "{client:?}, {server:?}");
            let (client, server) = scene.server_does(slowly, version);
            assert!(client.is_ok() && server.is_ok(), "{client:?}, {server:?}");
            assert_eq!(began.elapsed(), 4 * SECOND);
            let count = ticks.count();
            assert!((39..=40).contains(&count), "{count} ticks in 4 s");
        });
    }
}

#[test]
fn handshakes_wait_for_their_signatures_side_by_side() {
    const CONNECTIONS: usize = 50;
    paused(|| {
        let scene = Scene::new(ED25519);
        let (identity, asked) = scene.distant(&scene.server, slowly);
        let (client, server) = scene.sides(scene.client.identity(), identity, TlsVersion::Tls13);
        let began = fiber::Instant::now();
        let mut running: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (client, server) = (client.clone(), server.clone());
                fiber::spawn(move || {
                    let (client, server) = shake(&client, &server, ROOMY);
                    client.is_ok() && server.is_ok()
                })
                .expect("a fiber")
            })
            .collect();
        assert!(running.iter_mut().all(|one| one.join().expect("it ran")));
        assert_eq!(began.elapsed(), 2 * SECOND);
        assert_eq!(asked.load(Ordering::Relaxed), 50);
    });
}

#[test]
fn what_a_signer_fails_with_is_told() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let (client, server) = scene.client_does(refuses, version);
            let error = client.expect_err("no signature");
            assert_eq!(kind(&error), Some(TlsErrorKind::SignerFailed));
            assert_eq!(error.io().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(
                error.to_string(),
                format!(
                    "TLS handshake with {SERVER_NAME}: the signer of this side's identity failed: \
                     the token is locked"
                )
            );
            let error = server.expect_err("no client");
            assert_eq!(kind(&error), Some(TlsErrorKind::ClosedInHandshake));

            let (client, server) = scene.server_does(refuses, version);
            let error = server.expect_err("no signature");
            assert_eq!(kind(&error), Some(TlsErrorKind::SignerFailed));
            assert!(
                error.to_string().ends_with(": the token is locked"),
                "{error}"
            );
            // rustls has no alert for it: the client sees the end while it reads or while it writes.
            client.expect_err("no server");
        });
    }
}

#[test]
fn a_signer_obeys_the_deadline_of_the_handshake() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let ticks = Ticks::start();
            let began = fiber::Instant::now();
            let (identity, _) = scene.distant(&scene.client, never);
            let (client, server) = scene.sides(identity, scene.server.identity(), version);
            let outcome = fiber::timeout(3 * SECOND, || client_alone(&client, &server));
            assert_eq!(began.elapsed(), 3 * SECOND);
            let fiber::Elapsed(outcome) = outcome.expect_err("the deadline passes");
            let error = outcome.expect_err("no signature");
            assert!(error.is_timeout(), "{error:?}");
            assert_eq!(kind(&error), Some(TlsErrorKind::SignerFailed));
            assert_eq!(error.io().kind(), io::ErrorKind::TimedOut);
            assert!(ticks.count() >= 29, "{} ticks in 3 s", ticks.count());

            // A server has a limit of its own.
            let began = fiber::Instant::now();
            let (_, server) = scene.server_does(never, version);
            assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT_DEFAULT);
            assert!(server.expect_err("no signature").is_timeout());
        });
    }
}

#[test]
fn a_fiber_cancelled_in_a_signature_ends_and_leaves_the_identity_good() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let (identity, asked) = scene.distant(&scene.client, slowly);
            let (client, server) = scene.sides(identity, scene.server.identity(), version);
            let mut shaking = {
                let (client, server) = (client.clone(), server.clone());
                fiber::spawn(move || client_alone(&client, &server)).expect("a fiber")
            };
            fiber::sleep(SECOND).expect("time to pass");
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            shaking.cancel();
            let began = fiber::Instant::now();
            let error = shaking.join().expect("it ended").expect_err("no signature");
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert_eq!(fiber::cause(&error), Some(Stopped::Cancelled));
            assert_eq!(kind(&error), Some(TlsErrorKind::SignerFailed));
            let (client, server) = shake(&client, &server, ROOMY);
            assert!(client.is_ok() && server.is_ok(), "{client:?}, {server:?}");
        });
    }
}

#[test]
fn a_signer_that_panics_takes_its_own_fiber_along() {
    paused(|| {
        let scene = Scene::new(P256);
        let (identity, _) = scene.distant(&scene.client, || panic!("the signer's fault"));
        let (client, server) = scene.sides(identity, scene.server.identity(), TlsVersion::Tls13);
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut serving =
            fiber::spawn(move || Socket::tls_server(theirs, &server).map(drop)).expect("a fiber");
        let mut asking =
            fiber::spawn(move || Socket::tls_client(ours, &client, SERVER_NAME).map(drop))
                .expect("a fiber");
        let error = asking.join().expect_err("it panicked");
        assert!(matches!(error, fiber::JoinError::Panicked(_)), "{error:?}");
        let error = serving.join().expect("its outcome").expect_err("no client");
        assert_eq!(kind(&error), Some(TlsErrorKind::ClosedInHandshake));
    });
}

#[test]
fn a_signature_of_another_key_is_found_before_the_peer_sees_it() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let other = Scene::new(P256);
            let stranger = OtherHands {
                key: KeyPair::from_pem(&other.client.key).expect("a key"),
                scheme: SignatureScheme::EcdsaP256Sha256,
                before: at_once,
                asked: Arc::default(),
            };
            let identity = Identity::with_signer(scene.client.chain.as_bytes(), stranger)
                .expect("nothing was signed yet");
            let error = identity.try_signer().expect_err("another key");
            assert!(matches!(error, TlsConfigError::Signer(_)), "{error:?}");
            assert!(
                error
                    .to_string()
                    .starts_with("trying out the signer: its signature (ecdsa_secp256r1_sha256, "),
                "{error}"
            );
            let (client, server) = scene.sides(identity, scene.server.identity(), version);
            let (client, _) = shake(&client, &server, ROOMY);
            let error = client.expect_err("another key");
            assert_eq!(kind(&error), Some(TlsErrorKind::SignerFailed));
            assert!(TlsError::of(&error).is_some_and(|error| {
                error
                    .to_string()
                    .ends_with("does not fit the key of the certificate")
            }));
        });
    }
}

#[test]
fn a_signer_is_tried_out_while_other_fibers_run() {
    paused(|| {
        let scene = Scene::new(ED25519);
        let ticks = Ticks::start();
        let (identity, asked) = scene.distant(&scene.client, slowly);
        identity.try_signer().expect("the right key");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(ticks.count() >= 19, "{} ticks in 2 s", ticks.count());
        // A key at hand was compared with its certificate when it was read.
        scene.client.identity().try_signer().expect("nothing to do");
    });
}

/// A signer that says what it is told to and cannot sign.
struct Says(&'static [SignatureScheme]);

impl Signer for Says {
    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.to_vec()
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn schemes_that_the_certificate_cannot_have_are_refused() {
    use SignatureScheme as S;
    let scene = Scene::new(P256);
    let chain = scene.client.chain.as_bytes();
    let table: [&[S]; 4] = [
        &[S::EcdsaP384Sha384],
        &[S::EcdsaP256Sha256, S::Ed25519],
        &[S::RsaPssSha256],
        &[S::RsaPkcs1Sha256],
    ];
    for schemes in table {
        let outcome = Identity::with_signer(chain, Says(schemes));
        let wrong = schemes.last().copied();
        assert!(
            matches!(&outcome, Err(TlsConfigError::SignerScheme(found)) if Some(*found) == wrong),
            "{outcome:?}"
        );
    }
    let outcome = Identity::with_signer(chain, Says(&[]));
    assert!(
        matches!(outcome, Err(TlsConfigError::NoSignerScheme)),
        "{outcome:?}"
    );
    let twice = Says(&[S::EcdsaP256Sha256, S::EcdsaP256Sha256]);
    Identity::with_signer(chain, twice).expect("saying it twice is no fault");
    let outcome = Identity::with_signer(scene.client.key.as_bytes(), Says(&[S::Ed25519]));
    assert!(
        matches!(outcome, Err(TlsConfigError::ChainPem(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_handshake_with_a_signer_fits_into_the_smallest_stack() {
    for version in VERSIONS {
        let (client, server) = paused(move || {
            let scene = Scene::new(P256);
            let (client, _) = scene.distant(&scene.client, slowly);
            let (server, _) = scene.distant(&scene.server, slowly);
            let (client, server) = scene.sides(client, server, version);
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let mut serving = fiber::spawn(move || {
                Socket::tls_server(theirs, &server).map(|socket| (socket, stack_high_water()))
            })
            .expect("a fiber");
            let mut asking = fiber::spawn(move || {
                Socket::tls_client(ours, &client, SERVER_NAME)
                    .map(|socket| (socket, stack_high_water()))
            })
            .expect("a fiber");
            let (_client, client) = asking.join().expect("its outcome").expect("a client");
            let (_server, server) = serving.join().expect("its outcome").expect("a server");
            (client.expect("a fiber"), server.expect("a fiber"))
        });
        let most = STACK_BYTES_MIN - 8 * 1024;
        assert!(client <= most && server <= most, "{client} and {server}");
    }
}
