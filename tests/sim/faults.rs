//! What the network does, by seed.

use std::time::Duration;

use fiber::sim::World;
use fiber::sleep;

/// A number below `bound`, drawn from the seed.
pub(crate) fn draw(bound: u32) -> u32 {
    let mut bytes = [0; 4];
    fiber::random::fill(&mut bytes).expect("a simulated world has randomness");
    u32::from_le_bytes(bytes) % bound
}

pub(crate) fn draw_up_to(most: Duration) -> Duration {
    most * draw(1_001) / 1_000
}

const CLIENTS: [&str; 2] = ["device", "reader"];

/// Both directions of a client's way to the broker.
fn ways(world: &World, client: &str) -> [fiber::sim::Way; 2] {
    [world.way(client, "broker"), world.way("broker", client)]
}

/// What happens all the time: segments that are lost, reset or the last of their connection, and a
/// name service that is none.
fn set_rates(world: &World, are_on: bool) {
    let rate = |per_million| if are_on { draw(per_million) } else { 0 };
    for client in CLIENTS {
        for way in ways(world, client) {
            way.lost(rate(50_000))
                .reset(rate(30_000))
                .silenced(rate(10_000))
                .refused(rate(200_000));
        }
    }
    let slow = Duration::from_secs(1)..=Duration::from_secs(40);
    world
        .names()
        .failing(rate(300_000))
        .lying(rate(100_000))
        .slow(rate(100_000), slow);
}

/// Makes trouble for about a minute; then nothing goes wrong any more.
pub(crate) fn trouble(world: &World) {
    set_rates(world, true);
    for _ in 0..draw(10) {
        let client = CLIENTS[draw(2) as usize];
        let way = &ways(world, client)[draw(2) as usize];
        match draw(5) {
            0 => way.reset_now(),
            1 => way.silence_now(),
            2 => way.cut_after(u64::from(draw(300))),
            3 => way.block(),
            _ => {
                world.partition(client, "broker");
                way
            }
        };
        let _ = sleep(draw_up_to(Duration::from_secs(15)));
        world.heal(client, "broker");
    }
    set_rates(world, false);
}
