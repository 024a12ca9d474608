//! mqtt5, on tokio's `current_thread` runtime, speaking MQTT 3.1.1 as all others here do: each place of the
//! window is a task that waits for its message.

#![allow(
    clippy::large_stack_frames,
    reason = "the futures of the peers are as large as they are, and run on the main stack"
)]

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bench::mqtt::address::Address;
use bench::mqtt::task::{Kind, TOPIC, Task};
use bench::program::{self, Share};
use mqtt5::{ConnectOptions, MqttClient, ProtocolVersion, QoS, SubscribeOptions};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::Done;

pub(crate) fn perform(address: &Address, task: Task) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(address, task))
}

async fn run(address: &Address, task: Task) -> Done {
    if task.kind == Kind::Connect {
        let share = Share::start();
        for _ in 0..task.count {
            connect(address).await?.disconnect().await?;
        }
        share.report(task.count);
        return Ok(());
    }
    let client = Rc::new(connect(address).await?);
    let payload = vec![b'x'; task.bytes];
    let share = Share::start();
    match task.kind {
        Kind::Receive | Kind::Inline => receive(&client, task).await?,
        Kind::Trip => {
            for _ in 0..task.count {
                publish(&client, &payload, qos(task)).await?;
            }
        }
        Kind::Delay => {
            let mut trips = Vec::with_capacity(task.count);
            for _ in 0..task.count {
                let began = Instant::now();
                publish(&client, &payload, qos(task)).await?;
                trips.push(began.elapsed());
            }
            program::report_trips(trips);
            return Ok(());
        }
        _ if task.qos == 0 => {
            for _ in 0..task.count {
                publish(&client, &payload, QoS::AtMostOnce).await?;
            }
            // The one that is answered, behind all.
            publish(&client, &payload, QoS::AtLeastOnce).await?;
        }
        _ => publish_all(&client, task).await?,
    }
    share.report(task.count);
    client.disconnect().await?;
    Ok(())
}

async fn connect(address: &Address) -> Result<MqttClient, mqtt5::MqttError> {
    let options = ConnectOptions::new("peer").with_protocol_version(ProtocolVersion::V311);
    let client = MqttClient::with_options(options);
    if let Some(authority) = address.authority()? {
        client
            .set_tls_config(None, None, Some(authority.to_vec()))
            .await;
    }
    client.connect(&address.url("mqtt", "mqtts")).await?;
    Ok(client)
}

const fn qos(task: Task) -> QoS {
    match task.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Waits until it is written, and at QoS 1 and 2 until it is answered.
async fn publish(client: &MqttClient, payload: &[u8], qos: QoS) -> Result<(), mqtt5::MqttError> {
    client.publish_qos(TOPIC, payload, qos).await.map(drop)
}

async fn publish_all(client: &Rc<MqttClient>, task: Task) -> Done {
    let left = Rc::new(std::cell::Cell::new(task.count));
    let mut places = Vec::new();
    for _ in 0..task.window {
        let (client, left) = (Rc::clone(client), Rc::clone(&left));
        places.push(tokio::task::spawn_local(async move {
            let payload = vec![b'x'; task.bytes];
            while left.get() > 0 {
                left.set(left.get() - 1);
                publish(&client, &payload, qos(task)).await?;
            }
            Ok::<_, mqtt5::MqttError>(())
        }));
    }
    for place in places {
        place.await??;
    }
    Ok(())
}

async fn receive(client: &MqttClient, task: Task) -> Done {
    let all = Arc::new(Notify::new());
    let (left, end) = (AtomicUsize::new(task.count), Arc::clone(&all));
    let options = SubscribeOptions {
        qos: qos(task),
        ..SubscribeOptions::default()
    };
    client
        .subscribe_with_options(task.filter(), options, move |message| {
            assert_eq!(message.payload.len(), task.bytes);
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                end.notify_one();
            }
        })
        .await?;
    all.notified().await;
    Ok(())
}
