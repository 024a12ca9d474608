//! The life of an agent that is run: until a reason to stop, and the stop itself.

use std::time::Duration;

use fiber::signal::{Signal, Signals};
use fiber::{Event, FiberBuilder, Instant, JoinError, Selected};
use mqtt::Remaining;

use crate::agent::Agent;
#[cfg(test)]
use crate::agent::{FIBERS_END_TIMEOUT, READINGS_KEEP_TIMEOUT};
use crate::attach::{Attached, Attaching, attach_until};
use crate::builder::{OnStart, OnStop};
use crate::config::Config;
use crate::connect::LEAVE_TIMEOUT;
use crate::failure::Failure;
use crate::{notify, out};

/// A configuration that says who the device is, and what keeps the identity for this process.
pub(crate) type Settled = (Config, Option<Attached>);

/// Finds out who the device is, for as long as that takes; none if it is to end before.
pub(crate) fn attach(
    config: Box<Config>,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Option<Box<Settled>>, Failure> {
    let attaching = attach_until(config, signals, deadline);
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

/// Calls the hooks on a fiber of their own, lets the client connect, says that the agent is ready, at once
/// where they wait for long, and waits for a reason to stop, which it returns in words.
pub(crate) fn live(
    agent: &Agent,
    hooks: Vec<OnStart>,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<String, Failure> {
    let ours = agent.clone();
    let body = move || {
        let mut hooks = hooks.into_iter();
        hooks.try_for_each(|hook| hook(&ours).map_err(Failure::Hook))
    };
    let spawned = FiberBuilder::new().name("start").spawn(body);
    let mut starting = spawned.map_err(Failure::Spawn)?;
    // What they declare before they wait is there before the connection.
    fiber::yield_now().map_err(Failure::Stopped)?;
    agent.release();
    let mut ready_by = Some(Instant::now() + notify::ATTACH_PAUSE);
    let why = loop {
        let until = [ready_by, deadline].into_iter().flatten().min();
        let found = fiber::select(&[&starting, signals, agent.stop_event()], until);
        match found.map_err(Failure::Signals)? {
            Selected::Ready(0) => {
                starting.join().map_err(Failure::Join)??;
                notify::ready(agent);
                return wait_for_end(agent, signals, deadline);
            }
            Selected::Ready(1) => match signals.try_recv() {
                Some(Signal::User1) => out::fibers(&fiber::fibers()),
                Some(Signal::Hangup) => reload(agent)?,
                Some(signal) => break signal.to_string(),
                None => {}
            },
            Selected::Ready(_) => break agent.stop_why().unwrap_or_default(),
            Selected::Deadline if deadline.is_some_and(|at| at <= Instant::now()) => {
                break "the time of --for is over".to_owned();
            }
            Selected::Deadline => {
                // A device that waits for its network is healthy.
                notify::ready(agent);
                ready_by = None;
            }
        }
    };
    starting.cancel();
    match fiber::timeout(HOOK_END_TIMEOUT, || starting.join()) {
        Ok(Ok(Err(failure))) => log::warn!("a hook of the start ended early: {failure}"),
        Err(_) => log::error!("a hook of the start does not end"),
        Ok(_) => {}
    }
    Ok(why)
}

/// How long a hook of the start may take to end when the agent is to stop.
const HOOK_END_TIMEOUT: Duration = Duration::from_secs(1);
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

/// Calls the hooks, stops the services and leaves the broker: twice [`LEAVE_TIMEOUT`] and 6 s at most, and what closing the transport takes; at once on a second signal.
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
    fn the_unit_waits_for_as_long_as_a_stop_may_take() {
        let unit = include_str!("../../../packaging/agent.service");
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="));
        let limit: u64 = line.unwrap().parse().unwrap();
        // And the end of the transport.
        let parts = [HOOK_END_TIMEOUT, FIBERS_END_TIMEOUT, READINGS_KEEP_TIMEOUT];
        let stop: Duration = parts.iter().sum::<Duration>() + 2 * LEAVE_TIMEOUT;
        assert!(stop.as_secs() + 5 < limit, "{stop:?}");
    }

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
