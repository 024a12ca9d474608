//! Timers and signals on machines of the simulated world: they are of their machine, end with it, and
//! come again by their seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::{sim, sleep};
use safe_rt::{SignalName, Signals, timer};

const SECOND: Duration = Duration::from_secs(1);
const READING: SignalName<u64> = SignalName::new("sensor:reading");

#[test]
fn timers_end_with_their_machine_and_devices_do_not_hear_each_other() {
    sim::check(20, |sim| {
        sim.run(|world| {
            let heard = Rc::new(RefCell::new(Vec::new()));
            let ticks = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
            for (name, ticks) in ["meter", "valve"].into_iter().zip(&ticks) {
                let (heard, ticks) = (Rc::clone(&heard), Rc::clone(ticks));
                let program = move || {
                    // The same names on both, and a hub of its own for each.
                    let signals = Signals::new();
                    let log = move |reading: &u64| heard.borrow_mut().push((name, *reading));
                    let _watch = signals.watch(&READING, log).expect("a watch");
                    let _ticking = timer::every(SECOND, move |this| {
                        ticks.set(this.fired());
                        let heard = signals.emit(&READING, &this.fired());
                        assert_eq!(heard, Ok(1), "the own watcher alone");
                    });
                    sleep(60 * SECOND)
                };
                drop(world.host(name).start(program).expect("a fiber"));
            }
            sleep(SECOND * 7 / 2).expect("no scope is over");
            world.host("meter").power_cut();
            sleep(SECOND * 2).expect("no scope is over");
            assert_eq!((ticks[0].get(), ticks[1].get()), (3, 5));
            let heard = heard.borrow();
            for (name, count) in [("meter", 3), ("valve", 5)] {
                let of_it = heard.iter().filter(|(who, _)| *who == name);
                assert!(
                    of_it.map(|(_, reading)| *reading).eq(1..=count),
                    "{heard:?}"
                );
            }
        })
    });
}
