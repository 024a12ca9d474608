//! Channels and oneshots: nothing lost, nobody forgotten.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{MILLISECOND, Trace, go, parked_reasons, paused, turns};
use crate::park::{FrontList, wait_on};
use crate::sync::{SendCause, TryRecvError, TrySendError};
use crate::{
    Event, Selected, Stopped, WaitReason, channel, oneshot, select, sleep, spawn, timeout,
};

#[test]
fn values_arrive_in_order_and_the_end_after_them() {
    paused(|| {
        let (sender, receiver) = channel(3);
        go(move || {
            for n in 0..100 {
                sender.send(n).unwrap();
            }
        });
        for n in 0..100 {
            assert_eq!(receiver.recv(), Ok(Some(n)));
        }
        assert_eq!(receiver.recv(), Ok(None));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    });
}

#[test]
fn a_full_channel_holds_its_senders_back_in_order() {
    paused(|| {
        let (sender, receiver) = channel(2);
        for n in 0..6 {
            let sender = sender.clone();
            go(move || sender.send(n).unwrap());
        }
        turns(2);
        assert_eq!(parked_reasons(), [WaitReason::Send; 4]);
        assert!(matches!(sender.try_send(9), Err(TrySendError::Full(9))));
        let mut got = Vec::new();
        for _ in 0..6 {
            got.push(receiver.recv().unwrap().unwrap());
        }
        assert_eq!(got, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_value_for_a_receiver_that_gave_up_goes_to_the_next() {
    paused(|| {
        let (sender, receiver) = channel(4);
        let other = receiver.clone();
        let first = spawn(move || receiver.recv()).unwrap();
        let mut second = spawn(move || other.recv()).unwrap();
        turns(1);
        // Both in one turn: the first is on its way out when the value comes.
        first.cancel();
        sender.send(7).unwrap();
        assert_eq!(second.join().unwrap(), Ok(Some(7)));
    });
}

#[test]
fn a_receiver_that_was_woken_takes_its_value_although_its_scope_ended_since() {
    paused(|| {
        let (sender, receiver) = channel(4);
        let mut woken = spawn(move || receiver.recv()).unwrap();
        turns(1);
        sender.send(7).unwrap();
        woken.cancel();
        assert_eq!(woken.join().unwrap(), Ok(Some(7)));
    });
}

#[test]
fn room_for_a_sender_that_gave_up_goes_to_the_next() {
    paused(|| {
        let (sender, receiver) = channel(1);
        sender.send(0).unwrap();
        let other = sender.clone();
        let mut first = spawn(move || sender.send(1)).unwrap();
        let mut second = spawn(move || other.send(2)).unwrap();
        turns(1);
        first.cancel();
        assert_eq!(receiver.try_recv(), Ok(0));
        second.join().unwrap().unwrap();
        let refused = first.join().unwrap().unwrap_err();
        assert_eq!(refused.value, 1);
        assert_eq!(refused.cause, SendCause::Stopped(Stopped::Cancelled));
        assert_eq!(receiver.try_recv(), Ok(2));
    });
}

#[test]
fn a_wake_is_not_spent_on_a_wait_that_fails_already() {
    paused(|| {
        let core = crate::core::current().unwrap();
        let (list, ended) = (Rc::new(FrontList::new()), Rc::new(Cell::new(false)));
        let (failing, end) = (Rc::clone(&list), Rc::clone(&ended));
        let stubborn = spawn(move || {
            let core = crate::core::current().unwrap();
            while !end.get() {
                // Gives up the turn, or pauses, while it has its place in the list.
                let _ = wait_on(&core, &*failing, WaitReason::Receive);
            }
        })
        .unwrap();
        turns(1);
        stubborn.cancel();
        for waits in [3, 100] {
            // Few failures, each of which yields, and then so many that each pauses.
            for _ in 0..waits {
                turns(1);
            }
            let waiting = Rc::clone(&list);
            let mut patient = spawn(move || {
                let core = crate::core::current().unwrap();
                wait_on(&core, &*waiting, WaitReason::Receive)
            })
            .unwrap();
            turns(1);
            assert!(list.wake_one(&core));
            let woken = timeout(MILLISECOND, || patient.join());
            assert_eq!(woken.unwrap().unwrap(), Ok(()));
        }
        ended.set(true);
    });
}

#[test]
fn a_select_that_leaves_a_value_there_passes_the_wake_on() {
    paused(|| {
        let (sender, receiver) = channel(4);
        let (other, event) = (receiver.clone(), Event::new());
        let waited = event.clone();
        let mut selecting = spawn(move || select(&[&waited, &receiver], None).unwrap()).unwrap();
        let mut receiving = spawn(move || other.recv()).unwrap();
        turns(1);
        sender.send(7).unwrap();
        event.set();
        assert_eq!(selecting.join().unwrap(), Selected::Ready(0));
        assert_eq!(receiving.join().unwrap(), Ok(Some(7)));
    });
}

#[test]
fn a_cancelled_select_passes_the_wake_on() {
    paused(|| {
        let (sender, receiver) = channel(4);
        let other = receiver.clone();
        let selecting = spawn(move || select(&[&receiver], None).map(|_| ())).unwrap();
        let mut receiving = spawn(move || other.recv()).unwrap();
        turns(1);
        selecting.cancel();
        sender.send(7).unwrap();
        assert_eq!(receiving.join().unwrap(), Ok(Some(7)));
    });
}

#[test]
fn ends_that_go_wake_the_other_side() {
    paused(|| {
        let (sender, receiver) = channel::<u8>(1);
        let mut receiving = spawn(move || receiver.recv()).unwrap();
        turns(1);
        drop(sender);
        assert_eq!(receiving.join().unwrap(), Ok(None));

        let (sender, receiver) = channel(1);
        sender.send(1).unwrap();
        let mut sending = spawn(move || sender.send(2)).unwrap();
        turns(1);
        drop(receiver);
        let refused = sending.join().unwrap().unwrap_err();
        assert_eq!((refused.value, refused.cause), (2, SendCause::Closed));
    });
}

#[test]
fn what_is_queued_goes_with_the_last_receiver() {
    paused(|| {
        // A request that carries the way of its answer, to a server that ends.
        let (requests, server) = channel(4);
        let (answer, mut answered) = oneshot::<u8>();
        requests.send(answer).unwrap();
        let second = server.clone();
        drop(server);
        assert!(
            timeout(MILLISECOND, || answered.recv()).is_err(),
            "it may yet be served"
        );
        drop(second);
        assert_eq!(answered.recv(), Ok(None));
        drop(requests);
    });
}

#[test]
fn a_oneshot_gives_its_value_or_its_end_once() {
    paused(|| {
        let (sender, mut receiver) = oneshot();
        go(move || sender.send(7).unwrap());
        assert_eq!(receiver.recv(), Ok(Some(7)));
        assert_eq!(receiver.recv(), Ok(None));

        let (sender, mut receiver) = oneshot::<u8>();
        go(move || drop(sender));
        assert_eq!(receiver.recv(), Ok(None));

        let (sender, receiver) = oneshot();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));

        let (sender, mut receiver) = oneshot();
        assert!(timeout(MILLISECOND, || receiver.recv()).is_err());
        sender.send(7).unwrap();
        assert_eq!(
            receiver.recv(),
            Ok(Some(7)),
            "after a wait that ended early"
        );
    });
}

#[test]
fn a_pulse_of_an_event_wakes_all_who_wait() {
    paused(|| {
        let (event, woken) = (Event::new(), Rc::new(Cell::new(0)));
        for _ in 0..3 {
            let (event, woken) = (event.clone(), Rc::clone(&woken));
            go(move || {
                event.wait().unwrap();
                woken.set(woken.get() + 1);
            });
        }
        turns(1);
        event.set();
        event.clear();
        turns(1);
        assert_eq!(woken.get(), 3);
        assert!(timeout(MILLISECOND, || event.wait()).is_err());
    });
}

#[test]
fn many_senders_and_receivers_lose_and_double_nothing() {
    paused(|| {
        let (sender, receiver) = channel(3);
        let trace = Trace::new();
        for receiving in 0..5_u64 {
            let (receiver, trace) = (receiver.clone(), trace.clone());
            go(move || {
                // Impatient ones: some waits end early, some values come in the same turn.
                loop {
                    let patience = Duration::from_micros(3 + receiving);
                    match timeout(patience, || receiver.recv()) {
                        Ok(Ok(Some(value))) | Err(crate::Elapsed(Ok(Some(value)))) => {
                            trace.note(value);
                        }
                        Ok(Ok(None)) => break,
                        Ok(Err(_)) | Err(_) => {}
                    }
                }
            });
        }
        drop(receiver);
        for sending in 0..7_u64 {
            let sender = sender.clone();
            go(move || {
                for n in 0..50 {
                    sleep(Duration::from_micros((n * 7 + sending) % 11)).unwrap();
                    let mut value = (sending, n);
                    while let Err(error) = timeout(Duration::from_micros(2), || sender.send(value))
                        .unwrap_or_else(|elapsed| elapsed.0)
                    {
                        value = error.value;
                    }
                }
            });
        }
        drop(sender);
        while trace.entries().len() < 350 {
            sleep(MILLISECOND).unwrap();
        }
        let mut got = trace.entries();
        got.sort_unstable();
        let all: Vec<_> = (0..7).flat_map(|s| (0..50).map(move |n| (s, n))).collect();
        assert_eq!(got, all);
    });
}
