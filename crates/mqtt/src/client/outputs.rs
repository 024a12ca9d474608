//! What the session tells of a connection, beside the effects of single packets.

use fiber::Instant;

use super::error::EndCause;
use super::event::Event;
use super::expiry;
use super::options::Resubscribe;
use super::shared::{Shared, State, now};
use crate::session::Output;

/// Acts on the session's rare events; notes in `up` when the broker accepted the connection.
#[inline]
pub(super) fn act(
    shared: &Shared,
    up: &mut Option<Instant>,
    state: &mut State,
) -> Result<(), EndCause> {
    if state.session.has_outputs() {
        act_on_all(shared, up, state)
    } else {
        Ok(())
    }
}

#[cold]
fn act_on_all(
    shared: &Shared,
    up: &mut Option<Instant>,
    state: &mut State,
) -> Result<(), EndCause> {
    let mut is_lost = false;
    let mut ended = Ok(());
    while let Some(output) = state.session.next_output() {
        match output {
            Output::Connected { session_present } => {
                *up = Some(Instant::recent());
                state.touch(now());
                state.standby.wanted = false;
                if session_present {
                    // It sends what it kept before the program may be ready.
                    state.early.begin(now());
                }
                is_lost = !session_present;
                if is_lost {
                    state.forget_gates();
                    state.settled.clear();
                }
                if let Some(durable) = &state.durable {
                    durable.room();
                }
                if !session_present || shared.options.resubscribe == Resubscribe::Always {
                    state.ask_for_all();
                }
                state.admit_queued();
                expiry::look_again(shared);
                state.events.push(Event::Connected { session_present });
                state.onlookers.wake_all();
            }
            Output::Closed(cause) => {
                ended = Err(EndCause::of_close(cause));
                break;
            }
            output => state.carry_over(output),
        }
    }
    if is_lost {
        state.record_session_lost();
    }
    ended
}
