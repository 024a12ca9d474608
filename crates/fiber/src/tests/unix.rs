//! Unix sockets: as TCP, with addresses of their own.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::rc::Rc;

use super::{MILLISECOND, on_both_sides, turns};
use crate::net::{Shutdown, UnixListener, UnixStream};
use crate::{Stopped, cause, scope, select, sleep, spawn, timeout};

/// A path for a socket, without a file before and after.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let file = format!("fiber-{}-{name}.sock", std::process::id());
        let place = Self(std::env::temp_dir().join(file));
        let _ = std::fs::remove_file(&place.0);
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_path_leads_to_its_listener_and_to_nobody_once_that_is_gone() {
    on_both_sides(|| {
        let place = Place::new("path");
        let missing = UnixStream::connect(&place.0).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&place.0).unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(at.as_pathname(), Some(&*place.0));
        assert!(listener.try_accept().unwrap().is_none());

        let mut near = UnixStream::connect(&place.0).unwrap();
        listener.wait_readable().unwrap();
        let (mut far, from) = listener.try_accept().unwrap().unwrap();
        assert!(from.is_unnamed());
        assert!(near.local_addr().unwrap().is_unnamed());
        assert_eq!(near.peer_addr().unwrap().as_pathname(), Some(&*place.0));
        near.write_all(b"hello").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");

        // What the listener leaves behind is the caller's business.
        drop(listener);
        let stale = UnixStream::connect(&place.0).unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::ConnectionRefused);
        let taken = UnixListener::bind(&place.0).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_free_again_when_its_listener_is_gone() {
    use std::os::linux::net::SocketAddrExt;

    use crate::net::UnixSocketAddr;

    on_both_sides(|| {
        let name = format!("fiber-{}-abstract", std::process::id());
        let address = UnixSocketAddr::from_abstract_name(&name).unwrap();
        for _ in 0..2 {
            let listener = UnixListener::bind_addr(&address).unwrap();
            let at = listener.local_addr().unwrap();
            assert_eq!(at.as_abstract_name(), Some(name.as_bytes()));
            let mut near = UnixStream::connect_addr(&address).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            near.write_all(&[7]).unwrap();
            far.read_exact(&mut [0]).unwrap();
        }
        let gone = UnixStream::connect_addr(&address).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_path_that_is_too_long_is_an_error() {
    on_both_sides(|| {
        let long = "x".repeat(200);
        let refused = UnixListener::bind(&long).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let refused = UnixStream::connect(&long).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn several_fibers_read_and_write_one_stream_at_once() {
    on_both_sides(|| {
        let (near, far) = UnixStream::pair().unwrap();
        let bytes = 3_000_000;
        let (echoed, writers) = (Cell::new(0), Cell::new(2));
        scope(|s| {
            s.spawn(|| {
                let mut buffer = [0; 8_000];
                loop {
                    match (&far).read(&mut buffer)? {
                        0 => return far.shutdown(Shutdown::Write),
                        n => (&far).write_all(&buffer[..n])?,
                    }
                }
            })?;
            for _ in 0..2 {
                s.spawn(|| {
                    let n = (&near).read_to_end(&mut Vec::new())?;
                    echoed.set(echoed.get() + n);
                    Ok::<_, std::io::Error>(())
                })?;
                s.spawn(|| {
                    (&near).write_all(&vec![1; bytes])?;
                    writers.set(writers.get() - 1);
                    if writers.get() == 0 {
                        near.shutdown(Shutdown::Write)?;
                    }
                    Ok::<_, std::io::Error>(())
                })?;
            }
            Ok::<_, std::io::Error>(())
        })
        .unwrap();
        assert_eq!(echoed.get(), 2 * bytes);
    });
}

#[test]
fn a_peer_that_leaves_wakes_reader_and_writer() {
    on_both_sides(|| {
        let (near, far) = UnixStream::pair().unwrap();
        let near = Rc::new(near);
        let (reading, writing) = (Rc::clone(&near), Rc::clone(&near));
        let mut reader = spawn(move || (&*reading).read(&mut [0])).unwrap();
        let mut writer = spawn(move || (&*writing).write_all(&vec![0; 32 << 20])).unwrap();
        turns(2);
        sleep(2 * MILLISECOND).unwrap();
        drop(far);
        assert!(writer.join().unwrap().is_err());
        assert!(reader.join().unwrap().map_or(true, |n| n == 0));
    });
}

#[test]
fn waits_obey_the_scope_around_them_and_end_with_the_runtime() {
    let kept = super::real(|| {
        let place = Place::new("scope");
        let listener = UnixListener::bind(&place.0).unwrap();
        assert!(timeout(MILLISECOND, || listener.accept()).is_err());
        let near = UnixStream::connect(&place.0).unwrap();
        let ended = timeout(MILLISECOND, || (&near).read(&mut [0]));
        assert_eq!(
            cause(&ended.unwrap_err().0.unwrap_err()),
            Some(Stopped::TimedOut)
        );
        near
    });
    assert_eq!(
        cause(&(&kept).read(&mut [0]).unwrap_err()),
        Some(Stopped::NoRuntime)
    );
    let refused = UnixStream::pair().unwrap_err();
    assert_eq!(cause(&refused), Some(Stopped::NoRuntime));
    super::real(move || {
        let over = select(&[&kept.readable()], None).map(drop);
        assert!(over.is_err() || kept.try_read(&mut [0]).is_ok());
    });
}
