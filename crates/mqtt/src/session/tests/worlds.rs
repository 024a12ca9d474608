//! All states of small worlds: what either side publishes, whatever becomes of link, server and
//! program, and whenever.
//!
//! This is no search of histories up to some length: a state that was seen is not looked at again, and
//! when no new one is found, every history has been. Where faults are not bounded, there are any
//! number of them, but for the sessions that the server makes. `WORLDS=n` lets all worlds have n
//! faults, `WORLDS=all` any number.
//!
//! One thing is taken for granted: a server does not lose its session and keep the one that it made
//! instead before the client has written down that it is a new one. MQTT 3.1.1 has no way of telling
//! the two apart.

mod checks;
mod explore;
mod program;
mod state;

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

use self::explore::{Size, Violation, explore};
use self::program::{Book, Gate, Kept, Record};
use self::state::{Outcome, Setting, Step, World, content, new_log};
use super::canon::{Canon, ids};
use super::server::{Server, number, publish_bytes};
use super::world::outgoing;
use super::*;
use crate::packet::peek_len;

/// Messages that the program of a world publishes at most.
const MESSAGES_MAX: usize = 2;

fn setting(outbound: &[u8], inbound: &[u8]) -> Setting {
    Setting {
        outbound: outbound.to_vec(),
        inbound: inbound.to_vec(),
        policy: OnSessionLoss::Resend,
        late: false,
        recorded: true,
        sessions: 2,
        window: 2,
        planted: None,
        prompt: true,
        faults: None,
    }
}

/// Up to two messages, each at each QoS.
fn lists() -> Vec<Vec<u8>> {
    let mut lists = vec![vec![]];
    lists.extend((0..3).map(|qos| vec![qos]));
    lists.extend((0..9).map(|n| vec![n / 3, n % 3]));
    lists
}

/// All worlds with these messages that differ in what matters to them: the policy and when the server
/// passes a message on do so at QoS 2 alone.
fn variants(setting: &Setting) -> Vec<Setting> {
    let late = [false, true].into_iter();
    let policies = [OnSessionLoss::Resend, OnSessionLoss::Finish];
    let all = late.flat_map(|late| policies.map(|policy| (late, policy)));
    let messages = setting.outbound.len() + setting.inbound.len();
    // Of the largest, two that differ in both.
    let (count, step) = match (setting.outbound.contains(&2), messages) {
        (false, _) => (1, 1),
        (true, 4) => (2, 3),
        (true, _) => (4, 1),
    };
    let variant = |(late, policy)| Setting {
        late,
        policy,
        ..setting.clone()
    };
    all.step_by(step).take(count).map(variant).collect()
}

/// Goes through a world, all states of which must be right.
#[track_caller]
fn search(setting: &Setting, sum: &mut Size) {
    match explore(&Rc::new(setting.clone())) {
        Ok(size) => {
            sum.states += size.states;
            sum.steps += size.steps;
            sum.rests += size.rests;
            assert!(size.rests > 0, "{setting:?} never comes to rest");
        }
        Err(Violation { what, path, size }) => {
            panic!("{what}\nin {setting:?}\nafter {path:?}\nof {size:?}")
        }
    }
}

/// The bound on faults that the environment set when this was compiled, or this one.
fn faults(otherwise: Option<u8>) -> Option<u8> {
    match option_env!("WORLDS") {
        Some("all") => None,
        Some(number) => Some(number.parse().expect("a number, or `all`")),
        None => otherwise,
    }
}

/// Goes through the worlds with up to two messages each way, those of which `takes` says so.
fn search_all(takes: impl Fn(&[u8]) -> bool) -> Size {
    let mut sum = Size::default();
    for (outbound, inbound) in lists()
        .iter()
        .flat_map(|a| lists().into_iter().map(move |b| (a.clone(), b)))
    {
        if !takes(&outbound) {
            continue;
        }
        let plain = Setting {
            faults: faults(Some(1)),
            ..setting(&outbound, &inbound)
        };
        for setting in variants(&plain) {
            search(&setting, &mut sum);
        }
    }
    sum
}

