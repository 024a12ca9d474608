//! The doctor's own connection to the broker: it takes nothing that waits for the agent.

use std::time::Duration;

use fiber::{Elapsed, Stopped};
use mqtt::{Ack, Client, EndCause, Error, QoS, Subscribe, WaitCause};

use super::case::{Case, Setup};
use super::finding::Finding;
use crate::explain;

/// Time for one answer of the broker.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for leaving the broker.
const DOCTOR_LEAVE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two connections: providers want a second for each client identifier.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(1_100);

/// What is said where the device has no client identifier.
const NO_DEVICE_ID: &str = "the device has no id yet: it gets one at its first start";

/// How a right was refused.
pub(super) enum Denied {
    /// By an answer.
    Answer,
    /// By the end of the connection.
    HangUp(String),
}

/// Connects as the device, over the transport that is there or a new one.
///
/// # Errors
/// Why not.
pub(super) fn connect(case: &Case, setup: &Setup) -> Result<(Client, bool), Box<Finding>> {
    // The only way to the broker: whichever checks are made, it stands back here.
    if case.is_beside() {
        return Err(Box::new(beside()));
    }
    let socket = match case.socket.take() {
        Some(socket) => socket,
        None => safe_rt::dial(setup.endpoint(), &setup.connection.dial).map_err(|error| {
            let finding = Finding::fail_by(explain::code_of_dial(&error));
            let finding = finding.evidence(error.to_string());
            Box::new(finding.maybe_remedy(error.remedy()))
        })?,
    };
    let Some(device_id) = setup.device_id() else {
        return Err(Box::new(Finding::skip(NO_DEVICE_ID)));
    };
    let applied = setup
        .connection
        .client_options(&setup.config, device_id.clone());
    let options = applied
        .options
        .connect_timeout(ANSWER_TIMEOUT)
        .operation_timeout(Some(ANSWER_TIMEOUT));
    let client = Client::over(socket, options);
    // What waits in the session is for the agent: it is not acknowledged while this handler waits.
    client.on_unwanted(|_, _| {
        fiber::sleep(super::DOCTOR_TIMEOUT)?;
        Ok(())
    });
    match client.connect() {
        Ok(session_present) => Ok((client, session_present)),
        Err(error) => Err(Box::new(refused(&error))),
    }
}

/// Connects once more, after the pause that providers want.
///
/// # Errors
/// Why not, or that the time is over.
pub(super) fn reconnect(case: &Case, setup: &Setup) -> Result<Client, Box<Finding>> {
    let over = |stopped: Stopped| Box::new(Finding::warn(format!("not found out: {stopped}")));
    fiber::sleep(RECONNECT_PAUSE_MIN).map_err(over)?;
    connect(case, setup).map(|(client, _)| client)
}

/// What is told in the place of a connection that would end the agent's own.
pub(super) fn beside() -> Finding {
    let mut finding = Finding::because_of("daemon");
    finding.text = "the agent runs, and a second connection would end its own (--takeover)".into();
    finding
}

/// What it means that CONNECT was not accepted.
fn refused(error: &Error) -> Finding {
    let end = match error {
        Error::Refused(reason) => {
            return Finding::fail_by(explain::code_of_refusal(*reason)).evidence(error.to_string());
        }
        Error::Wait(WaitCause::ConnectionLost(end)) => end,
        other => return Finding::fail_by("T085").evidence(other.to_string()),
    };
    let code = match &**end {
        EndCause::ClosedByPeer => "T086",
        end => explain::code_of_end(end).unwrap_or("T093"),
    };
    Finding::fail_by(code).evidence(end.to_string())
}

/// Asks for one filter, and acknowledges nothing that comes for it.
///
/// # Errors
/// How it was refused; the inner error says why it is not known.
pub(super) fn subscribe(
    client: &Client,
    filter: &str,
    qos: QoS,
    seen: impl Fn(&mqtt::Message) + 'static,
) -> Result<(), Result<Denied, String>> {
    let subscribe = Subscribe::to(filter, qos)
        .ack(Ack::Manual)
        .wait(mqtt::Wait::Ack);
    let subscribed = client.subscribe_as(subscribe, move |_, message| {
        seen(message);
        Ok(())
    });
    match subscribed {
        Ok(_) => Ok(()),
        Err(error) => Err(denied(&error)),
    }
}

/// How a request was refused, if it was.
pub(super) fn denied(error: &Error) -> Result<Denied, String> {
    match error {
        Error::SubscribeRefused { .. } => Ok(Denied::Answer),
        Error::Wait(WaitCause::ConnectionLost(end)) => Ok(Denied::HangUp(end.to_string())),
        other => Err(other.to_string()),
    }
}

/// Waits whether the connection stays; returns why it ended if it did not.
///
/// # Errors
/// A scope around ended the wait.
pub(super) fn stays(client: &Client, time: Duration) -> Result<Option<String>, Stopped> {
    match fiber::timeout(time, || client.ended()) {
        Ok(Ok(end)) | Err(Elapsed(Ok(end))) => Ok(Some(end.to_string())),
        Ok(Err(stopped)) => Err(stopped),
        Err(Elapsed(Err(_))) => Ok(None),
    }
}

/// Leaves the broker.
pub(super) fn leave(client: &Client) {
    // Whether it takes the DISCONNECT makes no difference here.
    let _ = fiber::timeout(DOCTOR_LEAVE_TIMEOUT, || client.close(Duration::ZERO));
}
