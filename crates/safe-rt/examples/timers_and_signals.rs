//! Three services of a device that know nothing of each other but the names of signals: a sensor that
//! measures on a timer, an uplink that sends while it is connected, and a watchdog for both.
//!
//! `cargo run -p safe-rt --example timers_and_signals`; it ends by itself after two seconds.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows what it does")]

use std::error::Error;
use std::time::Duration;

use safe_rt::{SignalError, SignalName, Signals, timer};

/// Whether there is a connection to the cloud. Who starts later asks for the last value.
const CONNECTED: SignalName<bool> = SignalName::new("cloud:connected").latched();
/// A temperature in degrees Celsius.
const READING: SignalName<f64> = SignalName::new("sensor:reading");
/// Nothing was measured for a while.
const SILENT: SignalName<Duration> = SignalName::new("sensor:silent");

const READING_PERIOD: Duration = Duration::from_millis(200);
const SILENCE: Duration = Duration::from_millis(500);
/// Readings that wait for the uplink.
const UNSENT: usize = 8;

/// Sends what is measured, on a fiber that may take its time.
fn uplink(signals: &Signals) -> Result<(), SignalError> {
    let (unsent, to_send) = fiber::channel(UNSENT);
    // The watcher runs where the reading is emitted, so it does not wait: it hands on.
    let _watch = signals.watch(&READING, move |celsius| {
        if unsent.try_send(*celsius).is_err() {
            println!("uplink: a reading is left out");
        }
    })?;
    while signals.last(&CONNECTED)? != Some(true) {
        println!("uplink: waits for a connection");
        signals.wait(&CONNECTED)?;
    }
    while let Some(celsius) = to_send.recv()? {
        println!("uplink: sends {celsius:.1} degrees");
        fiber::sleep(Duration::from_millis(20))?;
    }
    Ok(())
}

fn device() -> Result<(), Box<dyn Error>> {
    let signals = Signals::new();

    let service = signals.clone();
    let mut sending = fiber::spawn(move || uplink(&service))?;

    // Every reading puts the watchdog off; it barks when none came for half a second.
    let barking = signals.clone();
    let watchdog = timer::after(SILENCE, move |_| {
        if let Err(error) = barking.emit(&SILENT, &SILENCE) {
            println!("watchdog: {error}");
        }
    })?;
    let _fed = signals.watch(&READING, move |_| {
        if let Err(error) = watchdog.reset(SILENCE) {
            println!("watchdog: {error}");
        }
    })?;

    // The sensor breaks after five readings.
    let measured = signals.clone();
    let sensor = timer::every(READING_PERIOD, move |this| {
        let celsius = 20.0 + 0.5 * this.fired() as f64;
        if let Err(error) = measured.emit(&READING, &celsius) {
            println!("sensor: {error}");
        }
        if this.fired() == 5 {
            this.cancel();
        }
    })?;

    fiber::sleep(2 * READING_PERIOD + READING_PERIOD / 2)?;
    signals.emit(&CONNECTED, &true)?;

    let silence = fiber::timeout(Duration::from_secs(5), || signals.wait(&SILENT))??;
    println!("nothing for {silence:?}, after {} readings", sensor.fired());

    sending.cancel();
    drop(sending.join());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    fiber::run(device)?
}
