//! Reconnects: random histories with cuts at every byte, and all histories of small worlds.

use super::histories::{QOS, finish, step};
use super::world::World;
use super::*;

/// A small generator of numbers (splitmix64), so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound as u64) as usize
    }
}

#[test]
fn any_history_of_cut_connections_keeps_what_was_promised() {
    let mut published = 0;
    for seed in 0..4_000 {
        let policy = [OnSessionLoss::Resend, OnSessionLoss::Finish][seed as usize % 2];
        let late = seed / 2 % 2 == 0;
        let window = [3, 20, 200][seed as usize / 4 % 3];
        let mut random = Random(seed);
        let mut world = World::new(policy, late, window);
        let with_faults = seed % 5 == 0;
        // A lost PUBREC lets later messages overtake, where they are passed on at PUBREL.
        world.in_order = !(with_faults && late);
        for _ in 0..800 {
            step(&mut world, &mut |bound| random.below(bound), with_faults);
        }
        finish(&mut world);
        published += world.messages.len();
    }
    assert!(published > 200_000, "{published}");
}

#[test]
fn any_history_of_cut_connections_keeps_what_was_promised_with_a_late_record() {
    let (mut published, mut handed_back) = (0, 0);
    for seed in 0..2_000 {
        let policy = [OnSessionLoss::Resend, OnSessionLoss::Finish][seed as usize % 2];
        let late = seed / 2 % 2 == 0;
        let window = [3, 20, 200][seed as usize / 4 % 3];
        let mut random = Random(seed);
        let mut world = World::recorded(policy, late, window);
        let with_faults = seed % 5 == 0;
        let with_crashes = seed % 3 == 0;
        world.in_order = !(with_faults && late);
        for _ in 0..800 {
            step(&mut world, &mut |bound| random.below(bound), with_faults);
            if with_crashes && random.below(150) == 0 {
                world.crash();
            }
        }
        finish(&mut world);
        published += world.messages.len();
        handed_back += world.keeper.as_ref().map_or(0, |keeper| keeper.handed_back);
    }
    assert!(
        published > 50_000 && handed_back > 1_000,
        "{published}, {handed_back}"
    );
}

/// A small world: what either side publishes, and how.
#[derive(Clone, Copy, Debug)]
struct Small<'a> {
    outbound: &'a [QoS],
    inbound: &'a [u8],
    policy: OnSessionLoss,
    late: bool,
    /// Handlers end only when nothing else moves.
    slow: bool,
    /// The server has a session that the client does not know, with QoS 2 identifiers held.
    stale: bool,
    /// The caller keeps a record, at once or when nothing else moves.
    recorded: Option<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    AtOnce,
    Late,
}

/// A cut: after how many packets that came to either side, whether everything on its way to the
/// server comes there, and whether the server keeps the session.
#[derive(Clone, Copy, Debug)]
struct Cut {
    after: usize,
    arrives: bool,
    keep: bool,
    /// The program ends, too.
    crash: bool,
}

/// Runs a small world with these cuts; `false` if it came to its end before the last of them.
fn run(small: Small<'_>, cuts: &[Cut]) -> bool {
    let mut world = match small.recorded {
        Some(_) => World::recorded(small.policy, small.late, 10),
        None => World::new(small.policy, small.late, 10),
    };
    if small.stale {
        world.is_adopted = true;
        // Clearing what is stale may release a message that is not, ahead of others.
        world.in_order = !small.late;
        world.server.has_session = true;
        world.server.held = (1..4).map(|id| (id, None)).collect();
    }
    // One message waits for the connection, the other comes later.
    let (early, later) = small.outbound.split_at(small.outbound.len() / 2);
    for qos in early {
        world.publish(*qos, 0);
    }
    world.connect();
    world.settle_connack();
    for qos in later {
        world.publish(*qos, 0);
    }
    for qos in small.inbound {
        world.publish_inbound(*qos);
    }
    for cut in cuts {
        if !events(&mut world, small, cut.after) {
            return false;
        }
        world.cut(if cut.arrives { usize::MAX } else { 0 }, cut.keep);
        if cut.crash {
            world.crash();
        }
        world.connect();
    }
    world.settle_all();
    if small.stale {
        world.server.held.clear();
        for message in &mut world.messages {
            message.lossy = true;
        }
    }
    world.check_end();
    true
}

