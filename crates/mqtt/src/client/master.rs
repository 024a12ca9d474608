//! Master subscriptions: one subscription at the broker for everything under a prefix, and handlers
//! below it that the broker does not know of.
//!
//! The broker sends what matches `prefix/#`; the router gives each message to the handlers whose
//! filters it matches, level by level. A handler below costs neither a packet nor a round trip.

use super::Client;
use super::error::Error;
use super::shared::State;
use super::subscribe::Ask;
use super::ticket::Wait;
use crate::packet::QoS;
use crate::session::ArgumentError;
use crate::topic::TopicFilter;

/// The master subscriptions of one client.
#[derive(Debug, Default)]
pub(super) struct Masters(Vec<Master>);

#[derive(Debug)]
struct Master {
    filter: TopicFilter,
    /// The highest that is declared.
    qos: QoS,
    /// What the broker has granted, now or on an earlier connection.
    granted: Option<QoS>,
    /// How often it was declared and not ended.
    uses: usize,
}

impl Masters {
    fn get_mut(&mut self, filter: &str) -> Option<&mut Master> {
        let mut masters = self.0.iter_mut();
        masters.find(|master| master.filter.as_str() == filter)
    }

    /// Whether there is one with exactly this filter.
    pub(super) fn contains(&self, filter: &str) -> bool {
        self.0.iter().any(|master| master.filter.as_str() == filter)
    }

    /// Whether one brings all messages of a filter, at its quality of service.
    pub(super) fn brings(&self, filter: &TopicFilter, qos: QoS) -> bool {
        let mut masters = self.0.iter();
        masters.any(|master| master.qos >= qos && master.filter.covers(filter))
    }

    /// The filters of all.
    pub(super) fn filters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|master| master.filter.as_str())
    }

    /// Those that the broker has granted.
    pub(super) fn granted(&self) -> impl Iterator<Item = (&TopicFilter, QoS)> {
        let masters = self.0.iter();
        masters.filter_map(|master| Some((&master.filter, master.granted?)))
    }

    /// Declares one; tells whether the broker is to be asked for it.
    fn add(&mut self, filter: TopicFilter, qos: QoS) -> bool {
        match self.get_mut(&filter) {
            Some(master) => {
                let higher = qos > master.qos;
                master.qos = qos.max(master.qos);
                master.uses += 1;
                higher
            }
            None => {
                self.0.push(Master {
                    filter,
                    qos,
                    granted: None,
                    uses: 1,
                });
                true
            }
        }
    }

    /// Ends one declaration; tells whether that was the last one.
    fn end(&mut self, filter: &str) -> bool {
        if let Some(master) = self.get_mut(filter)
            && master.uses > 1
        {
            master.uses -= 1;
            return false;
        }
        self.remove(filter);
        true
    }

    fn remove(&mut self, filter: &str) {
        self.0.retain(|master| master.filter.as_str() != filter);
    }

    /// Notes that the broker refused one. What it granted before still holds (MQTT3-3.8.4-3 replaces
    /// only by what is granted): the declaration that asked for more is none, and the others have that.
    fn refuse(&mut self, filter: &str) {
        match self.get_mut(filter) {
            Some(Master {
                qos,
                granted: Some(granted),
                uses,
                ..
            }) if *uses > 1 => {
                *qos = *granted;
                *uses -= 1;
            }
            _ => self.remove(filter),
        }
    }
}

impl State {
    /// Notes the broker's answer to a master subscription that was asked for at `qos`.
    pub(super) fn answer_master(&mut self, filter: &str, qos: QoS, granted: bool) {
        let masters = &mut self.subscriptions.masters;
        if granted {
            if let Some(master) = masters.get_mut(filter) {
                master.granted = Some(qos);
            }
        } else {
            masters.refuse(filter);
            self.ask_for_orphans();
        }
    }

    /// Asks the broker for a master subscription that no call waits for, now and where it is lost.
    fn ask_for_master(&mut self, filter: &str) {
        if let Some(master) = self.subscriptions.masters.get_mut(filter) {
            let qos = master.qos;
            master.granted = Some(qos);
            self.ask_for(vec![(filter.to_owned(), qos)]);
        }
    }

    /// Asks the broker for what a master subscription brought that is gone.
    fn ask_for_orphans(&mut self) {
        let orphans = self.subscriptions.promote();
        self.ask_for(orphans);
    }
}

/// The filter of everything under a prefix.
fn filter_under(prefix: &str) -> Result<TopicFilter, ArgumentError> {
    let filter = TopicFilter::new(prefix).and_then(|_| TopicFilter::new(format!("{prefix}/#")));
    filter.map_err(|error| ArgumentError::Filter { index: 0, error })
}

impl Client {
    /// Subscribes to everything under `prefix`, a topic filter without `#`: to `prefix/#`, which
    /// matches `prefix` too (MQTT3-4.7.1.2). A later subscription to a filter below it, at no higher
    /// quality of service, is local: the broker is not asked, the call does not wait, and retained
    /// messages do not come for it unless [`Subscribe::retained`](super::Subscribe::retained) asks
    /// for them. Messages that no handler wants are treated as [`Client::on_unwanted`] says: with
    /// [`Wait::None`], and the handlers declared before the next wait, none comes before its handler.
    ///
    /// The same prefix may be declared several times, and is to be ended as often. It outlives the
    /// connection as other subscriptions do. Yields as [`Client::subscribe_as`] with this `wait`.
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`]: after an error this declaration is none. Where the broker refuses
    /// it, handlers below it are asked for one by one; where it refuses a higher quality of service
    /// than it granted before, those alone that need it, and the master subscription stays as it was.
    pub fn subscribe_master(&self, prefix: &str, qos: QoS, wait: Wait) -> Result<(), Error> {
        let filter = filter_under(prefix)?;
        let text = filter.as_str().to_owned();
        {
            let mut state = self.shared.state();
            if let Some(cause) = state.refusal() {
                return Err(cause.into());
            }
            if !state.subscriptions.masters.add(filter, qos) {
                return Ok(());
            }
        }
        let filters = [(text.as_str(), qos)];
        match self
            .shared
            .limited(|| self.ask(Ask::Subscribe(None, &filters), wait))
        {
            Ok(refused) if refused.is_empty() => Ok(()),
            Ok(filters) => Err(Error::SubscribeRefused { filters }),
            Err(error) => {
                if !self.end_master(&text) {
                    // Another declaration relies on it, and the request is this one's no more.
                    self.shared.state().ask_for_master(&text);
                    self.shared.wake.set();
                }
                Err(error)
            }
        }
    }

    /// Ends one declaration of [`Client::subscribe_master`]; the last one ends the broker's
    /// subscription (MQTT3-3.10). Handlers below the prefix stay: the broker is asked for each that
    /// no other master subscription brings, before it is told to end this one. Yields up to `wait`.
    ///
    /// # Errors
    ///
    /// As [`Client::unsubscribe`].
    pub fn unsubscribe_master(&self, prefix: &str, wait: Wait) -> Result<(), Error> {
        let filter = filter_under(prefix)?;
        let last = self.end_master(&filter);
        if !last || self.shared.state().subscriptions.is_wanted(&filter) {
            return Ok(());
        }
        let filters = [filter.as_str()];
        self.shared
            .limited(|| self.ask(Ask::Unsubscribe(&filters), wait).map(drop))
    }

    /// Ends one declaration here; tells whether it was the last one.
    fn end_master(&self, filter: &str) -> bool {
        let mut state = self.shared.state();
        let last = state.subscriptions.masters.end(filter);
        if last {
            state.ask_for_orphans();
            self.shared.wake.set();
        }
        last
    }
}
