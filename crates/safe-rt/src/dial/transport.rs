//! The TCP connection to one address: a socket that is set up, bound and then connected.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::BorrowedFd;

use fiber::net::{TcpConnecting, TcpStream};
use socket2::{SockRef, TcpKeepalive};

use crate::address::Shown;

/// How long a connection is idle before the first probe, unless set otherwise.
pub const TCP_KEEP_ALIVE_IDLE_DEFAULT: Duration = Duration::from_secs(120);
/// How long the kernel waits between two probes, unless set otherwise.
pub const TCP_KEEP_ALIVE_INTERVAL_DEFAULT: Duration = Duration::from_secs(20);
/// How many probes are lost before the connection is given up, unless set otherwise.
pub const TCP_KEEP_ALIVE_PROBES_DEFAULT: u32 = 3;

/// When the kernel asks an idle peer whether it is still there, and when it gives it up
/// (RFC 9293 section 3.8.4).
///
/// By default a peer that is gone is noticed after three minutes. The kernel counts whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepAlive {
    /// How long nothing comes before the first probe.
    pub idle: Duration,
    /// How long it waits for an answer before the next one.
    pub interval: Duration,
    /// How many probes without an answer end the connection.
    pub probes: u32,
}

impl Default for TcpKeepAlive {
    fn default() -> Self {
        Self {
            idle: TCP_KEEP_ALIVE_IDLE_DEFAULT,
            interval: TCP_KEEP_ALIVE_INTERVAL_DEFAULT,
            probes: TCP_KEEP_ALIVE_PROBES_DEFAULT,
        }
    }
}

/// What a TCP socket is set up with before it connects.
#[derive(Clone, Debug)]
pub(super) struct TcpOptions {
    pub(super) nodelay: bool,
    pub(super) keep_alive: Option<TcpKeepAlive>,
    pub(super) keep_alive_is_chosen: bool,
    pub(super) user_timeout: Option<Duration>,
    pub(super) not_sent_low_water: Option<u32>,
    pub(super) local: Option<SocketAddr>,
    pub(super) interface: Option<String>,
}

impl TcpOptions {
    pub(super) const DEFAULT: Self = Self {
        nodelay: true,
        keep_alive: Some(TcpKeepAlive {
            idle: TCP_KEEP_ALIVE_IDLE_DEFAULT,
            interval: TCP_KEEP_ALIVE_INTERVAL_DEFAULT,
            probes: TCP_KEEP_ALIVE_PROBES_DEFAULT,
        }),
        keep_alive_is_chosen: false,
        user_timeout: None,
        not_sent_low_water: None,
        local: None,
        interface: None,
    };

    /// Connects to `address`. Yields until connected.
    ///
    /// # Errors
    /// What the kernel answered; what it answered to an option names the option.
    pub(super) fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.check_family(address)?;
        TcpStream::connect_with(address, |socket| self.set_up(socket))
    }

    /// Begins to connect to `address`, as [`Self::connect`] does. Does not yield.
    pub(super) fn begin(&self, address: SocketAddr) -> io::Result<TcpConnecting> {
        self.check_family(address)?;
        TcpStream::begin(address, |socket| self.set_up(socket))
    }

    fn check_family(&self, address: SocketAddr) -> io::Result<()> {
        if let Some(local) = self.local
            && local.is_ipv4() != address.is_ipv4()
        {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("the local address {} is of another family", Shown(local)),
            ));
        }
        Ok(())
    }

    fn set_up(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let socket = SockRef::from(&socket);
        named("TCP_NODELAY", socket.set_tcp_nodelay(self.nodelay))?;
        if let Some(keep_alive) = self.keep_alive {
            let probing = TcpKeepalive::new()
                .with_time(keep_alive.idle)
                .with_interval(keep_alive.interval)
                .with_retries(keep_alive.probes);
            named("keep-alive", socket.set_tcp_keepalive(&probing))?;
        }
        self.set_up_linux(&socket)?;
        if let Some(local) = self.local {
            // A port that was used a moment ago is free for the next connection.
            let reuse = local.port() != 0;
            named("SO_REUSEADDR", socket.set_reuse_address(reuse))?;
            let option = format!("the local address {}", Shown(local));
            named(&option, socket.bind(&local.into()))?;
        }
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_up_linux(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if let Some(timeout) = self.user_timeout {
            named(
                "TCP_USER_TIMEOUT",
                socket.set_tcp_user_timeout(Some(timeout)),
            )?;
        }
        if let Some(bytes) = self.not_sent_low_water {
            named("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(bytes))?;
        }
        if let Some(interface) = &self.interface {
            let option = format!("the network interface {interface}");
            named(&option, socket.bind_device(Some(interface.as_bytes())))?;
        }
        Ok(())
    }

    /// There are no such options; an interface was refused before.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    const fn set_up_linux(&self, _: &SockRef<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Says which option the kernel refused.
fn named<T>(option: &str, set: io::Result<T>) -> io::Result<T> {
    set.map_err(|error| io::Error::new(error.kind(), format!("{option}: {error}")))
}
