//! What of a configuration is beyond the profile, before anything is sent.

use std::fmt;
use std::time::Duration;

use mqtt::session::Limited;
use mqtt::{ClientId, QoS};

use super::{Evidence, Note, Profile};
use crate::config::Config;

/// What a configuration wants of the broker, each with the setting that says so.
///
/// # Examples
///
/// ```
/// use agent::profile::{Overrides, Profile, Provider, Wanted};
/// use mqtt::QoS;
///
/// let profile = Profile::new(Provider::Aws, Overrides::default());
/// let mut wanted = Wanted::default();
/// wanted.publishes.push(("telemetry.topic", "1/2/3/4/5/6/7/8/9", QoS::AtLeastOnce));
/// let found = profile.check(&wanted);
/// assert_eq!(found[0].setting, "telemetry.topic");
/// assert!(found[0].is_certain());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Who the device says that it is.
    pub client_id: Option<&'a str>,
    /// The keep-alive, if the configuration sets one; zero for none.
    pub keep_alive: Option<Duration>,
    /// What is published: setting, topic and QoS.
    pub publishes: Vec<(&'static str, &'a str, QoS)>,
    /// The filters that are subscribed to, in their order.
    pub filters: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Takes what a configuration says.
    #[must_use]
    pub fn of(config: &'a Config) -> Self {
        let telemetry = config.telemetry.as_ref();
        let telemetry = telemetry.map(|it| ("telemetry.topic", it.topic.as_str(), it.qos));
        let metrics = config.metrics.as_ref();
        let metrics = metrics.map(|it| ("metrics.topic", it.topic.as_str(), QoS::AtMostOnce));
        let filters = config.subscriptions.iter();
        Self {
            client_id: config.device.id.as_ref().map(ClientId::as_str),
            keep_alive: config.cloud.keep_alive,
            publishes: telemetry.into_iter().chain(metrics).collect(),
            filters: filters.map(|it| it.topic.as_str()).collect(),
        }
    }
}

/// Something of a configuration that is beyond the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The setting: `telemetry.topic`.
    pub setting: &'static str,
    /// Which of the tables of this name it is in, from 0 on; `None` where there is one.
    pub index: Option<usize>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It is beyond a limit.
    Beyond(Limited),
    /// Another value is used in its place.
    Changed(Note),
}

impl Finding {
    /// Whether the provider's documentation, or the configuration itself, says so: an error. What is
    /// assumed is worth a warning.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        match &self.trouble {
            Trouble::Beyond(limited) => !limited.is_assumed,
            Trouble::Changed(Note::KeepAlive { evidence, .. }) => {
                !matches!(evidence, Evidence::Unverified)
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting)?;
        if let Some(index) = self.index {
            write!(f, " ({})", index + 1)?;
        }
        match &self.trouble {
            Trouble::Beyond(limited) => write!(f, ": {limited}"),
            Trouble::Changed(note) => write!(f, ": {note}"),
        }
    }
}

impl Profile {
    /// Finds what a configuration wants beyond the limits: everything that the client would refuse when
    /// it comes to it, or do otherwise. A pure function.
    #[must_use]
    pub fn check(&self, wanted: &Wanted<'_>) -> Vec<Finding> {
        let limits = self.server_limits();
        let mut found = Vec::new();
        let mut note = |setting, index, trouble| {
            found.push(Finding {
                setting,
                index,
                trouble,
            });
        };
        if let Some(Err(limited)) = wanted.client_id.map(|id| limits.check_client_id(id)) {
            note("device.id", None, Trouble::Beyond(limited));
        }
        let changed = wanted.keep_alive.and_then(|it| self.keep_alive(it).1);
        if let Some(changed) = changed {
            note("cloud.keep_alive", None, Trouble::Changed(changed));
        }
        for (setting, topic, qos) in &wanted.publishes {
            if let Err(limited) = limits.check_publish(topic, 0, *qos) {
                note(setting, None, Trouble::Beyond(limited));
            }
        }
        for (index, filter) in wanted.filters.iter().enumerate() {
            if let Err(limited) = limits.check_topic(filter) {
                note("subscription.topic", Some(index), Trouble::Beyond(limited));
            }
        }
        let most = limits.subscriptions_max();
        if wanted.filters.len() > most
            && let Err(limited) = limits.check_subscribe(std::iter::empty(), wanted.filters.len())
        {
            note("subscription", Some(most), Trouble::Beyond(limited));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Overrides, Provider};

    const DEEP: &str = "1/2/3/4/5/6/7/8/9";

    fn found(provider: Provider, wanted: &Wanted<'_>) -> Vec<(String, bool)> {
        let profile = Profile::new(provider, Overrides::default());
        let found = profile.check(wanted);
        let told = found.iter().map(|it| (it.to_string(), it.is_certain()));
        told.collect()
    }

    #[test]
    fn a_configuration_is_checked_as_a_whole() {
        let endpoint = "mqtts://x.iot.eu-west-1.amazonaws.com".parse().unwrap();
        let mut config = Config::new(endpoint);
        let profile = Profile::of_config(&config);
        assert_eq!(profile.check(&Wanted::of(&config)), []);
        config.cloud.keep_alive = Some(Duration::from_secs(5));
        config.device.id = Some(ClientId::new("x".repeat(200)).unwrap());
        let found = profile.check(&Wanted::of(&config));
        let settings: Vec<_> = found.iter().map(|it| it.setting).collect();
        assert_eq!(settings, ["device.id", "cloud.keep_alive"]);
    }

    #[test]
    fn everything_that_would_be_refused_later_is_found_with_its_setting() {
        let id = "x".repeat(129);
        let names: Vec<String> = (0..51).map(|number| number.to_string()).collect();
        let mut filters: Vec<&str> = names.iter().map(String::as_str).collect();
        filters[3] = DEEP;
        let wanted = Wanted {
            client_id: Some(&id),
            keep_alive: Some(Duration::from_secs(5)),
            publishes: vec![
                ("telemetry.topic", DEEP, QoS::AtLeastOnce),
                ("metrics.topic", "a", QoS::ExactlyOnce),
                ("commands.topic", "a", QoS::AtLeastOnce),
            ],
            filters,
        };
        let says = |setting: &str, most: &str, verb: &str, found: &str| {
            format!("{setting}: expected at most {most}, as the profile aws {verb}, found {found}")
        };
        let levels = "8 levels of a topic";
        let id_bytes = "128 bytes of a client identifier";
        let keep_alive = "cloud.keep_alive: the keep-alive is 30 s instead of 5 s: the profile aws assumes no shorter one";
        let expected = [
            (says("device.id", id_bytes, "says", "129"), true),
            (keep_alive.to_owned(), false),
            (says("telemetry.topic", levels, "says", "9"), true),
            (
                says("metrics.topic", "1 for the QoS", "assumes", "2"),
                false,
            ),
            (says("subscription.topic (4)", levels, "says", "9"), true),
            (
                says(
                    "subscription (51)",
                    "50 topic filters in all",
                    "assumes",
                    "51",
                ),
                false,
            ),
        ];
        assert_eq!(found(Provider::Aws, &wanted), expected);
        assert_eq!(found(Provider::Plain, &wanted), []);
        assert_eq!(found(Provider::Aws, &Wanted::default()), []);
    }
}
