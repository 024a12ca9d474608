//! Requests and their answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::PacketRef;
use mqtt::{
    ANSWER_FILTERS_MAX, Client, Message, OPEN_REQUESTS_MAX, QoS, REQUEST_TIMEOUT_DEFAULT,
    RequestError, RequestOptions,
};

use crate::harness::{
    Broker, answer_subscribe, answer_unsubscribe, expect_disconnect, options, play_connected,
    puback, qos_0, qos_1,
};

/// Waits for a request at `topic/ID` and acknowledges it; returns ID and what was asked.
#[track_caller]
fn take_request(broker: &mut Broker, topic: &str) -> (String, Vec<u8>) {
    let (number, id, data) = broker.receive(|packet| match packet {
        PacketRef::Publish(publish) => {
            let id = publish.topic().strip_prefix(topic).expect(topic);
            let number = publish.packet_id().map(mqtt::PacketId::get);
            (number, id[1..].to_owned(), publish.payload().to_vec())
        }
        other => panic!("expected PUBLISH, found {other:?}"),
    });
    if let Some(number) = number {
        broker.send(&puback(number));
    }
    (id, data)
}

fn reply_to() -> RequestOptions {
    RequestOptions::reply_to("me/answers")
}

#[test]
fn a_request_in_a_handler_is_answered_behind_any_backlog() {
    const BACKLOG: u16 = 1_000;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("set", b"0", 1));
            assert_eq!(answer_subscribe(broker, &[]), ["me/answers/+"]);
            let (id, asked) = take_request(broker, "store/get");
            assert_eq!(asked, b"limit");
            // All for the handler that waits, and all ahead of its answer.
            for number in 2..=BACKLOG {
                broker.send(&qos_1("set", b"0", number));
                for _ in 0..10 {
                    broker.send(&qos_0("set", b"0"));
                }
            }
            broker.expect_silence(Duration::from_secs(1));
            broker.send(&qos_0(&format!("me/answers/{id}"), b"21"));
            for number in 1..=BACKLOG {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let answer = Rc::new(RefCell::new(None));
            let slot = Rc::clone(&answer);
            let handler = move |client: &Client, _: &Message| {
                if slot.borrow().is_none() {
                    let got = client.request("store/get", "limit", &reply_to())?;
                    *slot.borrow_mut() = Some(got);
                }
                Ok(())
            };
            client.subscribe("set", QoS::AtLeastOnce, handler).unwrap();
            fiber::sleep(Duration::from_secs(5)).unwrap();
            let answer = answer.take().expect("an answer");
            assert_eq!((&*answer.data, answer.qos), (&b"21"[..], QoS::AtMostOnce));
            assert_eq!(client.stats().handler_errors, 0);
        },
    );
}

#[test]
fn many_requests_at_once_get_each_its_own_answer_over_one_subscription() {
    const COUNT: usize = 100;
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["me/answers/+"]);
            let mut asked: Vec<_> = (0..COUNT).map(|_| take_request(broker, "double")).collect();
            asked.reverse();
            for (id, data) in &asked {
                let answer = [&data[..], data].concat();
                broker.send(&qos_0(&format!("me/answers/{id}"), &answer));
            }
            asked.dedup_by(|one, other| one.0 == other.0);
            assert_eq!(asked.len(), COUNT, "each has its own identifier");
            expect_disconnect(broker);
        },
        |client| {
            fiber::scope(|scope| {
                for number in 0..COUNT {
                    scope
                        .spawn(move || -> Result<(), RequestError> {
                            let data = format!("<{number}>");
                            let answer = client.request("double", &data, &reply_to())?;
                            assert_eq!(*answer.data, *format!("{data}{data}").as_bytes());
                            Ok(())
                        })
                        .unwrap();
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(client.stats().late_answers, 0);
        },
    );
}

#[test]
fn a_request_ends_at_its_deadline_and_a_late_answer_is_dropped_and_counted() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let (id, _) = take_request(broker, "slow");
            broker.expect_silence(REQUEST_TIMEOUT_DEFAULT - Duration::from_millis(1));
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let late = format!("me/answers/{id}");
            broker.send(&qos_0(&late, b"late"));
            // The next request with this prefix is not answered by it.
            let (id, _) = take_request(broker, "slow");
            broker.send(&qos_0(&late, b"later"));
            broker.send(&qos_0(&format!("me/answers/{id}"), b"in time"));
            expect_disconnect(broker);
        },
        |client| {
            let began = Instant::now();
            let error = client.request("slow", "", &reply_to()).unwrap_err();
            assert!(matches!(error, RequestError::TimedOut), "{error}");
            assert_eq!(began.elapsed(), REQUEST_TIMEOUT_DEFAULT);
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(client.stats().late_answers, 1);
            let answer = client.request("slow", "", &reply_to()).unwrap();
            assert_eq!(answer.data, b"in time");
            assert_eq!(client.stats().late_answers, 2);
        },
    );
}

