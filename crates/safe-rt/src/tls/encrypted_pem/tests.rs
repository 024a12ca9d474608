use core::time::Duration;
use std::sync::Mutex;

use pkcs8::pkcs5::pbes2::Pbkdf2Params;
use zeroize::ZeroizeOnDrop;

use super::*;

const SALT: [u8; 16] = [7; 16];
const IV: [u8; 16] = [9; 16];

/// A private key's stand-in: one SEQUENCE, of a length that fills no block.
const PLAIN: [u8; 5] = [0x30, 0x03, 0x02, 0x01, 0x00];

fn run<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    fiber::run(body).expect("the runtime ran")
}

fn pbkdf2(iterations: u32) -> Parameters {
    Parameters {
        kdf: Pbkdf2Params::hmac_sha256(iterations, &SALT)
            .expect("a salt")
            .into(),
        encryption: Cipher::Aes256Cbc { iv: IV },
    }
}

/// As little work as scrypt can be.
fn scrypt() -> Parameters {
    let cost = pkcs8::pkcs5::scrypt::Params::new(4, 8, 1).expect("parameters");
    Parameters::generate_scrypt_aes256cbc(cost, &SALT, IV).expect("parameters")
}

/// DER of `content` with `tag`, up to 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("a short one");
    let mut out = vec![tag, 0x82];
    out.extend(len.to_be_bytes());
    if len < 0x80 {
        out = vec![tag, len.try_into().expect("one byte")];
    } else if len < 0x100 {
        out = vec![tag, 0x81, len.try_into().expect("one byte")];
    }
    out.extend(content);
    out
}

/// An `EncryptedPrivateKeyInfo` around what was encrypted already.
fn info(how: &Parameters, sealed: &[u8]) -> Vec<u8> {
    use pkcs8::der::Encode as _;
    let mut inside = EncryptionScheme::from(how.clone())
        .to_der()
        .expect("its DER");
    inside.extend(der(0x04, sealed));
    der(0x30, &inside)
}

fn sealed(how: &Parameters, password: &str, plain: &[u8]) -> Vec<u8> {
    info(how, &how.encrypt(password, plain).expect("encryption"))
}

fn open(der: &[u8], password: &str) -> Result<Vec<u8>, PemError> {
    let key = Sealed::from_der(der)?.open(&Password::new(password))?;
    Ok(key.secret_der().to_vec())
}

#[test]
fn what_a_password_protects_is_opened_by_it_alone() {
    let how = pbkdf2(2);
    let der = sealed(&how, "right", &PLAIN);
    assert_eq!(open(&der, "right").as_deref(), Ok(PLAIN.as_slice()));
    // One of 256 wrong passwords leaves good padding behind.
    for number in 0..1000 {
        let wrong = format!("wrong {number}");
        assert_eq!(open(&der, &wrong), Err(PemError::WrongPassword), "{wrong}");
    }
    assert_eq!(open(&der, ""), Err(PemError::WrongPassword));
    let nonsense = sealed(&how, "right", b"no sequence");
    assert_eq!(open(&nonsense, "right"), Err(PemError::WrongPassword));
}

#[test]
fn damage_is_told_from_a_wrong_password() {
    let how = pbkdf2(2);
    let whole = sealed(&how, "right", &PLAIN);
    for len in 0..whole.len() {
        let outcome = open(&whole[..len], "right");
        assert_eq!(outcome, Err(PemError::DamagedEncryptedKey), "{len} bytes");
    }
    for bytes in [&[][..], &[0; 15], &[0; 17]] {
        let outcome = open(&info(&how, bytes), "right");
        assert_eq!(outcome, Err(PemError::DamagedEncryptedKey));
    }
    // Any byte may be wrong; of the vector some are the first block's own, which only the key's
    // reader can judge.
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let outcome = open(&damaged, "right");
        assert_ne!(outcome.as_deref(), Ok(PLAIN.as_slice()), "byte {at}");
    }
}

