//! The fibers of an agent: started, begun again, ended with it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fiber::{FiberBuilder, Instant, JoinHandle, SpawnError, Stopped};
use mqtt::Remaining;

use super::{AGENT_FIBERS_MAX, Agent};
use crate::failure::Failure;
use crate::supervise::HealthCode;

/// How long the fibers of an agent may take to end, together. A program that does a command is killed in
/// this time.
pub(crate) const FIBERS_END_TIMEOUT: Duration = Duration::from_secs(4);
/// After how long a service that has ended is begun again: at first, and at most.
const SERVICE_PAUSE_MIN: Duration = Duration::from_secs(1);
const SERVICE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long it is told that a service has ended, after the last time.
pub(super) const SERVICE_ENDED_WINDOW: Duration = Duration::from_secs(600);

/// A fiber of the agent; it ends when the agent leaves.
pub(super) struct Service {
    name: &'static str,
    handle: JoinHandle<Result<(), Stopped>>,
}

impl Agent {
    /// Starts a fiber that ends with the agent: every wait in it fails when the agent leaves. If it panics
    /// that is logged, and told as [`HealthCode::ServiceEnded`]. Does not yield.
    ///
    /// # Errors
    ///
    /// [`Failure::TooManyFibers`] beyond [`AGENT_FIBERS_MAX`], [`Failure::Spawn`].
    pub fn spawn(
        &self,
        name: &'static str,
        body: impl FnOnce() -> Result<(), Stopped> + 'static,
    ) -> Result<(), Failure> {
        let told = self.clone();
        let body = move || match catch_unwind(AssertUnwindSafe(body)) {
            Ok(ended) => ended,
            Err(payload) => {
                told.note_end(name, &text_of(&*payload));
                drop_payload(payload);
                Ok(())
            }
        };
        let mut fibers = self.0.fibers.borrow_mut();
        fibers.retain(|service| !service.handle.is_finished());
        if fibers.len() >= AGENT_FIBERS_MAX {
            return Err(Failure::TooManyFibers);
        }
        let spawned: Result<_, SpawnError> = FiberBuilder::new().name(name).spawn(body);
        let handle = spawned.map_err(Failure::Spawn)?;
        fibers.push(Service { name, handle });
        Ok(())
    }

    /// Starts a fiber that is to go on until the agent leaves: one that panics, or is stopped by anything
    /// else, is begun again after a pause. Returning is a reason to end. Does not yield.
    pub(crate) fn serve(
        &self,
        name: &'static str,
        body: impl Fn() -> Result<(), Stopped> + 'static,
    ) -> Result<(), Failure> {
        let told = self.clone();
        self.spawn(name, move || {
            let mut pause = SERVICE_PAUSE_MIN;
            loop {
                let began = Instant::now();
                let why = match catch_unwind(AssertUnwindSafe(&body)) {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(stopped)) => stopped.to_string(),
                    Err(payload) => {
                        let why = text_of(&*payload);
                        drop_payload(payload);
                        why
                    }
                };
                if began.elapsed() > SERVICE_ENDED_WINDOW {
                    pause = SERVICE_PAUSE_MIN;
                }
                // It fails where the agent leaves, and there is nothing to tell.
                fiber::sleep(pause)?;
                told.note_end(name, &why);
                pause = (2 * pause).min(SERVICE_PAUSE_MAX);
            }
        })
    }

    fn note_end(&self, name: &'static str, why: &str) {
        log::error!("{name} ended when it was to go on: {why}");
        self.0.ended.borrow_mut().insert(name, Instant::now());
        let text = format!("{name} ended when it was to go on: {why}");
        self.raise(HealthCode::ServiceEnded, text);
    }

    /// Stops the agent's fibers, the last one first, within four seconds, puts readings into the
    /// queue that no message has yet, and leaves the broker in order: waits up to `timeout` for what was
    /// published to be acknowledged, then sends DISCONNECT. Yields until the connection is closed; see
    /// [`Client::close`](mqtt::Client::close). Returns what was left undone; with a state directory that
    /// is kept for the next start. A second call does nothing and returns the same; while the first
    /// one is under way, nothing.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when an outer scope ended the wait; the client leaves all the same.
    pub fn leave(&self, timeout: Duration) -> Result<Remaining, Stopped> {
        if self.0.is_leaving.replace(true) {
            return Ok(self.0.left.get().unwrap_or_default());
        }
        let mut fibers = self.0.fibers.take();
        for service in fibers.iter_mut().rev() {
            service.handle.cancel();
        }
        let mut late = Vec::new();
        let join = || {
            while let Some(mut service) = fibers.pop() {
                match service.handle.join() {
                    Ok(_) => {}
                    Err(_) if service.handle.is_finished() => {}
                    Err(_) => late.push(service.name),
                }
            }
        };
        // Also where the wait of the caller is over.
        if fiber::shield(FIBERS_END_TIMEOUT, join).is_err() {
            log::error!("left without waiting for {}", late.join(", "));
        }
        self.keep_readings();
        let left = self.0.client.close(timeout);
        if let Ok(left) = &left {
            self.0.left.set(Some(*left));
        }
        left
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("with no text"))
}

fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // One that panics when it is dropped had its chance.
        std::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;

    /// An agent that reaches nobody.
    fn with_agent(body: impl FnOnce(&Agent) + 'static) {
        fiber::run(move || {
            let mut config = Config::new("mqtt://127.0.0.1:1".parse().unwrap());
            config
                .set_device_id(&mqtt::ClientId::new("meter-17").unwrap())
                .unwrap();
            let agent = Agent::start(&config).unwrap();
            body(&agent);
        })
        .unwrap();
    }

    #[test]
    fn a_service_that_ends_is_told_and_begun_again() {
        with_agent(|agent| {
            let begun = Rc::new(Cell::new(0));
            let counted = Rc::clone(&begun);
            let body = move || {
                counted.set(counted.get() + 1);
                assert_ne!(counted.get(), 1, "a bug");
                fiber::sleep(Duration::from_secs(3_600))
            };
            agent.serve("test", body).unwrap();
            let panics = || -> Result<(), Stopped> { panic!("another bug") };
            agent.spawn("program", panics).unwrap();
            fiber::sleep(Duration::from_millis(100)).unwrap();
            let health = agent.supervisor().health().clone();
            let told = &health[&HealthCode::ServiceEnded].text;
            assert!(
                told.contains("program") && told.contains("another bug"),
                "{told}"
            );
            while begun.get() < 2 {
                fiber::sleep(Duration::from_millis(10)).unwrap();
            }
            let told = agent.supervisor().health()[&HealthCode::ServiceEnded]
                .text
                .clone();
            assert!(told.contains("test") && told.contains("a bug"), "{told}");
            agent.leave(Duration::ZERO).unwrap();
        });
    }

    #[test]
    fn a_fiber_that_ignores_its_end_does_not_keep_the_agent() {
        with_agent(|agent| {
            agent
                .spawn("deaf", || {
                    let hour = Duration::from_secs(3_600);
                    while fiber::shield(hour, || fiber::sleep(hour)).is_ok() {}
                    Ok(())
                })
                .unwrap();
            fiber::sleep(Duration::from_millis(10)).unwrap();
            let began = Instant::now();
            agent.leave(Duration::ZERO).unwrap();
            let took = began.elapsed();
            assert!(
                took >= FIBERS_END_TIMEOUT && took < 2 * FIBERS_END_TIMEOUT,
                "{took:?}"
            );
        });
    }
}
