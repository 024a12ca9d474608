//! A socket at a path, for programs of this machine that are of the same user.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use fiber::fs::{self, File};
use fiber::net::{UnixListener, UnixStream};

use crate::error::{Error, Phase};

/// The mode of the socket's file: nobody but its owner connects.
const SOCKET_MODE: u32 = 0o600;
/// ENXIO: what opening a socket as a file answers, on every Unix; std has no kind for it.
const IS_A_SOCKET: i32 = 6;

/// Waits for connections at a path, for its owner alone.
///
/// The file is made beside and gets its name when it has its mode, so that it is never there with
/// another, and one that a program left behind when it was killed is replaced. One that another program
/// listens at is not, and neither is anything that is no socket.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use safe_rt::LocalListener;
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     let path = std::env::temp_dir().join(format!("example-{}.sock", std::process::id()));
///     let listener = LocalListener::bind(&path)?;
///     let near = fiber::net::UnixStream::connect(&path)?;
///     let far = listener.accept()?;
///     (&near).write_all(b"hello")?;
///     drop(near);
///     let mut text = String::new();
///     (&far).read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     listener.close();
///     assert!(!path.exists());
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalListener {
    /// Listens at `path`, which has at most about a hundred bytes. Yields.
    ///
    /// # Errors
    /// [`Phase::Bind`]: of the kind [`ErrorKind::AddrInUse`] if another program listens there,
    /// [`ErrorKind::AlreadyExists`] if there is something else, or what the system answered.
    pub fn bind(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match Self::open(&path) {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(Error::new(Phase::Bind, path.display().to_string(), source)),
        }
    }

    fn open(path: &Path) -> io::Result<UnixListener> {
        check_free(path)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        match fs::remove(&unfinished) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, SOCKET_MODE)?;
        fs::rename(&unfinished, path)?;
        Ok(listener)
    }

    /// Waits for the next connection. Yields until there is one.
    ///
    /// # Errors
    /// What the system answered, or that the wait ended early, see [`fiber::cause`].
    pub fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops to listen and removes the file, if it can. Yields, also in a scope that is over.
    pub fn close(self) {
        let Self { listener, path } = self;
        drop(listener);
        // What is left behind is replaced by the next one.
        let _ = fiber::shield(crate::CLOSE_TIMEOUT_DEFAULT, || fs::remove(path));
    }
}

/// Whether a socket may be put there.
fn check_free(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(IS_A_SOCKET) => {}
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if fiber::cause(&error).is_some() => Err(error),
        // Left behind, or closed just now.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path in a folder of its own.
    fn path() -> PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("safe-rt-local-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder");
        folder.join("it.sock")
    }

    fn clean(path: &Path) {
        let folder = path.parent().expect("it has one");
        for name in fs::list(folder).expect("a list") {
            fs::remove(folder.join(name)).expect("removed");
        }
        fs::remove_dir(folder).expect("removed");
    }

    fn kind(error: &Error) -> Option<ErrorKind> {
        use std::error::Error as _;
        let source = error.source()?.downcast_ref::<io::Error>()?;
        Some(source.kind())
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_goes_with_its_listener() {
        fiber::run(|| {
            let path = path();
            let listener = LocalListener::bind(&path).expect("bound");
            assert_eq!(fs::permissions(&path).expect("there"), 0o600);
            assert_eq!(listener.path(), path);
            let names = fs::list(path.parent().expect("one")).expect("a list");
            assert_eq!(names, ["it.sock"], "nothing unfinished is left");
            listener.close();
            assert!(fs::permissions(&path).is_err());
            clean(&path);
        })
        .expect("the runtime ran");
    }

    #[test]
    fn what_a_killed_program_left_is_replaced_and_a_live_one_is_not() {
        fiber::run(|| {
            let path = path();
            // A listener that is dropped leaves its file, as a kill does.
            drop(LocalListener::bind(&path).expect("bound"));
            assert!(fs::permissions(&path).is_ok());
            let second = LocalListener::bind(&path).expect("the file was stale");
            let refused = LocalListener::bind(&path).expect_err("it is in use");
            assert_eq!(kind(&refused), Some(ErrorKind::AddrInUse));
            // The look took a place in the queue, and harmed nobody.
            drop(second.accept());
            let near = UnixStream::connect(&path).expect("it still listens");
            drop(second.accept().expect("a connection"));
            drop(near);
            second.close();
            clean(&path);
        })
        .expect("the runtime ran");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        fiber::run(|| {
            let path = path();
            File::create(&path).expect("a file");
            let refused = LocalListener::bind(&path).expect_err("it is a file");
            assert_eq!(kind(&refused), Some(ErrorKind::AlreadyExists));
            assert!(File::open(&path).is_ok());
            let folder = path.parent().expect("one").to_owned();
            assert!(LocalListener::bind(folder).is_err());
            clean(&path);
        })
        .expect("the runtime ran");
    }
}
