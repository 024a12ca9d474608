//! What the checks of one run share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use mqtt::{Client, ClientId};
use safe_rt::{DialOptions, Endpoint, Identity, ProxyEnvironment, Socket, TlsConfigError};

use super::finding::{Finding, Outcome};
use super::view::View;
use super::{Options, Subject, checks, session};
use crate::config::{Config, ProxyChoice};
use crate::profile::{Connection, Profile};

/// What is configured.
pub(super) struct Setup {
    pub(super) config: Rc<Config>,
    pub(super) connection: Connection,
}

impl Setup {
    pub(super) const fn profile(&self) -> &Profile {
        &self.connection.profile
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.connection.endpoint
    }

    /// The same way as the agent's, without TLS.
    pub(super) fn dial_plain(&self) -> DialOptions {
        match &self.config.cloud.proxy {
            ProxyChoice::None => DialOptions::new(),
            ProxyChoice::Environment => DialOptions::new().proxy_from_env(),
            ProxyChoice::Proxy(proxy) => DialOptions::new().proxy(proxy.clone()),
        }
    }

    /// The proxy, if there is to be one.
    pub(super) fn proxy(&self) -> Option<String> {
        match &self.config.cloud.proxy {
            ProxyChoice::None => None,
            ProxyChoice::Environment => {
                let environment = ProxyEnvironment::from_env();
                let found = environment.proxy_for(self.endpoint()).ok().flatten();
                found.map(ToString::to_string)
            }
            ProxyChoice::Proxy(proxy) => Some(proxy.to_string()),
        }
    }

    pub(super) fn device_id(&self) -> Option<&ClientId> {
        self.config.device.id.as_ref()
    }
}

/// One run.
pub(super) struct Case {
    pub(super) options: Options,
    setup: RefCell<Option<Rc<Setup>>>,
    findings: RefCell<BTreeMap<&'static str, Finding>>,
    /// Where the name of the host leads.
    pub(super) addresses: RefCell<Vec<SocketAddr>>,
    /// A transport that is connected and unused.
    pub(super) socket: RefCell<Option<Socket>>,
    /// A connection that the broker accepted.
    pub(super) client: RefCell<Option<Client>>,
    /// Filters that were subscribed to for the doctor alone.
    pub(super) listened: RefCell<Vec<String>>,
    /// How long the handshake took.
    pub(super) handshake: Cell<Duration>,
    /// Why what the device shows of itself cannot be read, where it has something.
    pub(super) no_identity: RefCell<Option<Finding>>,
    /// The agent runs.
    pub(super) agent_runs: Cell<bool>,
    /// Whether was looked for that.
    pub(super) is_looked_for: Cell<bool>,
    /// What it says of itself.
    pub(super) view: RefCell<Option<Rc<View>>>,
}

impl Case {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            setup: RefCell::default(),
            findings: RefCell::default(),
            addresses: RefCell::default(),
            socket: RefCell::default(),
            client: RefCell::default(),
            listened: RefCell::default(),
            agent_runs: Cell::new(false),
            is_looked_for: Cell::new(false),
            view: RefCell::default(),
            handshake: Cell::new(Duration::ZERO),
            no_identity: RefCell::default(),
        }
    }

    /// Takes the configuration that was read, and what the device shows of itself where it says
    /// nothing of that.
    ///
    /// # Errors
    /// What there is for TLS makes no configuration.
    pub(super) fn configure(
        &self,
        config: Rc<Config>,
        identity: Option<Identity>,
    ) -> Result<(), TlsConfigError> {
        let connection = Connection::new(&config, identity, None)?;
        *self.setup.borrow_mut() = Some(Rc::new(Setup { config, connection }));
        Ok(())
    }

    /// What is configured, if it could be read.
    pub(super) fn setup(&self) -> Option<Rc<Setup>> {
        self.setup.borrow().clone()
    }

    /// The folder for what is kept.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        let given = self.options.state_dir.clone();
        let given = given.or_else(|| Some(self.setup()?.config.state.dir.clone()));
        given.or_else(|| match &self.options.subject {
            // As far as it can be told of one with faults.
            Subject::Layers(layers) => Some(layers.state_dir()),
            Subject::Loaded(config, _) => Some(config.state.dir.clone()),
        })
    }

    /// Whether nothing may be done that would end the connection of an agent that runs. Looks whether one
    /// does, if no check has: those that were asked for may be others.
    pub(super) fn is_beside(&self) -> bool {
        if self.options.takeover {
            return false;
        }
        if !self.is_looked_for.replace(true) {
            drop(checks::daemon(self));
        }
        self.agent_runs.get()
    }

    /// What the agent says of itself, where it has to answer for the broker.
    pub(super) fn view_beside(&self) -> Option<Rc<View>> {
        let is_beside = self.is_beside();
        self.view.borrow().clone().filter(|_| is_beside)
    }

    /// What the clock of the device shows.
    pub(super) fn wall(&self) -> SystemTime {
        self.options.wall.unwrap_or_else(fiber::wall_time)
    }

    pub(super) fn note(&self, finding: Finding) {
        self.findings.borrow_mut().insert(finding.id, finding);
    }

    /// The need that stands in the way, if one does.
    pub(super) fn obstacle(&self, needs: &[&'static str]) -> Option<&'static str> {
        let findings = self.findings.borrow();
        needs.iter().copied().find(|id| match findings.get(id) {
            Some(finding) => finding.outcome == Outcome::Fail || finding.because_of.is_some(),
            // It is not to be made.
            None => false,
        })
    }

    pub(super) fn take_findings(&self) -> BTreeMap<&'static str, Finding> {
        std::mem::take(&mut *self.findings.borrow_mut())
    }

    /// Ends what is connected, and takes back what the broker was asked for; returns what could not be
    /// taken back, and why.
    pub(super) fn leave(&self) -> Option<String> {
        drop(self.socket.take());
        let listened = self.listened.take();
        let mut client = self.client.take().filter(Client::is_connected);
        let mut left = None;
        // A session that ends with its connection takes them with it.
        if let Some(setup) = self.setup()
            && !listened.is_empty()
            && !setup.config.cloud.clean_start
        {
            let forget = || {
                let again = client.take().map_or_else(
                    || session::reconnect(self, &setup).map_err(|finding| finding.text),
                    Ok,
                );
                let again = client.insert(again?);
                let mut listened = listened.iter();
                let forgotten = listened.try_for_each(|filter| again.unsubscribe(filter));
                forgotten.map_err(|error| error.to_string())
            };
            let forgotten = fiber::timeout(session::ANSWER_TIMEOUT, forget);
            if let Err(why) = forgotten.unwrap_or_else(|elapsed| elapsed.0) {
                let filters = listened.join(", ");
                left = Some(format!("the broker may go on sending {filters}: {why}"));
            }
        }
        if let Some(client) = client {
            session::leave(&client);
        }
        left
    }
}
