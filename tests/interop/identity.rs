//! Private keys as OpenSSL writes them, and a signer that is OpenSSL.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use fiber::net::TcpStream;
use safe_rt::{
    ClientTlsOptions, Identity, Listener, Password, PemError, ServerTlsOptions, SignatureScheme,
    Signer, Socket, TlsConfigError, TlsError, TlsErrorKind, TlsVersion, Trust,
};
use tests::peers::Peers;
use tests::process::{self, PROCESS_TIMEOUT, Running};
use tests::temp_dir::TempDir;

use crate::peers;

const LIMIT: Duration = Duration::from_secs(60);

/// Both versions, as OpenSSL names them.
const VERSIONS: [(TlsVersion, &str); 2] = [
    (TlsVersion::Tls12, "-tls1_2"),
    (TlsVersion::Tls13, "-tls1_3"),
];

/// A folder in which OpenSSL works.
struct Workshop {
    openssl: PathBuf,
    folder: TempDir,
}

impl Workshop {
    fn new(peers: &Peers) -> Self {
        Self {
            openssl: peers.openssl().to_owned(),
            folder: TempDir::new("openssl"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.openssl);
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path());
        command
    }

    /// Runs OpenSSL with the words of `line`.
    #[track_caller]
    fn run(&self, line: &str) {
        let done = process::run(&mut self.command(line), PROCESS_TIMEOUT).unwrap();
        assert!(done.status.success(), "openssl {line}: {}", done.stderr);
    }

    /// Makes an authority, `ca.crt`.
    fn authority(&self) {
        self.run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key \
             -out ca.crt -subj /CN=authority -days 2",
        );
        let text = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n";
        self.folder.write("leaf.ext", text);
    }

    /// Has the authority certify `NAME.key`, as `NAME.crt`.
    fn certify(&self, name: &str) {
        self.run(&format!(
            "req -new -key {name}.key -out {name}.csr -subj /CN={name}"
        ));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -set_serial 7 -days 2 \
             -extfile leaf.ext -out {name}.crt"
        ));
    }
}

/// Runs `body` on fibers, with a limit on all its waits.
#[track_caller]
fn run(body: impl FnOnce() + 'static) {
    fiber::run(|| fiber::timeout(LIMIT, body))
        .unwrap()
        .unwrap_or_else(|_| panic!("the test took more than {LIMIT:?}"));
}

