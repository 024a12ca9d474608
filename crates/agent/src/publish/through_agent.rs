//! A message goes by way of the agent that runs on this machine: through its queue and over its
//! connection, so that no second one is made.

use crate::args::PubArgs;
use crate::ask;
use crate::control::{
    CONTROL_REQUEST_BYTES_MAX, Control, ControlError, PUBLISH_WAIT_MAX, Request, ToPublish,
};
use crate::failure::Failure;
use crate::out;
use crate::own::Own;

/// Hands the message to the agent as often as it is wanted; false where there is none that could take
/// it, and nothing was done. Yields.
pub(super) fn run(own: &Own, args: &PubArgs, message: &[u8]) -> Result<bool, Failure> {
    let connection = &args.connection;
    if connection.own.as_ref().is_none_or(|own| own.is_apart) {
        return Ok(false);
    }
    let wait = connection.timeout.unwrap_or(PUBLISH_WAIT_MAX);
    let request = Request::Publish(Box::new(ToPublish {
        topic: args.topic.as_str().to_owned(),
        payload: message.to_vec(),
        qos: args.qos,
        retain: args.retain,
        wait: wait.min(PUBLISH_WAIT_MAX).as_secs(),
    }));
    if request.to_json().len() >= CONTROL_REQUEST_BYTES_MAX {
        log::debug!("the message is too large to be handed to the running agent");
        return Ok(false);
    }
    for n in 0..args.repeat.get() {
        if n > 0 {
            fiber::sleep(args.repeat_delay)?;
        }
        // One that idles in between would be hung up on.
        let control = match reach(own) {
            Ok(control) => control,
            Err(error) if n == 0 => {
                log::debug!("no running agent takes the message: {error}");
                return Ok(false);
            }
            Err(error) => return Err(Failure::Control(error)),
        };
        hand_over(control, &request)?;
    }
    Ok(true)
}

/// Finds the agent of this configuration.
fn reach(own: &Own) -> Result<Control, ControlError> {
    let mut control = ask::connect(&own.sockets())?;
    let answer = control.ask(&Request::Status)?;
    let called = answer["status"]["device"].as_str().unwrap_or_default();
    match own.is_called(called) {
        true => Ok(control),
        false => Err(ControlError::Answer),
    }
}

fn hand_over(mut control: Control, request: &Request) -> Result<(), Failure> {
    let answer = control.ask(request).map_err(Failure::Control)?;
    match answer["outcome"].as_str() {
        Some("acknowledged" | "sent") => Ok(()),
        Some("stored") => {
            out::warning(
                "the message is in the queue of the running agent, which delivers it as soon as it can",
            );
            Ok(())
        }
        Some("waiting") => Err(Failure::InMemory),
        Some(other) => Err(Failure::GivenUp(other.to_owned())),
        None => Err(Failure::Control(ControlError::Answer)),
    }
}
