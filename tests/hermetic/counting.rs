//! What costs a system call or an allocation, counted.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::PacketRef;
use mqtt::{Client, Publish, QoS, Wait};

use crate::harness::{
    answer_subscribe, expect_disconnect, expect_qos_1, options, play_connected, puback, qos_0,
};

#[test]
fn a_hundred_fibers_that_publish_in_one_pass_make_one_write() {
    play_connected(
        options(),
        |broker| {
            let writes_before = fiber::stats().writes;
            let ids: Vec<_> = (0..100).map(|_| expect_qos_1(broker)).collect();
            assert_eq!(fiber::stats().writes - writes_before, 1);
            for id in ids {
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            let fibers: Vec<_> = (0..100)
                .map(|n| {
                    let client = client.clone();
                    fiber::spawn(move || {
                        let payload = format!("reading {n}");
                        let publish = Publish::to("m", &payload).qos(QoS::AtLeastOnce);
                        client.publish(publish.wait(Wait::Ack)).unwrap();
                    })
                    .unwrap()
                })
                .collect();
            for mut fiber in fibers {
                fiber.join().unwrap();
            }
        },
    );
}

#[test]
fn a_round_trip_is_one_write_and_one_read() {
    const ROUNDS: u64 = 10;
    play_connected(
        options(),
        |broker| {
            for _ in 0..=ROUNDS {
                let id = expect_qos_1(broker);
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            let round = || {
                client
                    .publish(Publish::to("m", "x").qos(QoS::AtLeastOnce).wait(Wait::Ack))
                    .unwrap();
            };
            round();
            let before = fiber::stats();
            for _ in 0..ROUNDS {
                round();
            }
            let after = fiber::stats();
            // The broker is in the same runtime: half of each are its own.
            assert_eq!(after.writes - before.writes, 2 * ROUNDS);
            assert_eq!(after.reads - before.reads, 2 * ROUNDS);
        },
    );
}

#[test]
fn publishing_allocates_nothing_in_the_steady_state() {
    const COUNT: usize = 1_000;
    play_connected(
        options(),
        |broker| {
            let stream = broker.stream();
            let mut acks = [0; 4 * 100];
            let mut buffer = [0; 4096];
            // By hand, so that the broker allocates nothing either: 12 bytes each way of QoS 1.
            let mut left = 2 * COUNT;
            let mut pending = 0;
            let mut number = 1_u16;
            while left > 0 {
                let n = std::io::Read::read(&mut &*stream, &mut buffer).unwrap();
                pending += n;
                let packets = (pending / 12).min(left);
                pending -= packets * 12;
                left -= packets;
                for chunk in 0..packets.div_ceil(100) {
                    let count = (packets - chunk * 100).min(100);
                    for ack in acks.chunks_mut(4).take(count) {
                        let [high, low] = number.to_be_bytes();
                        ack.copy_from_slice(&[0x40, 2, high, low]);
                        number += 1;
                    }
                    std::io::Write::write_all(&mut &*stream, &acks[..4 * count]).unwrap();
                }
            }
            expect_disconnect(broker);
        },
        |client| {
            let publish_all = || {
                for _ in 0..COUNT / 50 {
                    for _ in 0..49 {
                        drop(
                            client
                                .publish(Publish::to("m/17", "12").qos(QoS::AtLeastOnce))
                                .unwrap(),
                        );
                    }
                    client
                        .publish(
                            Publish::to("m/17", "12")
                                .qos(QoS::AtLeastOnce)
                                .wait(Wait::Ack),
                        )
                        .unwrap();
                }
            };
            publish_all();
            let info = allocation_counter::measure(publish_all);
            assert_eq!(info.count_total, 0, "{info:?}");
        },
    );
}

#[test]
fn publishing_at_qos_0_allocates_nothing_in_the_steady_state() {
    const BATCHES: usize = 40;
    const IN_BATCH: usize = 49;
    /// Bytes of a message at QoS 0; at QoS 1 there are two more.
    const BYTES: usize = 10;
    play_connected(
        options(),
        |broker| {
            let stream = broker.stream();
            let mut buffer = [0; 4096];
            let mut pending = 0;
            for number in 1..=2 * BATCHES as u16 {
                while pending < IN_BATCH * BYTES + BYTES + 2 {
                    pending += std::io::Read::read(&mut &*stream, &mut buffer).unwrap();
                }
                pending -= IN_BATCH * BYTES + BYTES + 2;
                let [high, low] = number.to_be_bytes();
                std::io::Write::write_all(&mut &*stream, &[0x40, 2, high, low]).unwrap();
            }
            expect_disconnect(broker);
        },
        |client| {
            let publish_all = || {
                let message = Publish::to("m/17", "12");
                for _ in 0..BATCHES {
                    for _ in 0..IN_BATCH {
                        drop(client.publish(message).unwrap());
                    }
                    let last = message.qos(QoS::AtLeastOnce).wait(Wait::Ack);
                    client.publish(last).unwrap();
                }
            };
            publish_all();
            let info = allocation_counter::measure(publish_all);
            assert_eq!(info.count_total, 0, "{info:?}");
        },
    );
}

/// How the messages of the tests below are handled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Handled {
    OnFiber,
    Inline,
}

/// Subscribes with a handler that only counts.
fn count(client: &Client, filter: &str, qos: QoS, handled: Handled, received: &Rc<Cell<usize>>) {
    let received = Rc::clone(received);
    let count = move |payload: &[u8]| {
        assert_eq!(payload, b"21.5");
        received.set(received.get() + 1);
    };
    match handled {
        Handled::OnFiber => client.subscribe(filter, qos, move |_, message| {
            count(&message.data);
            Ok(())
        }),
        Handled::Inline => client.subscribe_inline(filter, qos, move |_, message| {
            count(message.data);
            Ok(())
        }),
    }
    .unwrap();
}

#[test]
fn receiving_qos_0_allocates_nothing_in_the_steady_state() {
    receive_qos_0(Handled::OnFiber);
    receive_qos_0(Handled::Inline);
}

#[track_caller]
fn receive_qos_0(handled: Handled) {
    const COUNT: usize = 1_000;
    let received = Rc::new(Cell::new(0));
    let counted = Rc::clone(&received);
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let packet = qos_0("m/17", b"21.5");
            let mut bytes = vec![0; packet.encoded_len(mqtt::Version::V311)];
            packet.encode(mqtt::Version::V311, &mut bytes);
            let batch = bytes.repeat(50);
            for _ in 0..2 {
                // The client says when with a publish of its own.
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
                for _ in 0..COUNT / 50 {
                    broker.send_bytes(&batch);
                    fiber::yield_now().unwrap();
                }
            }
            expect_disconnect(broker);
        },
        move |client| {
            count(client, "m/+", QoS::AtMostOnce, handled, &counted);
            let receive_all = |goal: usize| {
                client.publish(Publish::to("go", "")).unwrap();
                while counted.get() < goal {
                    fiber::sleep(Duration::from_millis(1)).unwrap();
                }
            };
            receive_all(COUNT);
            let info = allocation_counter::measure(|| receive_all(2 * COUNT));
            assert_eq!(info.count_total, 0, "{handled:?}: {info:?}");
        },
    );
    assert_eq!(received.get(), 2 * COUNT);
}

