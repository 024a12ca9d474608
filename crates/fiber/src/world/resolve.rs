//! The name door: the system's resolver, off the thread.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

#[cfg(feature = "sim")]
use crate::core;
use crate::world::offload::{Lane, offload_on};

/// Looks up the addresses of `host`, each with `port`. Yields until the resolver answers.
///
/// The resolver may take its time, but it takes it on a thread of its own: the wait obeys the
/// ambient deadline, and an abandoned look-up delays nobody but later look-ups.
///
/// # Errors
///
/// What the resolver answered; or the wait ended early, see [`crate::cause`].
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
