//! Histories of a session, an honest server and the link between them, step by step as they are drawn.

use super::world::World;
use super::*;

pub(super) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Does one thing, drawn from numbers below a bound.
pub(super) fn step(world: &mut World, draw: &mut dyn FnMut(usize) -> usize, with_faults: bool) {
    if world.keeper.is_some() && draw(5) == 0 {
        let count = draw(5);
        world.record(count);
    }
    match draw(24) {
        0..=4 => {
            let len = if draw(20) == 0 { 2_000 } else { draw(40) };
            world.publish(QOS[draw(3)], len);
        }
        5 => world.request(),
        6..=8 => {
            let n = draw(60);
            world.write(n);
        }
        9 => {
            world.write(usize::MAX);
        }
        10..=12 => {
            world.arrive();
        }
        13..=16 => {
            world.receive();
        }
        17 => world.publish_inbound(draw(3) as u8),
        18..=20 if !world.handlers.is_empty() => {
            let at = draw(world.handlers.len());
            world.finish_handler(at);
        }
        21 if world.phase() == Phase::Idle => world.connect(),
        22 if draw(4) == 0 => {
            let packets = draw(4);
            world.cut(packets, draw(4) > 0);
        }
        23 if with_faults => {
            // Only answers: PUBACK, PUBREC and PUBCOMP.
            let at = world
                .down
                .iter()
                .position(|packet| matches!(packet[0], 0x40 | 0x50 | 0x70));
            if let Some(at) = at {
                if draw(2) == 0 {
                    world.down.remove(at);
                } else {
                    world.down.insert(at, world.down[at].clone());
                }
            }
        }
        _ => {}
    }
}

/// Lets everything come to its end; what was dropped on the way comes with a reconnect.
pub(super) fn finish(world: &mut World) {
    world.settle_all();
    world.cut(0, true);
    world.settle_all();
    world.check_end();
}

/// A whole history, with a record and crashes or without, in which everything must come to its end.
/// It ends when `draw` is asked for a step and has `None`.
pub(crate) fn any_history(draw: &mut dyn FnMut(usize) -> Option<usize>) {
    let mut or_zero = |bound| draw(bound).unwrap_or(0);
    let policy = [OnSessionLoss::Resend, OnSessionLoss::Finish][or_zero(2)];
    let (late, with_faults) = (or_zero(2) == 1, or_zero(2) == 1);
    let window = [1, 3, 20, 200][or_zero(4)];
    let (is_recorded, with_crashes) = (or_zero(2) == 1, or_zero(2) == 1);
    let mut world = if is_recorded {
        World::recorded(policy, late, window)
    } else {
        World::new(policy, late, window)
    };
    // A lost PUBREC lets later messages overtake, where they are passed on at PUBREL.
    world.in_order = !(with_faults && late);
    while let Some(kind) = draw(32) {
        if kind == 31 && is_recorded && with_crashes {
            world.crash();
        } else {
            step(
                &mut world,
                &mut |bound| draw(bound).unwrap_or(0),
                with_faults,
            );
        }
    }
    finish(&mut world);
}
