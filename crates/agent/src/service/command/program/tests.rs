use super::*;

fn command(args: &str) -> Command {
    let payload = format!(r#"{{"id":"7","command":"a","args":{args}}}"#);
    Command::parse(payload.as_bytes()).unwrap()
}

fn answer(program: Program, args: &'static str) -> String {
    fiber::run(move || {
        let command = command(args);
        let answer = program.run(&command, "meter-17").unwrap();
        String::from_utf8(answer.to_json()).unwrap()
    })
    .unwrap()
}

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

#[test]
fn values_become_parts_of_one_argument_and_never_options() {
    let program = Program::new("p").args([
        "--level={level}",
        "{unit}",
        "{}x",
        "plain",
        "{{{id}}}",
        "{open",
    ]);
    let filled = |args| program.arguments(&command(args), "meter-17");
    let args = r#"{"level":"-1; rm -rf /","unit":"$(x)","":"e"}"#;
    let expected = [
        "--level=-1; rm -rf /",
        "$(x)",
        "ex",
        "plain",
        "{meter-17}",
        "{open",
    ];
    assert_eq!(filled(args).unwrap(), expected);
    let refused = |args| filled(args).unwrap_err();
    assert_eq!(
        refused(r#"{"level":1,"unit":"-f","":"e"}"#),
        ProgramError::Option("unit".to_owned())
    );
    assert_eq!(
        refused(r#"{"level":1}"#),
        ProgramError::Missing("unit".to_owned())
    );
    assert_eq!(
        refused(r#"{"level":1,"unit":"u","":"e","more":1}"#),
        ProgramError::Unused("more".to_owned())
    );
    for odd in ["", "a\\u0000b", "a\\nb"] {
        let args = format!("{{\"level\":1,\"unit\":\"{odd}\",\"\":\"e\"}}");
        let refused = program.arguments(&command(&args), "meter-17");
        assert_eq!(refused, Err(ProgramError::Text("unit".to_owned())), "{odd}");
    }
    // The device's identifier is nobody's to say.
    assert_eq!(
        refused(r#"{"level":1,"unit":"u","":"e","id":"other"}"#),
        ProgramError::Unused("id".to_owned())
    );
    let script = Program::new("awk").args(["{{print $1}}"]);
    let braces = script.arguments(&command("{}"), "meter-17");
    assert_eq!(braces.unwrap(), ["{print $1}"]);
}

#[test]
fn a_program_is_given_its_arguments_and_little_else() {
    let script = "echo \"$0|$AGENT_DEVICE_ID|$AGENT_COMMAND|$AGENT_COMMAND_ID|$HOME|\"; pwd; cat";
    let program = Program::new("/bin/sh").args(["-c", script, "{say}"]);
    let told = answer(program, r#"{"say":"two words"}"#);
    assert!(
        told.contains(r#""output":"two words|meter-17|a|7||\n/\n""#),
        "{told}"
    );
    assert!(told.contains(r#""status":"done","code":0"#), "{told}");
}

#[test]
fn an_exit_code_is_told_and_both_outputs_in_order() {
    let told = answer(shell("echo one; echo two >&2; exit 3"), "{}");
    assert!(
        told.contains(r#""status":"failed","code":3,"output":"one\ntwo\n","truncated":false"#),
        "{told}"
    );
}

#[test]
fn only_the_end_of_a_long_output_is_kept() {
    let mut program = shell("i=0; while [ $i -lt 2000 ]; do echo \"line $i\"; i=$((i+1)); done");
    program.output_max = 20;
    let told = answer(program, "{}");
    assert!(
        told.contains(r#""output":"1998\nline 1999\n""#) || told.contains("line 1999\\n"),
        "{told}"
    );
    assert!(told.contains(r#""truncated":true"#), "{told}");
    assert!(!told.contains("line 1990"), "{told}");
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_everything_it_started() {
    let began = Instant::now();
    // It does not listen, and neither does its child, which has the output open.
    let mut program = shell("trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000");
    program.timeout = Duration::from_secs(1);
    let told = answer(program, "{}");
    assert!(told.contains(r#""status":"timed-out""#), "{told}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let (_, rest) = told.split_once(r#""output":""#).unwrap();
    let (child, _) = rest.split_once("\\n").unwrap();
    let stat = format!("/proc/{child}/stat");
    let state = fiber::run(move || fiber::fs::read(stat)).unwrap();
    // Gone, or a zombie that init has not reaped yet.
    let is_gone = |stat: Vec<u8>| String::from_utf8_lossy(&stat).contains(") Z ");
    assert!(state.map_or(true, is_gone), "{told}");
}

#[test]
fn a_command_ends_with_its_program_and_not_with_what_that_left_behind() {
    let began = Instant::now();
    let told = answer(shell("sleep 1000 & echo started"), "{}");
    assert!(
        told.contains(r#""status":"done","code":0,"output":"started\n""#),
        "{told}"
    );
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_program_that_is_not_there_fails_with_its_name() {
    let told = answer(Program::new("/nowhere/at-all"), "{}");
    assert!(told.contains(r#""status":"failed""#), "{told}");
    assert!(told.contains("/nowhere/at-all cannot be started"), "{told}");
}

/// Whether there is no such process, or nobody has asked how it ended.
fn is_gone(id: &str) -> bool {
    let stat = fiber::fs::read(format!("/proc/{id}/stat"));
    stat.map_or(true, |stat| String::from_utf8_lossy(&stat).contains(") Z "))
}

#[test]
fn the_end_of_an_agent_is_the_end_of_its_program() {
    let file = std::env::temp_dir().join(format!("agent-program-{}", std::process::id()));
    let at = file.clone();
    fiber::run(move || {
        // It does not listen.
        let script = format!(
            "trap '' TERM; echo $$ > {}; while :; do sleep 1000; done",
            at.display()
        );
        let (program, command) = (shell(&script), command("{}"));
        let ended = fiber::timeout(Duration::from_secs(1), || program.run(&command, "meter-17"));
        assert!(
            matches!(ended, Err(fiber::Elapsed(Err(Stopped::TimedOut)))),
            "{ended:?}"
        );
        let id = String::from_utf8(fiber::fs::read(&at).unwrap()).unwrap();
        assert!(is_gone(id.trim()), "{id}");
    })
    .unwrap();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_program_that_nobody_takes_is_killed_and_reaped() {
    fiber::run(|| {
        let environment = ["A", "B", "C", "D"].map(|name| (name, "".into()));
        let arguments = vec!["-c".to_owned(), "sleep 1000".to_owned()];
        let (started, _output) = start("/bin/sh".into(), arguments, environment).unwrap();
        let id = started.0.as_ref().unwrap().id().to_string();
        let score = fiber::fs::read(format!("/proc/{id}/oom_score_adj"));
        spare_the_agent(id.parse().unwrap());
        let spared = fiber::fs::read(format!("/proc/{id}/oom_score_adj"));
        assert_eq!(spared.unwrap(), b"500\n", "{score:?} before");
        drop(started);
        while fiber::fs::read(format!("/proc/{id}/stat")).is_ok() {
            fiber::sleep(Duration::from_millis(10)).unwrap();
            reap();
        }
    })
    .unwrap();
}

#[test]
fn a_character_that_is_cut_is_left_out() {
    let mut tail = Tail::new(3);
    tail.push("aéé".as_bytes());
    assert_eq!(tail.text(), "é");
}
