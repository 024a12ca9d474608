//! A device with a store whose broker loses all its sessions now and then: nothing is lost that way,
//! though at QoS 2 it may come twice then.

use fiber::sim::{Failure, Run, SimBuilder};
use mqtt::QoS;
use mqtt::store::Level;

use crate::coverage::{Counts, Expected};
use crate::durable::{Matter, Survived, survive};
use crate::faults::{FAULTS, kinds};
use crate::many;
use crate::survivor::{READINGS, qos_of};
use crate::tap::STAGES;

/// What came to the broker counts: it loses what is on its way to the reader.
fn forgotten(sim: SimBuilder) -> Result<Run<Counts>, Failure> {
    sim.run(|world| {
        let matter = Matter {
            forgets: true,
            ..Matter::default()
        };
        let Survived { device, server, .. } =
            survive(world, Level::Synced, |host| host.power_cut(), matter);
        let (arrived, losses) = (server.arrived.take(), server.losses.get());
        let ledger = device.ledger.borrow();
        for number in 0..READINGS {
            let came = arrived.iter().filter(|&&of| of == number).count();
            assert!(came >= 1, "{number} is lost: {arrived:?}");
            if qos_of(number) == QoS::ExactlyOnce {
                let most = 1 + losses as usize;
                assert!(came <= most, "{number} came {came} times: {arrived:?}");
            }
        }
        ledger.check_order(&arrived);
        let coverage = &device.transport.coverage;
        for maybe_twice in ledger.acked.values() {
            coverage.note(format!("outcome: acknowledged, maybe twice {maybe_twice}"));
        }
        coverage.take()
    })
}

#[test]
fn nothing_is_lost_with_the_sessions_of_a_broker() {
    let seen = [
        "fault: Loss",
        "Loss at: PUBACK awaited",
        "Loss at: PUBREC awaited",
        "Loss at: not connected",
        "connected without a session",
    ];
    let expected = Expected {
        seen: [&seen[..], &FAULTS[..]].concat(),
        faults: kinds()
            .chain(["Crash", "Loss"].map(str::to_owned))
            .collect(),
        stages: STAGES.split_last().expect("stages").1,
    };
    let test = "forgetful::nothing_is_lost_with_the_sessions_of_a_broker";
    many::check(test, 60, &expected, forgotten);
}
