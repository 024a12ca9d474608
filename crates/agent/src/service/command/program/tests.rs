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
    let program = Program::new("p").args(["--level={level}", "{unit}", "{}x", "plain", "{open"]);
    let filled = |args| program.arguments(&command(args));
    let args = r#"{"level":"-1; rm -rf /","unit":"$(x)","":"e"}"#;
    let expected = ["--level=-1; rm -rf /", "$(x)", "ex", "plain", "{open"];
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
    assert_eq!(
        refused("{\"level\":1,\"unit\":\"a\\u0000b\",\"\":\"e\"}"),
        ProgramError::Zero("unit".to_owned())
    );
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

#[test]
fn the_end_of_an_agent_is_the_end_of_its_program() {
    fiber::run(|| {
        let began = Instant::now();
        let (program, command) = (shell("exec sleep 1000"), command("{}"));
        let ended = fiber::timeout(Duration::from_millis(100), || {
            program.run(&command, "meter-17")
        });
        assert!(
            matches!(ended, Err(fiber::Elapsed(Err(Stopped::TimedOut)))),
            "{ended:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(5));
    })
    .unwrap();
}

#[test]
fn a_character_that_is_cut_is_left_out() {
    let mut tail = Tail::new(3);
    tail.push("aéé".as_bytes());
    assert_eq!(tail.text(), "é");
}
