//! What an earlier client left in the store goes back into the session.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::error::Error;
use super::feeder::store_of;
use super::shared::{Shared, State};
use crate::packet::QoS;
use crate::store::{DoneCause, StorePos, StoredMessage};

/// Puts what the store knows of the session into the client. Yields while messages are read.
///
/// # Errors
/// What the disk answered; a message whose content is damaged is left out, and given up.
pub(super) fn restore(shared: &Rc<Shared>) -> Result<(), Error> {
    let Some(store) = store_of(shared) else {
        return Ok(());
    };
    let mut contents = BTreeMap::new();
    for stored in store.recovered().in_flight {
        match store.read(stored.pos) {
            Ok(Some(message)) => {
                contents.insert(stored.pos, message);
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                log::error!("a message in flight cannot be read, and is given up: {error}");
            }
            Err(error) => return Err(Error::Store(error)),
        }
    }
    shared.state().restore(&contents);
    Ok(())
}

impl State {
    /// Puts what the store knows of the session into it; `contents` are those of the messages that
    /// were in flight.
    pub(super) fn restore(&mut self, contents: &BTreeMap<StorePos, StoredMessage>) {
        let Some(durable) = &self.durable else { return };
        let recovered = durable.store.recovered();
        for packet_id in recovered.received {
            self.session.restore_received(packet_id);
        }
        let mut again = Vec::new();
        let released = recovered.released.into_iter().map(|stored| (stored, true));
        let in_flight = recovered
            .in_flight
            .into_iter()
            .map(|stored| (stored, false));
        for (stored, is_released) in released.chain(in_flight) {
            let Some(packet_id) = stored.packet_id else {
                continue;
            };
            let key = self.stored_slot(stored.pos, stored.maybe_sent);
            let Self { session, log, .. } = self;
            let restored = if is_released {
                session.restore_release(packet_id, key, log)
            } else if let Some(content) = contents.get(&stored.pos) {
                session.restore_publish(content.outgoing(), packet_id, key, log)
            } else if stored.qos == QoS::ExactlyOnce {
                // The broker may hold it under this identifier, and is to let it go.
                session.restore_release(packet_id, key, log)
            } else {
                self.settle_stored(key, DoneCause::Dropped);
                continue;
            };
            match restored {
                Ok(admitted) => {
                    if stored.qos == QoS::ExactlyOnce {
                        self.tickets.begin_exactly_once(key);
                    }
                    self.tickets.admitted(key, admitted.end);
                }
                Err(error) => {
                    log::error!("a message in flight could not be restored: {error}");
                    again.push(stored);
                }
            }
        }
        let Some(durable) = &mut self.durable else {
            return;
        };
        for stored in recovered.queued {
            durable.queue(stored.qos, stored.pos, stored.maybe_sent);
        }
        for stored in again {
            durable.queue_again(stored.qos, stored.pos, true);
        }
    }
}
