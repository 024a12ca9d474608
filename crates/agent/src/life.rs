//! The life of an agent that is run: until a reason to stop, and the stop itself.

use std::time::Duration;

use fiber::signal::{Signal, Signals};
use fiber::{Event, FiberBuilder, Instant, JoinError, Selected, Stopped};
use mqtt::Remaining;

use crate::agent::Agent;
use crate::attach::{Attached, Attaching, attach_until};
use crate::builder::OnStop;
use crate::config::Config;
use crate::connect::LEAVE_TIMEOUT;
use crate::failure::Failure;
use crate::{notify, out};

/// A configuration that says who the device is, and what keeps the identity for this process.
pub(crate) type Settled = (Config, Option<Attached>);

/// Finds out who the device is, for as long as that takes; none if it is to end before. The service
/// manager is told meanwhile that the agent is alive.
pub(crate) fn attach(
    config: Box<Config>,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Option<Box<Settled>>, Failure> {
    let mut alive = FiberBuilder::new()
        .name("watchdog")
        .spawn(notify::serve_before)
        .map_err(Failure::Spawn)?;
    let attaching = attach_until(config, signals, deadline);
    alive.cancel();
    let _: Result<Result<(), Stopped>, JoinError> = alive.join();
    match attaching? {
        Attaching::Done(done) => Ok(Some(done)),
        Attaching::Signal(signal) => {
            log::info!("stopping: {signal}");
            Ok(None)
        }
        Attaching::Deadline => {
            log::info!("stopping: the time of --for is over");
            Ok(None)
        }
    }
}

/// Waits for a reason to stop, and returns it in words.
pub(crate) fn wait_for_end(
    agent: &Agent,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<String, Failure> {
    loop {
        let found = fiber::select(&[signals, agent.stop_event()], deadline);
        match found.map_err(Failure::Signals)? {
            Selected::Ready(0) => match signals.try_recv() {
                Some(Signal::User1) => out::fibers(&fiber::fibers()),
                Some(Signal::Hangup) => reload(agent)?,
                Some(signal) => return Ok(signal.to_string()),
                None => {}
            },
            Selected::Ready(_) => return Ok(agent.stop_why().unwrap_or_default()),
            Selected::Deadline => return Ok("the time of --for is over".to_owned()),
        }
    }
}

/// Reads the configuration again, beside what goes on: a file may be long in coming.
fn reload(agent: &Agent) -> Result<(), Failure> {
    let asked = agent.clone();
    agent.spawn("reload", move || {
        // What is wrong with it is logged.
        drop(asked.reload());
        Ok(())
    })
}

/// Calls the hooks, stops the services and leaves the broker: twice [`LEAVE_TIMEOUT`] at most, and
/// what closing the transport takes; at once on a second signal.
pub(crate) fn stop(agent: &Agent, hooks: Vec<OnStop>, signals: &Signals) -> Result<(), Failure> {
    let stopped = agent.clone();
    let ended = Event::new();
    let at_end = ended.clone();
    let mut stopping = FiberBuilder::new()
        .name("stop")
        .spawn(move || {
            let call_all = || {
                for hook in hooks.into_iter().rev() {
                    hook(&stopped);
                }
            };
            if fiber::timeout(LEAVE_TIMEOUT, call_all).is_err() {
                log::warn!("what is to be done before the stop took too long");
            }
            // What is kept needs no connection that there is not.
            let is_kept = stopped.is_durable() && !stopped.is_online();
            let left = stopped.leave(if is_kept {
                Duration::ZERO
            } else {
                LEAVE_TIMEOUT
            });
            at_end.set();
            left
        })
        .map_err(Failure::Spawn)?;
    loop {
        match fiber::select(&[&ended, signals], None).map_err(Failure::Signals)? {
            Selected::Ready(0) => break,
            _ if stopping.is_finished() => break,
            _ => match signals.try_recv() {
                Some(Signal::Terminate | Signal::Interrupt) => {
                    stopping.cancel();
                    return Err(Failure::StoppedTwice);
                }
                Some(Signal::User1) => out::fibers(&fiber::fibers()),
                Some(_) | None => {}
            },
        }
    }
    match stopping.join() {
        Ok(Ok(remaining)) => {
            tell_left(&remaining);
            Ok(())
        }
        Ok(Err(stopped)) | Err(JoinError::Stopped(stopped)) => Err(Failure::Stopped(stopped)),
        Err(error) => Err(Failure::Join(error)),
    }
}

fn tell_left(remaining: &Remaining) {
    match left(remaining) {
        None => log::info!("left; the broker acknowledged everything"),
        Some(text) => log::warn!("left; {text}"),
    }
}

/// What is not with the broker, in words; nothing if everything is.
fn left(remaining: &Remaining) -> Option<String> {
    let Remaining {
        unacknowledged,
        unsent_bytes,
        kept,
        ..
    } = *remaining;
    let messages = |count| match count {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    };
    let lost = unacknowledged.saturating_sub(kept);
    match (kept, lost, unsent_bytes) {
        (0, 0, 0) => None,
        (0, 0, unsent) => Some(format!("{unsent} bytes were never sent")),
        (0, lost, unsent) => Some(format!(
            "{} {} not acknowledged, {unsent} bytes were never sent",
            messages(lost),
            if lost == 1 { "was" } else { "were" }
        )),
        (kept, 0, _) => Some(format!("{} kept for the next start", messages(kept))),
        (kept, lost, _) => Some(format!(
            "{} kept for the next start, {} lost",
            messages(kept),
            messages(lost)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_is_told_as_kept_or_lost() {
        let told = |unacknowledged, unsent_bytes, kept| {
            let mut remaining = Remaining::default();
            remaining.unacknowledged = unacknowledged;
            remaining.unsent_bytes = unsent_bytes;
            remaining.kept = kept;
            left(&remaining)
        };
        assert_eq!(told(0, 0, 0), None);
        let text = |left: Option<String>| left.unwrap_or_default();
        assert_eq!(text(told(0, 7, 0)), "7 bytes were never sent");
        assert_eq!(
            text(told(1, 7, 0)),
            "1 message was not acknowledged, 7 bytes were never sent"
        );
        assert_eq!(text(told(3, 7, 3)), "3 messages kept for the next start");
        assert_eq!(
            text(told(3, 7, 1)),
            "1 message kept for the next start, 2 messages lost"
        );
    }
}
