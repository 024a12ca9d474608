//! The handshake of a TLS stream: what there is before a stream can be shared.
//!
//! The state belongs to the fiber that runs the handshake, as a value and not behind a `RefCell`.
//! rustls may call out from the middle of its work, to a [`Signer`](crate::Signer) that parks the
//! fiber; whatever else runs meanwhile has no way to the state. A signer is called here only: after
//! the handshake rustls signs nothing, neither renegotiating nor authenticating again.

use core::time::Duration;
use std::io;

use super::state::{Received, State};
use crate::socket::Socket;

/// How long a failed handshake waits for room for the alert that tells the peer why.
const ALERT_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the handshake; waits, obeying the ambient deadline.
pub(super) fn run(transport: &Socket, state: &mut State) -> io::Result<()> {
    let outcome = shake(transport, state);
    if outcome.is_err() {
        // The peer should learn why; a stopped scope makes this attempt fail at once.
        let _ = fiber::timeout(ALERT_TIMEOUT, || flush(transport, state));
    }
    outcome
}

fn shake(transport: &Socket, state: &mut State) -> io::Result<()> {
    loop {
        // The arithmetic of a thousand handshakes must not line up before other fibers.
        fiber::long_turn()?;
        let flushed = state.send_or_explain(transport)?;
        if state.connection.is_handshaking() {
            let received = state.receive(transport)?;
            state.check_failed()?;
            match received {
                Received::Some => {}
                Received::Nothing => wait_for_read(transport, state)?,
                Received::End => return Err(state.closed()),
            }
        } else if flushed || state.rest_may_wait() {
            return Ok(());
        } else {
            fiber::select(&[&transport.writable()], None)?;
        }
    }
}

/// Waits until reading may bring something; what is left to be sent goes out in the meantime.
fn wait_for_read(transport: &Socket, state: &mut State) -> io::Result<()> {
    let readable = transport.readable();
    if !state.has_unsent() && !transport.has_unsent() {
        fiber::select(&[&readable], None)?;
        return Ok(());
    }
    fiber::select(&[&readable, &transport.writable()], None)?;
    // A failure shows in the next write, and makes the next wait one for reading alone.
    let _ = try_flush(transport, state);
    Ok(())
}

/// Waits until every byte is with the kernel.
fn flush(transport: &Socket, state: &mut State) -> io::Result<()> {
    while !try_flush(transport, state)? {
        fiber::select(&[&transport.writable()], None)?;
    }
    Ok(())
}

fn try_flush(transport: &Socket, state: &mut State) -> io::Result<bool> {
    Ok(state.send_or_explain(transport)? && transport.try_flush()?)
}