#[test]
fn private_keys_are_read_as_openssl_writes_them() {
    let Some(peers) = peers() else { return };
    let shop = Workshop::new(&peers);
    shop.authority();
    let sorts = [
        (
            "pkcs8-rsa",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out",
        ),
        (
            "pkcs8-p256",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out",
        ),
        (
            "pkcs8-p384",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out",
        ),
        ("pkcs8-ed25519", "genpkey -algorithm ED25519 -out"),
        ("pkcs1-rsa", "rsa -traditional -in pkcs8-rsa.key -out"),
        // With a section of parameters before the key.
        ("sec1-p256", "ecparam -name prime256v1 -genkey -out"),
        ("sec1-p384", "ecparam -name secp384r1 -genkey -out"),
    ];
    for (name, line) in sorts {
        shop.run(&format!("{line} {name}.key"));
        shop.certify(name);
        let (chain, key) = (
            shop.text(&format!("{name}.crt")),
            shop.text(&format!("{name}.key")),
        );
        let section = match &name[..5] {
            "pkcs8" => "-----BEGIN PRIVATE KEY-----",
            "pkcs1" => "-----BEGIN RSA PRIVATE KEY-----",
            _ => "-----BEGIN EC PARAMETERS-----",
        };
        assert!(key.starts_with(section.as_bytes()), "{name}");
        Identity::from_pem(&chain, &key).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn encrypted_private_keys_are_opened_as_openssl_writes_them() {
    let Some(peers) = peers() else { return };
    let shop = Workshop::new(&peers);
    shop.authority();
    shop.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key");
    shop.certify("rsa");
    shop.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key");
    shop.certify("ec");
    let ways = [
        ("rsa", "pkcs8 -topk8 -v2 aes-256-cbc"),
        ("ec", "pkcs8 -topk8 -v2 aes-256-cbc"),
        ("ec", "pkcs8 -topk8 -v2 aes-128-cbc"),
        ("ec", "pkcs8 -topk8 -v2 aes-192-cbc -v2prf hmacWithSHA512"),
        ("ec", "pkcs8 -topk8 -v2 aes-256-cbc -iter 100000"),
        ("rsa", "pkcs8 -topk8 -scrypt"),
        (
            "ec",
            "pkcs8 -topk8 -scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 2",
        ),
        ("rsa", "pkey -aes256"),
    ];
    let mut sealed = Vec::new();
    for (number, (name, way)) in ways.into_iter().enumerate() {
        let out = format!("{number}.pem");
        shop.run(&format!(
            "{way} -in {name}.key -out {out} -passout pass:correct"
        ));
        sealed.push((way, shop.text(&format!("{name}.crt")), shop.text(&out)));
    }
    // A key that is made and encrypted in one step has its certificate from the plain form.
    shop.run("genpkey -algorithm ED25519 -aes256 -pass pass:correct -out made.pem");
    shop.run("pkey -in made.pem -passin pass:correct -out made.key");
    shop.certify("made");
    sealed.push((
        "genpkey -aes256",
        shop.text("made.crt"),
        shop.text("made.pem"),
    ));
    run(move || {
        for (way, chain, key) in sealed {
            let open =
                |password| Identity::from_pem_with_password(&chain, &key, Password::new(password));
            open("correct").unwrap_or_else(|error| panic!("{way}: {error}"));
            let error = open("incorrect").unwrap_err();
            assert!(
                matches!(error, TlsConfigError::KeyPem(PemError::WrongPassword)),
                "{way}: {error:?}"
            );
            let error = Identity::from_pem(&chain, &key).unwrap_err();
            assert!(
                matches!(error, TlsConfigError::KeyPem(PemError::EncryptedKey)),
                "{way}: {error:?}"
            );
        }
    });
}

#[test]
fn old_ways_of_encryption_are_refused_with_the_command_that_converts_them() {
    let Some(peers) = peers() else { return };
    let shop = Workshop::new(&peers);
    shop.authority();
    shop.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key");
    shop.certify("rsa");
    let ways = [
        "rsa -traditional -aes128",
        "pkcs8 -topk8 -v2 des3",
        "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1",
        "pkcs8 -topk8 -v1 PBE-SHA1-3DES",
    ];
    let chain = shop.text("rsa.crt");
    run(move || {
        for way in ways {
            shop.run(&format!(
                "{way} -in rsa.key -out OLD.pem -passout pass:correct"
            ));
            let open = |name: &str| {
                let password = Password::new("correct");
                Identity::from_pem_with_password(&chain, &shop.text(name), password)
            };
            let error = open("OLD.pem").unwrap_err();
            let expected = matches!(
                error,
                TlsConfigError::KeyPem(
                    PemError::LegacyEncryptedKey | PemError::UnsupportedEncryption(_)
                )
            );
            assert!(expected, "{way}: {error:?}");
            let text = error.to_string();
            let told = text.split('`').nth(1).expect("a command in the text");
            let command = told.strip_prefix("openssl ").expect("one of OpenSSL's");
            shop.run(&format!(
                "{command} -passin pass:correct -passout pass:correct"
            ));
            open("NEW.pem").unwrap_or_else(|error| panic!("{way}: {error}"));
        }
    });
}

/// A key that OpenSSL has: its file is opened by another process, for each signature.
struct ByOpenssl {
    openssl: PathBuf,
    key: PathBuf,
    schemes: Vec<SignatureScheme>,
}

impl Signer for ByOpenssl {
    fn schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut command = Command::new(&self.openssl);
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.key);
        if scheme == SignatureScheme::RsaPssSha256 {
            command.args(["-sigopt", "rsa_padding_mode:pss"]);
            command.args(["-sigopt", "rsa_pss_saltlen:digest"]);
        }
        let message = message.to_vec();
        fiber::offload(move || {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(&message)?;
            }
            let output = child.wait_with_output()?;
            if !output.status.success() {
                return Err(io::Error::other("openssl did not sign"));
            }
            Ok(output.stdout)
        })?
    }
}

impl Workshop {
    /// An identity of `NAME.crt` whose key only OpenSSL reads.
    fn distant(&self, name: &str, schemes: &[SignatureScheme]) -> Identity {
        let signer = ByOpenssl {
            openssl: self.openssl.clone(),
            key: self.path(&format!("{name}.key")),
            schemes: schemes.to_vec(),
        };
        Identity::with_signer(&self.text(&format!("{name}.crt")), signer).unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::from_pem(&self.text("ca.crt")).unwrap()
    }

    /// An authority, and leaves with an RSA key and one on P-256.
    fn with_leaves(peers: &Peers) -> Self {
        let shop = Self::new(peers);
        shop.authority();
        shop.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key");
        shop.certify("rsa");
        shop.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key");
        shop.certify("ec");
        shop
    }
}

