//! The store of identities: each step, what is kept, and what is found after what went wrong.

#![allow(
    clippy::disallowed_methods,
    reason = "what is looked at and damaged here is the real disk, beside the fibers"
)]

mod faults;
mod others;
#[cfg(feature = "sim")]
mod power;
#[cfg(feature = "sim")]
mod races;
#[cfg(feature = "sim")]
mod troubles;

use std::fs as real;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use zeroize::Zeroizing;

use super::trash::TRASH;
use super::*;

/// A key, and certificates for it and for another.
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) chain: String,
}

/// Pairs made once for all tests: the later ones are valid from later on.
pub(super) fn pair(number: usize) -> &'static Pair {
    static PAIRS: OnceLock<Vec<Pair>> = OnceLock::new();
    let make = |number: u8| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1 + number);
        params.not_after = date_time_ymd(2027, 1, 1);
        let chain = params.self_signed(&key).unwrap().pem();
        Pair {
            chain,
            key: key.serialize_pem(),
        }
    };
    &PAIRS.get_or_init(|| (0..8).map(make).collect())[number]
}

pub(super) fn id(number: usize) -> String {
    format!("certificate-{number}")
}

pub(super) fn begin(store: &Store, number: usize) -> Result<(), StoreError> {
    store.begin(pair(number).key.as_bytes(), number.to_string().as_bytes())
}

pub(super) fn hold(store: &Store, number: usize) -> Result<(), StoreError> {
    store.hold(&Held {
        chain: pair(number).chain.as_bytes(),
        key: None,
        certificate_id: &id(number),
        token: Some(b"a token"),
        got_at: noon(),
    })
}

pub(super) fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_953_600)
}

/// Makes an identity from its key to its use.
pub(super) fn make(store: &Store, number: usize) -> Result<(), StoreError> {
    begin(store, number)?;
    store.asking()?;
    hold(store, number)?;
    store.registered(&About::new("meter-17", id(number)))?;
    store.promote(store.prove()?, noon()).map(drop)
}

pub(super) fn in_use(store: &Store) -> Option<String> {
    Some(store.active()?.about()?.certificate_id.clone())
}

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent-identity-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn identity(&self, name: &str) -> PathBuf {
        self.0.join(IDENTITY).join(name)
    }

    /// All files below, by name and content.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in real::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), real::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    /// Whether each of these texts is still in some file.
    #[track_caller]
    fn holds(&self, texts: &[&str]) {
        let files = self.files();
        for text in texts {
            let is_there = files.iter().any(|(_, bytes)| bytes == text.as_bytes());
            assert!(is_there, "{text} is in none of {:?}", self.0);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(real::remove_dir_all(&self.0));
    }
}

#[track_caller]
fn with_folder(body: impl FnOnce(&Folder) + 'static) {
    let folder = Folder::new();
    fiber::run(move || body(&folder)).unwrap();
}

#[test]
fn an_identity_is_made_step_by_step_and_each_step_is_found_again() {
    with_folder(|folder| {
        let phase = |store: &Store| store.state().phase();
        let again = |store: Store, expected: &str| {
            let before = store.state();
            drop(store);
            let store = Store::open(folder.path()).unwrap();
            assert_eq!(store.state(), before);
            assert_eq!(phase(&store), expected);
            store
        };
        let store = again(Store::open(folder.path()).unwrap(), "Fresh");
        begin(&store, 0).unwrap();
        let store = again(store, "KeyReady");
        assert_eq!(store.request().unwrap().unwrap(), b"0");
        store.asking().unwrap();
        let store = again(store, "CsrSent");
        hold(&store, 0).unwrap();
        let store = again(store, "CertHeld");
        assert_eq!(**store.token().unwrap().unwrap(), *b"a token");
        store.registered(&About::new("meter-17", id(0))).unwrap();
        let store = again(store, "Registered");
        assert!(store.active().is_none());
        store.prove().unwrap();
        let store = again(store, "Proving");
        store.not_proven("no policy").unwrap();
        let store = again(store, "Registered");
        store.promote(store.prove().unwrap(), noon()).unwrap();
        let store = again(store, "Active");
        assert_eq!(in_use(&store), Some(id(0)));
        assert_eq!(store.active().unwrap().slot(), Slot::A);
        // The token is of no use any more.
        assert!(!folder.identity("a/token").exists());

        make(&store, 1).unwrap();
        let store = again(store, "Active");
        assert_eq!(store.active().unwrap().slot(), Slot::B);
        folder.holds(&[&pair(0).key, &pair(0).chain]);
        make(&store, 2).unwrap();
        assert_eq!(store.active().unwrap().slot(), Slot::A);
        folder.holds(&[&pair(0).key, &pair(1).key, &pair(2).key]);
    });
}

#[test]
fn key_and_records_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        for (path, _) in folder.files() {
            let mode = real::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{path:?}");
        }
        for name in ["", "a"] {
            let mode = real::metadata(folder.identity(name)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o700);
        }
    });
}

