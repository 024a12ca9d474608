//! Runs of messages: one behind the other, on one topic, for one subscription alone. Nearly all
//! messages come so, and what is the same for all of a run is looked up once.
//!
//! ```text
//!   unread ─┬─ a new message whose topic was routed to one not long ago ─► run ─┬─► handler, called here
//!           │                                                                   └─► queue of its fiber
//!           └─ anything else ─► `receive`, one packet
//! ```
//! A run decides only that nothing special is the case; it ends where something may be, and what comes
//! then goes the other way. What becomes of a message is told by the same calls on either.

use std::cell::RefMut;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::Client;
use super::error::EndCause;
use super::handler::{self, Inline};
use super::inline::{self, Called, InPlace};
use super::message::Message;
use super::message_ref::MessageRef;
use super::read_buffer::Shared as Bytes;
use super::shared::{Shared, State};
use super::subscription::Alone;
use crate::packet::{self, Alike, PacketRef, Publish};
use crate::session::{AckToken, Effect, Input, PeerError};
use crate::time::Time;

/// What was read and is not handled.
#[derive(Clone, Debug)]
pub(super) struct Unread<'a> {
    pub(super) bytes: &'a Bytes,
    /// The part of `bytes` that it is.
    pub(super) range: Range<usize>,
    /// The driver may call handlers.
    pub(super) may_call: bool,
    /// The count of received messages at which the driver does something else.
    pub(super) enough: u64,
    pub(super) now: Time,
}

/// Handles the messages at the start of what is unread as far as they are a run. Returns how many bytes
/// that were, and the state, which is not borrowed while handlers run.
#[inline]
pub(super) fn handle<'a>(
    client: &'a Client,
    mut state: RefMut<'a, State>,
    unread: Unread<'_>,
) -> Result<(RefMut<'a, State>, usize), EndCause> {
    let shared = &client.shared;
    let bytes = unread.bytes.get(&unread.range);
    let packet_bytes_max = shared.options.maximum_packet_size;
    let Some(packet) = packet::split_publish(bytes, packet_bytes_max) else {
        return Ok((state, 0));
    };
    let Some(alone) = state.subscriptions.find_alone(packet.topic()) else {
        return Ok((state, 0));
    };
    let may_call = unread.may_call && alone.is_callable;
    let Some((_, alike)) = decode(bytes, &alone.topic, packet_bytes_max) else {
        return Ok((state, 0));
    };
    let mut run = Run {
        shared,
        alone: &alone,
        changes: state.subscriptions.changes(),
        bytes,
        topic: &alone.topic,
        alike,
        unread: &unread,
        packet_bytes_max,
        at: 0,
        at_hand: None,
        fault: None,
    };
    match state.callers.filter(|_| may_call) {
        Some(callers) => state = (callers.run)(&mut run, client, state),
        None => run.queue(&mut state),
    }
    match run.fault {
        Some(fault) => Err(EndCause::Peer(fault)),
        None => Ok((state, run.at)),
    }
}

/// A run that is being handled.
pub(super) struct Run<'a> {
    shared: &'a Rc<Shared>,
    alone: &'a Alone,
    /// Those of the subscriptions when it began.
    changes: u64,
    unread: &'a Unread<'a>,
    bytes: &'a [u8],
    topic: &'a str,
    /// That of the message before.
    alike: Alike<'a>,
    packet_bytes_max: usize,
    /// Everything before it in `bytes` is handled.
    at: usize,
    /// The message that the handler is called with.
    at_hand: Option<AtHand>,
    fault: Option<PeerError>,
}

#[derive(Clone, Copy)]
struct AtHand {
    /// Bytes of the packet.
    len: usize,
    ack: Option<AckToken>,
}

