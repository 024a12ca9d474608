//! The power is cut at every moment of a device's life.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{self, SimBuilder, World};
use fiber::{Instant, sleep};

use super::*;

const HOME: &str = "/var/lib/agent";
/// How long each call to the disk takes.
const CALL: Duration = Duration::from_millis(1);
/// Identities that are made in one run: the first, and two renewals.
const IDENTITIES: usize = 3;

/// What is known outside the machine.
#[derive(Default)]
struct Known {
    device_id: RefCell<Option<String>>,
    /// The last one that was promoted for sure, and the one that was being promoted.
    promoted: Cell<Option<usize>>,
    promoting: Cell<Option<usize>>,
    /// Of the candidate: its number, and the steps that are sure.
    candidate: Cell<Option<(usize, usize)>>,
    done: Cell<bool>,
}

const STEPS: [&str; 5] = ["KeyReady", "CsrSent", "CertHeld", "Registered", "Proving"];

fn number_of(active: &Loaded) -> usize {
    let name = &active.about().expect("it was registered").certificate_id;
    let number = name.rsplit('-').next();
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

impl Known {
    fn check(&self, store: &Store) {
        assert_eq!(store.found(), Found::Known, "never are both records lost");
        let device_id = self.device_id.borrow().clone();
        if device_id.is_some() {
            assert_eq!(store.device_id().ok(), device_id);
        }
        let active = store.active().map(|active| number_of(&active));
        let promoted = self.promoted.get();
        assert!(
            active == promoted || active.is_some() && active == self.promoting.get(),
            "in use is {active:?}, expected {promoted:?} or {:?}",
            self.promoting.get(),
        );
        if let Some((number, step)) = self.candidate.get()
            && active != Some(number)
        {
            let state = store.state();
            let found = STEPS.iter().position(|name| *name == state.phase());
            assert!(
                found >= Some(step),
                "{found:?} of {number}, expected {step}"
            );
        }
    }

    fn sure(&self, number: usize, step: usize) {
        self.candidate.set(Some((number, step)));
    }
}

/// Goes on with what is found, until all identities are made.
fn live(known: &Known) -> Result<(), StoreError> {
    let store = Store::open(HOME)?;
    known.check(&store);
    known.device_id.replace(Some(store.device_id()?));
    loop {
        let active = store.active().map(|active| number_of(&active));
        let next = active.map_or(0, |number| number + 1);
        if active.is_some() {
            known.promoted.set(active);
        }
        if next == IDENTITIES {
            known.done.set(true);
            return Ok(());
        }
        match store.state().candidate {
            None => {
                begin(&store, next)?;
                known.sure(next, 0);
            }
            Some(Step::KeyReady) => {
                assert_eq!(
                    store.request()?.expect("it was kept"),
                    next.to_string().as_bytes()
                );
                store.asking()?;
                known.sure(next, 1);
            }
            Some(Step::CsrSent) => {
                hold(&store, next)?;
                known.sure(next, 2);
            }
            Some(Step::CertHeld { certificate_id, .. }) => {
                assert_eq!(certificate_id, id(next));
                assert_eq!(&**store.token()?.expect("it was kept"), b"a token");
                store.registered(&About::new("meter-17", certificate_id))?;
                known.sure(next, 3);
            }
            Some(Step::Registered { .. } | Step::Proving { .. }) => {
                let candidate = store.prove()?;
                assert_eq!(number_of(&candidate), next);
                known.sure(next, 4);
                known.promoting.set(Some(next));
                store.promote(candidate, noon())?;
                known.promoted.set(Some(next));
            }
        }
    }
}

fn start(host: &sim::Host, known: &Rc<Known>) {
    host.set_disk_latency(CALL..=CALL);
    host.set_sync_latency(CALL..=CALL);
    let known = Rc::clone(known);
    drop(
        host.start(move || live(&known).expect("the disk is well"))
            .expect("a fiber"),
    );
}

/// Cuts the power after each of these times; returns how long the rest took.
fn cut(world: &World, after: &[Duration]) -> Duration {
    let (known, host) = (Rc::new(Known::default()), world.host("device"));
    for after in after {
        start(&host, &known);
        sleep(*after).expect("no scope is over");
        host.power_cut();
    }
    let began = Instant::now();
    known.done.set(false);
    start(&host, &known);
    while !known.done.get() {
        sleep(CALL).expect("no scope is over");
        assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
    }
    began.elapsed()
}

fn run(seed: u64, after: Vec<Duration>) -> Duration {
    let run = SimBuilder::new(seed).run(move |world| cut(world, &after));
    run.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
        .value
}

/// Between two calls to the disk, and in the middle of each.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    let half = CALL / 2;
    (0..=whole.as_millis() as u32 * 2).map(move |number| half * number)
}

