//! The agent's side of a configuration that is read again: who goes by it.

use std::rc::Rc;

use safe_rt::{ClientTls, Identity};

use super::Agent;
use crate::config::Config;
use crate::doctor;
use crate::failure::Failure;
use crate::reload::{Loaded, Reloaded};
use crate::service::ServiceSettings;
use crate::service::schedule::Schedule;

/// What else goes by a configuration that was read again.
pub(super) type OnReload = Box<dyn FnMut(&Agent, &Config) -> Result<(), Failure>>;

impl Agent {
    /// Reads the configuration again, from where it came, and has count what can: what
    /// [`Applies`](crate::config::Applies) says of each key. Yields. Where anything is wrong with it,
    /// all stays as it is.
    ///
    /// # Errors
    ///
    /// What is wrong, in words; also that it came from the program.
    pub fn reload(&self) -> Result<Reloaded, String> {
        let place = self.0.reloading.acquire();
        let _place = place.map_err(|error| format!("it was not read: {error}"))?;
        let Some(loaded) = self.loaded() else {
            return Err("the configuration was given by the program".to_owned());
        };
        let (reloaded, loaded) = loaded.reload(self)?;
        self.loaded_from(loaded);
        Ok(reloaded)
    }

    /// Has a function called with each configuration that is read again, with the device's identifier
    /// in it.
    pub(crate) fn on_reload(
        &self,
        hook: impl FnMut(&Self, &Config) -> Result<(), Failure> + 'static,
    ) {
        self.0.on_reload.borrow_mut().push(Box::new(hook));
    }

    /// Has all who go by the configuration go by this one. Yields as [`Services::set`] does.
    pub(crate) fn take_over(&self, mut config: Config, services: &ServiceSettings, plan: Schedule) {
        let mut hooks = self.0.on_reload.take();
        let set = self.0.services.set(self, services, plan);
        let others = hooks.iter_mut().map(|hook| hook(self, &config));
        for result in std::iter::once(set).chain(others) {
            if let Err(failure) = result {
                log::error!("not everything of the configuration is in use: {failure}");
            }
        }
        hooks.append(&mut self.0.on_reload.borrow_mut());
        self.0.on_reload.replace(hooks);
        let identity = config.cloud.identity.take();
        config.cloud.identity = identity.or_else(|| self.provisioned_identity());
        let subject = doctor::Subject::Loaded(Rc::new(config), None);
        self.0.doctor.set(|options| options.subject = subject);
    }

    /// Whom the client believes and what it shows, if it connects by TLS.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.0.tls.as_ref()
    }

    /// Whether the identity that provisioning made is shown, and renewed, where there is provisioning.
    pub(crate) fn shows_provisioned(&self) -> Option<bool> {
        Some(self.0.attached.as_ref()?.is_shown())
    }

    /// What the doctor of this agent examines.
    pub(crate) fn doctor_options(&self) -> doctor::Options {
        self.0.doctor.options()
    }

    /// The identity that provisioning made, if there is one.
    pub(crate) fn provisioned_identity(&self) -> Option<Identity> {
        let active = self.0.attached.as_ref()?.store().active()?;
        Some(active.identity().clone())
    }

    /// Where the configuration came from, unless the program gave it.
    pub(crate) fn loaded(&self) -> Option<Rc<Loaded>> {
        self.0.source.borrow().clone()
    }

    /// Remembers where the configuration came from.
    pub(crate) fn loaded_from(&self, loaded: Loaded) {
        *self.0.source.borrow_mut() = Some(Rc::new(loaded));
    }
}