/// Lets so many packets come to either side; `false` if nothing moves before.
fn events(world: &mut World, small: Small<'_>, count: usize) -> bool {
    let Small { slow, recorded, .. } = small;
    for _ in 0..count {
        loop {
            if recorded == Some(Record::AtOnce) {
                world.record(usize::MAX);
            }
            world.write(usize::MAX);
            if !slow && !world.handlers.is_empty() {
                world.finish_handler(0);
            } else if world.arrive() || world.receive() {
                break;
            } else if !world.handlers.is_empty() {
                world.finish_handler(0);
            } else if recorded == Some(Record::Late) && world.record(1) {
                // One at a time.
            } else {
                return false;
            }
        }
    }
    world.write(usize::MAX);
    true
}

/// Runs a small world with every cut, and every two cuts where `twice` says so.
fn search(small: Small<'_>, twice: bool) -> usize {
    let cuts = |after| {
        let mut cuts = Vec::new();
        for (arrives, keep) in [(false, true), (true, true), (false, false), (true, false)] {
            for crash in [false, true] {
                if !crash || small.recorded.is_some() {
                    cuts.push(Cut {
                        after,
                        arrives,
                        keep,
                        crash,
                    });
                }
            }
        }
        cuts
    };
    let mut runs = 0;
    let mut try_run = |cuts: &[Cut]| {
        runs += 1;
        let outcome = std::panic::catch_unwind(|| run(small, cuts));
        outcome.unwrap_or_else(|_| panic!("{small:?} with {cuts:?}"))
    };
    try_run(&[]);
    for first in (0..).map(cuts) {
        if !try_run(&[first[0]]) {
            break;
        }
        for first in first {
            try_run(&[first]);
            for second in (0..).map(cuts).take_while(|_| twice) {
                if !try_run(&[first, second[0]]) {
                    break;
                }
                for second in &second[1..] {
                    try_run(&[first, *second]);
                }
            }
        }
    }
    runs
}

#[test]
fn all_histories_of_small_worlds_keep_what_was_promised() {
    let lists: Vec<Vec<usize>> = (0..13)
        .map(|n| match n {
            0 => vec![],
            1..4 => vec![n - 1],
            _ => vec![(n - 4) / 3, (n - 4) % 3],
        })
        .collect();
    let mut runs = 0;
    for (outbound, inbound) in lists.iter().flat_map(|a| lists.iter().map(move |b| (a, b))) {
        let outbound: Vec<_> = outbound.iter().map(|n| QOS[*n]).collect();
        let inbound: Vec<_> = inbound.iter().map(|n| *n as u8).collect();
        for n in 0..8 {
            let small = Small {
                outbound: &outbound,
                inbound: &inbound,
                policy: [OnSessionLoss::Resend, OnSessionLoss::Finish][n & 1],
                late: n & 2 > 0,
                slow: n & 4 > 0,
                stale: false,
                recorded: None,
            };
            runs += search(small, outbound.len() + inbound.len() <= 2);
            if small.policy == OnSessionLoss::Resend && inbound.is_empty() {
                runs += search(
                    Small {
                        stale: true,
                        ..small
                    },
                    true,
                );
            }
        }
    }
    assert!(runs > 100_000, "{runs}");
}

#[test]
fn all_histories_of_small_worlds_with_a_record_keep_what_was_promised() {
    let lists: [&[usize]; 6] = [&[], &[1], &[2], &[2, 1], &[1, 2], &[2, 2]];
    let mut runs = 0;
    for (outbound, inbound) in lists.iter().flat_map(|a| lists.iter().map(move |b| (a, b))) {
        let outbound: Vec<_> = outbound.iter().map(|n| QOS[*n]).collect();
        let inbound: Vec<_> = inbound.iter().map(|n| *n as u8).collect();
        for n in 0..16 {
            let small = Small {
                outbound: &outbound,
                inbound: &inbound,
                policy: [OnSessionLoss::Resend, OnSessionLoss::Finish][n & 1],
                late: n & 2 > 0,
                slow: n & 4 > 0,
                stale: false,
                recorded: Some([Record::AtOnce, Record::Late][n >> 3]),
            };
            runs += search(small, outbound.len() + inbound.len() <= 2);
        }
    }
    assert!(runs > 50_000, "{runs}");
}