#[test]
fn a_step_out_of_order_is_refused_and_changes_nothing() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        let refused = |result: Result<(), StoreError>| {
            assert!(matches!(result, Err(StoreError::Step { .. })), "{result:?}");
        };
        refused(store.asking());
        refused(hold(&store, 0));
        refused(store.prove().map(drop));
        begin(&store, 0).unwrap();
        refused(begin(&store, 1));
        refused(hold(&store, 0));
        store.asking().unwrap();
        refused(store.registered(&About::new("meter-17", id(0))));
        hold(&store, 0).unwrap();
        assert_eq!(store.state().phase(), "CertHeld");
    });
}

#[test]
fn a_certificate_for_another_key_is_refused_and_the_key_stays() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        begin(&store, 0).unwrap();
        store.asking().unwrap();
        let held = Held {
            chain: pair(1).chain.as_bytes(),
            key: None,
            certificate_id: "other",
            token: None,
            got_at: noon(),
        };
        let refused = store.hold(&held);
        assert!(matches!(refused, Err(StoreError::Contents { .. })));
        for chain in [&b""[..], b"-----BEGIN CERTIFICATE-----\n"] {
            let refused = store.hold(&Held { chain, ..held });
            assert!(matches!(refused, Err(StoreError::Contents { .. })));
        }
        assert_eq!(store.state().phase(), "CsrSent");
        hold(&store, 0).unwrap();
    });
}

#[test]
fn a_key_that_the_cloud_made_is_kept_with_its_certificate() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        store.begin_without_key().unwrap();
        assert_eq!(store.request().unwrap(), None);
        let held = Held {
            chain: pair(0).chain.as_bytes(),
            key: Some(pair(0).key.as_bytes()),
            certificate_id: &id(0),
            token: Some(b"a token"),
            got_at: noon(),
        };
        store.hold(&held).unwrap();
        store.ask_again().unwrap();
        assert_eq!(store.state().phase(), "CsrSent");
        store.hold(&held).unwrap();
        store.registered(&About::new("meter-17", id(0))).unwrap();
        store.promote(store.prove().unwrap(), noon()).unwrap();
        assert_eq!(in_use(&store), Some(id(0)));
    });
}

#[test]
fn a_device_id_is_made_once_and_kept_whatever_is_lost_of_the_state() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        let made = store.device_id().unwrap();
        assert_eq!(made.len(), 22);
        assert!(mqtt::ClientId::new(&*made).is_ok());
        assert_eq!(store.device_id().unwrap(), made);
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.device_id().unwrap(), made);
        drop(store);
        for name in ["state.0", "state.1"] {
            real::write(folder.path().join(name), "damaged").unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.device_id().unwrap(), made);
        drop(store);
        // The other copy alone.
        real::remove_file(folder.identity("device-id")).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.device_id().unwrap(), made);

        let other = Folder::new();
        let store = Store::open(other.path()).unwrap();
        assert_ne!(store.device_id().unwrap(), made);
    });
}

#[test]
fn one_bad_record_is_no_loss_and_two_bad_records_are_not_no_identity() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        make(&store, 1).unwrap();
        drop(store);
        let whole = folder.files();
        let damage = |names: &[&str]| {
            for (path, bytes) in &whole {
                real::write(path, bytes).unwrap();
            }
            for name in names {
                let path = folder.path().join(name);
                let mut bytes = real::read(&path).unwrap();
                bytes[30] ^= 1;
                real::write(path, bytes).unwrap();
            }
        };
        for name in ["state.0", "state.1"] {
            damage(&[name]);
            let store = Store::open(folder.path()).unwrap();
            assert_eq!(store.found(), Found::Known);
            // At worst one step back, which is done again.
            let state = store.state();
            let before_promotion = matches!(state.candidate, Some(Step::Proving { .. }));
            let found = in_use(&store);
            assert_eq!(found, Some(id(if before_promotion { 0 } else { 1 })));
        }
        damage(&["state.0", "state.1"]);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.found(), Found::Recovered);
        assert_eq!(in_use(&store), Some(id(1)), "the newest");
        folder.holds(&[&pair(0).key, &pair(0).chain, &pair(1).key, &pair(1).chain]);
        drop(store);
        // What was found was noted.
        let store = Store::open(folder.path()).unwrap();
        assert_eq!((store.found(), in_use(&store)), (Found::Known, Some(id(1))));
    });
}

