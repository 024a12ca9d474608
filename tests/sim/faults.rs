//! What goes wrong around a program, by seed.

use std::time::Duration;

use fiber::sim::{Host, World};
use fiber::sleep;
use mqtt::{ConnectReason, Faults};
use safe_rt::DIAL_TIMEOUT_DEFAULT;

use crate::coverage::Coverage;
use crate::scene::Transport;
use crate::server::Server;

/// A number below `bound`, drawn from the seed.
pub(crate) fn draw(bound: u32) -> u32 {
    let mut bytes = [0; 4];
    fiber::random::fill(&mut bytes).expect("a simulated world has randomness");
    u32::from_le_bytes(bytes) % bound
}

pub(crate) fn draw_up_to(most: Duration) -> Duration {
    most * draw(1_001) / 1_000
}

/// After the last fault its consequences last so long at most: an intruder's dial and its stay, or the
/// restart of the broker.
pub(crate) const AFTERMATH: Duration = DIAL_TIMEOUT_DEFAULT.saturating_add(Duration::from_secs(3));

const CLIENTS: [&str; 2] = ["device", "reader"];

/// Both directions of a client's way to the broker.
fn ways(world: &World, client: &str) -> [fiber::sim::Way; 2] {
    [world.way(client, "broker"), world.way("broker", client)]
}

/// What happens once, and lasts for some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reset,
    Silence,
    CutAfter,
    Block,
    Partition,
    Slow,
    BrokenName,
    Restart,
    Loss,
    Refusal,
    HalfOpen,
    Delay,
    CutInPacket,
    Takeover,
    ClockAhead,
    ClockBehind,
}

const KINDS: [Kind; 15] = [
    Kind::Reset,
    Kind::Silence,
    Kind::CutAfter,
    Kind::Block,
    Kind::Partition,
    Kind::Slow,
    Kind::BrokenName,
    Kind::Restart,
    Kind::Refusal,
    Kind::HalfOpen,
    Kind::Delay,
    Kind::CutInPacket,
    Kind::Takeover,
    Kind::ClockAhead,
    Kind::ClockBehind,
];

/// The names of the faults that happen once.
pub(crate) fn kinds() -> impl Iterator<Item = String> {
    KINDS.iter().map(|kind| format!("{kind:?}"))
}

/// Every fault that a test expects to have happened.
pub(crate) const FAULTS: [&str; 15] = [
    "fault: Reset",
    "fault: Silence",
    "fault: CutAfter",
    "fault: Block",
    "fault: Partition",
    "fault: Slow",
    "fault: BrokenName",
    "fault: Restart",
    "fault: Refusal",
    "fault: HalfOpen",
    "fault: Delay",
    "fault: CutInPacket",
    "fault: Takeover",
    "fault: ClockAhead",
    "fault: ClockBehind",
];

/// Who makes trouble, and for whom.
#[derive(Clone)]
pub(crate) struct Trouble {
    pub(crate) world: World,
    pub(crate) transport: Transport,
    pub(crate) server: Server,
    /// The machine whose clock goes wrong.
    pub(crate) device: Host,
    pub(crate) coverage: Coverage,
    /// The broker loses its sessions, too.
    pub(crate) forgets: bool,
}

impl Trouble {
    /// Makes trouble for about a minute; then nothing goes wrong any more. `stages` says where the
    /// device stands.
    pub(crate) fn make(&self, stages: impl Fn() -> Vec<&'static str>) {
        self.set_rates(true);
        for _ in 0..draw(10) {
            let client = CLIENTS[draw(2) as usize];
            let kind = if self.forgets && draw(3) == 0 {
                Kind::Loss
            } else {
                KINDS[draw(KINDS.len() as u32) as usize]
            };
            self.coverage.note(format!("fault: {kind:?}"));
            if client == "device" {
                for stage in stages() {
                    self.coverage.note(format!("{kind:?} at: {stage}"));
                }
            }
            self.begin(kind, client);
            let _ = sleep(draw_up_to(Duration::from_secs(15)));
            self.end(client);
        }
        self.set_rates(false);
    }

    fn begin(&self, kind: Kind, client: &str) {
        let way = &ways(&self.world, client)[draw(2) as usize];
        let broker = |faults| self.server.set_faults(client, faults);
        let seconds = |most| draw_up_to(Duration::from_secs(most));
        match kind {
            Kind::Reset => drop(way.reset_now()),
            Kind::Silence => drop(way.silence_now()),
            Kind::CutAfter => drop(way.cut_after(u64::from(draw(300)))),
            Kind::Block => drop(way.block()),
            Kind::Partition => self.world.partition(client, "broker"),
            Kind::Slow => drop(way.bytes_per_second(Some(u64::from(50 + draw(400))))),
            Kind::BrokenName => drop(self.world.names().break_name("broker")),
            Kind::Restart | Kind::Loss => self.server.restart(seconds(5), kind == Kind::Loss),
            Kind::Refusal => broker(Faults {
                refuse: Some(ConnectReason::ServerUnavailable),
                ..Faults::default()
            }),
            Kind::HalfOpen => broker(Faults {
                half_open: true,
                ..Faults::default()
            }),
            Kind::Delay => broker(Faults {
                delay: seconds(2),
                ..Faults::default()
            }),
            Kind::CutInPacket => {
                let after = Some(u64::from(draw(300)));
                let faults = Faults::default();
                broker(if draw(2) == 0 {
                    Faults {
                        cut_after_sent: after,
                        ..faults
                    }
                } else {
                    Faults {
                        cut_after_received: after,
                        ..faults
                    }
                });
            }
            Kind::Takeover => self.take_over(client),
            // As after a long sleep of the machine, or once the right time is known.
            Kind::ClockAhead => self.device.set_clock_ahead(seconds(100_000)),
            Kind::ClockBehind => self.device.set_clock_behind(seconds(100_000)),
        }
    }

    fn end(&self, client: &str) {
        self.world.heal(client, "broker");
        for way in ways(&self.world, client) {
            way.bytes_per_second(None);
        }
        self.world.names().mend("broker");
        self.server.set_faults(client, Faults::default());
    }

    /// Somebody else connects as this client, and acknowledges nothing.
    fn take_over(&self, client: &str) {
        let mut connect = b"\x10\x00\x00\x04MQTT\x04\x00\x00\x3c\x00".to_vec();
        connect.push(client.len() as u8);
        connect.extend(client.bytes());
        connect[1] = connect.len() as u8 - 2;
        let transport = self.transport.clone();
        let stay = draw_up_to(Duration::from_secs(3));
        let program = move || {
            let Ok(socket) = transport.dial() else { return };
            let _ = socket.try_write(&connect);
            let _ = sleep(stay);
        };
        drop(self.world.host("intruder").start(program));
    }

    /// What happens all the time: segments that are lost, reset or the last of their connection, and
    /// a name service that is none.
    fn set_rates(&self, are_on: bool) {
        let rate = |per_million| if are_on { draw(per_million) } else { 0 };
        for client in CLIENTS {
            for way in ways(&self.world, client) {
                way.lost(rate(50_000))
                    .reset(rate(30_000))
                    .silenced(rate(10_000))
                    .refused(rate(200_000));
                if !are_on {
                    // A cut that waits for its byte does so no more.
                    way.cut_after(u64::MAX);
                }
            }
        }
        let slow = Duration::from_secs(1)..=Duration::from_secs(40);
        self.world
            .names()
            .failing(rate(300_000))
            .lying(rate(100_000))
            .slow(rate(100_000), slow);
    }
}
