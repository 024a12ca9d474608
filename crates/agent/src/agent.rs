//! The agent as a value: connected as its configuration says, from its start until it leaves.
//!
//! It makes its connections itself, logs one line for each that is made, lost or not to be had, in
//! another what a person can do about it, and publishes telemetry where that is asked for. What
//! else is to be said and heard is the program's business, over [`Agent::mqtt`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, JoinHandle, Stopped};
use mqtt::{Client, ClientId, EndCause, Event, Remaining};
use safe_rt::Utc;

use crate::config::{Config, Telemetry};
use crate::connect::RECEIVED_PACKET_BYTES_MAX;
use crate::doctor;
use crate::failure::{Failure, remedy_of_end};
use crate::profile::Connection;
use crate::telemetry;

type TelemetryFiber = JoinHandle<Result<(), Stopped>>;

/// A device that is connected, or on its way to be.
///
/// # Examples
///
/// A program of its own on the agent's connection:
///
/// ```
/// use agent::{Agent, config::Config};
/// use mqtt::*;
///
/// fn on_set(rp: &MqttResp) {
///     println!("{} says {:?}", rp.topic, rp.data);
/// }
///
/// fn device(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
///     let agent = Agent::start(config)?;
///     mqtt_publish(agent.mqtt(), b"booted", MQTT_QOS_1, MQTT_WAIT_NONE, "site/4/meter-17/boot")?;
///     mqtt_subscribe(agent.mqtt(), on_set, MQTT_QOS_1, MQTT_WAIT_ACK, "site/4/meter-17/set")?;
///     agent.leave(std::time::Duration::from_secs(5))?;
///     Ok(())
/// }
/// # fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let seen = broker.subscribe("site/#")?;
/// #     let listener = safe_rt::Listener::bind(([127, 0, 0, 1], 0).into())?;
/// #     let endpoint = format!("mqtt://{}", listener.local_addr()?).parse()?;
/// #     broker.serve(listener)?;
/// #     let mut config = Config::new(endpoint);
/// #     config.cloud.clean_start = true;
/// #     config.set_device_id(&ClientId::new("meter-17")?)?;
/// #     device(&config)?;
/// #     assert_eq!(seen.recv()?.payload(), b"booted");
/// #     broker.stop();
/// #     Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct Agent {
    client: Client,
    telemetry: Option<TelemetryFiber>,
}

impl Agent {
    /// Starts to connect, and to publish telemetry where the configuration asks for it. The
    /// subscriptions in the configuration are those of `agent run`: a program makes its own.
    ///
    /// Does not yield: the connection is made on a fiber of the client. Whatever is published or
    /// subscribed to before it is there goes out when it is.
    ///
    /// # Errors
    ///
    /// [`Failure::NoDeviceId`] for a configuration without one, [`Failure::Connect`] for settings that
    /// no broker could accept, [`Failure::Spawn`].
    pub fn start(config: &Config) -> Result<Self, Failure> {
        let client = open(config)?;
        let telemetry = config.telemetry.clone();
        let telemetry = telemetry
            .map(|telemetry| start_telemetry(&client, config, telemetry))
            .transpose()?;
        Ok(Self { client, telemetry })
    }

    /// The client, for the program's own messages.
    #[must_use]
    pub const fn mqtt(&self) -> &Client {
        &self.client
    }

    /// Stops telemetry and leaves the broker in order: waits up to `timeout` for what was published
    /// to be acknowledged, then sends DISCONNECT. Yields until the connection is closed; see
    /// [`Client::close`]. Returns what was left undone.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when an outer scope ended the wait; the client leaves all the same.
    pub fn leave(self, timeout: Duration) -> Result<Remaining, Stopped> {
        if let Some(mut telemetry) = self.telemetry {
            telemetry.cancel();
            if let Err(error) = telemetry.join() {
                log::error!("telemetry had ended before: {error}");
            }
        }
        self.client.close(timeout)
    }
}

