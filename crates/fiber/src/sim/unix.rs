//! Simulated Unix sockets: streams inside one machine, found by a path on its disk or an abstract
//! name. The bytes travel as those of TCP do; no way loses or cuts them.
//!
//! The file of a path lives as other files do: it stays when its listener ends, and a power cut may
//! lose it unless its folder was synced. Not here: passing descriptors.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use crate::core;
use crate::net::UnixSocketAddr;
use crate::sim::net::BACKLOG_MAX;
use crate::sim::sockets::{Socket, system};
use crate::sim::state::State;
use crate::sim::tcp::Tcp;
use crate::sim::{stand_in, world};

/// Where a listener is found.
#[derive(Clone, Debug)]
enum Place<'a> {
    Path(&'a Path),
    Name(&'a [u8]),
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn name_of(address: &UnixSocketAddr) -> Option<&[u8]> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    address.as_abstract_name()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn name_of(_: &UnixSocketAddr) -> Option<&[u8]> {
    None
}

fn place(address: &UnixSocketAddr) -> io::Result<Place<'_>> {
    let path = address.as_pathname().map(Place::Path);
    path.or_else(|| name_of(address).map(Place::Name))
        .ok_or_else(|| ErrorKind::Unsupported.into())
}

fn unnamed() -> io::Result<UnixSocketAddr> {
    UnixSocketAddr::from_pathname("")
}

/// A socket of the network has an address; these have none there.
fn nowhere(host: u32) -> (SocketAddr, SocketAddr, u32) {
    let none = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    (none, none, host)
}

/// A stream.
#[derive(Debug)]
pub(crate) struct UnixStream {
    io: Tcp,
    local: UnixSocketAddr,
    peer: UnixSocketAddr,
}

impl UnixStream {
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        Self::connect_addr(&UnixSocketAddr::from_pathname(path)?)
    }

    pub(crate) fn connect_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        let core = core::required()?;
        let state = world(&core)?;
        let host = state.current_host(&core);
        let found = match place(address)? {
            Place::Path(path) => state.disks.with(host, |disk| disk.socket_at(path))?,
            Place::Name(name) => state.net.name(host, name),
        };
        let room = match found.and_then(|fd| state.backlog(fd).map(|len| (fd, len))) {
            None => return Err(system(libc::ECONNREFUSED)),
            Some((_, len)) if len >= BACKLOG_MAX => return Err(ErrorKind::WouldBlock.into()),
            Some((fd, _)) => fd,
        };
        let (near, far) = state.connected_pair(host);
        if let Some(Socket::Listener { backlog, .. }) =
            state.net.sockets.borrow_mut().get_mut(&room)
        {
            backlog.push_back(far);
        }
        state.edge(room);
        Ok(Self {
            io: Tcp::new(state, near, stand_in()?),
            local: unnamed()?,
            peer: address.clone(),
        })
    }

    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let core = core::required()?;
        let state = world(&core)?;
        let (one, other) = state.connected_pair(state.current_host(&core));
        let end = |fd| -> io::Result<Self> {
            Ok(Self {
                io: Tcp::new(Rc::clone(&state), fd, stand_in()?),
                local: unnamed()?,
                peer: unnamed()?,
            })
        };
        Ok((end(one)?, end(other)?))
    }

    pub(crate) fn number(&self) -> RawFd {
        self.io.number()
    }

    pub(crate) fn local_addr(&self) -> io::Result<UnixSocketAddr> {
        Ok(self.local.clone())
    }

    pub(crate) fn peer_addr(&self) -> io::Result<UnixSocketAddr> {
        Ok(self.peer.clone())
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.io.take_error())
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.shutdown(how)
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read(buffer)
    }

    pub(crate) fn write(&self, data: &[u8]) -> io::Result<usize> {
        self.io.write(data)
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// A listener.
#[derive(Debug)]
pub(crate) struct UnixListener {
    io: Tcp,
    local: UnixSocketAddr,
}

impl UnixListener {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        Self::bind_addr(&UnixSocketAddr::from_pathname(path)?)
    }

    pub(crate) fn bind_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        let core = core::required()?;
        let state = world(&core)?;
        let host = state.current_host(&core);
        let place = place(address)?;
        let fd = state.net.add(Socket::Listener {
            host,
            local: None,
            backlog: VecDeque::new(),
        });
        let io = Tcp::new(Rc::clone(&state), fd, stand_in()?);
        match place {
            Place::Path(path) => state.disks.with(host, |disk| disk.make_socket(path, fd))?,
            Place::Name(name) => state.take_name(host, name, fd)?,
        }
        Ok(Self {
            io,
            local: address.clone(),
        })
    }

    pub(crate) fn number(&self) -> RawFd {
        self.io.number()
    }

    pub(crate) fn local_addr(&self) -> io::Result<UnixSocketAddr> {
        Ok(self.local.clone())
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.io.take_error())
    }

    pub(crate) fn accept(&self) -> io::Result<(UnixStream, UnixSocketAddr)> {
        let (io, _) = self.io.accept()?;
        let stream = UnixStream {
            io,
            local: self.local.clone(),
            peer: unnamed()?,
        };
        Ok((stream, unnamed()?))
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl State {
    /// How many wait at a listener, if it is there.
    fn backlog(&self, fd: RawFd) -> Option<usize> {
        match self.net.sockets.borrow().get(&fd) {
            Some(Socket::Listener { backlog, .. }) => Some(backlog.len()),
            _ => None,
        }
    }

    fn take_name(&self, host: u32, name: &[u8], fd: RawFd) -> io::Result<()> {
        let holder = self.net.name(host, name);
        if holder.and_then(|fd| self.backlog(fd)).is_some() {
            return Err(ErrorKind::AddrInUse.into());
        }
        self.net.set_name(host, name, fd);
        Ok(())
    }

    /// Two ends that are connected to each other.
    fn connected_pair(&self, host: u32) -> (RawFd, RawFd) {
        let one = self.new_end(host, nowhere(host), None, true);
        let other = self.new_end(host, nowhere(host), Some(one), true);
        self.net.end(one, |end| {
            end.peer_fd = Some(other);
            end.connected = true;
        });
        (one, other)
    }
}