#[test]
fn ways_that_are_not_known_are_named() {
    let replace = |from: &[u8], to: &[u8]| {
        let der = sealed(&pbkdf2(2), "right", &PLAIN);
        let at = der
            .windows(from.len())
            .position(|window| window == from)
            .expect("it is there");
        [&der[..at], to, &der[at + from.len()..]].concat()
    };
    // aes256-CBC becomes a neighbour that does not exist.
    let cipher = replace(
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a],
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x7a],
    );
    let found = PemError::UnsupportedEncryption("2.16.840.1.101.3.4.1.122".to_owned());
    assert_eq!(open(&cipher, "right"), Err(found));
    // hmacWithSHA256 becomes hmacWithSHA1.
    let hash = replace(
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07],
    );
    let found = PemError::UnsupportedEncryption("1.2.840.113549.2.7".to_owned());
    assert_eq!(open(&hash, "right"), Err(found));
    // PBES2 becomes something of PBES1's time.
    let scheme = replace(
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d],
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0e],
    );
    let outcome = open(&scheme, "right");
    assert!(
        matches!(outcome, Err(PemError::UnsupportedEncryption(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_file_that_asks_for_too_much_work_is_refused_before_it_is_done() {
    let most = PBKDF2_ITERATIONS_MAX;
    assert!(Sealed::from_der(&info(&pbkdf2(most), &[0; 16])).is_ok());
    let outcome = Sealed::from_der(&info(&pbkdf2(most + 1), &[0; 16]));
    assert_eq!(
        outcome.map(drop),
        Err(PemError::KdfIterations(PBKDF2_ITERATIONS_MAX + 1))
    );

    let scrypt = |log_n, r, p| {
        let cost = pkcs8::pkcs5::scrypt::Params::new(log_n, r, p).expect("parameters");
        let how = Parameters::generate_scrypt_aes256cbc(cost, &SALT, IV).expect("parameters");
        Sealed::from_der(&info(&how, &[0; 16])).map(drop)
    };
    assert_eq!(scrypt(16, 8, SCRYPT_PASSES_MAX.into()), Ok(()));
    let refused = |log_n, r: u16, passes: u16| {
        let bytes = 128 * u64::from(r) * ((1_u64 << log_n) + u64::from(passes) + 1);
        let outcome = scrypt(log_n, r.into(), passes.into());
        assert_eq!(outcome, Err(PemError::KdfMemory { bytes, passes }));
    };
    refused(17, 8, 1);
    refused(16, 8, SCRYPT_PASSES_MAX + 1);
    // Not the table alone, but every block that is there at a time.
    assert_eq!(scrypt(1, 16_000, SCRYPT_PASSES_MAX.into()), Ok(()));
    refused(1, 60_000, SCRYPT_PASSES_MAX);
}

#[test]
fn costs_that_cannot_be_are_damage() {
    let with = |cost, block_size, passes| {
        let mut how = scrypt();
        let Kdf::Scrypt(params) = &mut how.kdf else {
            panic!("it is scrypt");
        };
        params.cost_parameter = cost;
        params.block_size = block_size;
        params.parallelization = passes;
        open(&info(&how, &[0; 16]), "right")
    };
    for (cost, block_size, passes) in [
        (0, 8, 1),
        (1, 8, 1),
        (3, 8, 1),
        (17, 8, 1),
        (u64::MAX, 8, 1),
        (16, 0, 1),
        (16, 8, 0),
    ] {
        let outcome = with(cost, block_size, passes);
        assert_eq!(
            outcome,
            Err(PemError::DamagedEncryptedKey),
            "N = {cost}, r = {block_size}, p = {passes}"
        );
    }
    assert_eq!(with(2, 1, 1), Err(PemError::WrongPassword));
    let outcome = open(&info(&pbkdf2(0), &[0; 16]), "right");
    assert_eq!(outcome, Err(PemError::DamagedEncryptedKey));
}

#[test]
fn any_damage_to_the_costs_of_scrypt_is_an_error() {
    let whole = sealed(&scrypt(), "right", &PLAIN);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let outcome = open(&damaged, "right");
            assert_ne!(outcome.as_deref(), Ok(PLAIN.as_slice()), "byte {at}");
        }
    }
}

#[test]
fn scrypt_and_each_length_of_aes_open_too() {
    let of_256 = scrypt();
    let mut of_128 = pbkdf2(2);
    of_128.encryption = Cipher::Aes128Cbc { iv: IV };
    let mut of_192 = pbkdf2(2);
    of_192.encryption = Cipher::Aes192Cbc { iv: IV };
    for how in [of_256, of_128, of_192] {
        let der = sealed(&how, "right", &PLAIN);
        assert_eq!(open(&der, "right").as_deref(), Ok(PLAIN.as_slice()));
        assert_eq!(open(&der, "wrong"), Err(PemError::WrongPassword));
    }
}

/// PEM of a certificate and its key, the latter encrypted in `how`.
fn pair(how: &Parameters, password: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).expect("a pair");
    let der = sealed(how, password, &made.signing_key.serialize_der());
    let pem = pem_of("ENCRYPTED PRIVATE KEY", &der);
    (made.cert.pem(), pem)
}

fn pem_of(label: &str, der: &[u8]) -> String {
    use std::fmt::Write as _;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for chunk in der.chunks(3) {
        let group = chunk
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            let symbol = char::from(ALPHABET[group >> (18 - 6 * place) & 63]);
            text.push(if place <= chunk.len() { symbol } else { '=' });
        }
    }
    write!(text, "\n-----END {label}-----\n").expect("room");
    text
}

