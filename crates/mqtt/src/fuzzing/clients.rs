//! A client and a broker that may send anything, over pipes and in virtual time.

use std::time::Duration;

use fiber::net::PipeStream;

use super::input::Input;
use crate::client::{
    Client, ClientOptions, HandlerError, OnError, Outcome, Publish, Subscribe, Ticket, Wait,
};
use crate::packet::{ClientId, MAX_PACKET_LEN, QoS, Version, decode};
use crate::store::Memory;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const PACKET_LEN: usize = 2_048;
/// How many messages a run publishes at most.
const TICKETS: usize = 256;

/// Gives bytes to a client, from a broker that breaks off, is silent or says what it must not, while
/// the client publishes and subscribes. Whatever the client sends are packets of a client; once it is
/// over every ticket has its outcome, and none has ever changed.
///
/// The input: options (two bytes), then a byte for each step, with what the step needs.
pub fn clients(data: &[u8]) {
    let data = data.to_vec();
    let runtime = fiber::Runtime::builder().paused_clock(true);
    let ran = runtime.run(move || {
        let mut input = Input::new(&data);
        let mut scene = Scene::new(&mut input);
        while !input.is_empty() {
            scene.step(&mut input);
            scene.check();
        }
        scene.end();
        assert_eq!(fiber::stats().panics, 0);
    });
    assert!(ran.is_ok(), "{ran:?}");
}

struct Scene {
    client: Client,
    pipe: PipeStream,
    came: Vec<u8>,
    tickets: Vec<(Ticket, Option<Outcome>)>,
    is_over: bool,
}

impl Scene {
    fn new(input: &mut Input<'_>) -> Self {
        let client_id = ClientId::new("client").expect("a good name");
        let options = ClientOptions::new(client_id)
            .clean_start(input.below(2) == 0)
            .maximum_packet_size(PACKET_LEN)
            .window(5)
            .operation_timeout(Some(Duration::from_millis(10)))
            .keep_alive(Duration::from_secs(30));
        let options = match input.below(2) {
            0 => options,
            _ => options.store(Memory::default()),
        };
        let (ours, theirs) = fiber::net::pipe(64 * 1024);
        Self {
            client: Client::over(ours, options),
            pipe: theirs,
            came: Vec::new(),
            tickets: Vec::new(),
            is_over: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(20) {
            0 => drop(self.client.connect_as(Wait::None)),
            1..=3 => {
                let qos = QOS[input.below(3)];
                let publish = Publish::to("t", "payload").qos(qos);
                if self.tickets.len() < TICKETS
                    && let Ok(ticket) = self.client.publish(publish)
                {
                    self.tickets.push((ticket, None));
                }
            }
            4 => {
                let filter = ["s", "#", "s/+"][input.below(3)];
                let on_error =
                    [OnError::default(), OnError::Redeliver { limit: 2 }][input.below(2)];
                let (fails, waits) = (input.below(4) == 0, input.below(4) == 0);
                let subscribe = Subscribe::to(filter, QoS::ExactlyOnce)
                    .on_error(on_error)
                    .wait(Wait::None);
                let handler = move |_: &Client, _: &crate::Message| {
                    if waits {
                        fiber::sleep(Duration::from_millis(50))?;
                    }
                    if fails {
                        return Err(HandlerError::from(std::fmt::Error));
                    }
                    Ok(())
                };
                drop(self.client.subscribe_as(subscribe, handler));
            }
            5 => {
                let filter = ["s", "#", "s/+"][input.below(3)];
                drop(self.client.unsubscribe_as(filter, Wait::None));
            }
            6..=12 => {
                let packet = made(input);
                self.send(&packet);
            }
            13 => {
                let len = input.below(256);
                self.send(input.bytes(len));
            }
            14..=15 => self.answer(),
            16 => {
                let millis = [0, 1, 100, 45_000][input.below(4)];
                fiber::sleep(Duration::from_millis(millis)).expect("nobody stops it");
            }
            17 => {
                let (ours, theirs) = fiber::net::pipe([64, 64 * 1024][input.below(2)]);
                self.pipe = theirs;
                self.came.clear();
                settle();
                drop(self.client.attach(ours));
                drop(self.client.connect_as(Wait::None));
            }
            18 => drop(self.client.ping()),
            _ if input.byte() == 0xff => {
                let _ = self.client.close(Duration::from_secs(1));
                self.is_over = true;
            }
            _ => {}
        }
        settle();
    }

    fn send(&self, bytes: &[u8]) {
        // The client may have closed it.
        let _ = self.pipe.try_write(bytes);
    }

    /// Answers what the client has sent, as an honest broker would.
    fn answer(&mut self) {
        let mut buffer = [0; 4_096];
        while let Ok(Some(n @ 1..)) = self.pipe.try_read(&mut buffer) {
            self.came.extend_from_slice(&buffer[..n]);
        }
        while let Some((packet, len)) =
            decode(&self.came, Version::V311, MAX_PACKET_LEN).expect("a packet")
        {
            let answer = super::peers::server::answer(&packet);
            self.came.drain(..len);
            if let Some(answer) = answer {
                self.send(&answer);
            }
        }
    }

    /// No outcome is ever another.
    fn check(&mut self) {
        for (ticket, outcome) in &mut self.tickets {
            let now = ticket.poll();
            assert!(
                outcome.is_none() || *outcome == now,
                "{outcome:?}, then {now:?}"
            );
            *outcome = now;
        }
    }

    fn end(mut self) {
        if !self.is_over {
            let _ = self.client.close(Duration::from_secs(1));
        }
        settle();
        self.check();
        for (_, outcome) in &self.tickets {
            assert!(outcome.is_some(), "a ticket stays open");
        }
        assert!(!self.client.is_connected());
    }
}

/// Lets all fibers go on until they wait.
fn settle() {
    fiber::sleep(Duration::from_millis(1)).expect("nobody stops it");
}

/// A packet of a broker, or one that it must not send.
fn made(input: &mut Input<'_>) -> Vec<u8> {
    if input.below(4) == 0 {
        let topic = [&b"\x00\x01s"[..], b"\x00\x03s/x", b"\x00\x01u"][input.below(3)];
        let qos = input.below(3) as u8;
        let mut packet = vec![0x30 | qos << 1, 0];
        packet.extend(topic);
        if qos > 0 {
            packet.extend([0, input.byte() % 12 + 1]);
        }
        packet.resize(packet.len() + input.below(80), b'.');
        packet[1] = (packet.len() - 2) as u8;
        return packet;
    }
    super::peers::server::made_packet(input)
}
