//! What of a new configuration counts while the agent runs, and how it comes to.

use mqtt::KEEP_ALIVE_DEFAULT;
use safe_rt::Trust;

use super::Given;
use crate::agent::Agent;
use crate::config::{Changes, Config};
use crate::logging;
use crate::profile::Profile;
use crate::service::ServiceSettings;
use crate::service::schedule::{Schedule, share_of};

/// A new configuration that is fit for use: nothing of it can be refused any more.
pub(super) struct Prepared {
    config: Box<Config>,
    services: ServiceSettings,
    schedule: Schedule,
}

/// Checks what only a running agent can: the topics with the device's identifier, and the schedule.
/// Changes nothing.
pub(super) fn prepare(
    agent: &Agent,
    program: &Given,
    mut config: Box<Config>,
) -> Result<Box<Prepared>, String> {
    let id = mqtt::ClientId::new(agent.device_id()).map_err(|error| error.to_string())?;
    config.set_device_id(&id).map_err(|error| {
        format!(
            "a topic is none with the identifier {:?}: {error}",
            id.as_str()
        )
    })?;
    wait_for_start(agent.config(), &mut config);
    let mut services = program.services.clone();
    services.complete_live(&config);
    let schedule = services.schedule(share_of(agent.device_id()));
    let schedule = schedule.map_err(|error| error.to_string())?;
    Ok(Box::new(Prepared {
        config,
        services,
        schedule,
    }))
}

/// Puts back what only a start changes, and what counts now is worked out with: where the connection
/// is, and what its broker allows.
fn wait_for_start(started: &Config, config: &mut Config) {
    let (was, cloud) = (&started.cloud, &mut config.cloud);
    cloud.endpoint = was.endpoint.clone();
    cloud.port_is_set = was.port_is_set;
    cloud.profile = was.profile.clone();
    let mut limits = started.limits.clone();
    limits.publish_rate = config.limits.publish_rate;
    limits.publish_bytes = config.limits.publish_bytes;
    config.limits = limits;
}

impl Prepared {
    /// Has it count, as far as it can. Returns the settings that would count by the table and cannot,
    /// as the agent was started: they wait for the next start. Yields as
    /// [`Agent::take_over`] does, and while there is no room for
    /// subscriptions.
    pub(super) fn apply(self: Box<Self>, agent: &Agent, changes: &Changes) -> Vec<String> {
        let Self {
            config,
            services,
            schedule,
        } = *self;
        let has_changed = |path: &str| changes.has(path);
        let mut needs_start = Vec::new();
        let mut wait = |paths: &[&str]| {
            let changed = paths.iter().filter(|path| has_changed(path));
            needs_start.extend(changed.map(|path| (*path).to_owned()));
        };
        if has_changed("log.filter") {
            let is_used = logging::set_filter(&config.log.filter);
            if !is_used {
                log::warn!(
                    "log.filter is not used: RUST_LOG, -d or the program says what is logged"
                );
            }
        }
        let profile = Profile::of_config(&config);
        if has_changed("limits.publish_rate") {
            agent.throttle().set_usual(profile.publish_rate());
        }
        // A rate that is set anew forgives what was sent by the earlier one.
        if has_changed("limits.publish_bytes") {
            agent
                .mqtt()
                .set_publish_byte_rate(profile.publish_byte_rate());
        }
        if ["certificate", "key"].map(|key| has_changed(&format!("cloud.{key}"))) != [false; 2]
            && !show(agent, &config)
        {
            wait(&["cloud.certificate", "cloud.key"]);
        }
        if has_changed("cloud.authority") && !believe(agent, &config) {
            wait(&["cloud.authority"]);
        }
        let login = [
            "user",
            "password_file",
            "password_env",
            "credential",
            "password",
        ];
        let login = login.map(|key| format!("cloud.{key}"));
        if login.iter().any(|path| has_changed(path)) {
            match &config.cloud.credentials {
                Some(credentials) => {
                    let password = credentials.password.as_ref();
                    let password = password.map(|password| password.0.clone());
                    let user = credentials.user_name.clone();
                    agent.mqtt().set_credentials(user, password);
                }
                // A client that had a name cannot go without.
                None => wait(&login.each_ref().map(String::as_str)),
            }
        }
        if has_changed("cloud.keep_alive") {
            let asked = config.cloud.keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT);
            let (used, note) = profile.keep_alive(asked);
            if let Some(note) = note {
                log::info!("{note}");
            }
            agent.mqtt().set_keep_alive(used);
        }
        agent.take_over(*config, &services, schedule);
        needs_start
    }
}

/// Shows the certificate that the configuration names, or else the one that provisioning made, from the
/// next handshake on. False where that takes a start: there was none, or there is none any more, which
/// decides more than the handshake.
fn show(agent: &Agent, config: &Config) -> bool {
    let had_one = agent.config().cloud.identity.is_some();
    let own = config.cloud.identity.clone();
    // Whether the identity in the store is shown, and so renewed, is decided at the start.
    let is_of_store = agent.shows_provisioned();
    if is_of_store.is_some_and(|is_of_store| is_of_store != own.is_none()) {
        return false;
    }
    let identity = own.or_else(|| agent.provisioned_identity());
    let (Some(tls), Some(identity), true) = (agent.tls(), identity, had_one) else {
        return false;
    };
    match tls.set_identity(identity) {
        Ok(()) => true,
        Err(error) => {
            log::error!("the certificate stays as it is: {error}");
            false
        }
    }
}

/// Believes the authorities that the configuration names from the next handshake on.
fn believe(agent: &Agent, config: &Config) -> bool {
    let Some(tls) = agent.tls() else {
        return false;
    };
    let trust = config.cloud.trust.clone();
    match tls.set_trust(trust.unwrap_or_else(Trust::system)) {
        Ok(()) => true,
        Err(error) => {
            log::error!("the authorities stay as they are: {error}");
            false
        }
    }
}
