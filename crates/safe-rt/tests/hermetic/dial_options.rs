//! What a socket is set up with before it connects, read back from the kernel.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use safe_rt::{
    DialOptions, DialRefusal, Endpoint, INTERFACE_BYTES_MAX, Listener, Phase, Scheme, Socket,
    TcpKeepAlive,
};

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Dials a listener on loopback that accepts nothing; the kernel does.
fn dialled(options: DialOptions) -> Socket {
    let listener = Listener::bind(ANY_PORT.into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    let endpoint = Endpoint::new(Scheme::Mqtt, &address.to_string()).expect("an endpoint");
    safe_rt::dial(&endpoint, &options).expect("a connection")
}

#[test]
fn unless_told_otherwise_nothing_waits_and_idle_peers_are_probed() {
    fiber::run(|| {
        let socket = dialled(DialOptions::new());
        assert_eq!(socket.nodelay().expect("Linux"), Some(true));
        let probing = socket.keep_alive().expect("Linux");
        assert_eq!(probing, Some(TcpKeepAlive::default()));
        assert_eq!(socket.user_timeout().expect("Linux"), Some(Duration::ZERO));
        assert_eq!(socket.interface().expect("Linux"), None);
    })
    .expect("the runtime ran");
}

#[test]
fn each_option_reaches_the_kernel() {
    fiber::run(|| {
        let keep_alive = TcpKeepAlive {
            idle: Duration::from_secs(33),
            interval: Duration::from_secs(7),
            probes: 5,
        };
        let options = DialOptions::new()
            .nodelay(false)
            .keep_alive(Some(keep_alive))
            .user_timeout(Duration::from_millis(12_345))
            .not_sent_low_water(9_000);
        let socket = dialled(options);
        assert_eq!(socket.nodelay().expect("Linux"), Some(false));
        assert_eq!(socket.keep_alive().expect("Linux"), Some(keep_alive));
        let timeout = Some(Duration::from_millis(12_345));
        assert_eq!(socket.user_timeout().expect("Linux"), timeout);
        assert_eq!(socket.not_sent_low_water().expect("Linux"), Some(9_000));
        let off = dialled(DialOptions::new().keep_alive(None));
        assert_eq!(off.keep_alive().expect("Linux"), None);
        let chosen = DialOptions::new().keep_alive(Some(keep_alive));
        for (options, found) in [(DialOptions::new(), None), (chosen, Some(keep_alive))] {
            let socket = dialled(options.keep_alive_unless_chosen(None));
            assert_eq!(socket.keep_alive().expect("Linux"), found);
        }
    })
    .expect("the runtime ran");
}

#[test]
fn a_local_address_is_bound_before_the_connection_is_made() {
    fiber::run(|| {
        // All of 127/8 is this machine.
        let local: SocketAddr = ([127, 0, 0, 2], 0).into();
        let socket = dialled(DialOptions::new().local_address(local));
        let bound = socket.local_addr().expect("connected");
        assert_eq!(bound.ip(), local.ip());
        // The port of a connection that is over can be taken again at once.
        drop(socket);
        let again = dialled(DialOptions::new().local_address(bound));
        assert_eq!(again.local_addr(), Some(bound));
    })
    .expect("the runtime ran");
}

#[test]
fn a_local_address_that_cannot_be_is_named() {
    fiber::run(|| {
        let endpoint: Endpoint = "mqtt://127.0.0.1:1".parse().expect("an endpoint");
        for local in ["[::1]:0", "192.0.2.1:0"] {
            let local: SocketAddr = local.parse().expect("an address");
            let options = DialOptions::new().local_address(local);
            let error = safe_rt::dial(&endpoint, &options).expect_err("not of this machine");
            assert_eq!(error.phase(), Phase::Connect);
            assert_eq!(error.io().kind(), io::ErrorKind::AddrNotAvailable);
            assert!(error.to_string().contains(&local.to_string()), "{error}");
            assert!(error.remedy().is_some());
        }
    })
    .expect("the runtime ran");
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_network_interface_is_bound_before_the_connection_is_made() {
    fiber::run(|| {
        let socket = dialled(DialOptions::new().interface("lo"));
        assert_eq!(socket.interface().expect("Linux").as_deref(), Some("lo"));
        let endpoint: Endpoint = "mqtt://127.0.0.1:1".parse().expect("an endpoint");
        let options = DialOptions::new().interface("no-such-one");
        let error = safe_rt::dial(&endpoint, &options).expect_err("no such interface");
        assert_eq!(error.phase(), Phase::Connect);
        let text = error.to_string();
        assert!(text.contains("the network interface no-such-one"), "{text}");
    })
    .expect("the runtime ran");
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn what_is_no_name_of_an_interface_is_refused_before_anything_is_sent() {
    fiber::run(|| {
        // The kernel would connect without the first, and cut the second to one that may exist.
        let long = "n".repeat(INTERFACE_BYTES_MAX + 1);
        for name in ["", &long, "lo\0", "a/b"] {
            let endpoint: Endpoint = "mqtt://127.0.0.1:1".parse().expect("an endpoint");
            let options = DialOptions::new().interface(name);
            let error = safe_rt::dial(&endpoint, &options).expect_err("refused");
            let expected = DialRefusal::BadInterface(name.to_owned());
            assert_eq!(DialRefusal::of(&error), Some(&expected));
            assert_eq!(error.phase(), Phase::Connect);
            assert!(error.remedy().is_some());
        }
    })
    .expect("the runtime ran");
}
