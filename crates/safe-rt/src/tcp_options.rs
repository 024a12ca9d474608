//! Options of a TCP socket, above all those that tell a dead link from a slow one sooner.
//!
//! Linux has them. Elsewhere, on the pipe and in the simulator there are none, and setting one does
//! nothing: whoever sets them has clocks of its own, and these only help.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use fiber::net::TcpStream;

use crate::dial::TcpKeepAlive;
use crate::socket::Socket;

impl Socket {
    /// Limits how long the kernel keeps sent bytes that the peer's kernel does not acknowledge, before
    /// it gives the connection up (`TCP_USER_TIMEOUT`), in milliseconds; zero leaves it to the system,
    /// which takes a quarter of an hour. Does nothing where there is no such option. Does not yield.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn set_user_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.tcp()
            .map_or(Ok(()), |tcp| kernel::set_user_timeout(tcp, timeout))
    }

    /// Returns that limit: zero if it is left to the system, `None` where there is no such option.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        self.tcp().map_or(Ok(None), kernel::user_timeout)
    }

    /// Sets up to how many bytes that were not sent yet the kernel takes more of them
    /// (`TCP_NOTSENT_LOWAT`): what is written last is then not far behind what is sent. Does nothing
    /// where there is no such option. Does not yield.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn set_not_sent_low_water(&self, bytes: u32) -> io::Result<()> {
        self.tcp()
            .map_or(Ok(()), |tcp| kernel::set_not_sent_low_water(tcp, bytes))
    }

    /// Returns that number of bytes: zero if it is left to the system, `None` where there is no such
    /// option.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn not_sent_low_water(&self) -> io::Result<Option<u32>> {
        self.tcp().map_or(Ok(None), kernel::not_sent_low_water)
    }

    /// Returns whether small writes go out at once (`TCP_NODELAY`): `None` where there is no such
    /// option.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn nodelay(&self) -> io::Result<Option<bool>> {
        self.tcp().map_or(Ok(None), kernel::nodelay)
    }

    /// Returns how the kernel probes an idle peer: `None` if it does not, or where there is no such
    /// option.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn keep_alive(&self) -> io::Result<Option<TcpKeepAlive>> {
        self.tcp().map_or(Ok(None), kernel::keep_alive)
    }

    /// Returns the network interface it is bound to, if it is bound to one.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn interface(&self) -> io::Result<Option<String>> {
        self.tcp().map_or(Ok(None), kernel::interface)
    }

    /// Returns the address of this end, if there is TCP underneath and it is still known.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use socket2::SockRef;

    use super::{Duration, TcpKeepAlive, TcpStream, io};

    pub(super) fn set_user_timeout(tcp: &TcpStream, timeout: Duration) -> io::Result<()> {
        let set = SockRef::from(tcp).set_tcp_user_timeout(Some(timeout));
        if_there_is_one(set).map(Option::unwrap_or_default)
    }

    pub(super) fn user_timeout(tcp: &TcpStream) -> io::Result<Option<Duration>> {
        let timeout = SockRef::from(tcp).tcp_user_timeout();
        if_there_is_one(timeout.map(Option::unwrap_or_default))
    }

    pub(super) fn set_not_sent_low_water(tcp: &TcpStream, bytes: u32) -> io::Result<()> {
        let set = SockRef::from(tcp).set_tcp_notsent_lowat(bytes);
        if_there_is_one(set).map(Option::unwrap_or_default)
    }

    pub(super) fn not_sent_low_water(tcp: &TcpStream) -> io::Result<Option<u32>> {
        if_there_is_one(SockRef::from(tcp).tcp_notsent_lowat())
    }

    pub(super) fn nodelay(tcp: &TcpStream) -> io::Result<Option<bool>> {
        if_there_is_one(SockRef::from(tcp).tcp_nodelay())
    }

    pub(super) fn keep_alive(tcp: &TcpStream) -> io::Result<Option<TcpKeepAlive>> {
        let socket = SockRef::from(tcp);
        let probing = || {
            Ok(TcpKeepAlive {
                idle: socket.tcp_keepalive_time()?,
                interval: socket.tcp_keepalive_interval()?,
                probes: socket.tcp_keepalive_retries()?,
            })
        };
        match if_there_is_one(socket.keepalive())? {
            Some(true) => probing().map(Some),
            Some(false) | None => Ok(None),
        }
    }

    pub(super) fn interface(tcp: &TcpStream) -> io::Result<Option<String>> {
        let name = if_there_is_one(SockRef::from(tcp).device())?.flatten();
        Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    /// A simulated socket shows a descriptor that is none of a socket, and an old kernel does not
    /// know the option.
    fn if_there_is_one<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.raw_os_error(), Some(ENOTSOCK | ENOPROTOOPT)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// "Socket operation on non-socket", the same number on every processor but MIPS and SPARC.
    const ENOTSOCK: i32 = 88;
    /// "Protocol not available", likewise.
    const ENOPROTOOPT: i32 = 92;
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kernel {
    use super::{Duration, TcpKeepAlive, TcpStream, io};

    pub(super) const fn set_user_timeout(_: &TcpStream, _: Duration) -> io::Result<()> {
        Ok(())
    }

    pub(super) const fn user_timeout(_: &TcpStream) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    pub(super) const fn set_not_sent_low_water(_: &TcpStream, _: u32) -> io::Result<()> {
        Ok(())
    }

    pub(super) const fn not_sent_low_water(_: &TcpStream) -> io::Result<Option<u32>> {
        Ok(None)
    }

    pub(super) const fn nodelay(_: &TcpStream) -> io::Result<Option<bool>> {
        Ok(None)
    }

    pub(super) const fn keep_alive(_: &TcpStream) -> io::Result<Option<TcpKeepAlive>> {
        Ok(None)
    }

    pub(super) const fn interface(_: &TcpStream) -> io::Result<Option<String>> {
        Ok(None)
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_tcp_socket_can_be_read_back() {
        let ran = fiber::run(|| -> io::Result<()> {
            let listener = fiber::net::TcpListener::bind(([127, 0, 0, 1], 0).into())?;
            let socket = Socket::from(TcpStream::connect(listener.local_addr()?)?);
            assert_eq!(socket.user_timeout()?, Some(Duration::ZERO));
            socket.set_user_timeout(Duration::from_millis(10_500))?;
            assert_eq!(socket.user_timeout()?, Some(Duration::from_millis(10_500)));
            socket.set_user_timeout(Duration::ZERO)?;
            assert_eq!(socket.user_timeout()?, Some(Duration::ZERO));
            socket.set_not_sent_low_water(16_384)?;
            assert_eq!(socket.not_sent_low_water()?, Some(16_384));
            Ok(())
        });
        ran.expect("the runtime ran")
            .expect("the options are known");
    }

    #[test]
    fn the_pipe_has_no_such_options() {
        let ran = fiber::run(|| -> io::Result<()> {
            let socket = Socket::from(fiber::net::pipe(1).0);
            socket.set_user_timeout(Duration::from_secs(1))?;
            socket.set_not_sent_low_water(1)?;
            assert_eq!(socket.user_timeout()?, None);
            assert_eq!(socket.not_sent_low_water()?, None);
            Ok(())
        });
        ran.expect("the runtime ran")
            .expect("nothing is asked of a kernel");
    }
}
