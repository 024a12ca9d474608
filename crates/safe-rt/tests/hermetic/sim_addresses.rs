//! Names of several addresses in the simulated world: a black hole in front, and proxies that answer and
//! do not connect on.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use fiber::sim::World;
use fiber::{sleep, timeout};
use safe_rt::{DialOptions, Endpoint, FAILED_WINDOW, Listener, Phase, Proxy, TlsVersion};

use crate::dns_sim::{SECOND, counted, dial, run};

#[test]
fn a_black_hole_that_comes_first_takes_half_the_time_and_comes_last_from_then_on() {
    run(|world| {
        let addresses = ["hole", "cloud"].map(|name| world.host(name).address());
        world.names().addresses("cloud", &addresses);
        world.partition("meter", "hole");
        let options = DialOptions::new();
        let took = || {
            let (dialled, took) = dial(&options);
            dialled.expect("the second one is the broker");
            took
        };
        assert_eq!((took(), took()), (15, 0));
        assert_eq!(timeout(SECOND * 4, || dial(&DialOptions::new()).1), Ok(3));
        sleep(FAILED_WINDOW).expect("no scope is over");
        assert_eq!((took(), took()), (15, 0));
    });
}

/// Starts a proxy on the machine with this name, which gives everybody the same answer, hangs up
/// and notes that it was asked.
fn proxy(
    world: &World,
    name: &'static str,
    answer: &Rc<Cell<&'static str>>,
    asked: &Rc<RefCell<Vec<&'static str>>>,
) -> IpAddr {
    let (host, answer, asked) = (world.host(name), Rc::clone(answer), Rc::clone(asked));
    let serving = host.start(move || {
        let listener = Listener::bind((Ipv4Addr::UNSPECIFIED, 3128).into()).expect("a port");
        while let Ok(incoming) = listener.accept() {
            let socket = incoming.handshake().expect("there is none");
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") {
                (&socket).read_exact(&mut byte).expect("a request");
                request.push(byte[0]);
            }
            asked.borrow_mut().push(name);
            (&socket).write_all(answer.get().as_bytes()).expect("room");
        }
    });
    drop(serving.expect("a fiber"));
    host.address()
}

#[test]
fn what_fails_behind_a_proxy_that_answered_does_not_count_against_its_address() {
    run(|world| {
        let (answers, asked) = (
            ["first", "second"].map(|_| Rc::new(Cell::new(""))),
            Rc::default(),
        );
        let addresses = [
            proxy(world, "first", &answers[0], &asked),
            proxy(world, "second", &answers[1], &asked),
        ];
        world.names().addresses("proxy", &addresses);
        let (tls, _) = crate::support::configurations(TlsVersion::Tls13);
        let dial = |target: &str, options: &DialOptions| {
            let endpoint: Endpoint = target.parse().expect("an endpoint");
            let outcome = safe_rt::dial(&endpoint, options).map(drop);
            (outcome.map_err(|error| error.phase()), asked.take())
        };
        let through = || {
            let proxy: Proxy = "http://proxy:3128".parse().expect("a proxy");
            DialOptions::new().proxy(proxy)
        };
        let connected = "HTTP/1.1 200 OK\r\n\r\n";
        let both = vec!["first", "second"];

        // The first one refuses: the next dial asks it first again, and looks no name up for it.
        for refusal in ["HTTP/1.1 502 x\r\n\r\n", "HTTP/1.1 407 x\r\n\r\n"] {
            let options = through();
            let look_ups = counted(
                |stats| stats.look_ups,
                || {
                    answers[0].set(refusal);
                    answers[1].set(connected);
                    assert_eq!(dial("mqtt://far", &options), (Ok(()), both.clone()));
                    assert_eq!(dial("mqtt://far", &options), (Ok(()), both.clone()));
                    answers[1].set(refusal);
                    for _ in 0..2 {
                        let refused = dial("mqtt://far", &options);
                        assert_eq!(refused, (Err(Phase::Proxy), both.clone()));
                    }
                },
            );
            assert_eq!(look_ups, 1, "of the proxy alone, which was found");
        }

        // What is behind it hangs up.
        answers[0].set(connected);
        answers[1].set(connected);
        let options = through().tls(tls);
        let look_ups = counted(
            |stats| stats.look_ups,
            || {
                for _ in 0..2 {
                    let failed = dial("mqtts://far", &options);
                    assert_eq!(failed, (Err(Phase::Tls), both.clone()));
                }
            },
        );
        assert_eq!(look_ups, 1);

        // What is no proxy does count.
        let options = through();
        answers[0].set("SSH-2.0-x\r\n");
        assert_eq!(dial("mqtt://far", &options), (Ok(()), both.clone()));
        assert_eq!(dial("mqtt://far", &options), (Ok(()), vec!["second"]));
    });
}
