//! What the client asks of the kernel for the connections that it makes.

#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::TcpStream;
use mqtt::{Broker, BrokerOptions, Client, ClientOptions};
use socket2::SockRef;

use crate::harness::options;

/// What the kernel says of a connection of a client with these options, which another descriptor of
/// the socket tells.
fn asked_of_the_kernel(options: ClientOptions) -> (Option<Duration>, u32) {
    let main = || {
        let broker = Broker::new(BrokerOptions::new());
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = safe_rt::Listener::bind(local).unwrap();
        let address = listener.local_addr().unwrap();
        broker.serve(listener).unwrap();
        let socket = Rc::new(RefCell::new(None::<OwnedFd>));
        let dialled = Rc::clone(&socket);
        let dial = move || {
            let stream = TcpStream::connect(address).unwrap();
            *dialled.borrow_mut() = Some(stream.as_fd().try_clone_to_owned().unwrap());
            Ok(stream.into())
        };
        let client = Client::open_by(dial, options).unwrap();
        client.wait_connected().unwrap();
        let socket = socket.borrow();
        let socket = SockRef::from(socket.as_ref().unwrap());
        let asked = (
            socket.tcp_user_timeout().unwrap(),
            socket.tcp_notsent_lowat().unwrap(),
        );
        client.close(Duration::from_secs(5)).unwrap();
        asked
    };
    fiber::run(main).unwrap()
}

#[test]
fn the_kernel_gives_a_dead_link_up_after_twice_the_time_for_a_ping() {
    let seconds = Duration::from_secs;
    let cases = [
        // Half the keep-alive, from 5 s to 30 s, and twice that.
        (options().keep_alive(seconds(20)), 20),
        (options().keep_alive(seconds(2)), 10),
        (options().keep_alive(seconds(600)), 60),
        (options().keep_alive(Duration::ZERO), 60),
        (
            options().keep_alive(Duration::ZERO).ping_after(seconds(16)),
            16,
        ),
    ];
    for (options, timeout) in cases {
        let asked = asked_of_the_kernel(options);
        assert_eq!(asked, (Some(seconds(timeout)), 16 * 1024));
    }
}