#[test]
fn after_a_power_cut_at_any_moment_there_is_one_identity_and_the_next_goes_on() {
    let whole = run(0, Vec::new());
    assert!(whole > CALL * 100, "that was too fast to be cut anywhere");
    for (seed, moment) in moments(whole).enumerate() {
        run(seed as u64, vec![moment]);
    }
}

#[test]
fn power_cuts_that_follow_each_other_lose_nothing_either() {
    let whole = run(0, Vec::new()).as_millis() as u64;
    for seed in 0..400_u64 {
        let moment = |of: u64| CALL / 2 * ((seed * 7_919 + of * 104_729) % whole) as u32;
        run(seed, (0..6).map(moment).collect());
    }
}

/// What a program that was killed, and not its machine, leaves is seen and on no disk.
#[test]
fn a_record_that_was_not_synced_never_costs_the_one_that_was() {
    for cut in 0..24 {
        let run = SimBuilder::new(cut).run(move |world| {
            let host = world.host("device");
            host.set_disk_latency(CALL..=CALL);
            host.set_sync_latency(CALL..=CALL);
            let day = Duration::from_secs(86_400);
            let wait = |program: Result<fiber::JoinHandle<()>, fiber::SpawnError>| {
                program.unwrap().join().expect("it works");
            };
            wait(host.start(move || {
                let store = Store::open(HOME).unwrap();
                make(&store, 0).unwrap();
                store.passed(noon()).unwrap();
            }));
            host.set_failing_syncs(1_000_000);
            wait(host.start(move || {
                let store = Store::open(HOME).unwrap();
                assert!(store.passed(noon() + day).is_err());
            }));
            host.set_failing_syncs(0);
            drop(host.start(move || {
                let store = Store::open(HOME).unwrap();
                drop(store.passed(noon() + 5 * day));
                sleep(day).unwrap();
            }));
            sleep(CALL * 6 + CALL / 2 * cut as u32).unwrap();
            host.power_cut();
            wait(host.start(move || {
                let store = Store::open(HOME).unwrap();
                assert_eq!(store.found(), Found::Known);
                assert!(store.state().last_good >= Some(seconds(noon())));
                assert_eq!(in_use(&store), Some(id(0)));
            }));
        });
        run.unwrap_or_else(|failure| panic!("{cut}: {failure}"));
    }
}

/// Runs `after` on a disk that `before` has left, and cuts the power at each moment of it.
fn cut_everywhere(
    before: fn(&Store),
    after: fn(&Store) -> Result<(), StoreError>,
    check: fn(&Store),
) {
    for moment in 0..120_u32 {
        let run = SimBuilder::new(moment.into()).run(move |world| {
            let host = world.host("device");
            host.set_disk_latency(CALL..=CALL);
            host.set_sync_latency(CALL..=CALL);
            let mut first = host
                .start(move || before(&Store::open(HOME).unwrap()))
                .unwrap();
            first.join().expect("it works");
            let cut = move || {
                let store = Store::open(HOME).unwrap();
                drop(after(&store));
                sleep(Duration::from_secs(60)).unwrap();
            };
            drop(host.start(cut).unwrap());
            sleep(CALL / 2 * moment).unwrap();
            host.power_cut();
            let mut last = host
                .start(move || check(&Store::open(HOME).unwrap()))
                .unwrap();
            last.join().expect("it works");
        });
        run.unwrap_or_else(|failure| panic!("{moment}: {failure}"));
    }
}

#[test]
fn an_order_to_give_up_is_carried_out_whole_or_not_at_all() {
    cut_everywhere(
        |store| {
            make(store, 0).unwrap();
            make(store, 1).unwrap();
        },
        Store::give_up,
        |store| {
            if store.active().is_some() {
                assert_eq!(in_use(store), Some(id(1)));
                return;
            }
            assert!(store.state().given_up);
            let (slots, records) = (["a", "b"], ["state.0", "state.1"]);
            for slot in slots {
                let path = format!("{HOME}/identity/{slot}");
                assert!(fiber::fs::list(path).is_err(), "it is in the trash");
            }
            for record in records {
                let file = File::open(format!("{HOME}/{record}")).unwrap();
                file.write_at(0, "damaged").unwrap();
            }
            let (state, active) = look(Path::new(HOME)).unwrap();
            assert!(active.is_none() && state.given_up);
        },
    );
}

#[test]
fn a_claim_that_is_replaced_is_one_or_the_other() {
    fn claim(number: usize) -> Claim {
        Claim {
            chain: pair(number).chain.clone().into_bytes(),
            key: Zeroizing::new(pair(number).key.clone().into_bytes()),
        }
    }
    cut_everywhere(
        |store| store.keep_claim(&claim(5)).unwrap(),
        |store| store.keep_claim(&claim(6)),
        |store| {
            let chain = store.claim().expect("one of them").chain;
            assert!(
                [5, 6]
                    .iter()
                    .any(|number| pair(*number).chain.as_bytes() == chain)
            );
        },
    );
}
