//! What the agent says about itself, to people, to programs and to Prometheus.
//!
//! The JSON has `"schema":1`. Within that number parts may be added; none is renamed, removed or given
//! another meaning.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::Instant;
use safe_rt::Utc;
use serde_json::Value;

use crate::agent::Agent;
use crate::json;
use crate::notify::spelled;
use crate::supervise::{Link, LinkStats, Supervisor};

/// What the agent is and does at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    device_id: String,
    uptime: Duration,
    now: Instant,
    supervisor: Supervisor,
    shown: Shown,
    is_durable: bool,
    waiting: usize,
    disk_bytes: Option<u64>,
    client: mqtt::ClientStats,
    blocked_for: Option<Duration>,
    rate: Option<u32>,
    readings_lost: u64,
    runtime: fiber::Stats,
}

/// What the device shows of itself.
#[derive(Clone, Debug)]
enum Shown {
    /// A certificate: in which slot it is, if it was provisioned, and when it ends.
    Certificate {
        slot: Option<&'static str>,
        until: Option<SystemTime>,
    },
    /// A user name.
    User,
    Nothing,
}

impl Shown {
    fn of(agent: &Agent) -> Self {
        let provisioned = agent
            .attached()
            .and_then(|attached| attached.store().active());
        if let Some(own) = provisioned {
            return Self::Certificate {
                slot: Some(own.slot().as_str()),
                until: own.facts().not_after(),
            };
        }
        let cloud = &agent.config().cloud;
        match (&cloud.identity, &cloud.credentials) {
            (Some(identity), _) => Self::Certificate {
                slot: None,
                until: identity.facts().and_then(|facts| facts.not_after()),
            },
            (None, Some(_)) => Self::User,
            (None, None) => Self::Nothing,
        }
    }

    fn to_json(&self) -> String {
        match self {
            Self::Certificate { slot, until } => {
                let mut parts = vec![("kind", Value::from("certificate"))];
                parts.extend(slot.map(|slot| ("slot", slot.into())));
                let until = until.and_then(|until| until.duration_since(UNIX_EPOCH).ok());
                parts.extend(until.map(|until| ("until", until.as_secs().into())));
                json::object(&parts)
            }
            Self::User => json::object(&[("kind", "user".into())]),
            Self::Nothing => json::object(&[("kind", "none".into())]),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Certificate { slot, until } => {
                let slot = slot.map(|slot| format!(" of slot {slot}"));
                let until = until.map(|until| format!(", until {}", Utc(until)));
                format!(
                    "certificate{}{}",
                    slot.unwrap_or_default(),
                    until.unwrap_or_default()
                )
            }
            Self::User => "user name".to_owned(),
            Self::Nothing => "none".to_owned(),
        }
    }
}

/// One number: its name, what it means, whether it only grows, its value.
struct Metric {
    name: &'static str,
    help: &'static str,
    grows: bool,
    value: f64,
}

