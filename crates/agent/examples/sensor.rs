//! A sensor: readings in batches, each with its own time, and a command that sets its interval.
//!
//! `mosquitto -p 1883`, then `cargo run -p agent --example sensor -- --config agent.toml`, and
//! `mosquitto_pub -q 1 -t sensor/commands -m '{"id":"1","command":"every","args":{"millis":200}}'`

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use agent::Agent;
use agent::service::batch::BatchOptions;
use agent::service::command::COMMAND_TIMEOUT_DEFAULT;
use fiber::Instant;
use mqtt::QoS;

fn main() -> ExitCode {
    let every = Rc::new(Cell::new(Duration::from_secs(1)));
    let set = Rc::clone(&every);
    let batch = BatchOptions {
        count_max: 20,
        delay_max: Duration::from_secs(2),
        ..BatchOptions::default()
    };
    Agent::builder()
        .readings("sensor/readings", QoS::AtLeastOnce, batch)
        .commands("sensor/commands")
        .command("every", COMMAND_TIMEOUT_DEFAULT, move |command| {
            match command
                .args
                .get("millis")
                .and_then(|millis| millis.as_u64())
            {
                Some(millis @ 10..=60_000) => set.set(Duration::from_millis(millis)),
                _ => return Err("expected `millis` from 10 to 60000".to_owned()),
            }
            Ok(format!("every {} ms", set.get().as_millis()))
        })
        .on_start(move |agent| {
            let (ours, began) = (agent.clone(), Instant::now());
            agent.spawn("sensor", move || {
                loop {
                    // A sensor that is warmed by the sun of a short day.
                    let degrees = 20.0 + 5.0 * began.elapsed().as_secs_f64().sin();
                    if let Err(error) = ours.record("temperature", degrees) {
                        log::warn!("{error}");
                    }
                    fiber::sleep(every.get())?;
                }
            })?;
            Ok(())
        })
        .main()
}