#[test]
fn of_what_the_slots_hold_only_pairs_that_fit_together_are_taken() {
    with_folder(|folder| {
        let place = |slot: &str, key: &str, chain: &str| {
            let slot = folder.identity(slot);
            real::create_dir_all(&slot).unwrap();
            real::write(slot.join("key.pem"), key).unwrap();
            real::write(slot.join("chain.pem"), chain).unwrap();
        };
        let found = || {
            let store = Store::open(folder.path()).unwrap();
            store.active().map(|active| active.slot())
        };
        let forget = || {
            for name in ["state.0", "state.1"] {
                drop(real::remove_file(folder.path().join(name)));
            }
        };
        place("a", &pair(1).key, &pair(1).chain);
        place("b", &pair(2).key, &pair(3).chain);
        assert_eq!(found(), Some(Slot::A), "the pair of b does not fit");
        forget();
        place("b", &pair(2).key, &pair(2).chain);
        assert_eq!(found(), Some(Slot::B), "the newest");
        forget();
        place("b", &pair(2).key, "");
        assert_eq!(found(), Some(Slot::A), "an empty file is no certificate");
        forget();
        place("a", "", &pair(1).chain);
        assert_eq!(found(), None);
    });
}

#[test]
fn an_identity_in_use_that_is_damaged_gives_way_to_the_one_before_and_stays() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        make(&store, 1).unwrap();
        drop(store);
        real::write(folder.identity("b/chain.pem"), "").unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(in_use(&store), Some(id(0)));
        folder.holds(&[&pair(1).key]);
        make(&store, 2).unwrap();
        assert_eq!(in_use(&store), Some(id(2)));
        folder.holds(&[&pair(0).key, &pair(1).key]);
    });
}

#[test]
fn only_who_is_told_to_gives_an_identity_up_and_it_goes_to_the_trash() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        let device = store.device_id().unwrap();
        let claim = Claim {
            chain: pair(5).chain.clone().into_bytes(),
            key: Zeroizing::new(pair(5).key.clone().into_bytes()),
        };
        store.keep_claim(&claim).unwrap();
        make(&store, 0).unwrap();
        begin(&store, 1).unwrap();
        store.give_up().unwrap();
        assert!(store.active().is_none());
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.state().phase(), "GivenUp");
        assert!(store.active().is_none());
        assert_eq!(store.device_id().unwrap(), device);
        assert_eq!(store.claim().unwrap().chain, claim.chain);
        folder.holds(&[&pair(0).key, &pair(1).key]);

        // Half a week later, a week later, and before that by a clock that is behind.
        let now = fiber::wall_time();
        assert_eq!(store.wipe_old_trash(now).unwrap(), 0);
        let half = now + TRASH_AGE_MIN / 2;
        assert_eq!(store.wipe_old_trash(half).unwrap(), 0);
        folder.holds(&[&pair(0).key]);
        let later = now + TRASH_AGE_MIN;
        assert_eq!(store.wipe_old_trash(later).unwrap(), 2);
        let key = pair(0).key.as_bytes();
        assert!(folder.files().iter().all(|(_, bytes)| bytes != key));
        assert!(matches!(begin(&store, 2), Err(StoreError::GivenUp)));
        store.take_up().unwrap();
        make(&store, 2).unwrap();
    });
}

#[test]
fn a_claim_is_kept_only_if_it_is_usable() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        assert!(store.claim().is_none());
        let claim = |chain: usize, key: usize| Claim {
            chain: pair(chain).chain.clone().into_bytes(),
            key: Zeroizing::new(pair(key).key.clone().into_bytes()),
        };
        assert!(store.keep_claim(&claim(5, 6)).is_err());
        assert!(store.claim().is_none());
        store.keep_claim(&claim(5, 5)).unwrap();
        assert!(store.keep_claim(&claim(6, 5)).is_err());
        assert_eq!(store.claim().unwrap().chain, pair(5).chain.as_bytes());
        assert_eq!(format!("{:?}", store.claim().unwrap()), "Claim(..)");
    });
}

#[test]
fn a_state_folder_has_one_user_and_may_be_looked_at_by_others() {
    with_folder(|folder| {
        assert!(look(folder.path()).unwrap().1.is_none());
        assert!(!folder.path().exists(), "looking makes nothing");
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        let second = Store::open(folder.path());
        assert!(matches!(second, Err(StoreError::InUse { .. })));
        let seen = look(folder.path()).unwrap().1.unwrap();
        assert_eq!(seen.about().unwrap().certificate_id, id(0));
        drop(store);
        Store::open(folder.path()).unwrap();
    });
}

#[test]
fn times_are_noted_once_a_day() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        store.passed(noon()).unwrap();
        let noted = store.state();
        store.passed(noon() + Duration::from_secs(3_600)).unwrap();
        store.passed(UNIX_EPOCH).unwrap();
        assert_eq!(store.state(), noted);
        let later = noon() + Duration::from_secs(2 * 86_400);
        store.passed(later).unwrap();
        assert_eq!(store.state().last_good, Some(seconds(later)));
        let until = noon() + Duration::from_secs(60);
        store.refused("busy", Some(until)).unwrap();
        drop(store);
        let state = Store::open(folder.path()).unwrap().state();
        assert_eq!(state.blocked_until, Some(seconds(until)));
        assert_eq!(
            (state.attempts, state.last_failure),
            (1, Some("busy".into()))
        );
    });
}
