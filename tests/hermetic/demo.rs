//! `agent demo` as it is run: the program itself, its exit code and what it prints. It makes its own
//! sockets on the loopback interface, so it takes real time: about two seconds a run.

use std::path::Path;
use std::process::Command;

use tests::process::{Finished, PROCESS_TIMEOUT, Running, run, workspace_program};

fn demo(program: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("demo").args(words);
    command
}

/// The last word of the line of the closing table that begins with `name`.
#[track_caller]
fn row<'a>(finished: &'a Finished, name: &str) -> &'a str {
    let printed = &finished.stdout;
    let line = printed.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().last());
    number.unwrap_or_else(|| panic!("no row {name:?}:\n{printed}{}", finished.stderr))
}

#[test]
fn the_demonstration_ends_with_0_whatever_the_seed() {
    let program = workspace_program("agent");
    // Side by side, so that they are in each other's way.
    let seeds = ["0", "1", "18446744073709551615"];
    let start = |seed| Running::start(&mut demo(&program, &["--seed", seed])).unwrap();
    let running = seeds.map(start);
    for (seed, running) in seeds.into_iter().zip(running) {
        let finished = running.finish(PROCESS_TIMEOUT).unwrap();
        assert_eq!(finished.code(), Some(0), "{finished:?}");
        assert_eq!(finished.stderr, "");
        assert_eq!(row(&finished, "seed"), seed);
        assert_eq!(row(&finished, "lost"), "0");
        assert_eq!(row(&finished, "doubled, not allowed"), "0");
        assert_eq!(row(&finished, "links cut"), "1");
        assert_eq!(
            row(&finished, "published "),
            row(&finished, "received by the cloud")
        );
    }
}

#[test]
fn the_demonstration_goes_on_for_the_time_asked_for() {
    let program = workspace_program("agent");
    let finished = run(&mut demo(&program, &["--for", "3s"]), PROCESS_TIMEOUT).unwrap();
    assert_eq!(finished.code(), Some(0), "{finished:?}");
    let seconds: f64 = row(&finished, "seconds").parse().unwrap();
    assert!(seconds >= 3.0, "{finished:?}");
    assert_ne!(row(&finished, "links cut"), "0");
}

#[test]
fn the_demonstration_explains_itself_and_refuses_what_it_does_not_know() {
    let program = workspace_program("agent");
    let run = |words: &[&str]| run(&mut demo(&program, words), PROCESS_TIMEOUT).unwrap();
    let finished = run(&["--help"]);
    assert_eq!(finished.code(), Some(0));
    for word in [
        "--seed N",
        "--for TIME",
        "Exit codes:",
        "3       it was not shown",
    ] {
        assert!(finished.stdout.contains(word), "{word}: {finished:?}");
    }
    let finished = run(&["--for", "soon"]);
    assert_eq!(finished.code(), Some(64));
    assert!(finished.stderr.contains("as 60s or 5m"), "{finished:?}");
}
