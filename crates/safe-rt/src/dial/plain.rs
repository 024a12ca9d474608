//! A dial that does nothing but connect: by TCP, to an address. It needs no fiber that waits for it.

use core::fmt;
use core::net::SocketAddr;
use std::io;

use fiber::Stopped;
use fiber::net::TcpConnecting;

use super::{DialOptions, Dialling};
use crate::address::Shown;
use crate::endpoint::{Endpoint, Place};
use crate::error::{Error, Phase};
use crate::socket::{Readiness, Socket};
use crate::stats::{count, count_failed_dial};

/// A dial that was begun by [`begin_dial`]. Dropping it gives it up.
pub struct Connecting {
    stream: TcpConnecting,
    address: SocketAddr,
}

/// Begins what [`dial`](super::dial) does, if that is no more than to connect to the endpoint: by TCP, to
/// an address that stands in it, not by way of a proxy. Does not yield.
///
/// Returns `None` where more is to be done, or nothing fits; then nothing has happened.
///
/// # Errors
/// As [`dial`](super::dial).
#[must_use]
pub fn begin_dial(endpoint: &Endpoint, options: &DialOptions) -> Option<Result<Connecting, Error>> {
    let plan = Dialling::plan(endpoint, options, None).ok()?;
    if plan.tls.is_some() || plan.ws.is_some() || plan.proxy.is_some() {
        return None;
    }
    let Place::Network { at, .. } = endpoint.place() else {
        return None;
    };
    let address = at.literal()?;
    count(|counters| &counters.dials);
    Some(match options.tcp().begin(address) {
        Ok(stream) => Ok(Connecting { stream, address }),
        Err(error) => Err(failed(address, error)),
    })
}

impl Connecting {
    /// Returns the end of the attempt, well or not, as something to wait for.
    #[must_use]
    pub fn ended(&self) -> Readiness<'_> {
        self.stream.ended().into()
    }

    /// Returns the socket, or this as it is while the attempt has not ended. Does not yield.
    ///
    /// # Errors
    /// As [`dial`](super::dial).
    pub fn finish(self) -> Result<Result<Socket, Self>, Error> {
        let address = self.address;
        match self.stream.finish() {
            Ok(Ok(stream)) => {
                count(|counters| &counters.dials_connected);
                Ok(Ok(Socket::dialled(stream, address)))
            }
            Ok(Err(stream)) => Ok(Err(Self { stream, address })),
            Err(error) => Err(failed(address, error)),
        }
    }

    /// Gives the attempt up, because of `cause`; returns it as the error of the dial.
    #[must_use]
    pub fn give_up(self, cause: Stopped) -> Error {
        failed(self.address, cause.into())
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Connecting");
        shown
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The error of a dial that failed, which is counted.
fn failed(address: SocketAddr, error: io::Error) -> Error {
    let error = Error::new(Phase::Connect, Shown(address).to_string(), error);
    count_failed_dial(&error);
    error
}