/// Who signs, and what OpenSSL says of the signature.
const SIGNERS: [(&str, SignatureScheme, &str); 2] = [
    ("rsa", SignatureScheme::RsaPssSha256, "RSA-PSS"),
    ("ec", SignatureScheme::EcdsaP256Sha256, "ECDSA"),
];

#[test]
fn openssl_believes_a_server_whose_key_is_elsewhere() {
    let Some(peers) = peers() else { return };
    let shop = Workshop::with_leaves(&peers);
    run(move || {
        for ((version, flag), (name, scheme, words)) in VERSIONS
            .into_iter()
            .flat_map(|version| SIGNERS.map(|signer| (version, signer)))
        {
            let tls = ServerTlsOptions::new(shop.distant(name, &[scheme])).version(version);
            let listener =
                Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls.build().unwrap()).unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut command = shop.command(&format!(
                "s_client -connect 127.0.0.1:{port} -CAfile ca.crt -verify_return_error \
                 -verify_hostname localhost -brief {flag}"
            ));
            let mut asking = fiber::spawn(move || {
                fiber::offload(move || process::run(&mut command, PROCESS_TIMEOUT)).unwrap()
            })
            .unwrap();
            let socket = listener.accept().unwrap().handshake().unwrap();
            assert_eq!(socket.tls_version(), Some(version));
            let done = asking.join().unwrap().unwrap();
            assert!(done.status.success(), "{name} {flag}: {}", done.stderr);
            assert!(
                done.stderr.contains(words),
                "{name} {flag}: {}",
                done.stderr
            );
        }
    });
}

#[test]
fn openssl_believes_a_client_whose_key_is_elsewhere() {
    let Some(peers) = peers() else { return };
    let shop = Workshop::with_leaves(&peers);
    run(move || {
        for ((version, flag), (name, scheme, _)) in VERSIONS
            .into_iter()
            .flat_map(|version| SIGNERS.map(|signer| (version, signer)))
        {
            let (outcome, said) = shop.with_s_server(flag, version, shop.distant(name, &[scheme]));
            outcome.unwrap_or_else(|error| panic!("{name} {flag}: {error}\n{said}"));
        }
    });
}

#[test]
fn a_signer_without_a_scheme_for_the_version_is_told_from_a_failure() {
    let Some(peers) = peers() else { return };
    let shop = Workshop::with_leaves(&peers);
    run(move || {
        // PKCS #1 padding is of TLS 1.2 alone: a client then presents nothing.
        let only_old = || shop.distant("rsa", &[SignatureScheme::RsaPkcs1Sha256]);
        let (outcome, said) = shop.with_s_server("-tls1_2", TlsVersion::Tls12, only_old());
        outcome.unwrap_or_else(|error| panic!("{error}\n{said}"));
        let (outcome, _) = shop.with_s_server("-tls1_3", TlsVersion::Tls13, only_old());
        let error = outcome.expect_err("no certificate");
        assert_eq!(
            TlsError::of(&error).map(TlsError::kind),
            Some(TlsErrorKind::CertificateRefused)
        );
    });
}

impl Workshop {
    /// Connects to an `s_server` that demands a certificate; returns whether it can be spoken with,
    /// which in TLS 1.3 tells of a refusal too, and what the server said.
    fn with_s_server(
        &self,
        flag: &str,
        version: TlsVersion,
        identity: Identity,
    ) -> (io::Result<()>, String) {
        let mut server = Running::start(&mut self.command(&format!(
            "s_server -accept 127.0.0.1:0 -cert ec.crt -key ec.key -CAfile ca.crt -Verify 1 \
             -verify_return_error -naccept 1 -rev {flag}"
        )))
        .unwrap();
        let port = loop {
            let line = server.next_line(PROCESS_TIMEOUT).unwrap();
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.rsplit(':').next().unwrap().parse().unwrap();
            }
        };
        let tls = ClientTlsOptions::new(self.trust())
            .identity(identity)
            .version(version);
        let outcome = speak(port, tls);
        let said = fiber::offload(move || server.finish(PROCESS_TIMEOUT).unwrap().stderr).unwrap();
        (outcome, said)
    }
}

fn speak(port: u16, tls: ClientTlsOptions) -> io::Result<()> {
    let stream = TcpStream::connect(([127, 0, 0, 1], port).into())?;
    let tls = tls.build().map_err(io::Error::other)?;
    let socket = Socket::tls_client(stream, &tls, "localhost").map_err(io::Error::other)?;
    // The server sends lines back to front.
    (&socket).write_all(b"abc\n")?;
    let mut buf = [0; 4];
    (&socket).read_exact(&mut buf)?;
    assert_eq!(&buf, b"cba\n");
    // The server may be gone already.
    drop(socket.close());
    Ok(())
}
