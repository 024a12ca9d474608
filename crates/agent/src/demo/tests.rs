//! The whole of it, in one process over real sockets: that it succeeds, and that it can fail.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use super::*;
use crate::exit::Exit;

/// Quicker than what is shown to people.
const QUICK: Duration = Duration::from_millis(2);

/// Runs it and returns the exit code and everything that was printed.
fn run(script: Script) -> (Exit, String) {
    let printed = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&printed);
    let body = move || {
        let printer = Printer::over(move |bytes| {
            sink.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        });
        in_folder(&script, &Timeline::new(printer, false))
    };
    let exit = match fiber::run(body).unwrap() {
        Ok(()) => Exit::Done,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            error.exit()
        }
    };
    let printed = String::from_utf8(printed.lock().unwrap().clone()).unwrap();
    (exit, printed)
}

/// A script for a device that is a fiber of this process, and so cannot be killed.
fn slowly(seed: u64, pace: Duration) -> Script {
    Script {
        faults: vec![Fault::Cut],
        ..Script::new(seed, None, Body::Fiber { pace })
    }
}

fn script(seed: u64) -> Script {
    slowly(seed, QUICK)
}

/// What is printed, without the ends of lines.
fn unfolded(printed: &str) -> String {
    printed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The number of a row of the closing table.
#[track_caller]
fn row(printed: &str, name: &str) -> u64 {
    let line = printed
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no row {name}:\n{printed}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn nothing_is_lost_whatever_the_seed() {
    for seed in 0..5 {
        let (exit, printed) = run(script(seed));
        assert_eq!(exit, Exit::Done, "seed {seed}:\n{printed}");
        let published = row(&printed, "published");
        assert!(published > 50, "{printed}");
        assert_eq!(
            row(&printed, "published at QoS 2"),
            published / 4,
            "{printed}"
        );
        assert_eq!(row(&printed, "acknowledged"), published, "{printed}");
        assert_eq!(row(&printed, "received by"), published, "{printed}");
        assert_eq!(row(&printed, "lost"), 0, "{printed}");
        assert_eq!(row(&printed, "doubled, not"), 0, "{printed}");
        // What was in flight was sent again, and most of it is of QoS 1.
        assert!(row(&printed, "doubled, allowed") > 0, "{printed}");
        assert!(row(&printed, "in flight") >= 5, "{printed}");
        assert_eq!(row(&printed, "links cut"), 1, "{printed}");
        for name in ["commands sent", "commands received", "commands answered"] {
            assert_eq!(row(&printed, name), 3, "{printed}");
        }
        for text in [
            "certificate authority made",
            "TLS 1.3 with x-amzn-mqtt-ca and a client certificate",
            "connected, session new",
            "bytes of a PUBLISH had come",
            "reconnecting in",
            "connected, session kept",
            "sent again",
        ] {
            assert!(unfolded(&printed).contains(text), "no {text:?}:\n{printed}");
        }
        assert!(!printed.contains('\x1B'), "{printed:?}");
    }
}

#[test]
fn a_link_that_is_cut_again_and_again_loses_nothing() {
    // More often than what counts as flapping.
    let (exit, printed) = run(Script {
        rounds_min: 5,
        ..script(3)
    });
    assert_eq!(exit, Exit::Done, "{printed}");
    assert_eq!(row(&printed, "links cut"), 5, "{printed}");
    assert_eq!(row(&printed, "lost"), 0, "{printed}");
    assert!(row(&printed, "in flight") >= 5, "{printed}");
}

#[test]
fn whatever_is_done_to_the_link_or_the_broker_loses_nothing() {
    let faults = vec![Fault::Stall, Fault::DropAcks, Fault::KillBroker, Fault::Cut];
    let (exit, printed) = run(Script {
        faults,
        ..script(4)
    });
    assert_eq!(exit, Exit::Done, "{printed}");
    assert_eq!(row(&printed, "lost"), 0, "{printed}");
    assert_eq!(row(&printed, "links cut"), 1, "{printed}");
    assert_eq!(row(&printed, "other faults"), 3, "{printed}");
    assert_eq!(
        row(&printed, "commands answered"),
        row(&printed, "commands sent")
    );
    for text in ["the link stays", "left out", "killed, with its sessions"] {
        assert!(unfolded(&printed).contains(text), "no {text:?}:\n{printed}");
    }
}

#[test]
fn without_the_fault_nothing_is_shown() {
    let (exit, printed) = run(Script {
        faults: Vec::new(),
        ..script(1)
    });
    assert_eq!(exit, Exit::NotShown, "{printed}");
    assert_eq!(exit.code(), 3);
    assert_eq!(row(&printed, "links cut"), 0, "{printed}");
    assert_eq!(row(&printed, "lost"), 0, "{printed}");
}

#[test]
fn a_cut_with_little_in_flight_shows_nothing() {
    // Slowly, so that acknowledgements come before the next message on any machine.
    let (exit, printed) = run(Script {
        spoil: Spoil::Nothing,
        ..slowly(1, PACE)
    });
    assert_eq!(exit, Exit::NotShown, "{printed}");
    assert!(row(&printed, "in flight") < 5, "{printed}");
    assert_eq!(row(&printed, "links cut"), 1, "{printed}");
}

#[test]
fn a_button_that_was_pressed_and_missed_is_no_success() {
    let interactive = |typed, spoil| {
        run(Script {
            interactive: true,
            typed: Some(typed),
            spoil,
            ..slowly(1, PACE)
        })
    };
    let (exit, printed) = interactive("c\nq\n", Spoil::Nothing);
    assert_eq!(exit, Exit::NotShown, "{printed}");
    assert_eq!(row(&printed, "links cut"), 1, "{printed}");
    assert!(
        printed.contains("\nnothing was shown: expected at least 5 messages"),
        "{printed}"
    );
    let (exit, printed) = interactive("c\nq\n", Spoil::Stall);
    assert_eq!(exit, Exit::Done, "{printed}");
    assert!(!printed.contains("nothing was shown"), "{printed}");
    // Nobody asked for a fault, and it is said that there was none.
    let (exit, printed) = interactive("m\n", Spoil::Stall);
    assert_eq!(exit, Exit::Done, "{printed}");
    assert!(
        printed.contains("\nnothing was shown: nothing was done to"),
        "{printed}"
    );
}

#[test]
fn a_message_that_the_cloud_does_not_count_is_a_lost_one() {
    let overlooked = Some(17);
    let (exit, printed) = run(Script {
        overlooked,
        ..script(1)
    });
    assert_eq!(exit, Exit::Failed, "{printed}");
    assert_eq!(exit.code(), 1);
    assert_eq!(row(&printed, "lost"), 1, "{printed}");
    let published = row(&printed, "published");
    assert_eq!(row(&printed, "acknowledged"), published, "{printed}");
    assert_eq!(row(&printed, "received by"), published - 1, "{printed}");
}

#[test]
fn the_timeline_is_coloured_where_that_is_wanted_and_who_speaks_is_aligned() {
    let lines = RefCell::new(Vec::new());
    for coloured in [false, true] {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&printed);
        let body = move || {
            let printer = Printer::over(move |bytes| {
                sink.lock().unwrap().extend_from_slice(bytes);
                Ok(())
            });
            let timeline = Timeline::new(printer, coloured);
            timeline.say(Who::Cloud, "here");
            timeline.say(Who::Device, "there");
            timeline.finish().unwrap();
        };
        fiber::Runtime::builder()
            .paused_clock(true)
            .run(body)
            .unwrap();
        let text = String::from_utf8(printed.lock().unwrap().clone()).unwrap();
        lines.borrow_mut().push(text);
    }
    let lines = lines.take();
    assert_eq!(
        lines[0],
        "   0.000 s  cloud   here\n   0.000 s  device  there\n"
    );
    let plain = lines[1].replace("\x1B[36m", "").replace("\x1B[32m", "");
    assert_ne!(lines[1], lines[0]);
    assert_eq!(plain.replace("\x1B[0m", ""), lines[0]);
}
