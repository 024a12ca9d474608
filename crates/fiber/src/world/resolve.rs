//! The name door: the system's resolver, off the thread.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

#[cfg(feature = "sim")]
use crate::core;
use crate::world::offload::{Lane, offload_on};

/// Looks up the addresses of `host`, each with `port`. Yields until the resolver answers.
///
/// The resolver may take its time, but it takes it on one of two threads of its own: the wait obeys
/// the ambient deadline. An abandoned look-up that has not begun never does; one that has begun
/// delays nobody but other look-ups, which wait while both threads are with a resolver that does not
/// answer.
///
/// # Errors
///
/// What the resolver answered; [`ResourceBusy`](io::ErrorKind::ResourceBusy) when
/// [`crate::OFFLOAD_QUEUE_MAX`] look-ups wait already; or the wait ended early, see [`crate::cause`].
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    #[cfg(feature = "sim")]
    if let Some(core) = core::current()
        && let Some(sim) = &core.sim
    {
        let addresses = sim.look_up(&core, &host)?;
        return Ok(addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect());
    }
    offload_on(Lane::Names, move || {
        (host.as_str(), port)
            .to_socket_addrs()
            .map(Iterator::collect)
    })?
}