#[test]
fn receiving_qos_1_allocates_nothing_in_the_steady_state() {
    receive_qos_1(Handled::OnFiber);
    receive_qos_1(Handled::Inline);
}

#[track_caller]
fn receive_qos_1(handled: Handled) {
    const BATCHES: usize = 40;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let batch: Vec<u8> = (1..=50_u16)
                .flat_map(|id| [&b"\x32\x09\x00\x01a"[..], &id.to_be_bytes(), b"21.5"].concat())
                .collect();
            let mut acks = [0; 4 * 50];
            for _ in 0..2 {
                // The client says when with a publish of its own.
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
                for _ in 0..BATCHES {
                    broker.send_bytes(&batch);
                    std::io::Read::read_exact(&mut broker.stream(), &mut acks).unwrap();
                }
            }
            expect_disconnect(broker);
        },
        move |client| {
            let received = Rc::new(Cell::new(0));
            count(client, "a", QoS::AtLeastOnce, handled, &received);
            let receive_all = |goal: usize| {
                client.publish(Publish::to("go", "")).unwrap();
                while received.get() < goal {
                    fiber::sleep(Duration::from_millis(1)).unwrap();
                }
            };
            receive_all(50 * BATCHES);
            let info = allocation_counter::measure(|| receive_all(2 * 50 * BATCHES));
            assert_eq!(info.count_total, 0, "{handled:?}: {info:?}");
        },
    );
}

#[test]
fn an_idle_client_has_a_few_kilobytes() {
    const CLIENTS: usize = 100;
    const BYTES_MAX: usize = 2_560;
    fiber::run(|| {
        let mut clients = Vec::with_capacity(CLIENTS + 1);
        let mut servers = Vec::with_capacity(CLIENTS + 1);
        let mut connect = |socket| {
            let client = Client::over(socket, options());
            client.connect().unwrap();
            clients.push(client);
        };
        let mut sockets: Vec<_> = (0..=CLIENTS)
            .map(|_| {
                let (ours, theirs) = fiber::net::pipe(256);
                let accept = move || {
                    let mut buffer = [0; 256];
                    assert!((&theirs).read(&mut buffer).unwrap() > 0);
                    (&theirs).write_all(&[0x20, 2, 0, 0]).unwrap();
                    theirs
                };
                servers.push(fiber::spawn(accept).unwrap());
                ours
            })
            .collect();
        // What all clients of a thread share is there from then on.
        connect(sockets.pop().unwrap());
        let counted = allocation_counter::measure(|| sockets.drain(..).for_each(&mut connect));
        let each = counted.bytes_current / CLIENTS as i64;
        assert!(each <= BYTES_MAX as i64, "{each}");
        for client in clients {
            client.close(Duration::ZERO).unwrap();
        }
    })
    .unwrap();
}