#[test]
fn an_identity_with_a_password_is_read_and_the_password_is_asked_for() {
    run(|| {
        let (chain, key) = pair(&pbkdf2(1000), "right");
        let read = |key: &str, password| {
            let password = Password::new(password);
            Identity::from_pem_with_password(chain.as_bytes(), key.as_bytes(), password)
        };
        read(&key, "right").expect("an identity");
        read(&format!("{chain}{key}"), "right").expect("an identity");
        read(&key.replace('\n', "\r\n"), "right").expect("an identity");
        assert!(matches!(
            read(&key, "wrong"),
            Err(TlsConfigError::KeyPem(PemError::WrongPassword))
        ));
        assert!(matches!(
            read(&format!("{key}{key}"), "right"),
            Err(TlsConfigError::KeyPem(PemError::SeveralKeys(2)))
        ));
        assert!(matches!(
            Identity::from_pem(chain.as_bytes(), key.as_bytes()),
            Err(TlsConfigError::KeyPem(PemError::EncryptedKey))
        ));
        let (other, _) = pair(&pbkdf2(2), "right");
        let mismatch = Identity::from_pem_with_password(
            other.as_bytes(),
            key.as_bytes(),
            Password::new("right"),
        );
        assert!(matches!(mismatch, Err(TlsConfigError::KeyMismatch)));
    });
}

#[test]
fn the_work_is_done_beside_the_thread_and_obeys_the_deadline() {
    run(|| {
        let (chain, key) = pair(&pbkdf2(1_000_000), "right");
        let outcome = fiber::timeout(Duration::from_millis(20), || {
            let password = Password::new("right");
            Identity::from_pem_with_password(chain.as_bytes(), key.as_bytes(), password)
        });
        let fiber::Elapsed(outcome) = outcome.expect_err("a million rounds take longer");
        let error = outcome.expect_err("nothing was waited for");
        assert!(matches!(error, TlsConfigError::Decrypting(_)), "{error:?}");
        assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
    });
}

#[test]
fn secrets_are_overwritten_when_dropped_and_never_shown() {
    const fn overwritten<T: ZeroizeOnDrop>(_: &T) {}
    let password = Password::new("a secret");
    overwritten(&password.0);
    assert_eq!(format!("{password:?}"), "Password(..)");
    let sealed = Sealed::from_der(&sealed(&pbkdf2(2), "right", &PLAIN)).expect("a key");
    overwritten(&sealed.bytes);
    overwritten(&sealed.open(&Password::new("right")).expect("the key"));
}

/// Bytes that are in memory only under a mask, so that a look for them does not find the test's own.
#[cfg(target_os = "linux")]
struct Masked(Vec<u8>);

#[cfg(target_os = "linux")]
impl Masked {
    const MASK: u8 = 0xa5;

    fn new(len: usize) -> Self {
        let mut bytes = vec![0; len];
        fiber::random::fill(&mut bytes).expect("randomness");
        Self(bytes)
    }