#[test]
fn worlds_with_qos_2_first_are_right_in_every_state() {
    let sum = search_all(|outbound| outbound.first() == Some(&2));
    assert!(sum.states > 700_000, "{sum:?}");
}

#[test]
fn worlds_with_qos_2_later_are_right_in_every_state() {
    let sum = search_all(|outbound| outbound.get(1) == Some(&2) && outbound[0] != 2);
    assert!(sum.states > 250_000, "{sum:?}");
}

#[test]
fn worlds_without_qos_2_are_right_in_every_state() {
    let sum = search_all(|outbound| !outbound.contains(&2));
    assert!(sum.states > 150_000, "{sum:?}");
}

#[test]
fn one_message_each_way_is_right_after_any_number_of_faults() {
    let mut sum = Size::default();
    let one = || lists().into_iter().filter(|list| list.len() <= 1);
    for (outbound, inbound) in one().flat_map(|a| one().map(move |b| (a.clone(), b))) {
        for setting in variants(&setting(&outbound, &inbound)) {
            search(&setting, &mut sum);
            // Without a record there is nothing to begin a new life with.
            let recorded = false;
            search(
                &Setting {
                    recorded,
                    ..setting
                },
                &mut sum,
            );
        }
        // What can be done is done at any time, or never.
        let is_large = !outbound.is_empty() && !inbound.is_empty();
        let free = Setting {
            prompt: false,
            faults: faults(is_large.then_some(1)),
            ..setting(&outbound, &inbound)
        };
        search(&free, &mut sum);
    }
    assert!(sum.states > 100_000, "{sum:?}");
}

#[test]
fn two_messages_one_way_are_right_after_any_number_of_faults() {
    let mut sum = Size::default();
    for list in [[1, 1], [1, 2], [2, 2]] {
        for window in [1, 2] {
            let outbound = Setting {
                window,
                sessions: 1 + (list[0] == list[1]) as u8,
                ..setting(&list, &[])
            };
            search(&outbound, &mut sum);
        }
        search(&setting(&[], &list), &mut sum);
    }
    assert!(sum.states > 100_000, "{sum:?}");
}

/// Small worlds, the smallest first, until something is wrong in one; how many states that took.
fn find(planted: Planted) -> (usize, Violation) {
    let mut states = 0;
    for (outbound, inbound, prompt) in [
        (1, 0, true),
        (2, 0, true),
        (0, 2, true),
        (2, 2, true),
        (2, 0, false),
    ] {
        let list = |qos: u8| if qos == 0 { vec![] } else { vec![qos, qos] };
        let setting = Setting {
            planted: Some(planted),
            faults: Some(1),
            prompt,
            ..setting(&list(outbound), &list(inbound))
        };
        match explore(&Rc::new(setting)) {
            Ok(size) => states += size.states,
            Err(violation) => return (states + violation.size.states, violation),
        }
    }
    panic!("{planted:?} was not found in {states} states");
}

#[test]
fn every_planted_fault_is_found() {
    for (planted, expected) in [
        (Planted::PublishBeforeRecord, "before its record"),
        (Planted::ReleaseBeforeRecord, "before its record"),
        (Planted::AckBeforeRecord, "before its record"),
        (Planted::CompleteBeforeRecord, "before its record"),
        (Planted::ResendWithoutDup, "leaves with DUP false"),
        (Planted::ForgottenPubrel, "no outcome"),
        (Planted::IdentifierReusedEarly, "expected a free identifier"),
    ] {
        let (states, violation) = find(planted);
        assert!(states < 100_000, "{planted:?}: {states}");
        assert!(
            violation.what.contains(expected),
            "{planted:?}: {violation:?}"
        );
    }
}