impl<'a> Run<'a> {
    /// Takes in the next message of the run; `None` at its end.
    #[inline(always)]
    fn next(&mut self, state: &mut State) -> Option<(Publish<'a>, AtHand)> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            let publish = match self.alike.decode(rest) {
                Some(publish) => publish,
                None => self.other(rest)?,
            };
            if state.received >= self.unread.enough
                || (publish.packet_id().is_some() && !state.has_place_for(&publish))
            {
                return None;
            }
            let len = self.alike.len;
            let input = Input::Packet(PacketRef::Publish(publish));
            match state.session.handle(input, self.unread.now, &mut state.log) {
                Ok(Effect::Deliver { ack }) => {
                    state.received += 1;
                    return Some((publish, AtHand { len, ack }));
                }
                Ok(_) => self.at += len,
                Err(fault) => {
                    self.fault = Some(fault);
                    return None;
                }
            }
        }
    }

    /// The message at the start of `rest` if it belongs to the run and is of another length than the one
    /// before, or has other flags.
    fn other(&mut self, rest: &'a [u8]) -> Option<Publish<'a>> {
        let (publish, alike) = decode(rest, self.topic, self.packet_bytes_max)?;
        self.alike = alike;
        Some(publish)
    }

    /// Where the packet at hand ends in the buffer.
    const fn end(&self, len: usize) -> usize {
        self.unread.range.start + self.at + len
    }

    /// Queues the messages, and has them taken.
    // Never: with the registers of the driver's loop there are too few.
    #[inline(never)]
    fn queue(&mut self, state: &mut State) {
        let Alone { id, topic, .. } = self.alone;
        let bytes = self.unread.bytes;
        let mut is_queued = false;
        while let Some((publish, AtHand { len, ack })) = self.next(state) {
            let content_len = publish.topic().len() + publish.payload().len();
            let end = self.end(len);
            let message = || Message::hold(bytes, end, &publish, topic.clone());
            let subscriptions = &mut state.subscriptions;
            let dropped = subscriptions.queue_alone(*id, publish.qos(), content_len, ack, message);
            state.count_dropped(dropped);
            is_queued = true;
            self.at += len;
        }
        if is_queued {
            let mut start = |id| handler::start(self.shared, id);
            state.subscriptions.call_taker(*id, &mut start);
        }
    }

    /// Calls the handler with the messages, as [`inline::call_all`] does with one. It is lent for all of
    /// them.
    pub(super) fn call<'s>(
        &mut self,
        client: &'s Client,
        mut state: RefMut<'s, State>,
    ) -> RefMut<'s, State> {
        let id = self.alone.id;
        let Some((mut handler, policy)) = state.subscriptions.take_inline(id) else {
            return state;
        };
        drop(state);
        let shared = self.shared;
        // What a panic left behind is code of the program as well.
        fiber::no_park(|| {
            let calls = AssertUnwindSafe(|| self.call_each(client, &mut handler));
            let panicked = catch_unwind(calls).err();
            handler::note_panic(shared, panicked, self.at_hand.is_some());
        });
        let failed = self.at_hand.take();
        let failed = failed.and_then(|at_hand| self.fail(client, Called { id, policy }, at_hand));
        state = client.shared.state();
        inline::give_back(client, &mut state, id, handler);
        if let Some((publish, ack)) = failed {
            state.done_with(&client.shared, ack, || MessageRef::new(&publish, None));
        }
        state
    }

    /// Calls the handler until the end of the run, or until it fails: the message is then at hand.
    fn call_each(&mut self, client: &Client, handler: &mut Inline) {
        let mut state = self.shared.state();
        while let Some((publish, at_hand)) = self.next(&mut state) {
            let AtHand { len, ack } = at_hand;
            self.at_hand = Some(at_hand);
            drop(state);
            if let Err(error) = handler(client, MessageRef::new(&publish, None)) {
                handler::note_error(self.shared, &self.topic, error);
                return;
            }
            state = self.shared.state();
            self.at_hand = None;
            self.at += len;
            if let Some(ack) = ack {
                state.done_with(self.shared, ack, || MessageRef::new(&publish, None));
            }
            if state.subscriptions.changes() != self.changes {
                return;
            }
        }
    }

    /// Sees to the message with which the handler failed; returns what is to be acknowledged now.
    #[cold]
    fn fail(
        &mut self,
        client: &Client,
        called: Called,
        AtHand { len, ack }: AtHand,
    ) -> Option<(Publish<'a>, AckToken)> {
        let publish = self.alike.decode(&self.bytes[self.at..])?;
        let message = InPlace {
            bytes: self.unread.bytes,
            end: self.end(len),
            publish,
            ack,
        };
        self.at += len;
        let ack = called.fail(client, &message, ack, None)?;
        Some((publish, ack))
    }
}

/// Decodes a new message on this topic, whole and right; with what others have in common with it.
fn decode<'a>(
    bytes: &'a [u8],
    topic: &'a str,
    packet_bytes_max: usize,
) -> Option<(Publish<'a>, Alike<'a>)> {
    if !packet::is_new_publish(*bytes.first()?) {
        return None;
    }
    let packet = packet::split_publish(bytes, packet_bytes_max)?;
    let publish = packet.with_topic(topic)?;
    Some((publish, Alike::of(bytes, &packet, &publish)))
}

impl State {
    /// Whether there is a place for a QoS 1 or 2 message that is none of those that were handled before.
    #[inline]
    fn has_place_for(&mut self, publish: &Publish<'_>) -> bool {
        if self.session.inbound_room() == 0 {
            self.make_place();
        }
        let len = publish.topic().len() + publish.payload().len();
        self.session.inbound_room() > 0
            && self.settled.is_empty()
            && self.subscriptions.has_room(len)
    }

    /// Lets the acknowledgements go that are due, for the places that they take.
    #[cold]
    #[inline(never)]
    fn make_place(&mut self) {
        self.session.flush_acks();
    }
}
