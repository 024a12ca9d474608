//! Where the system's authorities are looked for, and who waits for them.

use std::cell::{Cell, RefCell};
use std::fs;
use std::rc::Rc;

use super::*;

thread_local! {
    /// Where the runtime of this test looks.
    static PLACES: RefCell<(Vec<PathBuf>, Vec<PathBuf>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

thread_local! {
    /// How often it looked.
    static LOOKS: Cell<u32> = const { Cell::new(0) };
    /// How long its disk takes.
    static DISK_TAKES: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn places_of_test() -> Places {
    LOOKS.set(LOOKS.get() + 1);
    if !DISK_TAKES.get().is_zero() {
        // What comes of it shows at the next wait, that for the file.
        let _ = fiber::sleep(DISK_TAKES.get());
    }
    let (files, folders) = PLACES.with_borrow(Clone::clone);
    Places {
        files,
        folders,
        all: false,
    }
}

/// A folder of the test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("safe-rt-system-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder of our own");
        Self(folder)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes as many authorities into a file.
    fn write(&self, name: &str, authorities: usize) -> PathBuf {
        let text: String = (0..authorities).map(|_| authority()).collect();
        #[allow(clippy::disallowed_methods, reason = "a test may stop its own thread")]
        fs::write(self.place(name), text).expect("a file of our own");
        self.place(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("our own folder");
    }
}

fn authority() -> String {
    let made = rcgen::generate_simple_self_signed(["authority".to_owned()]);
    made.expect("a certificate").cert.pem()
}

fn paused<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(body).expect("the runtime ran")
}

#[test]
fn what_the_environment_names_is_all_that_counts() {
    let of = |file: Option<&str>, folders: Option<&str>| {
        Places::new(file.map(OsString::from), folders.map(OsString::from))
    };
    let named = of(Some("/a"), Some("/b::/c"));
    assert_eq!(named.files, [PathBuf::from("/a")]);
    assert_eq!(named.folders, [PathBuf::from("/b"), PathBuf::from("/c")]);
    assert!(named.all);
    assert_eq!(of(Some("/a"), None).folders, Vec::<PathBuf>::new());
    assert_eq!(of(None, Some("/b")).files, Vec::<PathBuf>::new());
    for nothing in [None, Some(""), Some(":")] {
        for file in [None, Some("")] {
            let usual = of(file, nothing);
            assert_eq!(usual.files[0], PathBuf::from(BUNDLES[0]));
            assert!(!usual.all && usual.folders.len() == FOLDERS.len());
        }
    }
}

#[test]
fn the_first_that_holds_authorities_is_taken_or_all_that_are_named() {
    let folder = Folder::new("first");
    folder.write("empty.pem", 0);
    folder.write("one.pem", 1);
    folder.write("two.pem", 2);
    let places = move |all| Places {
        files: ["missing.pem", "empty.pem", "one.pem", "two.pem"]
            .map(|name| folder.place(name))
            .to_vec(),
        folders: vec![folder.place("no-folder"), folder.place("")],
        all,
    };
    paused(move || {
        let first = find_in(places(false)).expect("an authority");
        assert_eq!(first.len(), 1);
        // The folder holds the same ones again.
        let all = find_in(places(true)).expect("authorities");
        assert_eq!(all.len(), 3);
        let mut folders = places(false);
        folders.files.clear();
        assert_eq!(find_in(folders).expect("authorities").len(), 3);
    });
}

#[test]
fn a_system_without_any_says_what_to_install_and_where_was_looked() {
    let error = paused(|| {
        let files = vec!["/nowhere/bundle.crt".into()];
        let folders = vec!["/nowhere/certs".into()];
        let all = false;
        find_in(Places {
            files,
            folders,
            all,
        })
        .expect_err("no authority")
    });
    let TlsConfigError::Trust(TrustError::NoSystemRoots { looked_at }) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(looked_at.len(), 2);
    assert_eq!(
        error.to_string(),
        "the system has no trusted authorities, looked at /nowhere/bundle.crt, /nowhere/certs: \
         install the package ca-certificates, or name a file with SSL_CERT_FILE"
    );
}

#[test]
fn many_fibers_that_need_them_at_once_read_them_once() {
    let folder = Folder::new("once");
    let file = folder.write("bundle.crt", 3);
    paused(move || {
        PLACES.set((vec![file], Vec::new()));
        let roots = SystemRoots::new(places_of_test);
        let before = LOOKS.get();
        let mut fibers: Vec<_> = (0..50)
            .map(|_| {
                let roots = roots.clone();
                fiber::spawn(move || roots.get().expect("authorities")).expect("a fiber")
            })
            .collect();
        let found: Vec<_> = fibers
            .iter_mut()
            .map(|fiber| fiber.join().expect("its outcome"))
            .collect();
        assert!(found.iter().all(|one| Arc::ptr_eq(one, &found[0])));
        assert_eq!(LOOKS.get() - before, 1);
        drop(folder);
    });
}

#[test]
fn they_are_read_again_when_they_are_old_or_when_told_to() {
    let folder = Folder::new("again");
    folder.write("bundle.crt", 1);
    paused(move || {
        PLACES.set((vec![folder.place("bundle.crt")], Vec::new()));
        let roots = SystemRoots::new(places_of_test);
        let one = roots.get().expect("authorities");
        roots.reload().expect("the same ones");
        let same = roots.get().expect("authorities");
        assert!(Arc::ptr_eq(&one, &same), "what is the same stays the same");

        folder.write("bundle.crt", 2);
        let early = roots.get().expect("authorities");
        assert!(Arc::ptr_eq(&one, &early));
        roots.reload().expect("the new ones");
        assert_eq!(roots.get().expect("authorities").len(), 2);

        folder.write("bundle.crt", 3);
        fiber::sleep(SYSTEM_ROOTS_AGE_MAX).expect("no scope is over");
        assert_eq!(roots.get().expect("authorities").len(), 3);

        // What cannot be read any more does not take away what was known.
        fs::remove_file(folder.place("bundle.crt")).expect("our own file");
        fiber::sleep(SYSTEM_ROOTS_AGE_MAX).expect("no scope is over");
        assert_eq!(roots.get().expect("authorities").len(), 3);
        roots.reload().expect_err("nothing to read");
        assert_eq!(roots.get().expect("authorities").len(), 3);
    });
}

#[test]
fn a_bundle_that_is_there_and_cannot_be_read_is_named() {
    let folder = Folder::new("unreadable");
    let found = paused(move || {
        // A folder in its place: root could read a file whatever its mode.
        let unreadable = folder.place("");
        for all in [false, true] {
            let error = find_in(Places {
                files: vec![folder.place("missing.pem"), unreadable.clone()],
                folders: vec!["/nowhere/certs".into()],
                all,
            })
            .expect_err("no authority");
            let TlsConfigError::File { path, source } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(*path, unreadable);
            assert_eq!(source.kind(), std::io::ErrorKind::IsADirectory);
        }
        folder.write("one.pem", 1);
        find_in(Places {
            files: vec![unreadable, folder.place("one.pem")],
            folders: Vec::new(),
            all: false,
        })
        .expect("another place has one")
        .len()
    });
    assert_eq!(found, 1);
}

#[test]
fn a_disk_that_hangs_costs_no_connection_while_authorities_are_known() {
    let folder = Folder::new("hangs");
    folder.write("bundle.crt", 1);
    paused(move || {
        PLACES.set((vec![folder.place("bundle.crt")], Vec::new()));
        let roots = SystemRoots::new(places_of_test);
        let one = roots.get().expect("authorities");
        folder.write("bundle.crt", 2);
        fiber::sleep(SYSTEM_ROOTS_AGE_MAX).expect("no scope is over");

        DISK_TAKES.set(Duration::from_secs(3600));
        let reconnect = |waits: Duration| {
            let began = Instant::now();
            let outcome = fiber::timeout(Duration::from_secs(10), || roots.get());
            let known = outcome.expect("in time").expect("authorities");
            assert!(Arc::ptr_eq(&one, &known));
            assert_eq!(began.elapsed(), waits);
        };
        let before = LOOKS.get();
        reconnect(SYSTEM_ROOTS_REREAD_TIMEOUT);
        reconnect(Duration::ZERO);
        assert_eq!(LOOKS.get() - before, 1);
        // That reading is given up, and another one begins.
        fiber::sleep(SYSTEM_ROOTS_READ_TIMEOUT).expect("no scope is over");
        reconnect(SYSTEM_ROOTS_REREAD_TIMEOUT);
        assert_eq!(LOOKS.get() - before, 2);

        // A reading that takes a while is for the handshakes after it.
        fiber::sleep(SYSTEM_ROOTS_READ_TIMEOUT).expect("no scope is over");
        DISK_TAKES.set(Duration::from_secs(5));
        reconnect(SYSTEM_ROOTS_REREAD_TIMEOUT);
        fiber::sleep(Duration::from_secs(5)).expect("no scope is over");
        assert_eq!(roots.get().expect("authorities").len(), 2);
        DISK_TAKES.set(Duration::ZERO);
    });
}

#[test]
fn a_reading_that_never_ends_is_taken_over() {
    let folder = Folder::new("taken-over");
    let file = folder.write("bundle.crt", 1);
    paused(move || {
        PLACES.set((vec![file], Vec::new()));
        let roots = SystemRoots::new(places_of_test);
        // As if a fiber that reads were gone without a trace.
        let gone = roots.begin_if(true).expect("nobody reads");
        let began = Instant::now();
        assert_eq!(roots.get().expect("authorities").len(), 1);
        let waited = began.elapsed();
        assert!(waited >= SYSTEM_ROOTS_READ_TIMEOUT, "{waited:?}");
        assert!(waited <= SYSTEM_ROOTS_READ_TIMEOUT + 2 * SYSTEM_ROOTS_PAUSE);
        // Should it end after all, it does not end the reading of another.
        let other = roots.begin_if(true).expect("nobody reads");
        drop(gone);
        assert!(roots.begin_if(true).is_none());
        drop(other);
        assert!(roots.begin_if(true).is_some());
        drop(folder);
    });
}

#[test]
fn a_fiber_that_waits_for_them_obeys_its_deadline_and_the_next_one_reads() {
    let folder = Folder::new("deadline");
    let file = folder.write("bundle.crt", 1);
    paused(move || {
        PLACES.set((vec![file], Vec::new()));
        let roots = SystemRoots::new(places_of_test);
        // As if another fiber read, and came to nothing.
        roots.state().reading = Some((0, Instant::now()));
        let began = Instant::now();
        let outcome = fiber::timeout(Duration::from_secs(2), || roots.get());
        let Elapsed(outcome) = outcome.expect_err("the deadline passes");
        let error = outcome.expect_err("nobody reads");
        assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        roots.state().reading = None;
        // One that is stopped while it reads leaves it to the next.
        let reader = roots.clone();
        let ended = Rc::new(RefCell::new(None));
        let outcome = Rc::clone(&ended);
        let mut reading = fiber::spawn(move || *outcome.borrow_mut() = Some(reader.get().is_ok()))
            .expect("a fiber");
        fiber::yield_now().expect("no scope is over");
        reading.cancel();
        reading.join().expect("its outcome");
        assert_eq!(*ended.borrow(), Some(false));
        assert_eq!(roots.get().expect("authorities").len(), 1);
        drop(folder);
    });
}