#[test]
fn what_an_answer_is_may_be_told_by_a_function_whose_panic_harms_no_other_request() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["shadow/+"]);
            for _ in 0..2 {
                broker.expect(&qos_0("shadow", b"get"));
            }
            broker.send(&qos_0("shadow/rejected", b"token=8"));
            broker.send(&qos_0("shadow/accepted", b"token=7"));
            expect_disconnect(broker);
        },
        |client| {
            let other = client.clone();
            let panics = |_: &Message| panic!("a function's panic, as this test asks for");
            let mut first = fiber::spawn(move || {
                let options = RequestOptions::answered_at("shadow/+", panics);
                let options = options.qos(QoS::AtMostOnce).timeout(Duration::from_secs(5));
                other.request("shadow", "get", &options).unwrap_err()
            })
            .unwrap();
            // So that it is asked first.
            fiber::yield_now().unwrap();
            let is_answer = |message: &Message| message.data == b"token=7";
            let options = RequestOptions::answered_at("shadow/+", is_answer);
            let answer = client.request("shadow", "get", &options.qos(QoS::AtMostOnce));
            assert_eq!(answer.unwrap().topic, "shadow/accepted");
            let error = first.join().unwrap();
            assert!(matches!(error, RequestError::TimedOut), "{error}");
            assert_eq!(client.stats().handler_panics, 2);
        },
    );
}

#[test]
fn what_keeps_a_request_from_its_answer_has_its_own_error() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &["no/+"]), ["no/+"]);
            assert_eq!(answer_subscribe(broker, &[]), ["me/answers/+"]);
            take_request(broker, "get");
            // The broker goes without an answer.
        },
        |client| {
            let bad = RequestOptions::answered_at("a/#/b", |_| true);
            let error = client.request("get", "", &bad).unwrap_err();
            assert!(matches!(error, RequestError::Argument(_)), "{error}");
            for wildcard in ["a/+", "+", "a/#", "#"] {
                let bad = RequestOptions::reply_to(wildcard);
                let error = client.request("get", "", &bad).unwrap_err();
                assert!(matches!(error, RequestError::Argument(_)), "{error}");
            }
            let refused = RequestOptions::reply_to("no");
            let error = client.request("get", "", &refused).unwrap_err();
            let RequestError::Refused { filters } = &error else {
                panic!("{error}")
            };
            assert_eq!(filters, &["no/+"]);
            let error = client.request("wild/+", "", &reply_to()).unwrap_err();
            assert!(matches!(error, RequestError::Argument(_)), "{error}");
            for _ in 0..2 {
                let error = client.request("get", "", &reply_to()).unwrap_err();
                let lost = matches!(
                    error,
                    RequestError::Wait(mqtt::WaitCause::ConnectionLost(_))
                );
                assert!(lost, "{error}");
            }
        },
    );
}

#[test]
fn places_for_answers_are_bounded_and_the_one_unused_for_longest_goes() {
    play_connected(
        options(),
        |broker| {
            for number in 0..ANSWER_FILTERS_MAX {
                assert_eq!(answer_subscribe(broker, &[]), [format!("{number}/+")]);
                let (id, _) = take_request(broker, "get");
                broker.send(&qos_0(&format!("{number}/{id}"), b""));
            }
            // The first is used again, so the second goes.
            let (id, _) = take_request(broker, "get");
            broker.send(&qos_0(&format!("0/{id}"), b""));
            assert_eq!(answer_unsubscribe(broker), ["1/+"]);
            assert_eq!(answer_subscribe(broker, &[]), ["more/+"]);
            let (id, _) = take_request(broker, "get");
            broker.send(&qos_0(&format!("more/{id}"), b""));
            expect_disconnect(broker);
        },
        |client| {
            let ask = |prefix: &str| {
                let options = RequestOptions::reply_to(prefix);
                client.request("get", "", &options).unwrap();
            };
            for number in 0..ANSWER_FILTERS_MAX {
                ask(&number.to_string());
            }
            ask("0");
            ask("more");
        },
    );
}

