//! The calls that subscribe.

use super::MqttResp;
use crate::client::{Client, Error, MessageRef, Subscribe, SubscriptionId, Wait};
use crate::packet::QoS;

/// Subscribes to a topic filter: `callback` is called for every message that matches it, on a fiber
/// of its own, and may wait and call the client; see [`Client::subscribe_as`].
///
/// # Errors
///
/// As [`Client::subscribe`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fn listen(mq: &Client) -> Result<(), Error> {
///     let answers = mq.clone();
///     let on_set = move |rp: &MqttResp| {
///         println!("{} says {:?}", rp.topic, rp.data);
///         // A callback may wait for what it publishes.
///         mqtt_publish(&answers, &rp.data, MQTT_QOS_1, MQTT_WAIT_ACK, "done").unwrap();
///     };
///     mqtt_subscribe(mq, on_set, MQTT_QOS_1, MQTT_WAIT_ACK, "set/#")?;
///     Ok(())
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let done = broker.subscribe("done").unwrap();
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     listen(&mq).unwrap();
/// #     broker.publish("set/t", b"21", QoS::AtLeastOnce, false).unwrap();
/// #     assert_eq!(done.recv().unwrap().payload(), b"21");
/// #     mqtt_unsubscribe(&mq, "set/#", MQTT_WAIT_ACK).unwrap();
/// #     mqtt_disconnect(&mq).unwrap();
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_subscribe(
    mq: &Client,
    mut callback: impl FnMut(&MqttResp) + 'static,
    qos: QoS,
    wait: Wait,
    topic: &str,
) -> Result<SubscriptionId, Error> {
    mq.subscribe_as(Subscribe::to(topic, qos).wait(wait), move |_, message| {
        callback(message);
        Ok(())
    })
}

/// Subscribes with a callback that is called where messages are read, with the message in the memory
/// that it was read into; it must not wait; see [`Client::subscribe_inline`].
///
/// # Errors
///
/// As [`Client::subscribe`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fn sum_up(mq: &Client) -> Result<(), Error> {
///     let out = mq.clone();
///     let mut bytes = 0;
///     let on_frame = move |rp: MessageRef<'_>| {
///         bytes += rp.data.len();
///         // Only what needs no wait is legal here.
///         mqtt_publish(&out, &bytes.to_string(), MQTT_QOS_0, MQTT_WAIT_NONE, "bytes").unwrap();
///     };
///     mqtt_subscribe_inline(mq, on_frame, MQTT_QOS_0, MQTT_WAIT_ACK, "frame/+")?;
///     Ok(())
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let bytes = broker.subscribe("bytes").unwrap();
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     sum_up(&mq).unwrap();
/// #     broker.publish("frame/1", b"12345", QoS::AtMostOnce, false).unwrap();
/// #     broker.publish("frame/2", b"678", QoS::AtMostOnce, false).unwrap();
/// #     assert_eq!(bytes.recv().unwrap().payload(), b"5");
/// #     assert_eq!(bytes.recv().unwrap().payload(), b"8");
/// #     mqtt_disconnect(&mq).unwrap();
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_subscribe_inline(
    mq: &Client,
    mut callback: impl FnMut(MessageRef<'_>) + 'static,
    qos: QoS,
    wait: Wait,
    topic: &str,
) -> Result<SubscriptionId, Error> {
    mq.subscribe_inline_as(Subscribe::to(topic, qos).wait(wait), move |_, message| {
        callback(message);
        Ok(())
    })
}

/// Ends the subscription to a topic filter; see [`Client::unsubscribe_as`].
///
/// # Errors
///
/// As [`Client::unsubscribe`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fn once(mq: &Client) -> Result<(), Error> {
///     mqtt_subscribe(mq, |rp| println!("{}", rp.topic), MQTT_QOS_0, MQTT_WAIT_ACK, "set")?;
///     mqtt_unsubscribe(mq, "set", MQTT_WAIT_ACK)?;
///     // The broker has nobody to send this to.
///     mqtt_publish(mq, b"", MQTT_QOS_1, MQTT_WAIT_ACK, "set")?;
///     assert_eq!(mq.stats().received, 0);
///     Ok(())
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     once(&mq).unwrap();
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_unsubscribe(mq: &Client, topic: &str, wait: Wait) -> Result<(), Error> {
    mq.unsubscribe_as(topic, wait)
}

/// Subscribes to everything under a prefix, so that subscriptions below it need not ask the broker;
/// see [`Client::subscribe_master`].
///
/// # Errors
///
/// As [`Client::subscribe_master`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fn listen(mq: &Client) -> Result<(), Error> {
///     mqtt_subscribe_master(mq, MQTT_QOS_1, MQTT_WAIT_ACK, "site/4")?;
///     // No packet: the broker sends all of site 4 already.
///     mqtt_subscribe(mq, |rp| println!("{}", rp.topic), MQTT_QOS_1, MQTT_WAIT_ACK, "site/4/+/set")?;
///     mqtt_unsubscribe(mq, "site/4/+/set", MQTT_WAIT_ACK)?;
///     mqtt_unsubscribe_master(mq, "site/4", MQTT_WAIT_ACK)
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     listen(&mq).unwrap();
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_subscribe_master(mq: &Client, qos: QoS, wait: Wait, prefix: &str) -> Result<(), Error> {
    mq.subscribe_master(prefix, qos, wait)
}

/// Ends what [`mqtt_subscribe_master`] began; see [`Client::unsubscribe_master`].
///
/// # Errors
///
/// As [`Client::unsubscribe_master`].
pub fn mqtt_unsubscribe_master(mq: &Client, prefix: &str, wait: Wait) -> Result<(), Error> {
    mq.unsubscribe_master(prefix, wait)
}