    /// Returns the bytes as they are, behind `head`.
    fn behind(&self, head: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(head.len() + self.0.len()));
        out.extend_from_slice(head);
        out.extend(self.0.iter().map(|byte| byte ^ Self::MASK));
        out
    }

    /// Looks for the bytes in all that this process can write; not for the first ones, which the
    /// allocator uses for itself in memory that is free.
    #[allow(clippy::disallowed_methods, reason = "a test may stop its own thread")]
    fn is_in_memory(&self) -> bool {
        use std::os::unix::fs::FileExt as _;
        let wanted = &self.0[24..];
        let maps = std::fs::read_to_string("/proc/self/maps").expect("this process's memory");
        let memory = std::fs::File::open("/proc/self/mem").expect("this process's memory");
        // What is found is in here as well.
        let mut chunk = Zeroizing::new(vec![0; 1024 * 1024]);
        maps.lines()
            .filter(|line| line.contains(" rw-p "))
            .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
            .map(|(start, end)| {
                let number = |text| u64::from_str_radix(text, 16).expect("an address");
                (number(start), number(end))
            })
            .any(|(mut at, end)| {
                while at < end {
                    let len = chunk
                        .len()
                        .min(usize::try_from(end - at).unwrap_or(usize::MAX));
                    let Ok(read) = memory.read_at(&mut chunk[..len], at) else {
                        return false;
                    };
                    let found = chunk[..read].windows(wanted.len()).any(|window| {
                        let mut pairs = window.iter().zip(wanted);
                        pairs.all(|(byte, masked)| byte ^ Self::MASK == *masked)
                    });
                    if found || read <= wanted.len() {
                        return found;
                    }
                    // What straddles two chunks is seen with the second.
                    at += u64::try_from(read - wanted.len()).expect("a short one");
                }
                false
            })
    }
}

#[cfg(target_os = "linux")]
#[test]
fn neither_the_password_nor_the_key_is_left_in_memory() {
    let (password, key) = (Masked::new(64), Masked::new(64));
    let how = pbkdf2(2);
    let der = {
        let plain = key.behind(&[0x30, 64]);
        assert!(key.is_in_memory(), "what is there is found");
        let password = password.behind(&[]);
        info(&how, &how.encrypt(&*password, &plain).expect("encryption"))
    };
    let sealed = Sealed::from_der(&der).expect("a key");
    let given = Password(password.behind(&[]));
    assert!(password.is_in_memory(), "what is there is found");
    let opened = sealed.open(&given).expect("the right password");
    assert!(key.is_in_memory(), "what is there is found");
    drop((opened, given));
    assert!(!password.is_in_memory());
    assert!(!key.is_in_memory());
}

#[cfg(target_os = "linux")]
#[test]
#[allow(clippy::disallowed_methods, reason = "a test may stop its own thread")]
fn reading_files_leaves_neither_the_password_nor_the_key_in_memory() {
    /// What comes before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410 section 7).
    const ED25519: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let (password, key) = (Masked::new(64), Masked::new(32));
    let how = pbkdf2(2);
    let sealed = {
        let (plain, password) = (key.behind(&ED25519), password.behind(&[]));
        info(&how, &how.encrypt(&*password, &plain).expect("encryption"))
    };
    // Of another key, so that none is kept once all was done with this one.
    let chain = pair(&how, "other").0;
    let folder = std::env::temp_dir().join(format!("safe-rt-wiped-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder of our own");
    let (chain_path, key_path) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain_path, chain).expect("a file of our own");
    std::fs::write(&key_path, pem_of("ENCRYPTED PRIVATE KEY", &sealed)).expect("a file");
    let given = Password(password.behind(&[]));
    let outcome = run(move || Identity::from_files_with_password(chain_path, key_path, given));
    std::fs::remove_dir_all(&folder).expect("our own folder");
    assert!(
        matches!(outcome, Err(TlsConfigError::KeyMismatch)),
        "{outcome:?}"
    );
    assert!(!password.is_in_memory());
    assert!(!key.is_in_memory());
}

#[test]
fn a_password_that_protects_nothing_is_told_as_that() {
    static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Keep;
    impl log::Log for Keep {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let mut logged = LOGGED.lock().expect("no test panics with it");
            logged.push(record.args().to_string());
        }
        fn flush(&self) {}
    }
    log::set_logger(&Keep).expect("the only one of these tests");
    log::set_max_level(log::LevelFilter::Warn);
    let made = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).expect("a pair");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    run(move || {
        let password = Password::new("right");
        Identity::from_pem_with_password(chain.as_bytes(), key.as_bytes(), password).map(drop)
    })
    .expect("a key that is not encrypted");
    let logged = LOGGED.lock().expect("no test panics with it");
    let text = "a password was given for a private key that is not encrypted";
    assert!(logged.iter().any(|found| found == text), "{logged:?}");
}
