//! ntex-mqtt's client of MQTT 3.1.1, on ntex's runtime over tokio: each place of the window is a task that
//! waits for its message. At QoS 2 it has room for one message under way, and receives none: left out.

#![allow(
    clippy::large_stack_frames,
    reason = "the futures of the peers are as large as they are, and run on the main stack"
)]

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use bench::mqtt::address::Address;
use bench::mqtt::task::{Kind, TOPIC, Task};
use bench::program::{self, Share};
use ntex::rt;
use ntex::service::{ServiceFactory as _, cfg::SharedCfg, fn_service};
use ntex::util::Bytes;
use ntex_mqtt::MqttServiceConfig;
use ntex_mqtt::v3::client::{Client, Connect, MqttConnector, ProtocolMessage};
use ntex_mqtt::v3::{MqttSink, QoS};
use tokio::sync::Notify;

use crate::Done;

pub(crate) fn perform(address: &Address, task: Task) -> Done {
    if address.authority.is_some() || task.qos == 2 {
        return Err("it is built without TLS, and does no QoS 2".into());
    }
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port));
    rt::System::new("bench", rt::DefaultRuntime).block_on(run(server, task))
}

async fn run(server: SocketAddr, task: Task) -> Done {
    if task.kind == Kind::Connect {
        let share = Share::start();
        for _ in 0..task.count {
            let client = connect(server, task).await?;
            let sink = client.sink();
            let link = rt::spawn(client.start_default());
            sink.close();
            link.await?;
        }
        share.report(task.count);
        return Ok(());
    }
    let client = connect(server, task).await?;
    let sink = client.sink();
    let share = Share::start();
    if matches!(task.kind, Kind::Receive | Kind::Inline) {
        receive(client, task).await?;
        share.report(task.count);
        sink.close();
        return Ok(());
    }
    drop(rt::spawn(client.start_default()));
    let payload = Bytes::from(vec![b'x'; task.bytes]);
    match task.kind {
        Kind::Trip => {
            for _ in 0..task.count {
                publish(&sink, &payload).await?;
            }
        }
        Kind::Delay => {
            let mut trips = Vec::with_capacity(task.count);
            for _ in 0..task.count {
                let began = Instant::now();
                publish(&sink, &payload).await?;
                trips.push(began.elapsed());
            }
            program::report_trips(trips);
            return Ok(());
        }
        _ if task.qos == 0 => pour(&sink, &payload, task).await?,
        _ => publish_all(&sink, &payload, task).await?,
    }
    share.report(task.count);
    sink.close();
    Ok(())
}

async fn connect(server: SocketAddr, task: Task) -> Result<Client, Box<dyn std::error::Error>> {
    let window = u16::try_from(task.window)?;
    let settings = MqttServiceConfig::new()
        .set_max_send(window)
        .set_max_receive(window);
    let settings: SharedCfg = SharedCfg::new("bench").add(settings).into();
    let connector = MqttConnector::new().pipeline(settings).await;
    let connector = connector.map_err(|error| format!("{error:?}"))?;
    let asked = Connect::new(server).client_id("peer").clean_session();
    let client = connector.call(asked).await;
    client.map_err(|error| format!("{error:?}").into())
}

/// QoS 1: waits until it is answered.
async fn publish(sink: &MqttSink, payload: &Bytes) -> Done {
    let sent = sink.publish(TOPIC).send_at_least_once(payload.clone());
    Ok(sent.await?)
}

/// QoS 0. Nothing of it waits, so the others have their turn after a window.
async fn pour(sink: &MqttSink, payload: &Bytes, task: Task) -> Done {
    for sent in 1..=task.count {
        if !sink.ready().await {
            return Err("the connection has ended".into());
        }
        sink.publish(TOPIC).send_at_most_once(payload.clone())?;
        if sent % task.window == 0 {
            tokio::task::yield_now().await;
        }
    }
    // The one that is answered, behind all.
    publish(sink, payload).await
}

async fn publish_all(sink: &MqttSink, payload: &Bytes, task: Task) -> Done {
    let left = Rc::new(Cell::new(task.count));
    let mut places = Vec::new();
    for _ in 0..task.window {
        let (sink, payload, left) = (sink.clone(), payload.clone(), Rc::clone(&left));
        places.push(rt::spawn(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let sent = publish(&sink, &payload).await;
                sent.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for place in places {
        place.await.map_err(|error| format!("{error:?}"))??;
    }
    Ok(())
}

async fn receive(client: Client, task: Task) -> Done {
    let sink = client.sink();
    let all = Rc::new(Notify::new());
    let (left, end) = (Rc::new(Cell::new(task.count)), Rc::clone(&all));
    let handler = fn_service(move |message: ProtocolMessage| {
        let (left, end) = (Rc::clone(&left), Rc::clone(&end));
        async move {
            if let ProtocolMessage::Publish(message) = message {
                let payload = message.read_all().await.map_err(drop)?;
                assert_eq!(payload.len(), task.bytes);
                left.set(left.get() - 1);
                if left.get() == 0 {
                    end.notify_one();
                }
                return Ok::<_, ()>(message.ack());
            }
            Ok(message.ack())
        }
    });
    drop(rt::spawn(client.start(handler)));
    let qos = if task.qos == 0 {
        QoS::AtMostOnce
    } else {
        QoS::AtLeastOnce
    };
    let asked = sink.subscribe().topic_filter(task.filter().into(), qos);
    asked.send().await?;
    all.notified().await;
    Ok(())
}