impl Status {
    /// What it is now. Does not yield.
    #[must_use]
    pub fn of(agent: &Agent) -> Self {
        let spared = agent.throttle().spared();
        let wall = fiber::wall_time();
        let left = |until: SystemTime| until.duration_since(wall).unwrap_or_default();
        Self {
            device_id: agent.device_id().to_owned(),
            uptime: agent.uptime(),
            now: Instant::now(),
            supervisor: agent.supervisor(),
            shown: Shown::of(agent),
            is_durable: agent.is_durable(),
            waiting: agent.mqtt().unacknowledged(),
            disk_bytes: agent.queue_store().map(mqtt::store::File::disk_bytes),
            client: agent.mqtt().stats(),
            blocked_for: spared.blocked_until.map(left),
            rate: spared.rate.map(|(rate, _)| rate),
            readings_lost: agent.readings_lost(),
            runtime: fiber::stats(),
        }
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let since = |since: Instant| Value::from((self.now - since).as_secs()).to_string();
        let link = self.supervisor.link();
        let mut parts = vec![
            ("state", Value::from(link.name()).to_string()),
            ("since_secs", since(self.supervisor.since())),
        ];
        if let Link::Down { cause, retry_at } = link {
            parts.push(("cause", Value::from(cause.as_str()).to_string()));
            if let Some(at) = retry_at {
                let left = (*at - self.now).as_secs();
                parts.push(("retry_in_secs", left.to_string()));
            }
        }
        if let Link::Paused { until } = link {
            let left = (*until - self.now).as_secs();
            parts.push(("retry_in_secs", left.to_string()));
        }
        if let Some(cause) = self.supervisor.last_end() {
            parts.push(("last_end", Value::from(cause).to_string()));
        }
        if let Some(code) = self.supervisor.last_code() {
            parts.push(("last_code", Value::from(code).to_string()));
        }
        let health = self.supervisor.health().iter().map(|(code, ailment)| {
            json::object_of(&[
                ("code", Value::from(code.name()).to_string()),
                ("since_secs", since(ailment.since)),
                ("text", Value::from(ailment.text.as_str()).to_string()),
            ])
        });
        let mut queue = vec![
            ("durable", Value::from(self.is_durable)),
            ("messages", self.waiting.into()),
        ];
        if let Some(bytes) = self.disk_bytes {
            queue.push(("disk_bytes", bytes.into()));
        }
        let mut spared = Vec::new();
        if let Some(left) = self.blocked_for {
            spared.push(("blocked_for_secs", Value::from(left.as_secs())));
        }
        if let Some(rate) = self.rate {
            spared.push(("rate", rate.into()));
        }
        let counts = self.metrics().into_iter().filter(|metric| metric.grows);
        let counts: Vec<_> = counts
            .map(|metric| (metric.name, number(metric.value)))
            .collect();
        json::object_of(&[
            ("schema", "1".to_owned()),
            (
                "version",
                Value::from(env!("CARGO_PKG_VERSION")).to_string(),
            ),
            ("device", Value::from(self.device_id.as_str()).to_string()),
            ("identity", self.shown.to_json()),
            ("uptime_secs", self.uptime.as_secs().to_string()),
            ("link", json::object_of(&parts)),
            ("health", json::array(health)),
            ("queue", json::object(&queue)),
            ("spared", json::object(&spared)),
            ("counts", json::object_of(&counts)),
        ])
    }

