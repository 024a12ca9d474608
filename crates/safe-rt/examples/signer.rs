//! A client whose private key lives in another process: the way a TPM or PKCS #11 is connected.
//!
//! `cargo run -p safe-rt --example signer` starts itself a second time as the process with the key,
//! and a server that asks for a client certificate, and connects. With
//! `-- HOST:PORT AUTHORITIES.pem CHAIN.pem KEY.pem` it connects to a server that is there; the key
//! is PKCS #8 and not encrypted, and only the second process opens its file.
//!
//! The two processes talk over a Unix socket, one connection per request:
//!
//! ```text
//!   'P'                      ->  length, public key
//!   'S' length, message      ->  length, signature      (length: 4 bytes, most significant first)
//! ```

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that tells what it does"
)]

use std::error::Error;
use std::io::{self, BufRead as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use fiber::net::{UnixListener, UnixStream};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm, SigningKey as _,
};
use safe_rt::{
    ClientTls, ClientTlsOptions, DialOptions, Endpoint, Identity, Listener, Scheme,
    ServerTlsOptions, SignatureScheme, Signer, Socket, Trust,
};

/// The first argument of the process with the key.
const KEY_PROCESS: &str = "--key-process";
/// The longest message or signature that either process takes, in bytes.
const LONGEST: u32 = 64 * 1024;
/// How long the server may take to say something, or to refuse us.
const PATIENCE: Duration = Duration::from_secs(2);

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        [KEY_PROCESS, socket, key @ ..] => keep_the_key(socket, key.first().copied()),
        [] => with_own_server(),
        [server, authorities, chain, key] => with_server(server, authorities, chain, key),
        _ => Err("expected no arguments, or HOST:PORT AUTHORITIES.pem CHAIN.pem KEY.pem".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The other process, as this one sees it: an address to send messages to.
struct OtherProcess {
    socket: PathBuf,
    scheme: SignatureScheme,
}

impl OtherProcess {
    /// Sends one request and reads the answer; waits, obeying the ambient deadline.
    fn ask(socket: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = &UnixStream::connect(socket)?;
        stream.write_all(request)?;
        receive(&mut stream)
    }
}

impl Signer for OtherProcess {
    fn schemes(&self) -> Vec<SignatureScheme> {
        vec![self.scheme]
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> io::Result<Vec<u8>> {
        let began = fiber::Instant::now();
        let mut request = vec![b'S'];
        send(&mut request, message)?;
        let signature = Self::ask(&self.socket, &request)?;
        println!(
            "the key process signed {} bytes by {scheme} in {:?}",
            message.len(),
            began.elapsed()
        );
        Ok(signature)
    }
}

/// The process with the key; it ends when this value is dropped.
struct KeyProcess {
    child: Child,
    socket: PathBuf,
    scheme: SignatureScheme,
}

impl KeyProcess {
    /// Starts it with the file of a key, or to make one. Blocks the thread: nothing runs yet.
    fn start(key: Option<&str>) -> Outcome<Self> {
        let name = format!("safe-rt-signer-{}.sock", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let mut child = Command::new(std::env::current_exe()?)
            .arg(KEY_PROCESS)
            .arg(&socket)
            .args(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            io::BufReader::new(stdout).read_line(&mut line)?;
        }
        let scheme = scheme_named(line.trim()).ok_or("the key process did not begin")?;
        println!(
            "process {} has a key for {scheme}; process {} has none",
            child.id(),
            std::process::id()
        );
        Ok(Self {
            child,
            socket,
            scheme,
        })
    }

    fn signer(&self) -> OtherProcess {
        OtherProcess {
            socket: self.socket.clone(),
            scheme: self.scheme,
        }
    }
}

impl Drop for KeyProcess {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

/// Connects to a server of our own, with certificates made for the occasion.
fn with_own_server() -> Outcome {
    let keys = KeyProcess::start(None)?;
    fiber::run(move || -> Outcome {
        let authority = authority()?;
        let trust = Trust::from_pem(authority.pem().as_bytes())?;

        let server_key = KeyPair::generate()?;
        let chain = issue(&authority, "localhost", true, &server_key)?;
        let identity = Identity::from_pem(chain.as_bytes(), server_key.serialize_pem().as_bytes())?;
        let server = ServerTlsOptions::new(identity).require_client_certificate(trust.clone());
        let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), server.build()?)?;
        let address = listener.local_addr()?;
        println!("server on {address} asks for a client certificate");
        let mut serving = fiber::spawn(move || -> io::Result<()> {
            let socket = listener
                .accept()
                .and_then(safe_rt::Incoming::handshake)
                .map_err(io::Error::other)?;
            (&socket).write_all(b"welcome")?;
            // Until the client ends.
            io::copy(&mut &socket, &mut io::sink())?;
            Ok(())
        })?;

        let public = PublicKey {
            bytes: OtherProcess::ask(&keys.socket, b"P")?,
            algorithm: &PKCS_ECDSA_P256_SHA256,
        };
        let chain = issue(&authority, "device", false, &public)?;
        let identity = Identity::with_signer(chain.as_bytes(), keys.signer())?;
        let tls = ClientTlsOptions::new(trust).identity(identity).build()?;
        connect(&format!("localhost:{}", address.port()), tls)?;
        serving.join()??;
        Ok(())
    })?
}

/// Connects to a server that is there.
fn with_server(server: &str, authorities: &str, chain: &str, key: &str) -> Outcome {
    let keys = KeyProcess::start(Some(key))?;
    let (server, authorities, chain) =
        (server.to_owned(), authorities.to_owned(), chain.to_owned());
    fiber::run(move || -> Outcome {
        let trust = Trust::from_file(authorities)?;
        let identity = Identity::with_signer(&fiber::fs::read(chain)?, keys.signer())?;
        identity.try_signer()?;
        let tls = ClientTlsOptions::new(trust).identity(identity).build()?;
        connect(&server, tls)
    })?
}

/// Connects, and shows whether the server takes us: in TLS 1.3 it says so after the handshake.
fn connect(server: &str, tls: ClientTls) -> Outcome {
    let endpoint = Endpoint::new(Scheme::Mqtts, server)?;
    let began = fiber::Instant::now();
    let socket = safe_rt::dial(&endpoint, &DialOptions::new().tls(tls))?;
    println!("connected to {server} in {:?}: {socket:?}", began.elapsed());
    match fiber::timeout(PATIENCE, || first_words(&socket)) {
        Ok(words) => match words?.as_str() {
            "" => println!("the server ends the connection in good order"),
            words => println!("the server says: {words}"),
        },
        Err(_) => println!("the server waits for us to begin, and has not refused us"),
    }
    // The server may have closed already, which is no fault.
    drop(socket.close());
    Ok(())
}

fn first_words(mut socket: &Socket) -> io::Result<String> {
    let mut buf = [0; 256];
    let len = socket.read(&mut buf)?;
    Ok(String::from_utf8_lossy(&buf[..len]).into_owned())
}

/// What the process with the key does until its input ends.
fn keep_the_key(socket: &str, key: Option<&str>) -> Outcome {
    let (socket, key) = (PathBuf::from(socket), key.map(PathBuf::from));
    fiber::run(move || -> Outcome {
        let key = match key {
            Some(path) => KeyPair::from_pem(&String::from_utf8(fiber::fs::read(path)?)?)?,
            None => KeyPair::generate()?,
        };
        let scheme = scheme_of(&key).ok_or("a key of a sort that this example does not use")?;
        let listener = UnixListener::bind(&socket)?;
        println!("{scheme}");
        let answering = fiber::spawn(move || -> io::Result<()> {
            loop {
                let stream = listener.accept()?.0;
                // A request that fails is the business of who made it.
                drop(fiber::timeout(PATIENCE, || answer(&stream, &key)));
            }
        })?;
        fiber::offload(|| io::copy(&mut io::stdin(), &mut io::sink()))??;
        answering.cancel();
        Ok(fiber::fs::remove(socket)?)
    })?
}

fn answer(mut stream: &UnixStream, key: &KeyPair) -> io::Result<()> {
    let mut sort = [0];
    stream.read_exact(&mut sort)?;
    let reply = match sort {
        [b'P'] => key.public_key_raw().to_vec(),
        [b'S'] => key.sign(&receive(&mut stream)?).map_err(io::Error::other)?,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    send(&mut stream, &reply)
}

fn send(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&len.to_be_bytes())?;
    to.write_all(bytes)
}

fn receive(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    from.take(len.into()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const SCHEMES: [(SignatureScheme, &SignatureAlgorithm); 3] = [
    (SignatureScheme::EcdsaP256Sha256, &PKCS_ECDSA_P256_SHA256),
    (SignatureScheme::EcdsaP384Sha384, &PKCS_ECDSA_P384_SHA384),
    (SignatureScheme::Ed25519, &PKCS_ED25519),
];

fn scheme_of(key: &KeyPair) -> Option<SignatureScheme> {
    let found = SCHEMES.iter().find(|(_, sort)| key.is_compatible(sort));
    found.map(|(scheme, _)| *scheme)
}

fn scheme_named(name: &str) -> Option<SignatureScheme> {
    let found = SCHEMES.iter().find(|(one, _)| one.to_string() == name);
    found.map(|(scheme, _)| *scheme)
}

/// The public half of the other process's key.
struct PublicKey {
    bytes: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

fn authority() -> Outcome<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    Ok(CertifiedIssuer::self_signed(params, key)?)
}

fn issue(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    is_server: bool,
    key: &impl PublicKeyData,
) -> Outcome<String> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.extended_key_usages = vec![if is_server {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::ClientAuth
    }];
    Ok(params.signed_by(key, authority)?.pem())
}
