//! UDP on loopback: datagrams come whole, and the trouble of one is not the end of the socket.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::{MILLISECOND, on_both_sides, turns};
use crate::net::UdpSocket;
use crate::{Elapsed, Instant, Selected, Stopped, cause, scope, select, stats, timeout};

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Two sockets, each connected to the other.
fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (
        UdpSocket::bind(anywhere()).unwrap(),
        UdpSocket::bind(anywhere()).unwrap(),
    );
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
}

/// Registers the socket with the reactor: a wait in vain.
fn wait_in_vain(socket: &UdpSocket) {
    let ended = timeout(2 * MILLISECOND, || socket.recv(&mut [0; 8]));
    let Err(Elapsed(Err(error))) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(cause(&error), Some(Stopped::TimedOut));
}

#[test]
fn a_datagram_comes_with_its_sender() {
    on_both_sides(|| {
        let near = UdpSocket::bind(anywhere()).unwrap();
        let far = UdpSocket::bind(anywhere()).unwrap();
        let (near_at, far_at) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        assert_eq!(
            near.peer_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        let before = stats();
        assert_eq!(near.send_to(b"hello", far_at).unwrap(), 5);
        let mut buffer = [0; 100];
        assert_eq!(far.peek_from(&mut buffer).unwrap(), (5, near_at));
        assert_eq!(far.recv_from(&mut buffer).unwrap(), (5, near_at));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(far.try_recv_from(&mut buffer).unwrap(), None);
        let after = stats();
        assert_eq!(
            (after.reads - before.reads, after.writes - before.writes),
            (1, 1)
        );
        assert_eq!(after.bytes_read - before.bytes_read, 5);
    });
}

#[test]
fn datagrams_are_neither_joined_nor_split() {
    on_both_sides(|| {
        let (near, far) = pair();
        wait_in_vain(&far);
        for data in [&b"long"[..], b"", b"x"] {
            assert_eq!(near.send(data).unwrap(), data.len());
        }
        let mut buffer = [0; 3];
        // What does not fit is lost; an empty one is one as well.
        assert_eq!(far.peek(&mut buffer).unwrap(), 3);
        assert_eq!(far.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"lon");
        assert_eq!(far.recv(&mut buffer).unwrap(), 0);
        assert_eq!(far.recv(&mut buffer).unwrap(), 1);
        assert_eq!(far.try_recv(&mut buffer).unwrap(), None);
    });
}

#[test]
fn receivers_that_share_a_socket_get_one_datagram_each() {
    on_both_sides(|| {
        let (near, far) = pair();
        scope(|s| {
            for _ in 0..3 {
                s.spawn(|| far.recv(&mut [0; 8]).map(|n| assert_eq!(n, 1)))?;
            }
            turns(2);
            // In one turn, so that one event tells of all.
            for n in 0..3 {
                near.send(&[n])?;
            }
            Ok::<_, std::io::Error>(())
        })
        .unwrap();
    });
}

/// A datagram to a port that is nobody's, and what came of it. Where somebody else was given that port
/// meanwhile, nothing comes, and it is tried once more.
fn refused() -> (UdpSocket, SocketAddr, std::io::Error) {
    loop {
        let (near, far) = pair();
        let far_at = far.local_addr().unwrap();
        wait_in_vain(&near);
        drop(far);
        near.send(b"to nobody").unwrap();
        match timeout(200 * MILLISECOND, || near.recv(&mut [0; 8])) {
            Ok(received) => return (near, far_at, received.unwrap_err()),
            Err(Elapsed(received)) => assert!(received.is_err()),
        }
    }
}

#[test]
fn a_refused_datagram_is_an_error_once_and_the_socket_lives_on() {
    on_both_sides(|| {
        let (near, far_at, error) = refused();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(near.try_recv(&mut [0; 8]).unwrap(), None);
        // Not ready for ever because of an error that is over.
        let soon = Some(Instant::now() + 2 * MILLISECOND);
        let found = select(&[&near.readable()], soon).unwrap();
        assert_eq!(found, Selected::Deadline);

        let again = UdpSocket::bind(far_at).unwrap();
        again.send_to(b"!", near.local_addr().unwrap()).unwrap();
        near.wait_readable().unwrap();
        assert_eq!(near.try_recv(&mut [0; 8]).unwrap(), Some(1));
    });
}

#[test]
fn what_the_kernel_does_not_take_at_once_is_waited_for() {
    on_both_sides(|| {
        let (near, far) = pair();
        near.wait_writable().unwrap();
        let ready = select(&[&near.readable(), &near.writable()], None).unwrap();
        assert_eq!(ready, Selected::Ready(1));
        assert_eq!(near.try_send(b"a").unwrap(), Some(1));
        let to = far.local_addr().unwrap();
        assert_eq!(near.try_send_to(b"b", to).unwrap(), Some(1));
        assert_eq!(near.take_error().unwrap().map(|error| error.kind()), None);
        assert_eq!(far.recv(&mut [0; 8]).unwrap(), 1);
    });
}

#[test]
fn a_datagram_that_is_too_long_is_an_error() {
    on_both_sides(|| {
        let (near, _far) = pair();
        assert!(near.send(&[0; 70_000]).is_err());
        assert_eq!(near.send(&[0; 1_000]).unwrap(), 1_000);
    });
}
