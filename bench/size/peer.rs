//! What the programs with rumqttc have in common; they differ in the transport, and in the features that
//! the crate is built with.

use std::error::Error;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS, Transport};

/// Connects, subscribes, publishes one message that is acknowledged, and waits for messages, each of which
/// takes `pause` milliseconds.
pub(crate) fn run(
    [port, filter, pause]: [String; 3],
    transport: Transport,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pause = Duration::from_millis(pause.parse()?);
    runtime.block_on(async move {
        let mut options = MqttOptions::new("size", "127.0.0.1", port.parse()?);
        options.set_transport(transport);
        let (client, mut link) = AsyncClient::new(options, 10);
        until(&mut link, |packet| matches!(packet, Incoming::ConnAck(_))).await?;
        println!("connected 1");
        client.subscribe(filter, QoS::AtLeastOnce).await?;
        until(&mut link, |packet| matches!(packet, Incoming::SubAck(_))).await?;
        client
            .publish("size/a", QoS::AtLeastOnce, false, "up 1 s")
            .await?;
        until(&mut link, |packet| matches!(packet, Incoming::PubAck(_))).await?;
        println!("acknowledged 1");
        loop {
            if let Event::Incoming(Incoming::Publish(_)) = link.poll().await? {
                tokio::time::sleep(pause).await;
            }
        }
    })
}

async fn until(
    link: &mut EventLoop,
    is_it: impl Fn(&Incoming) -> bool,
) -> Result<(), rumqttc::ConnectionError> {
    loop {
        if let Event::Incoming(packet) = link.poll().await?
            && is_it(&packet)
        {
            return Ok(());
        }
    }
}
