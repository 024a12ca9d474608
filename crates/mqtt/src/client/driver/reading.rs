//! How the driver reads: what it does with the bytes, and when it stops for want of room.

use fiber::{Instant, Source as _};

use super::{DELIVERIES_PER_TURN_MAX, Driver, LAST_READS_MAX};
use crate::client::Client;
use crate::client::error::EndCause;
use crate::client::inline::InPlace;
use crate::client::outputs;
use crate::client::oversized::Oversized;
use crate::client::poison::Malformed;
use crate::client::receive::{Calls, handle_packet};
use crate::client::run::{self, Unread};
use crate::client::shared::{Shared, State, now};
use crate::packet::{self, PUBLISH_HEAD_BYTES_MAX, PacketRef, Version};
use crate::time::Time;

impl Driver<'_> {
    /// Whether there may be something to read or to handle.
    #[inline]
    pub(super) fn may_read(&mut self) -> bool {
        self.behind
            || self.overrun.is_some()
            || (!self.hold.rests() && self.socket.readable().is_ready())
    }

    /// Reads once, if there is something, and handles what is whole of it.
    ///
    /// Returns whether there may be more to read or to handle.
    pub(super) fn read(&mut self) -> Result<bool, EndCause> {
        let paused = self.overrun.take();
        if paused.is_some() {
            // The next message may find room now.
        } else if !self.behind {
            if !self.socket.readable().is_ready() {
                return Ok(false);
            }
            self.fill()?;
        }
        let unread = self.input.len();
        let due = self.answers_due();
        self.behind = self.handle_packets()?;
        self.hold
            .note_read(due - self.answers_due().min(due), now());
        if let (Some(_), Some(until)) = (self.overrun, paused)
            && self.input.len() == unread
        {
            if until <= now() {
                return Err(self.shared.state().overrun());
            }
            self.overrun = Some(until);
        }
        self.input.release();
        let more = self.behind || self.socket.readable().is_ready();
        Ok(more && self.overrun.is_none())
    }

    /// How many answers messages are held for, if they are.
    #[inline]
    fn answers_due(&self) -> usize {
        match self.hold.until() {
            Some(_) => self.shared.state().session.answers_due(),
            None => 0,
        }
    }

    /// Handles what the peer still said when writing fails: a peer that goes sends first why, and
    /// closes. Returns why the connection ends.
    pub(super) fn last_words(&mut self, cause: EndCause) -> EndCause {
        if let EndCause::Transport(_) = cause {
            // What is handled in place could not be acknowledged, nor known when it comes again.
            self.is_mute = true;
            for _ in 0..LAST_READS_MAX {
                match self.read() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(earlier) => return earlier,
                }
            }
        }
        cause
    }

    /// Reads into the buffer.
    fn fill(&mut self) -> Result<(), EndCause> {
        let max = self.shared.options.maximum_packet_size;
        let wanted = self.input.unconsumed().and_then(|(bytes, range)| {
            let len = packet::peek_len(bytes.get(&range), max);
            len.unwrap_or(Some(PUBLISH_HEAD_BYTES_MAX))
        });
        let space = self.input.space(wanted.unwrap_or(0));
        match self.socket.try_read(space).map_err(EndCause::Transport)? {
            Some(0) => return Err(EndCause::ClosedByPeer),
            Some(n) => {
                self.input.filled(n);
                self.answered = self.up.is_some();
                let mut state = self.shared.state();
                // What answers a ping changes when the next one is due.
                self.has_changed |= state.session.is_pinging();
                state.session.received(now());
                state.last_activity = Some(Instant::recent());
            }
            None => {}
        }
        Ok(())
    }

    /// Handles whole packets, all or as many as one turn may.
    ///
    /// Returns whether there may be more.
    fn handle_packets(&mut self) -> Result<bool, EndCause> {
        if self.settle_acked()? {
            return Ok(false);
        }
        self.has_changed = true;
        self.handle_each()
    }

    /// Settles what is acknowledged at the start of what was read. Returns whether that was all, as it
    /// mostly is where nothing is subscribed to.
    fn settle_acked(&mut self) -> Result<bool, EndCause> {
        let Some((bytes, range)) = self.input.unconsumed() else {
            return Ok(false);
        };
        if self.up.is_none() || self.oversized.is_some() {
            return Ok(false);
        }
        let mut state = self.shared.state();
        let unread = bytes.get(&range);
        let now = now();
        let at = state.settle_run(unread, now);
        let is_all = at == unread.len();
        if is_all {
            self.shared.after_reading(&mut self.up, &mut state, now)?;
        }
        self.input.consume(at);
        Ok(is_all)
    }

    fn handle_each(&mut self) -> Result<bool, EndCause> {
        if let Some(oversized) = &mut self.oversized {
            if !oversized.take(self.shared, &mut self.input) {
                return Ok(false);
            }
            self.oversized = None;
        }
        // Before the state, which is given to the handlers and back.
        let client = Client::inside(self.shared);
        let mut state = self.shared.state();
        let now = now();
        let Some((bytes, range)) = self.input.unconsumed() else {
            return Ok(false);
        };
        let enough = state.received + DELIVERIES_PER_TURN_MAX;
        let mut behind = false;
        let max = self.shared.options.maximum_packet_size;
        let unread = bytes.get(&range);
        let mut at = 0;
        while at < unread.len() {
            if self.up.is_some() && packet::is_new_publish(unread[at]) {
                let rest = Unread {
                    bytes,
                    range: range.start + at..range.end,
                    may_call: !self.is_mute,
                    enough,
                    now,
                };
                let (free, handled) = run::handle(&client, state, rest)?;
                state = free;
                at += handled;
                if state.received >= enough {
                    behind = at < unread.len();
                    break;
                }
                if handled > 0 {
                    continue;
                }
            }
            if self.up.is_some() {
                let settled = state.settle_run(&unread[at..], now);
                if settled > 0 {
                    at += settled;
                    continue;
                }
            }
            let needs_room = packet::is_acknowledged(unread[at]);
            if needs_room && state.session.inbound_room() == 0 {
                state.session.flush_acks();
            }
            if needs_room && state.session.inbound_room() == 0 {
                self.overrun = Some(now + self.shared.options.overrun_grace);
                break;
            }
            let decoded = packet::decode(&unread[at..], Version::V311, max);
            let (packet, len) = match decoded {
                Ok(Some(whole)) => whole,
                Ok(None) => break,
                Err(error) => {
                    let begun = match self.up {
                        Some(_) => Oversized::begin(&mut state, &unread[at..], error, now),
                        None => Err(EndCause::Malformed(error)),
                    };
                    if let Err(EndCause::Malformed(error)) = &begun {
                        self.malformed = Some(Box::new(Malformed::new(&unread[at..], *error)));
                    }
                    if let Some((oversized, taken)) = begun? {
                        self.oversized = Some(Box::new(oversized));
                        at += taken;
                        behind = true;
                    }
                    break;
                }
            };
            if needs_room
                && let PacketRef::Publish(publish) = &packet
                && !state.has_room_for(publish)
            {
                self.overrun = Some(now + self.shared.options.overrun_grace);
                break;
            }
            let end = range.start + at + len;
            let may_call = !self.is_mute;
            let read = (bytes, end);
            let calls = handle_packet(self.shared, &mut state, read, packet, may_call, now)?;
            if let Some(Calls { ack }) = calls
                && let PacketRef::Publish(publish) = packet
                && let Some(callers) = state.callers
            {
                let message = InPlace {
                    bytes,
                    end,
                    publish,
                    ack,
                };
                state = (callers.one)(&client, state, &message, now);
            }
            if self.up.is_none() {
                outputs::act(self.shared, &mut self.up, &mut state)?;
                if self.up.is_some() {
                    // Messages may come right behind CONNACK: the program is told of the connection
                    // before it is given one of them.
                    at += len;
                    behind = at < unread.len();
                    break;
                }
            }
            at += len;
            if state.received >= enough {
                behind = at < unread.len();
                break;
            }
        }
        self.shared.after_reading(&mut self.up, &mut state, now)?;
        self.input.consume(at);
        Ok(behind)
    }
}

impl Shared {
    /// Acts on what the session has to say, and sees to it that what is to be sent is.
    fn after_reading(
        &self,
        up: &mut Option<Instant>,
        state: &mut State,
        now: Time,
    ) -> Result<(), EndCause> {
        outputs::act(self, up, state)?;
        state.session.flush_acks();
        state.session.pace(now, &state.log);
        if !state.session.next_chunk(&state.log).is_empty()
            || !state.asks.is_empty()
            || state.session.has_outputs()
        {
            // An answer, what waited for CONNACK, or what is to be told of.
            self.wake.set();
        }
        Ok(())
    }
}
