//! A meter that reports to a cloud, tested in the simulator: whatever becomes of the connection, a
//! reading that was confirmed is there.
//!
//! `cargo run -p fiber --features sim --example sim_two_hosts`, silent when all is well; `SIM_SEEDS=n`
//! sets how many seeds, `SEED=x` runs one.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::{TcpListener, TcpStream};
use fiber::{resolve, sim, sleep, timeout};

/// The program of the cloud: stores each reading, then confirms it.
fn cloud(stored: &RefCell<Vec<u8>>) -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7000)))?;
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut reading = [0];
        while timeout(Duration::from_secs(30), || stream.read_exact(&mut reading))
            .is_ok_and(|r| r.is_ok())
        {
            stored.borrow_mut().push(reading[0]);
            if stream.write_all(&reading).is_err() {
                break;
            }
        }
    }
}

/// The program of the meter: sends each reading until it is confirmed.
fn meter(readings: u8) -> io::Result<()> {
    let mut next = 0;
    while next < readings {
        let attempt = || -> io::Result<()> {
            let mut stream = TcpStream::connect(resolve("cloud", 7000)?[0])?;
            while next < readings {
                stream.write_all(&[next])?;
                let mut confirmed = [0];
                stream.read_exact(&mut confirmed)?;
                next += 1;
            }
            Ok(())
        };
        let _ = timeout(Duration::from_secs(10), attempt);
        sleep(Duration::from_secs(1))?;
    }
    Ok(())
}

fn main() {
    sim::check(200, |sim| {
        sim.run(|world| {
            world.way("meter", "cloud").reset(50_000).lost(20_000);
            world
                .way("cloud", "meter")
                .silenced(20_000)
                .refused(100_000);
            let stored = Rc::new(RefCell::new(Vec::new()));
            let inside = Rc::clone(&stored);
            drop(world.host("cloud").start(move || cloud(&inside)));
            let mut sending = world.host("meter").start(|| meter(20)).expect("a fiber");
            sending.join().expect("no panic").expect("no scope is over");
            let mut stored = stored.take();
            stored.dedup();
            assert_eq!(
                stored,
                (0..20).collect::<Vec<u8>>(),
                "each is there, in order"
            );
        })
    });
}
