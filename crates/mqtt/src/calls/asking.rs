//! The call that asks and is answered.

use std::time::Duration;

use super::MqttResp;
use crate::client::{Client, RequestError, RequestOptions};

/// Publishes a request at `topic`, with an identifier as one more level, and waits up to `timeout` for
/// a message at `reply_to` with the same level; see [`Client::request`].
///
/// # Errors
///
/// As [`Client::request`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use std::time::Duration;
/// use mqtt::*;
///
/// /// Answers each request with what it says.
/// fn echo(mq: &Client) -> Result<(), Error> {
///     let answers = mq.clone();
///     let on_ask = move |rp: &MqttResp| {
///         let id = rp.topic.rsplit('/').next().unwrap_or_default();
///         let answer = format!("meter-17/answers/{id}");
///         mqtt_publish(&answers, &rp.data, MQTT_QOS_0, MQTT_WAIT_NONE, &answer).unwrap();
///     };
///     mqtt_subscribe(mq, on_ask, MQTT_QOS_1, MQTT_WAIT_ACK, "echo/+").map(drop)
/// }
///
/// fn ask(mq: &Client) -> Result<(), RequestError> {
///     let rp = mqtt_request(mq, b"21.5", Duration::from_secs(5), "meter-17/answers", "echo")?;
///     assert_eq!(rp.data, b"21.5");
///     Ok(())
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     echo(&mq).unwrap();
/// #     ask(&mq).unwrap();
/// #     mqtt_disconnect(&mq).unwrap();
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_request(
    mq: &Client,
    payload: &(impl AsRef<[u8]> + ?Sized),
    timeout: Duration,
    reply_to: &str,
    topic: &str,
) -> Result<MqttResp, RequestError> {
    let options = RequestOptions::reply_to(reply_to).timeout(timeout);
    mq.request(topic, payload, &options)
}
