//! What comes in, waits, is done and is answered.

use super::*;
use crate::service::state_file::StateFile;
use safe_rt::ClockFloor;
use serde_json::Value;
use std::cell::Cell;

fn text(answer: &[u8]) -> String {
    String::from_utf8(answer.to_vec()).unwrap()
}

/// A desk that keeps nothing, or in that folder.
fn desk_in(commands: &Commands, folder: Option<&std::path::Path>) -> Desk {
    let file = StateFile::new(folder, "commands.json");
    Desk::open(commands.clone(), "meter-17", file, None, ClockFloor::new())
}

fn desk() -> Desk {
    desk_in(&commands(), None)
}

/// Does the next command, and returns its answer.
fn done(desk: &Desk) -> Option<Vec<u8>> {
    desk.step().unwrap().then(|| desk.last_answer())
}

fn commands() -> Commands {
    let commands = Commands::new();
    let echo = |command: &Command| Ok(command.text("say").unwrap_or("nothing").to_owned());
    commands
        .allow("echo", COMMAND_TIMEOUT_DEFAULT, echo)
        .unwrap();
    let fail = |_: &Command| Err("it is stuck".to_owned());
    commands
        .allow("valve", COMMAND_TIMEOUT_DEFAULT, fail)
        .unwrap();
    let slow = |_: &Command| {
        let slept = fiber::sleep(Duration::from_secs(100));
        slept
            .map(|()| String::new())
            .map_err(|stopped| stopped.to_string())
    };
    commands
        .allow("slow", Duration::from_secs(2), slow)
        .unwrap();
    commands
}

fn on_fiber(body: impl FnOnce() + 'static) {
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(body)
        .unwrap();
}

