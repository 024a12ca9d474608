//! `agent request` in the place of `mosquitto_rr`.

use super::*;

/// Answers one request with `answer`, as a program with Mosquitto's tools would.
#[track_caller]
fn answering(
    peers: &tests::peers::Peers,
    broker: &Mosquitto,
    answer: &str,
) -> thread::JoinHandle<String> {
    let port = broker.port(Listener::Plain);
    let id = beside::fresh("answers");
    let words = ["-i", &id, "-t", "do/it", "-q", "1", "-C", "1"];
    let mut requests = mosquitto_sub(peers, port, &words).unwrap();
    broker.wait_for_suback(&id);
    let respond = [
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-t",
        "done",
        "-q",
        "1",
        "-m",
        answer,
    ]
    .map(str::to_owned);
    thread::spawn(move || {
        let request = requests.next_line(PROCESS_TIMEOUT).unwrap();
        let mut publisher = Command::new("mosquitto_pub");
        expect_success(&process::run(publisher.args(respond), PROCESS_TIMEOUT).unwrap());
        request
    })
}

#[test]
fn a_request_is_answered_as_with_their_program() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain).to_string();
    let words = [
        "-t", "do/it", "-e", "done", "-m", "question", "-q", "1", "-W", "15",
    ];
    for more in [&["-F", "%t %p"][..], &["-v"], &["-N"], &[]] {
        let mut printed = Vec::new();
        let mut ours = Command::new(program());
        ours.arg("request");
        let mut theirs = Command::new("mosquitto_rr");
        theirs.args(["-V", "mqttv311"]);
        for mut requester in [ours, theirs] {
            let answers = answering(&peers, &broker, "answer");
            requester.args(["-h", "127.0.0.1", "-p", &port]);
            let finished = run({
                requester.args(words).args(more);
                requester
            });
            expect_success(&finished);
            assert_eq!(answers.join().unwrap(), "question");
            printed.push(finished.stdout);
        }
        assert_eq!(printed[0], printed[1], "{more:?}");
        assert!(printed[0].contains("answer"));
    }
}

#[test]
fn what_the_broker_had_kept_is_no_response_and_nobody_answers_for_ever() {
    let Some(peers) = peers() else { return };
    let broker = Options::new(&peers).start().unwrap();
    let port = broker.port(Listener::Plain);
    let stale = ["-t", "done", "-r", "-m", "stale"];
    expect_success(&mosquitto_pub(&peers, port, &stale).unwrap());
    let words = ["-t", "do/it", "-e", "done", "-m", "question", "-W", "1"];
    let nobody = run(agent("request", port, &words));
    expect_code(&nobody, 27);
    assert_eq!(nobody.stdout, "");
    let answers = answering(&peers, &broker, "fresh");
    let words = ["-t", "do/it", "-e", "done", "-m", "question", "-W", "15"];
    let finished = run(agent("request", port, &words));
    expect_success(&finished);
    assert_eq!(finished.stdout, "fresh\n");
    answers.join().unwrap();
    let refused = run(agent(
        "request",
        port,
        &["-t", "a", "-e", "b", "-n", "-V", "5"],
    ));
    expect_code(&refused, 64);
    assert!(refused.stderr.contains("MQTT 5"), "{}", refused.stderr);
}
