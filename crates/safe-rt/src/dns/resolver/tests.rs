//! How a look-up ends that is not let alone.

use super::*;

fn found() -> Result<Found, DnsError> {
    Ok(Found {
        addresses: vec![([192, 0, 2, 1], 0).into()],
        lifetime: ANSWER_LIFETIME_DEFAULT,
    })
}

/// Begins a look-up that asks like this, without the count of them.
fn begin(
    resolver: &Resolver,
    ask: impl FnOnce(&str) -> Result<Found, DnsError> + 'static,
) -> (Rc<LookUp>, fiber::JoinHandle<()>) {
    let shared = Rc::clone(&resolver.0);
    let look_up = shared.begin("broker", Instant::now());
    let ending = Ending {
        shared,
        look_up: Rc::clone(&look_up),
    };
    let at_work = fiber::spawn(move || ending.shared.run(&ending.look_up, ask));
    (look_up, at_work.expect("a fiber"))
}

#[test]
fn one_that_panics_ends_for_those_who_wait() {
    fiber::run(|| {
        let resolver = Resolver::new();
        let (_, mut at_work) = begin(&resolver, |_| panic!("on purpose"));
        let waited = fiber::timeout(Duration::from_secs(20), || resolver.look_up_name("broker"));
        let error = waited.expect("it ended").expect_err("nothing was found");
        assert!(error.to_string().contains("was ended"), "{error}");
        at_work.join().expect_err("it panicked");
        assert!(resolver.0.under_way.borrow().is_empty());
    })
    .expect("the runtime ran");
}

#[test]
fn what_one_finds_that_began_before_all_was_forgotten_is_not_remembered() {
    fiber::run(|| {
        let resolver = Resolver::new();
        let may_end = Rc::new(Event::new());
        let until = Rc::clone(&may_end);
        let (look_up, mut at_work) = begin(&resolver, move |_| {
            until.wait().map_err(|_| DnsError::NoAnswer)?;
            found()
        });
        let joined = resolver.join_or_begin("broker").expect("it is under way");
        assert!(Rc::ptr_eq(&joined, &look_up));
        resolver.clear();
        assert!(resolver.0.under_way("broker").is_none(), "nobody joins it");
        // It counts as long as it goes on: forgetting makes no room for more.
        assert_eq!(resolver.0.under_way.borrow().len(), 1);
        may_end.set();
        at_work.join().expect("no panic");
        let outcome = look_up.outcome.borrow().clone();
        outcome
            .expect("it ended")
            .expect("who waits has the answer");
        let known = resolver.0.cache.borrow_mut().get("broker", Instant::now());
        assert!(known.is_none(), "but nobody else");
        // One that begins afterwards is remembered.
        let (_, mut at_work) = begin(&resolver, |_| found());
        at_work.join().expect("no panic");
        let known = resolver.0.cache.borrow_mut().get("broker", Instant::now());
        assert!(known.is_some());
        assert!(resolver.0.under_way.borrow().is_empty());
    })
    .expect("the runtime ran");
}
