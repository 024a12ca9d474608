//! PUBRELs ahead of the log: for identifiers under which the server may hold another message.

use super::Connection;
use crate::packet::{PacketId, PubRel};

impl Connection {
    /// Sends PUBREL ahead of the unsent PUBLISH with the same identifier.
    ///
    /// There is room for a whole window of them beside the acknowledgements, unless the server has
    /// answered a very long CONNECT that it has not read; such a server gets none, and `false` says so.
    pub(in crate::session) fn push_pubrel_ahead(&mut self, packet_id: PacketId) -> bool {
        let pubrel = PubRel::new(packet_id);
        let out = self.control.reserve(pubrel.encoded_len(self.version));
        out.map(|out| pubrel.encode(self.version, out)).is_ok()
    }

    /// As [`Connection::push_pubrel_ahead`], of one that may wait for the message with that identifier.
    pub(in crate::session) fn push_pubrel_before(&mut self, packet_id: PacketId) {
        let pubrel = PubRel::new(packet_id);
        let len = pubrel.encoded_len(self.version);
        if let Ok(out) = self.control.reserve_companion(len) {
            pubrel.encode(self.version, out);
        }
    }

    /// Tells whether no control packet waits to be sent but such.
    #[inline]
    pub(in crate::session) fn control_may_wait(&self) -> bool {
        self.control.may_wait()
    }
}