#[test]
fn a_command_is_done_once_however_often_it_comes() {
    on_fiber(|| {
        let desk = desk();
        let payload = br#"{"id":"7","command":"echo","args":{"say":"hi"}}"#;
        assert_eq!(desk.take(payload), None);
        assert_eq!(desk.take(payload), None, "it waits already");
        let answer = done(&desk).unwrap();
        let told = text(&answer);
        assert!(told.contains(r#""id":"7""#), "{told}");
        assert!(told.contains(r#""status":"done","output":"hi""#), "{told}");
        assert_eq!(done(&desk), None);
        assert_eq!(desk.take(payload), None);
        assert_eq!(desk.last_answer(), answer, "as it was answered");
        assert_eq!(done(&desk), None);
    });
}

#[test]
fn what_fails_and_what_takes_too_long_is_told() {
    on_fiber(|| {
        let desk = desk();
        for (name, expected) in [
            ("valve", r#""status":"failed","output":"it is stuck""#),
            ("slow", r#""status":"timed-out""#),
        ] {
            let payload = format!(r#"{{"id":"{name}","command":"{name}"}}"#);
            assert_eq!(desk.take(payload.as_bytes()), None);
            let told = text(&done(&desk).unwrap());
            assert!(told.contains(expected), "{told}");
        }
    });
}

#[test]
fn what_nobody_allowed_is_refused_and_what_is_no_command_is_told() {
    on_fiber(|| {
        let desk = desk();
        for (payload, expected) in [
            (r#"{"id":"1","command":"rm"}"#, r#""status":"unknown""#),
            ("not json", r#""status":"malformed""#),
            (r#"{"command":"echo"}"#, r#""status":"malformed""#),
            ("{}", r#""status":"malformed""#),
        ] {
            let told = text(&desk.take(payload.as_bytes()).unwrap());
            assert!(told.contains(expected), "{told}");
        }
        assert_eq!(done(&desk), None);
    });
}

#[test]
fn no_more_wait_and_no_more_are_remembered_than_may() {
    on_fiber(|| {
        let desk = desk();
        let command = |number: usize| format!(r#"{{"id":"{number}","command":"echo"}}"#);
        for number in 0..COMMANDS_WAITING_MAX {
            assert_eq!(desk.take(command(number).as_bytes()), None);
        }
        let told = text(&desk.take(command(99).as_bytes()).unwrap());
        assert!(told.contains(r#""status":"busy""#), "{told}");
        for number in 0..COMMANDS_REMEMBERED_MAX + COMMANDS_WAITING_MAX {
            if number >= COMMANDS_WAITING_MAX {
                assert_eq!(desk.take(command(number).as_bytes()), None);
            }
            assert!(done(&desk).is_some());
        }
        assert_eq!(desk.remembered(), COMMANDS_REMEMBERED_MAX);
    });
}

#[test]
fn a_name_is_given_once_and_no_handler_may_take_for_ever() {
    on_fiber(|| {
        let commands = commands();
        let nothing = |_: &Command| Ok(String::new());
        let own = commands.allow("agent.block", COMMAND_TIMEOUT_DEFAULT, nothing);
        assert_eq!(own, Err(HandlerRefused::Reserved("agent.block".to_owned())));
        let twice = commands.allow("echo", COMMAND_TIMEOUT_DEFAULT, nothing);
        assert_eq!(twice, Err(HandlerRefused::Known("echo".to_owned())));
        let day = Duration::from_secs(86_400);
        let long = commands.allow("long", day, nothing);
        assert_eq!(long, Err(HandlerRefused::Timeout(day)));
    });
}

#[test]
fn a_function_that_panics_fails_and_the_next_command_is_done() {
    on_fiber(|| {
        let commands = commands();
        let panics = |_: &Command| -> CommandResult { panic!("a bug") };
        commands
            .allow("panics", COMMAND_TIMEOUT_DEFAULT, panics)
            .unwrap();
        let desk = desk_in(&commands, None);
        for id in ["panics", "echo"] {
            let payload = format!(r#"{{"id":"{id}","command":"{id}"}}"#);
            assert_eq!(desk.take(payload.as_bytes()), None);
        }
        let told = text(&done(&desk).unwrap());
        assert!(
            told.contains(r#""status":"failed""#) && told.contains("a bug"),
            "{told}"
        );
        let told = text(&done(&desk).unwrap());
        assert!(told.contains(r#""status":"done""#), "{told}");
    });
}

#[test]
fn a_function_that_does_not_return_holds_up_no_other_command() {
    on_fiber(|| {
        let commands = commands();
        let stays = |_: &Command| -> CommandResult {
            while fiber::shield(Duration::from_secs(100), || {
                fiber::sleep(Duration::from_secs(50))
            })
            .is_ok()
            {}
            Ok(String::new())
        };
        commands
            .allow("stays", Duration::from_secs(1), stays)
            .unwrap();
        let desk = desk_in(&commands, None);
        for (id, name, expected) in [
            ("1", "stays", r#""status":"timed-out""#),
            ("2", "echo", r#""status":"done""#),
            ("3", "stays", r#""status":"busy""#),
        ] {
            let payload = format!(r#"{{"id":"{id}","command":"{name}"}}"#);
            assert_eq!(desk.take(payload.as_bytes()), None);
            let told = text(&done(&desk).unwrap());
            assert!(told.contains(expected), "{told}");
        }
    });
}

#[test]
fn an_id_is_that_of_one_command_and_a_time_that_is_over_is_over() {
    on_fiber(|| {
        let desk = desk();
        assert_eq!(
            desk.take(br#"{"id":"1","command":"echo","args":{"say":"a"}}"#),
            None
        );
        for other in [
            r#"{"id":"1","command":"echo","args":{"say":"b"}}"#,
            r#"{"id":"1","command":"valve"}"#,
        ] {
            let told = text(&desk.take(other.as_bytes()).unwrap());
            assert!(told.contains(r#""status":"refused""#), "{told}");
        }
        let told = text(
            &desk
                .take(br#"{"id":"2","command":"echo","expires":1000}"#)
                .unwrap(),
        );
        assert!(told.contains(r#""status":"expired""#), "{told}");
        let later = br#"{"id":"3","command":"echo","expires":9999999999999}"#;
        assert_eq!(desk.take(later), None);
    });
}

#[test]
fn an_answer_is_no_longer_than_the_broker_takes_and_keeps_its_end() {
    on_fiber(|| {
        let commands = commands();
        let long = |_: &Command| Ok(format!("{}the end", "\u{1}".repeat(1_000_000)));
        commands
            .allow("long", COMMAND_TIMEOUT_DEFAULT, long)
            .unwrap();
        let file = StateFile::new(None, "commands.json");
        let desk = Desk::open(commands, "meter-17", file, Some(2_000), ClockFloor::new());
        assert_eq!(desk.take(br#"{"id":"1","command":"long"}"#), None);
        let answer = done(&desk).unwrap();
        assert!((1_900..=2_000).contains(&answer.len()), "{}", answer.len());
        let told: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(told["truncated"], true);
        assert!(told["output"].as_str().unwrap().ends_with("the end"));
    });
}

#[test]
fn a_command_is_begun_once_and_answered_whatever_ends_the_agent() {
    let folder = std::env::temp_dir().join(format!("agent-journal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let at = folder.clone();
    on_fiber(move || {
        let runs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&runs);
        let commands = commands();
        let count = move |_: &Command| {
            counted.set(counted.get() + 1);
            let slept = fiber::sleep(Duration::from_secs(10));
            slept
                .map(|()| "slept".to_owned())
                .map_err(|stopped| stopped.to_string())
        };
        commands
            .allow("count", COMMAND_TIMEOUT_DEFAULT, count)
            .unwrap();
        let payload = |id: &str| format!(r#"{{"id":"{id}","command":"count"}}"#);
        // The agent is gone in the middle of the first one, without a chance to do anything about it.
        let desk = Rc::new(desk_in(&commands, Some(&at)));
        for id in ["1", "2"] {
            assert_eq!(desk.take(payload(id).as_bytes()), None);
        }
        let lost = Rc::clone(&desk);
        let began = fiber::spawn(move || lost.step().is_ok()).unwrap();
        fiber::sleep(Duration::from_secs(1)).unwrap();
        assert_eq!(runs.get(), 1);
        let again = desk_in(&commands, Some(&at));
        // The broker had no acknowledgement, and sends the first one again.
        assert_eq!(again.take(payload("1").as_bytes()), None);
        let told = text(&again.last_answer());
        assert!(told.contains(r#""status":"interrupted""#), "{told}");
        let told = text(&done(&again).unwrap());
        assert!(
            told.contains(r#""id":"2""#) && told.contains("slept"),
            "{told}"
        );
        assert_eq!((runs.get(), done(&again)), (2, None));
        // And after another start it is known, with its answer.
        let third = desk_in(&commands, Some(&at));
        assert_eq!(third.take(payload("2").as_bytes()), None);
        assert_eq!(text(&third.last_answer()), told);
        assert_eq!(runs.get(), 2);
        drop(began);
    });
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn answers_that_find_no_room_are_as_few_as_commands_that_wait() {
    on_fiber(|| {
        let desk = desk();
        let command = |number: usize| format!(r#"{{"id":"{number}","command":"echo"}}"#);
        for number in 0..COMMANDS_WAITING_MAX {
            assert_eq!(desk.take(command(number).as_bytes()), None);
            assert!(desk.step().unwrap());
        }
        let told = text(&desk.take(command(99).as_bytes()).unwrap());
        assert!(told.contains(r#""status":"busy""#), "{told}");
        desk.last_answer();
        assert_eq!(desk.take(command(99).as_bytes()), None);
    });
}

#[test]
fn what_is_waited_for_where_the_agent_ends_is_not_begun() {
    on_fiber(|| {
        let desk = Rc::new(desk());
        assert_eq!(desk.take(br#"{"id":"1","command":"echo"}"#), None);
        let stopped = Rc::clone(&desk);
        let mut fiber = fiber::spawn(move || stopped.step().is_err()).unwrap();
        fiber.cancel();
        assert!(fiber.join().unwrap());
        // It waits on.
        assert!(done(&desk).is_some());
    });
}
