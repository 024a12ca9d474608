//! How the client introduces itself: what CONNECT says beside the client identifier.
//!
//! Every connection sends what is set when it begins, so credentials may be changed while the
//! client is connected and count from the next connection on. Those that are asked for are set when
//! the program has answered, before each CONNECT.

use std::rc::Rc;
use std::time::Duration;

use super::Client;
use super::credentials::{Ask, Credentials};
use super::error::Error;
use super::options::{KEEP_ALIVE_DEFAULT, Will};
use super::settings::Settings;
use crate::packet::{self, ClientId, Connect, ConnectFields, EncodeError, Properties, Version};
use crate::session::ArgumentError;

/// What may change from one connection to the next.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// Whether the broker drops what it kept; `None` where nobody has said.
    pub(super) clean_start: Option<bool>,
    pub(super) keep_alive: Duration,
    pub(super) user_name: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    /// Called for the two before each CONNECT, if they are asked for.
    pub(super) ask: Option<Ask>,
    pub(super) will: Option<Will>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            clean_start: None,
            keep_alive: KEEP_ALIVE_DEFAULT,
            user_name: None,
            password: None,
            ask: None,
            will: None,
        }
    }
}

impl Login {
    /// Sets what is sent with the next CONNECT.
    pub(super) fn set_credentials(&mut self, credentials: Credentials) {
        self.user_name = Some(credentials.user_name);
        self.password = credentials.password;
    }

    /// Makes the packet; `clean_start` is for the case that nobody has said.
    pub(super) fn connect<'a>(
        &'a self,
        client_id: &'a ClientId,
        clean_start: bool,
    ) -> Result<Connect<'a>, EncodeError> {
        let will = self.will.as_ref().map(|will| packet::Will {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: Properties::EMPTY,
        });
        Connect::new(
            Version::V311,
            ConnectFields {
                client_id: client_id.as_str(),
                clean_start: self.clean_start.unwrap_or(clean_start),
                keep_alive_secs: self.keep_alive_secs(),
                will,
                user_name: self.user_name.as_deref(),
                password: self.password.as_deref(),
                ..ConnectFields::default()
            },
        )
    }

    /// Checks that it makes a CONNECT, and one that is within what the broker is known to take: it
    /// would be refused each time, mostly without a word.
    pub(super) fn check(
        &self,
        client_id: &ClientId,
        options: &Settings,
        clean_start: bool,
    ) -> Result<(), Error> {
        self.connect(client_id, clean_start)?;
        if let Some(limits) = &options.server_limits {
            let checked = limits.check_client_id(client_id.as_str());
            checked.map_err(ArgumentError::from)?;
        }
        if let Some(will) = &self.will {
            check_will(options, will)?;
        }
        Ok(())
    }

    fn keep_alive_secs(&self) -> u16 {
        let part = u64::from(self.keep_alive.subsec_nanos() > 0);
        u16::try_from(self.keep_alive.as_secs().saturating_add(part)).unwrap_or(u16::MAX)
    }
}

fn check_will(options: &Settings, will: &Will) -> Result<(), ArgumentError> {
    let Some(limits) = &options.server_limits else {
        return Ok(());
    };
    let checked = limits.check_publish(&will.topic, will.payload.len(), will.qos);
    checked.map_err(ArgumentError::from)
}

/// What is set here counts from the next CONNECT on. None of it yields.
impl Client {
    /// Sets the credentials for the broker; see [`super::ClientOptions::credentials`]. They are not
    /// [asked for](super::ClientOptions::credentials_by) any more.
    pub fn set_credentials(
        &self,
        user_name: impl Into<String>,
        password: Option<impl Into<Vec<u8>>>,
    ) {
        let credentials = Credentials::new(user_name, password);
        let earlier = {
            let login = &mut self.shared.state().login;
            let login = Rc::make_mut(login);
            login.set_credentials(credentials);
            login.ask.take()
        };
        // Code of the user is dropped where nothing is borrowed.
        drop(earlier);
    }

    /// Sets the message for the case that the connection breaks, or none.
    ///
    /// # Errors
    ///
    /// [`ArgumentError::ServerLimit`] for one that the broker is known not to take
    /// ([`super::ClientOptions::server_limits`]): the one before stays.
    pub fn set_will(&self, will: Option<Will>) -> Result<(), ArgumentError> {
        if let Some(will) = &will {
            check_will(&self.shared.options, will)?;
        }
        Rc::make_mut(&mut self.shared.state().login).will = will;
        Ok(())
    }

    /// Sets how long the link may be silent; see [`super::ClientOptions::keep_alive`].
    pub fn set_keep_alive(&self, keep_alive: Duration) {
        Rc::make_mut(&mut self.shared.state().login).keep_alive = keep_alive;
    }

    /// Sets whether the broker drops what it kept for this client identifier (MQTT3-3.1.2.4).
    pub fn set_clean_start(&self, clean_start: bool) {
        Rc::make_mut(&mut self.shared.state().login).clean_start = Some(clean_start);
    }
}
