//! The agent as a value: connected as its configuration says, from its start until it leaves.
//!
//! It makes its connections itself, keeps what waits for one where a power cut does not reach it, and
//! publishes telemetry where that is asked for. What else is to be said and heard is the program's
//! business, over [`Agent::mqtt`] and the services.

mod fibers;
mod health;
mod recording;
mod reloading;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Instant, Semaphore};
use mqtt::{
    Client, ClientId, Message, Publish, PublishError, QoS, QueuePolicy, Remaining, RequestError,
    Ticket,
};
use safe_rt::{ClientTls, ClockFloor};

use crate::attach::Attached;
use crate::builder::{AgentBuilder, Settings};
use crate::config::Config;
use crate::doctor;
use crate::failure::Failure;
use crate::link::{self, Opened};
use crate::profile::Profile;
use crate::queue::{self, Queue, QueueOptions};
use crate::reload::Loaded;
use crate::service::Services;
use crate::service::command::Commands;
use crate::service::store::DeviceStore;
use crate::service::throttle::Throttle;
use crate::supervise::{HealthCode, Supervisor};

#[cfg(test)]
pub(crate) use fibers::FIBERS_END_TIMEOUT;
#[cfg(test)]
pub(crate) use recording::READINGS_KEEP_TIMEOUT;
pub use recording::RecordError;

/// Fibers that an agent may have started by [`Agent::spawn`] at one time.
pub const AGENT_FIBERS_MAX: usize = 1_024;

/// A device that is connected, or on its way to be. Clones share it.
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
///
/// One that is kept running by the agent, as most devices are: [`Agent::builder`].
#[derive(Clone)]
pub struct Agent(Rc<Inner>);

struct Inner {
    client: Client,
    device_id: ClientId,
    config: Config,
    /// Keeps the identity for this process alone.
    #[cfg_attr(
        not(feature = "provision"),
        allow(dead_code, reason = "it is there for what it holds")
    )]
    attached: Option<Rc<Attached>>,
    tls: Option<ClientTls>,
    doctor: doctor::Watch,
    queue: Queue,
    services: Services,
    watch: Rc<Watch>,
    source: RefCell<Option<Rc<Loaded>>>,
    /// One reload at a time.
    reloading: Semaphore,
    on_reload: RefCell<Vec<reloading::OnReload>>,
    began: Instant,
    fibers: RefCell<Vec<fibers::Service>>,
    /// When services ended that were to go on.
    ended: RefCell<BTreeMap<&'static str, Instant>>,
    stop: Event,
    stop_why: RefCell<Option<String>>,
    /// What was left undone, once it has left.
    left: Cell<Option<Remaining>>,
    is_leaving: Cell<bool>,
    floor: ClockFloor,
    /// What of the queue was dropped, and when that was seen first.
    dropped: Cell<(u64, Option<Instant>)>,
}

