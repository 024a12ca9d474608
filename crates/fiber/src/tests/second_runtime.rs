//! What outlives its runtime, and what is used in another one.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;

use super::{MILLISECOND, go, logged, paused, real, timed, turns};
use crate::net::{PipeStream, TcpListener, TcpStream, pipe};
use crate::{
    Event, Receiver, Runtime, Sender, Stopped, Unparker, cause, channel, park, prepare, select,
    sleep, spawn,
};

/// Things that two runtimes share, one after the other.
struct Shared {
    event: Event,
    channel: (Sender<u8>, Receiver<u8>),
    pipe: (PipeStream, PipeStream),
}

/// A runtime that ends with a leaked fiber in every list of what is shared.
fn leaky_runtime(shared: &Rc<Shared>) {
    let shared = Rc::clone(shared);
    logged(move || {
        Runtime::builder()
            .paused_clock(true)
            .grace(MILLISECOND)
            .run(move || {
                for kind in 0..4 {
                    let shared = Rc::clone(&shared);
                    go(move || {
                        // Cancelled, it waits again and again until it is leaked in a pause; the
                        // scope that is entered is what keeps its place in the list.
                        let wait = || match kind {
                            0 => drop(shared.event.wait()),
                            1 => drop(shared.channel.1.recv()),
                            2 => drop((&shared.pipe.0).read(&mut [0])),
                            _ => drop(select(&[&shared.event, &shared.channel.1], None)),
                        };
                        loop {
                            wait();
                        }
                    });
                }
                turns(2);
            })
            .unwrap();
    });
}

#[test]
fn waiters_leaked_by_one_runtime_do_not_disturb_the_next() {
    let shared = Rc::new(Shared {
        event: Event::new(),
        channel: channel(1),
        pipe: pipe(8),
    });
    leaky_runtime(&shared);
    for _ in 0..2 {
        let shared = Rc::clone(&shared);
        paused(move || {
            let waiting = Rc::clone(&shared);
            let mut waiter = spawn(move || {
                waiting.event.wait().unwrap();
                let value = waiting.channel.1.recv().unwrap();
                let mut byte = [0];
                (&waiting.pipe.0).read_exact(&mut byte).unwrap();
                select(&[&waiting.channel.1], None).unwrap();
                (value, byte[0])
            })
            .unwrap();
            turns(1);
            shared.event.set();
            turns(1);
            shared.channel.0.send(5).unwrap();
            turns(1);
            (&shared.pipe.1).write_all(&[6]).unwrap();
            turns(1);
            shared.channel.0.send(7).unwrap();
            assert_eq!(waiter.join().unwrap(), (Some(5), 6));
            assert_eq!(shared.channel.1.try_recv(), Ok(7));
            shared.event.clear();
        });
    }
}

#[test]
fn things_set_outside_a_runtime_are_seen_inside_one() {
    let (event, (sender, receiver)) = (Event::new(), channel(1));
    event.set();
    sender.try_send(7).unwrap();
    paused(move || {
        event.wait().unwrap();
        assert_eq!(receiver.recv(), Ok(Some(7)));
        let _sender = sender;
    });
}

#[test]
fn a_token_of_one_runtime_wakes_nobody_in_the_next() {
    let token: Rc<RefCell<Option<Unparker>>> = Rc::default();
    let handed = Rc::clone(&token);
    paused(move || handed.replace(Some(prepare().unwrap())));
    let old = token.borrow().unwrap();
    paused(move || {
        let new = prepare().unwrap();
        assert_eq!(
            (new.index, new.generation, new.epoch),
            (old.index, old.generation, old.epoch)
        );
        assert!(!old.unpark());
        let waker = spawn(move || {
            assert!(!old.unpark());
            sleep(MILLISECOND).unwrap();
            assert!(new.unpark());
        })
        .unwrap();
        let (woken, took) = timed(park);
        assert_eq!((woken, took), (Ok(()), MILLISECOND));
        drop(waker);
    });
}

/// A connection and its runtime's listener, carried out of the runtime.
fn carried_out() -> (TcpStream, TcpStream, TcpListener) {
    real(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = spawn(move || TcpStream::connect(address).unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client.join().unwrap(), server, listener)
    })
}

fn expect_outside_error<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert_eq!(cause(&result.unwrap_err()), Some(Stopped::NoRuntime));
}

#[test]
fn a_socket_whose_runtime_is_over_fails_its_waits_at_once() {
    let (mut client, server, listener) = carried_out();
    let check = |client: &mut TcpStream| {
        expect_outside_error(client.read(&mut [0]));
        expect_outside_error(client.write(&[0]));
        assert_eq!(client.try_read(&mut [0]).unwrap(), None);
        assert_eq!(client.try_write(&[1]).unwrap(), Some(1));
    };
    check(&mut client);
    expect_outside_error(listener.accept());
    real(move || {
        check(&mut client);
        expect_outside_error(listener.accept());
        // The far end has two bytes to read, so its bit may say so; a wait is an error all the same.
        while server.try_read(&mut [0; 8]).unwrap().is_some() {}
        expect_outside_error(select(&[&server.readable()], None));
        drop((client, server, listener));
        sleep(MILLISECOND).unwrap();
    });
}

#[test]
fn sockets_dropped_after_their_runtime_close() {
    let (client, server, listener) = carried_out();
    drop(listener);
    drop(client);
    assert_eq!(
        server.try_read(&mut [0]).unwrap(),
        Some(0),
        "the end of data"
    );
    drop(server);
}

#[test]
fn values_in_thread_locals_are_dropped_with_the_thread() {
    struct Everything(
        #[expect(dead_code, reason = "held for its drop")] Option<TcpStream>,
        #[expect(dead_code, reason = "held for its drop")] Sender<u8>,
        #[expect(dead_code, reason = "held for its drop")] Receiver<u8>,
        #[expect(dead_code, reason = "held for its drop")] PipeStream,
    );
    impl Drop for Everything {
        fn drop(&mut self) {
            assert_eq!(crate::yield_now(), Err(Stopped::NoRuntime));
            assert!(crate::Instant::now().as_nanos() > 0);
        }
    }
    thread_local! {
        static FIRST: RefCell<Option<Everything>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<Everything>> = const { RefCell::new(None) };
    }
    let on_thread = || {
        // One of them is registered for its drop before the crate's own thread-local, one after:
        // whichever order the system drops them in, one finds it gone.
        FIRST.with(|_| ());
        let (client, server, _) = carried_out();
        LAST.with(|_| ());
        for (place, stream) in [(&FIRST, client), (&LAST, server)] {
            let (sender, receiver) = channel(1);
            place.replace(Some(Everything(Some(stream), sender, receiver, pipe(1).0)));
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the end of a thread is what is tested"
    )]
    let thread = std::thread::spawn(on_thread);
    thread.join().unwrap();
}
