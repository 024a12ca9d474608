//! rumqttc and its successor, on tokio's `current_thread` runtime: one task publishes, through the
//! channel that the client has for it, and the event loop is polled beside it. Both have the same calls.

#![allow(
    clippy::large_stack_frames,
    reason = "the futures of the peers are as large as they are, and run on the main stack"
)]

/// A module that performs tasks with the client of a crate; `$options` makes its options from a port.
macro_rules! side {
    ($name:ident, $client:ident, $options:expr) => {
        pub(crate) mod $name {
            use std::time::{Duration, Instant};

            use ::$client::{
                AsyncClient, Event, EventLoop, Incoming, MqttOptions, Outgoing, QoS,
                TlsConfiguration, Transport,
            };
            use bench::mqtt::address::Address;
            use bench::mqtt::task::{Kind, TOPIC, Task};
            use bench::program::{self, Share};

            use crate::Done;

            pub(crate) fn perform(address: &Address, task: Task) -> Done {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(run(address, task))
            }

            async fn run(address: &Address, task: Task) -> Done {
                if task.kind == Kind::Connect {
                    let share = Share::start();
                    for _ in 0..task.count {
                        let (client, mut link) = connect(address, task).await?;
                        client.disconnect().await?;
                        while !matches!(link.poll().await?, Event::Outgoing(Outgoing::Disconnect)) {
                        }
                    }
                    share.report(task.count);
                    return Ok(());
                }
                let (client, mut link) = connect(address, task).await?;
                let share = Share::start();
                match task.kind {
                    Kind::Receive | Kind::Inline => receive(&client, &mut link, task).await?,
                    Kind::Trip => {
                        for _ in 0..task.count {
                            trip(&client, &mut link, task).await?;
                        }
                    }
                    Kind::Delay => {
                        let mut trips = Vec::with_capacity(task.count);
                        for _ in 0..task.count {
                            let began = Instant::now();
                            trip(&client, &mut link, task).await?;
                            trips.push(began.elapsed());
                        }
                        program::report_trips(trips);
                        return Ok(());
                    }
                    _ => publish(client, &mut link, task).await?,
                }
                share.report(task.count);
                Ok(())
            }

            async fn connect(
                address: &Address,
                task: Task,
            ) -> Result<(AsyncClient, EventLoop), Box<dyn std::error::Error>> {
                let mut options: MqttOptions = $options(address.port);
                if let Some(authority) = address.authority()? {
                    let tls = TlsConfiguration::Simple {
                        ca: authority.to_vec(),
                        alpn: None,
                        client_auth: None,
                    };
                    options.set_transport(Transport::tls_with_config(tls));
                }
                options.set_max_packet_size(1 << 20, 1 << 20);
                options.set_inflight(u16::try_from(task.window)?);
                let (client, mut link) = AsyncClient::new(options, task.window);
                let mut network = link.network_options();
                network.set_tcp_nodelay(true);
                link.set_network_options(network);
                while !matches!(link.poll().await?, Event::Incoming(Incoming::ConnAck(_))) {}
                Ok((client, link))
            }

            fn qos(task: Task) -> QoS {
                match task.qos {
                    0 => QoS::AtMostOnce,
                    1 => QoS::AtLeastOnce,
                    _ => QoS::ExactlyOnce,
                }
            }

            async fn publish(client: AsyncClient, link: &mut EventLoop, task: Task) -> Done {
                let payload = vec![b'x'; task.bytes];
                let publisher = tokio::spawn(async move {
                    for _ in 0..task.count {
                        let sent = client.publish(TOPIC, qos(task), false, payload.clone());
                        sent.await?;
                    }
                    if task.qos == 0 {
                        // The one that is answered, behind all.
                        let last = client.publish(TOPIC, QoS::AtLeastOnce, false, payload);
                        last.await?;
                    }
                    // Kept open until all is acknowledged.
                    std::future::pending::<Result<(), ::$client::ClientError>>().await
                });
                let mut left = if task.qos == 0 { 1 } else { task.count };
                while left > 0 {
                    match link.poll().await? {
                        Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_)) => left -= 1,
                        _ => {}
                    }
                }
                publisher.abort();
                Ok(())
            }

            async fn trip(client: &AsyncClient, link: &mut EventLoop, task: Task) -> Done {
                let payload = vec![b'x'; task.bytes];
                client.publish(TOPIC, qos(task), false, payload).await?;
                while !matches!(
                    link.poll().await?,
                    Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_))
                ) {}
                Ok(())
            }

            async fn receive(client: &AsyncClient, link: &mut EventLoop, task: Task) -> Done {
                client.subscribe(task.filter(), qos(task)).await?;
                let mut left = task.count;
                while left > 0 {
                    if let Event::Incoming(Incoming::Publish(message)) = link.poll().await? {
                        assert_eq!(message.payload.len(), task.bytes);
                        left -= 1;
                    }
                }
                if task.qos > 0 {
                    // What is acknowledged is written by a further turn.
                    let _ = tokio::time::timeout(Duration::from_millis(1), link.poll()).await;
                }
                Ok(())
            }
        }
    };
}

side!(first, rumqttc, |port| MqttOptions::new(
    "peer",
    "127.0.0.1",
    port
));
side!(next, rumqttc_next, |port| MqttOptions::new(
    "peer",
    ("127.0.0.1", port)
));