/// What the client's events tell the supervisor.
struct Watch {
    supervisor: RefCell<Supervisor>,
    /// The next pause is the one of the start, which is nobody's wish.
    is_held: Cell<bool>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("client", &self.0.client)
            .field("fibers", &self.0.fibers.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Starts to connect, and to publish telemetry where the configuration asks for it. The
    /// subscriptions in the configuration are those of `agent run`: a program makes its own. What
    /// waits for a connection is in memory; [`Agent::builder`] makes one with a durable queue.
    ///
    /// Does not yield: the connection is made on a fiber of the client. Whatever is published or
    /// subscribed to before it is there goes out when it is.
    ///
    /// # Errors
    ///
    /// [`Failure::NoDeviceId`] for a configuration without one, [`Failure::Connect`] for settings that
    /// no broker could accept, [`Failure::Spawn`].
    pub fn start(config: &Config) -> Result<Self, Failure> {
        let mut settings = Settings::default();
        // Those of the configuration are of `agent run`, but for telemetry.
        settings.services.telemetry.clone_from(&config.telemetry);
        let agent = Self::start_with(config, &settings)?;
        agent.release();
        Ok(agent)
    }

    /// Describes an agent that is to be run: its configuration, its hooks, its services.
    #[must_use]
    pub fn builder() -> AgentBuilder {
        AgentBuilder::new()
    }

    /// Lets the client connect. Does not yield.
    pub(crate) fn release(&self) {
        self.0.services.release();
    }

    /// As [`Agent::start`], with what a builder was told, and not connecting before [`Agent::release`].
    /// Yields while the queue is read.
    pub(crate) fn start_with(config: &Config, settings: &Settings) -> Result<Self, Failure> {
        let device_id = config.device.id.as_ref().ok_or(Failure::NoDeviceId)?;
        // Who has said nothing of a queue waits while it is full.
        let queue_options = settings.queue.unwrap_or_else(|| QueueOptions {
            when_full: QueuePolicy::Wait,
            ..QueueOptions::default()
        });
        let queue = match &settings.state_dir {
            None => Queue::Memory,
            Some(state_dir) => {
                // With the port of the profile, as the client has it.
                let endpoint = Profile::of_config(config)
                    .endpoint_of(&config.cloud)
                    .to_string();
                let identity = mqtt::store::Identity::kept(device_id.as_str(), endpoint);
                queue::open(state_dir, identity, &queue_options).map_err(Failure::Queue)?
            }
        };
        let now = Instant::now();
        let watch = Rc::new(Watch {
            supervisor: RefCell::new(Supervisor::new(now)),
            is_held: Cell::new(true),
        });
        let (told, attached) = (Rc::clone(&watch), settings.attached.clone());
        let memory = settings.memory.as_ref();
        let Opened {
            client,
            tls,
            doctor,
        } = link::open(
            config,
            device_id,
            &queue,
            &queue_options,
            memory,
            move |event| {
                if let Some(attached) = &attached {
                    attached.note(event);
                }
                let is_pause = matches!(event, mqtt::Event::Paused { .. });
                if !(is_pause && told.is_held.replace(false)) {
                    told.supervisor.borrow_mut().event(event, Instant::now());
                }
            },
        )?;
        let usual_rate = Profile::of_config(config).publish_rate();
        let floor = tls
            .as_ref()
            .map_or_else(ClockFloor::new, |tls| tls.clock_floor().clone());
        let services = Services::open(&client, device_id.as_str(), usual_rate, &floor, settings);
        let agent = Self(Rc::new(Inner {
            client,
            device_id: device_id.clone(),
            config: config.clone(),
            attached: settings.attached.clone(),
            tls: tls.clone(),
            doctor,
            queue,
            services,
            watch,
            source: RefCell::default(),
            reloading: Semaphore::new(1),
            on_reload: RefCell::default(),
            began: now,
            fibers: RefCell::default(),
            ended: RefCell::default(),
            stop: Event::new(),
            stop_why: RefCell::default(),
            left: Cell::new(None),
            is_leaving: Cell::new(false),
            floor,
            dropped: Cell::default(),
        }));
        if let Queue::Degraded = agent.0.queue {
            let text = "the state directory cannot be written, the queue is in memory";
            agent.raise(HealthCode::StateReadonly, text);
        }
        if let (Some(attached), Some(tls)) = (&settings.attached, tls) {
            let store = attached.store().clone();
            let renewed = move || Some(store.active()?.identity().clone());
            if attached.is_renewed() {
                agent.0.doctor.identity_by(renewed);
            }
            let (attached, client) = (Rc::clone(attached), agent.0.client.clone());
            let beside = agent.0.services.beside();
            agent.serve("renewal", move || attached.keep(&client, &tls, &beside))?;
        }
        agent.0.services.start(&agent, &settings.services)?;
        Ok(agent)
    }

    /// The client, for the program's own messages.
    #[must_use]
    pub fn mqtt(&self) -> &Client {
        &self.0.client
    }

    /// Who the device is.
    #[must_use]
    pub fn device_id(&self) -> &str {
        self.0.device_id.as_str()
    }

    /// What the agent was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Whether there is a connection. Does not yield.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.0.client.is_connected()
    }

    /// Publishes at QoS 1 by way of the queue, which with a state directory holds the message through
    /// power cuts; the ticket tells what becomes of it. Yields until the message is there; the
    /// ambient deadline limits that, else the client's operation timeout.
    ///
    /// # Errors
    ///
    /// As [`Client::publish`].
    pub fn publish(
        &self,
        topic: &str,
        payload: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Ticket, PublishError> {
        let publish = Publish::to(topic, payload).qos(QoS::AtLeastOnce);
        self.0.client.publish(publish)
    }

    /// Publishes a request and waits for its answer; the identifier that ties them together begins at
    /// random with each start, so that no answer to an earlier one is taken for it. Yields until the
    /// answer is there, for [`mqtt::REQUEST_TIMEOUT_DEFAULT`] at most.
    ///
    /// # Errors
    ///
    /// As [`Client::request`].
    pub fn request(
        &self,
        topic: &str,
        payload: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Message, RequestError> {
        let options = &self.0.services.requests;
        self.0.client.request(topic, payload, options)
    }

    /// The values that the cloud keeps for the device, if [`AgentBuilder::store`] says where.
    #[must_use]
    pub fn store(&self) -> Option<&DeviceStore> {
        self.0.services.store.as_ref()
    }

    /// What the cloud asks to be spared.
    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.0.services.throttle
    }

    /// The commands that are allowed.
    #[must_use]
    pub fn commands(&self) -> &Commands {
        &self.0.services.commands
    }

    /// Has a connection for that long whatever the schedule says, for what cannot wait for a window. Does
    /// not yield.
    pub fn connect_for(&self, length: Duration) {
        self.0.services.demand.want_for(length);
    }

    /// Takes back what [`Agent::connect_for`] asked for: the schedule decides. Does not yield.
    pub fn connect_no_more(&self) {
        self.0.services.demand.take_back();
    }

    /// Asks an agent that is run to stop, with the reason for the log. Does not yield. The first
    /// reason counts.
    pub fn stop(&self, why: impl Into<String>) {
        self.0
            .stop_why
            .borrow_mut()
            .get_or_insert_with(|| why.into());
        self.0.stop.set();
    }

    pub(crate) fn stop_event(&self) -> &Event {
        &self.0.stop
    }

    pub(crate) fn stop_why(&self) -> Option<String> {
        self.0.stop_why.borrow().clone()
    }

    /// The store of the queue, if it is durable.
    pub(crate) fn queue_store(&self) -> Option<&mqtt::store::File> {
        self.0.queue.store()
    }

    /// Who the device is, where that is in the state folder.
    pub(crate) fn attached(&self) -> Option<&Attached> {
        self.0.attached.as_deref()
    }

    /// How long ago the agent was started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Whether what waits is kept through power cuts.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.0.queue.store().is_some()
    }
}
