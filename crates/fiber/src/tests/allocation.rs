//! Nothing is allocated in the steady state.

use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;

use super::{MILLISECOND, go, paused, real, turns};
use crate::net::{TcpListener, TcpStream, pipe};
use crate::{
    Event, Instant, Mutex, Runtime, Semaphore, Timer, cancellable, channel, interval, no_park,
    oneshot, select, shield, sleep, spawn, timeout, yield_now,
};

/// Runs `round` a few times for its first allocations, then many times for none.
#[track_caller]
fn allocates_nothing(mut round: impl FnMut()) {
    for _ in 0..20 {
        round();
    }
    let counted = measure(|| {
        for _ in 0..200 {
            round();
        }
    });
    assert_eq!(counted.count_total, 0, "allocations");
}

#[test]
fn yielding_allocates_nothing() {
    paused(|| {
        for _ in 0..10 {
            go(|| while yield_now().is_ok() {});
        }
        allocates_nothing(|| turns(1));
    });
}

#[test]
fn sleeping_and_limits_allocate_nothing() {
    paused(|| {
        allocates_nothing(|| {
            sleep(MILLISECOND).unwrap();
            timeout(MILLISECOND, || sleep(Duration::from_micros(1)))
                .unwrap()
                .unwrap();
            let _ = timeout(Duration::from_micros(1), || sleep(MILLISECOND));
            let _ = cancellable(|canceller| {
                canceller.cancel();
                yield_now()
            });
        });
    });
}

#[test]
fn events_channels_and_select_allocate_nothing() {
    paused(|| {
        let (ping, pong) = (Event::new(), Event::new());
        let (to, from) = channel(1);
        let (back_to, back_from) = channel(1);
        let (heard, answer) = (ping.clone(), pong.clone());
        go(move || {
            while heard.wait().is_ok() {
                heard.clear();
                answer.set();
                let Ok(Some(value)) = from.recv() else { break };
                if back_to.send(value).is_err() {
                    break;
                }
            }
        });
        allocates_nothing(|| {
            ping.set();
            pong.wait().unwrap();
            pong.clear();
            to.send(1).unwrap();
            let until = Some(Instant::now() + MILLISECOND);
            select(&[&pong, &back_from], until).unwrap();
            back_from.recv().unwrap();
            let until = Some(Instant::now() + MILLISECOND);
            select(&[&pong, &back_from], until).unwrap();
        });
    });
}

#[test]
fn permits_locks_ticks_and_their_selects_allocate_nothing() {
    paused(|| {
        let semaphore = Semaphore::new(2);
        let mutex = Rc::new(Mutex::new(0));
        let go_on = Event::new();
        let (other, shared, told) = (semaphore.clone(), Rc::clone(&mutex), go_on.clone());
        go(move || {
            while told.wait().is_ok() {
                told.clear();
                let Ok(permit) = other.acquire_many(2) else {
                    break;
                };
                let Ok(mut value) = shared.lock() else { break };
                *value += 1;
                if yield_now().is_err() {
                    break;
                }
                drop((permit, value));
            }
        });
        let mut ticks = interval(MILLISECOND);
        let acquiring = semaphore.acquiring(1);
        allocates_nothing(|| {
            go_on.set();
            let permit = semaphore.acquire().unwrap();
            turns(1);
            drop(permit);
            turns(1);
            *mutex.lock().unwrap() += 1;
            select(&[&acquiring], None).unwrap();
            drop(acquiring.take().unwrap());
            let timer = Timer::after(Duration::from_secs(1));
            select(&[&timer, &ticks], None).unwrap();
            ticks.tick().unwrap();
            shield(MILLISECOND, || no_park(|| ())).unwrap();
            // Who gives up its place.
            let _all = semaphore.acquire_many(2).unwrap();
            let ended = timeout(Duration::from_micros(1), || semaphore.acquire().map(drop));
            assert!(ended.is_err());
        });
        assert!(*mutex.lock().unwrap() > 300, "the other fiber took part");
    });
}

#[test]
fn pipes_allocate_nothing() {
    paused(|| {
        let (mut left, mut right) = pipe(16);
        go(move || {
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = right.read(&mut buffer) {
                if right.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
        });
        allocates_nothing(|| {
            left.write_all(&[1; 8]).unwrap();
            left.read_exact(&mut [0; 8]).unwrap();
        });
    });
}

#[test]
fn sockets_allocate_nothing() {
    real(|| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        go(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
        });
        let mut stream = TcpStream::connect(address).unwrap();
        allocates_nothing(|| {
            timeout(Duration::from_secs(20), || {
                stream.write_all(&[1; 8]).unwrap();
                stream.read_exact(&mut [0; 8]).unwrap();
            })
            .unwrap();
        });
    });
}

#[test]
fn a_spawn_allocates_its_join_cell_and_no_more() {
    Runtime::builder()
        .paused_clock(true)
        .run(|| {
            for _ in 0..20 {
                spawn(|| ()).unwrap().join().unwrap();
            }
            let counted = measure(|| {
                for _ in 0..100 {
                    spawn(|| turns(1)).unwrap().join().unwrap();
                }
            });
            assert_eq!(counted.count_total, 100);
            assert_eq!(counted.count_current, 0);
            let counted = measure(|| drop(oneshot::<u8>()));
            assert_eq!((counted.count_total, counted.count_current), (1, 0));
        })
        .unwrap();
}
