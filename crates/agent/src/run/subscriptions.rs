//! The subscriptions of the configuration: made at the start, and changed by a reload, without a gap
//! for those that stay.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use mqtt::topic::TopicFilter;
use mqtt::{Client, QoS, Subscribe, SubscriptionId, Wait};

use super::Received;
use crate::config::Config;
use crate::failure::Failure;
use crate::profile::Profile;

/// What is subscribed to, and who prints what comes. Clones share it.
#[derive(Clone)]
pub(super) struct Subscriptions(Rc<Shared>);

struct Shared {
    received: Rc<Received>,
    made: RefCell<Vec<Made>>,
}

/// One filter that the broker was asked for.
struct Made {
    filter: TopicFilter,
    qos: QoS,
    /// The handler that it came with; several filters may share one.
    part: Rc<RefCell<Option<SubscriptionId>>>,
}

impl Made {
    fn is_of(&self, part: &Part) -> bool {
        Rc::ptr_eq(&self.part, part)
    }
}

type Part = Rc<RefCell<Option<SubscriptionId>>>;

impl Subscriptions {
    pub(super) fn new(received: Rc<Received>) -> Self {
        Self(Rc::new(Shared {
            received,
            made: RefCell::default(),
        }))
    }

    /// Subscribes to what a configuration has and is not subscribed to yet, and ends what it has not
    /// any more; what stays the same is not touched. Declared without a connection, they are made when
    /// there is one. Yields while there is no room for the requests.
    ///
    /// # Errors
    ///
    /// [`Failure::Subscribe`]: the first one that could not be declared. The others are.
    pub(super) fn set(&self, client: &Client, config: &Config) -> Result<(), Failure> {
        let wanted: Vec<(&str, QoS)> = config
            .subscriptions
            .iter()
            .map(|subscription| (subscription.topic.as_str(), subscription.qos))
            .collect();
        let profile = Profile::of_config(config);
        let (allowed, beyond) = profile.allowed(&wanted);
        // The others are worth more than none.
        for (filter, limited) in beyond {
            log::error!("[[subscription]] {filter} is left out: {limited}");
        }
        // First, so that there is room among those that the broker allows.
        let stays = |made: &Made| allowed.iter().any(|(filter, _)| *filter == &*made.filter);
        let gone = self.take(|made| !stays(made));
        let mut ended = Ok(());
        for made in gone {
            let result = end(client, &made);
            ended = ended.and(result);
        }
        let new: Vec<(&str, QoS)> = {
            let made = self.0.made.borrow();
            let is_made =
                |asked: &&(&str, QoS)| made.iter().any(|made| (&*made.filter, made.qos) == **asked);
            allowed.iter().filter(|it| !is_made(it)).copied().collect()
        };
        for part in profile.parts(&new) {
            let result = self.subscribe(client, part);
            ended = ended.and(result);
        }
        ended
    }

    /// Counts these filters as not subscribed to: the broker has refused them.
    pub(super) fn forget(&self, refused: &BTreeSet<String>) {
        drop(self.take(|made| refused.contains(&*made.filter)));
    }

    /// Subscribes to filters with one handler; those that were there with another QoS take its place
    /// at the broker, and only then go here.
    fn subscribe(&self, client: &Client, filters: &[(&str, QoS)]) -> Result<(), Failure> {
        let part = Part::default();
        let earlier = self.take(|made| filters.iter().any(|(filter, _)| *filter == &*made.filter));
        for (filter, qos) in filters {
            // It was one when the configuration was read.
            let Ok(filter) = TopicFilter::new(*filter) else {
                continue;
            };
            let (qos, part) = (*qos, Rc::clone(&part));
            self.0.made.borrow_mut().push(Made { filter, qos, part });
        }
        let (shared, own) = (Rc::clone(&self.0), Rc::clone(&part));
        let subscribe = Subscribe::to_all(filters).wait(Wait::None);
        let subscribed = client.subscribe_as(subscribe, move |client, message| {
            if shared.is_first(&own, &message.topic) {
                shared.received.receive(client, message);
            }
            Ok(())
        });
        match subscribed {
            Ok(id) => {
                part.replace(Some(id));
                let ended = earlier.iter().map(|made| end(client, made));
                ended.fold(Ok(()), Result::and)
            }
            Err(error) => {
                drop(self.take(|made| made.is_of(&part)));
                self.0.made.borrow_mut().extend(earlier);
                Err(Failure::Subscribe(error))
            }
        }
    }

    /// Takes those out.
    fn take(&self, is_meant: impl Fn(&Made) -> bool) -> Vec<Made> {
        let mut made = self.0.made.borrow_mut();
        let all = std::mem::take(&mut *made);
        let (taken, rest) = all.into_iter().partition(is_meant);
        *made = rest;
        taken
    }
}

impl Shared {
    /// Whether a handler is the one that prints a message of this topic: filters of several may match
    /// it, and it is printed once.
    fn is_first(&self, part: &Part, topic: &str) -> bool {
        let made = self.made.borrow();
        let first = made.iter().find(|made| made.filter.matches(topic));
        // What came of a filter that is gone meanwhile is printed as well.
        first.is_none_or(|first| first.is_of(part))
    }
}

/// Ends one filter here and, if nobody else wants it, at the broker.
fn end(client: &Client, made: &Made) -> Result<(), Failure> {
    let id = *made.part.borrow();
    match id {
        Some(id) => client
            .unsubscribe_filter(id, &made.filter, Wait::None)
            .map_err(Failure::Subscribe),
        None => Ok(()),
    }
}