    /// In a few lines for people, each with its end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{name:<8} {value}");
        };
        line("device", &self.device_id);
        line("identity", &self.shown.to_text());
        let link = self.supervisor.link();
        let since = spelled(self.now - self.supervisor.since());
        line("link", &format!("{} for {since}", link.name()));
        if let Link::Down { cause, retry_at } = link {
            line("cause", cause);
            if let Some(at) = retry_at {
                line("next try", &format!("in {}", spelled(*at - self.now)));
            }
        }
        if let Link::Paused { until } = link {
            line("next try", &format!("in {}", spelled(*until - self.now)));
        }
        let kept = if self.is_durable {
            "on disk"
        } else {
            "in memory"
        };
        line("queue", &format!("{} messages, {kept}", self.waiting));
        if let Some(left) = self.blocked_for {
            line("blocked", &format!("by the cloud, for {}", spelled(left)));
        }
        if let Some(rate) = self.rate {
            line(
                "slowed",
                &format!("by the cloud, to {rate} messages a second"),
            );
        }
        line("uptime", &spelled(self.uptime));
        if self.supervisor.health().is_empty() {
            line("health", "nothing is wrong");
        }
        for (code, ailment) in self.supervisor.health() {
            let since = spelled(self.now - ailment.since);
            line("health", &format!("{code} for {since}: {}", ailment.text));
        }
        text
    }

    /// In the text format of Prometheus, version 0.0.4.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        for metric in self.metrics() {
            let Metric {
                name, help, grows, ..
            } = metric;
            let kind = if grows { "counter" } else { "gauge" };
            let value = number(metric.value);
            let _ = write!(
                text,
                "# HELP agent_{name} {help}\n# TYPE agent_{name} {kind}\nagent_{name} {value}\n"
            );
        }
        let _ = write!(
            text,
            "# HELP agent_health Whether something is wrong, by its code.\n# TYPE agent_health gauge\n"
        );
        for code in self.supervisor.health().keys() {
            let _ = writeln!(text, "agent_health{{code=\"{code}\"}} 1");
        }
        text
    }

    /// As a message for a topic of metrics: the same numbers, with the device and the time.
    #[must_use]
    pub fn to_metrics_json(&self, wall: SystemTime) -> String {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let numbers: Vec<_> = self
            .metrics()
            .into_iter()
            .map(|metric| (metric.name, number(metric.value)))
            .collect();
        json::object_of(&[
            ("schema", "1".to_owned()),
            ("device", Value::from(self.device_id.as_str()).to_string()),
            ("t", since.as_millis().to_string()),
            ("metrics", json::object_of(&numbers)),
        ])
    }

    fn metrics(&self) -> Vec<Metric> {
        let LinkStats {
            connects,
            disconnects,
            failures,
            offline,
            online,
        } = self.supervisor.stats(self.now);
        let is_up = matches!(self.supervisor.link(), Link::Up { .. });
        let (client, runtime) = (&self.client, &self.runtime);
        let count = |name, help, value: u64| Metric {
            name,
            help,
            grows: true,
            #[allow(
                clippy::cast_precision_loss,
                reason = "a count beyond 2^53 is not exact"
            )]
            value: value as f64,
        };
        let gauge = |name, help, value: f64| Metric {
            name,
            help,
            grows: false,
            value,
        };
        let dropped = client.dropped_oldest + client.dropped_newest + client.replaced;
        #[allow(clippy::cast_precision_loss, reason = "so many messages there are not")]
        let (waiting, disk) = (self.waiting as f64, self.disk_bytes.unwrap_or(0) as f64);
        #[allow(clippy::cast_precision_loss, reason = "so many fibers there are not")]
        let fibers = runtime.spawns.saturating_sub(runtime.ended) as f64;
        vec![
            gauge(
                "up",
                "Whether there is a connection.",
                f64::from(u8::from(is_up)),
            ),
            gauge(
                "uptime_seconds",
                "Time since the start.",
                self.uptime.as_secs_f64(),
            ),
            gauge(
                "queue_messages",
                "Messages that the broker does not have.",
                waiting,
            ),
            gauge(
                "queue_disk_bytes",
                "What the queue takes on the disk.",
                disk,
            ),
            gauge("fibers", "Fibers that there are.", fibers),
            count(
                "connects_total",
                "Connections that the broker accepted.",
                connects,
            ),
            count("disconnects_total", "Connections that ended.", disconnects),
            count(
                "connect_failures_total",
                "Attempts to connect that failed.",
                failures,
            ),
            count(
                "online_seconds_total",
                "Time with a connection.",
                online.as_secs(),
            ),
            count(
                "offline_seconds_total",
                "Time without a connection.",
                offline.as_secs(),
            ),
            count("received_total", "Messages that arrived.", client.received),
            count(
                "received_dropped_total",
                "Messages of QoS 0 that found no room.",
                client.dropped,
            ),
            count(
                "handler_errors_total",
                "Handlers that failed.",
                client.handler_errors,
            ),
            count(
                "handler_panics_total",
                "Handlers that panicked.",
                client.handler_panics,
            ),
            count(
                "queue_dropped_total",
                "Messages dropped for want of room.",
                dropped,
            ),
            count(
                "readings_lost_total",
                "Readings that could never be sent.",
                self.readings_lost,
            ),
            count(
                "queue_rejected_total",
                "Messages refused for want of room.",
                client.rejected,
            ),
            count(
                "queue_expired_total",
                "Messages that got too old to be sent.",
                client.expired,
            ),
            count(
                "store_failures_total",
                "How often the queue began to fail.",
                client.store_failures,
            ),
            count(
                "read_bytes_total",
                "Bytes read from sockets.",
                runtime.bytes_read,
            ),
            count(
                "written_bytes_total",
                "Bytes written to sockets.",
                runtime.bytes_written,
            ),
            count(
                "slow_turns_total",
                "Turns of fibers that took too long.",
                runtime.slow_turns,
            ),
        ]
    }
}

/// A number as JSON and Prometheus both have it.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}