#[test]
fn one_request_too_many_is_refused_and_room_comes_back() {
    play_connected(
        options().keep_alive(Duration::ZERO),
        |broker| {
            answer_subscribe(broker, &[]);
            for _ in 0..OPEN_REQUESTS_MAX {
                take_request(broker, "get");
            }
            fiber::sleep(2 * REQUEST_TIMEOUT_DEFAULT).unwrap();
            let (id, _) = take_request(broker, "get");
            broker.send(&qos_0(&format!("me/answers/{id}"), b""));
            expect_disconnect(broker);
        },
        |client| {
            let timed_out = Rc::new(Cell::new(0));
            for _ in 0..OPEN_REQUESTS_MAX {
                let (client, count) = (client.clone(), Rc::clone(&timed_out));
                fiber::spawn(move || {
                    let error = client.request("get", "", &reply_to()).unwrap_err();
                    assert!(matches!(error, RequestError::TimedOut), "{error}");
                    count.set(count.get() + 1);
                })
                .unwrap();
            }
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let error = client.request("get", "", &reply_to()).unwrap_err();
            assert!(matches!(error, RequestError::TooMany), "{error}");
            fiber::sleep(REQUEST_TIMEOUT_DEFAULT).unwrap();
            assert_eq!(timed_out.get(), OPEN_REQUESTS_MAX);
            client.request("get", "", &reply_to()).unwrap();
        },
    );
}

/// As many requests as may be open are answered in one burst; returns the bytes that were allocated
/// from there to their ends.
fn answer_a_burst(options: impl Fn(usize) -> RequestOptions + 'static) -> u64 {
    let allocated = Rc::new(Cell::new(0));
    let bytes = Rc::clone(&allocated);
    play_connected(
        crate::harness::options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let ids: Vec<_> = (0..OPEN_REQUESTS_MAX)
                .map(|_| take_request(broker, "get"))
                .collect();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            for (id, data) in ids {
                broker.send(&qos_0(&format!("me/answers/{id}"), &data));
            }
            expect_disconnect(broker);
        },
        move |client| {
            let mut all = Vec::new();
            for number in 0..OPEN_REQUESTS_MAX {
                let (client, options) = (client.clone(), options(number));
                let ask = move || {
                    let data = number.to_string();
                    let topic = format!("get/{number}");
                    let topic = if options_are_by_topic(&options) {
                        "get"
                    } else {
                        &*topic
                    };
                    let answer = client.request(topic, &data, &options).unwrap();
                    assert_eq!(answer.data, *data.as_bytes());
                };
                all.push(fiber::spawn(ask).unwrap());
            }
            fiber::sleep(Duration::from_millis(500)).unwrap();
            let wait = || {
                for request in &mut all {
                    request.join().unwrap();
                }
            };
            bytes.set(allocation_counter::measure(wait).bytes_total);
        },
    );
    allocated.get()
}

fn options_are_by_topic(options: &RequestOptions) -> bool {
    format!("{options:?}").contains("\"me/answers\"")
}

#[test]
fn answers_to_many_requests_at_once_find_each_its_own_without_the_others() {
    // A list of all that wait, made for each answer, has more than these.
    let bound = (OPEN_REQUESTS_MAX * OPEN_REQUESTS_MAX) as u64;
    let by_topic = answer_a_burst(|_| reply_to());
    assert!(by_topic < bound, "{by_topic} bytes by topic");
    let by_function = answer_a_burst(|number| {
        let number = number.to_string();
        RequestOptions::answered_at("me/answers/+", move |message| {
            message.data == *number.as_bytes()
        })
    });
    assert!(by_function < bound, "{by_function} bytes by function");
}
