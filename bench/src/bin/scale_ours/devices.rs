//! Devices and the brokers that they publish to, in one thread, over connections in memory.

use std::time::Duration;

use bench::program::{self, Share};
use bench::sweep::Sweep;
use mqtt::{
    BROKER_CONNECTIONS_MAX, Broker, BrokerOptions, Client, ClientId, ClientOptions, Publish, QoS,
    Wait,
};

use super::{Done, PAYLOAD, REST};

/// Bytes that a connection holds each way.
const PIPE: usize = 1_024;

/// Connects `n` devices, each with a subscription, and lets them publish `count` messages in all, each
/// device the next one when its last one was acknowledged. There are as many brokers as have room for the
/// devices; a fiber takes what comes to each.
pub(crate) fn perform(Sweep { n, count, .. }: Sweep) -> Done {
    let before = program::resident();
    let mut devices = Vec::with_capacity(n);
    while devices.len() < n {
        let broker = Broker::new(BrokerOptions::new().sessions_max(BROKER_CONNECTIONS_MAX));
        let telemetry = broker.subscribe("+/power")?;
        fiber::spawn(move || while telemetry.recv().is_ok() {})?;
        for _ in devices.len()..n.min(devices.len() + BROKER_CONNECTIONS_MAX) {
            let name = format!("device-{}", devices.len());
            let (ours, theirs) = fiber::net::pipe(PIPE);
            broker.attach(theirs)?;
            let client = Client::over(ours, ClientOptions::new(ClientId::new(&name)?));
            client.connect()?;
            client.subscribe(&format!("{name}/valve"), QoS::AtLeastOnce, |_, _| Ok(()))?;
            devices.push((format!("{name}/power"), client));
        }
    }
    fiber::sleep(REST)?;
    let grown = program::resident().saturating_sub(before);
    program::report("each", grown as f64 / n as f64);
    let share = Share::start();
    fiber::scope(|scope| -> Result<(), mqtt::Error> {
        for (at, (topic, client)) in devices.iter().enumerate() {
            // The first ones publish what is left over.
            let own = count / n + usize::from(at < count % n);
            scope.spawn(move || {
                for _ in 0..own {
                    let message = Publish::to(topic, &PAYLOAD).qos(QoS::AtLeastOnce);
                    client.publish(message.wait(Wait::Ack))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    })?;
    share.report(count);
    for (_, client) in devices {
        client.close(Duration::from_secs(5))?;
    }
    Ok(())
}