/// Makes the client, which connects by itself from now on.
fn open(config: &Config) -> Result<Client, Failure> {
    let connection = Connection::new(config, None, None).map_err(Failure::TlsConfig)?;
    let applied = connection.client_options(config, device_id(config)?.clone());
    for note in &applied.notes {
        log::info!("{note}");
    }
    let options = applied
        .options
        .maximum_packet_size(RECEIVED_PACKET_BYTES_MAX);
    let client = Client::open(&connection.endpoint, options).map_err(Failure::Connect)?;
    let endpoint = connection.endpoint.to_string();
    let doctor = doctor::Watch::new(Rc::new(config.clone()));
    let told = RefCell::default();
    client.on_event(move |_client, event| {
        log_event(&endpoint, event);
        log_remedy(&told, event);
        doctor.note(event);
    });
    Ok(client)
}

fn device_id(config: &Config) -> Result<&ClientId, Failure> {
    config.device.id.as_ref().ok_or(Failure::NoDeviceId)
}

/// Logs what a person can do about a connection that does not come about, once until it does or
/// until something else is in the way.
fn log_remedy(told: &RefCell<Option<Cow<'static, str>>>, event: &Event) {
    let remedy = match event {
        Event::Connected { .. } => None,
        Event::ConnectFailed { cause, .. } | Event::Disconnected { cause, .. } => {
            match remedy_of_end(cause) {
                None => return,
                remedy => remedy,
            }
        }
        _ => return,
    };
    if *told.borrow() == remedy {
        return;
    }
    if let Some(remedy) = &remedy {
        log::info!("{remedy}");
    }
    *told.borrow_mut() = remedy;
}

/// Logs one line of what happened to the connection.
fn log_event(endpoint: &str, event: &Event) {
    match event {
        Event::Attach => log::debug!("reached {endpoint}"),
        Event::Connected { session_present } => {
            let session = if *session_present { "kept" } else { "new" };
            log::info!("connected to {endpoint}; the session is a {session} one");
        }
        // By leaving, which is told where it is done.
        Event::Disconnected { cause, .. } if matches!(**cause, EndCause::Closed) => {}
        Event::Disconnected {
            cause, retry_in, ..
        } => {
            log::warn!("disconnected: {cause}{}", Next(*retry_in));
        }
        Event::ConnectFailed { cause, retry_in } => {
            log::warn!("{cause}{}", Next(*retry_in));
        }
        Event::ClockImplausible { wall, earliest } => {
            let (wall, earliest) = (Utc(*wall), Utc(*earliest));
            log::warn!(
                "the clock says {wall}, and it is {earliest} at the least: certificates are judged as \
                 of then"
            );
        }
        Event::SubscribeRefused { filters } => {
            log::error!("the broker refused to subscribe to {}", filters.join(", "));
        }
        other => log::info!("{other:?}"),
    }
}

/// When the next connection is tried.
struct Next(Option<Duration>);

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(delay) => write!(f, "; next attempt in {:.1} s", delay.as_secs_f64()),
            None => Ok(()),
        }
    }
}

fn start_telemetry(
    client: &Client,
    config: &Config,
    telemetry: Telemetry,
) -> Result<TelemetryFiber, Failure> {
    let (client, device) = (client.clone(), device_id(config)?.clone());
    FiberBuilder::new()
        .name("telemetry")
        .spawn(move || telemetry::publish(&client, device.as_str(), &telemetry))
        .map_err(Failure::Spawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_attempt_is_told_in_tenths_of_a_second() {
        let next = |millis| Next(Some(Duration::from_millis(millis))).to_string();
        assert_eq!(next(0), "; next attempt in 0.0 s");
        assert_eq!(next(1_249), "; next attempt in 1.2 s");
        assert_eq!(next(600_000), "; next attempt in 600.0 s");
        assert_eq!(Next(None).to_string(), "");
    }
}
