//! The calls that all streams have, written once.
//!
//! Macros, because what they make is the public surface of several types: methods with their
//! documentation, and impls of std's traits, which a private trait cannot give. All work is done
//! by what stands behind them.

/// Buffers that one vectored read or write looks at, which is what one call of the system takes;
/// those beyond stay as they are.
pub const VECTORED_BUFFERS_MAX: usize = 1024;

/// `Read` and `Write` for a type that has the `try_` calls and can wait, and for references to it.
macro_rules! read_and_write {
    ($stream:ident) => {
        impl std::io::Read for &$stream {
            /// Reads what is there, yielding until something is, or the end of data.
            #[inline]
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let this = &**self;
                $crate::net::until(this, Direction::Read, || this.try_read(buffer))
            }

            /// As `read`, into several buffers by one call of the system.
            fn read_vectored(
                &mut self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                let this = &**self;
                $crate::net::until(this, Direction::Read, || this.try_read_vectored(buffers))
            }
        }

        impl std::io::Write for &$stream {
            /// Writes what there is room for, yielding until there is some.
            #[inline]
            fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
                let this = &**self;
                $crate::net::until(this, Direction::Write, || this.try_write(data))
            }

            /// As `write`, out of several buffers by one call of the system.
            fn write_vectored(&mut self, data: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let this = &**self;
                $crate::net::until(this, Direction::Write, || this.try_write_vectored(data))
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Read for $stream {
            #[inline]
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(
                &mut self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }

        impl std::io::Write for $stream {
            #[inline]
            fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
                (&*self).write(data)
            }

            fn write_vectored(&mut self, data: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(data)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

/// What a socket with a `Watched` in its only field has whatever it is.
macro_rules! socket_calls {
    ($socket:ident) => {
        impl $socket {
            /// Takes the error that the kernel keeps for this socket, if there is one. Does not
            /// yield.
            ///
            /// # Errors
            ///
            /// What the kernel answered.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.0.io().take_error()
            }

            /// Waits until there is something to take, or its end, without a buffer for it. Yields.
            ///
            /// It may have been taken by another fiber since, so that a `try_` call still finds
            /// nothing; the answer may also be that of an earlier call that left nothing.
            ///
            /// # Errors
            ///
            /// That the socket could not be watched or the wait ended early, see
            /// [`crate::cause`].
            pub fn wait_readable(&self) -> std::io::Result<()> {
                self.0.wait_ready(Direction::Read)
            }

            /// The coming of something to take, or of its end, as something to select on.
            #[must_use]
            pub fn readable(&self) -> $crate::net::Readiness<'_> {
                self.0.readiness(Direction::Read)
            }
        }

        impl std::fmt::Debug for $socket {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::os::fd::AsFd for $socket {
            /// The socket's descriptor, to set options the crate has no call for.
            ///
            /// In the simulator it is one that stands in for it: the end of a pipe, for which the
            /// system refuses all that is about sockets with `ENOTSOCK`.
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.io().as_fd()
            }
        }
    };
}

/// What a socket that is written to has beside [`socket_calls`].
macro_rules! writable_calls {
    ($socket:ident) => {
        impl $socket {
            /// Waits until there is room for data. Yields.
            ///
            /// # Errors
            ///
            /// As [`Self::wait_readable`].
            pub fn wait_writable(&self) -> std::io::Result<()> {
                self.0.wait_ready(Direction::Write)
            }

            /// The coming of room for data, as something to select on.
            #[must_use]
            pub fn writable(&self) -> $crate::net::Readiness<'_> {
                self.0.readiness(Direction::Write)
            }
        }
    };
}

/// All calls of a stream with a `Watched` in its only field.
macro_rules! stream_calls {
    ($stream:ident) => {
        $crate::net::stream::socket_calls!($stream);
        $crate::net::stream::writable_calls!($stream);
        $crate::net::stream::read_and_write!($stream);

        impl $crate::net::Waits for $stream {
            #[inline(always)]
            fn begin(&self) -> std::io::Result<()> {
                self.0.begin()
            }

            fn wait(&self, direction: Direction) -> std::io::Result<()> {
                self.0.wait(direction)
            }
        }

        impl $stream {
            /// Reads what is there. Neither waits nor yields.
            ///
            /// `None` = nothing now; `Some(0)` = the end of data, or an empty buffer.
            ///
            /// # Errors
            ///
            /// What the kernel answered, also when it could not watch the socket.
            #[inline]
            pub fn try_read(&self, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
                self.0.try_read(buffer)
            }

            /// As [`Self::try_read`], into the first [`VECTORED_BUFFERS_MAX`] of several buffers,
            /// one after the other, by one call of the system.
            ///
            /// [`VECTORED_BUFFERS_MAX`]: crate::net::VECTORED_BUFFERS_MAX
            ///
            /// # Errors
            ///
            /// As [`Self::try_read`].
            pub fn try_read_vectored(
                &self,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::io::Result<Option<usize>> {
                self.0.try_read_vectored(buffers)
            }

            /// Writes what the kernel takes. Neither waits nor yields.
            ///
            /// `None` = nothing now.
            ///
            /// # Errors
            ///
            /// What the kernel answered, also when it could not watch the socket.
            #[inline]
            pub fn try_write(&self, data: &[u8]) -> std::io::Result<Option<usize>> {
                self.0.try_write(data)
            }

            /// As [`Self::try_write`], out of the first [`VECTORED_BUFFERS_MAX`] of several
            /// buffers, one after the other, by one call of the system.
            ///
            /// [`VECTORED_BUFFERS_MAX`]: crate::net::VECTORED_BUFFERS_MAX
            ///
            /// # Errors
            ///
            /// As [`Self::try_write`].
            pub fn try_write_vectored(
                &self,
                data: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<Option<usize>> {
                self.0.try_write_vectored(data)
            }

            /// Closes one direction or both. Does not yield.
            ///
            /// # Errors
            ///
            /// What the kernel answered.
            pub fn shutdown(&self, how: $crate::net::Shutdown) -> std::io::Result<()> {
                self.0.io().shutdown(how)
            }
        }
    };
}

/// All calls of a listener with a `Watched` in its only field, but for those that make it.
macro_rules! listener_calls {
    ($listener:ident, $stream:ident, $address:ty) => {
        $crate::net::stream::socket_calls!($listener);

        impl $listener {
            /// The address it listens on.
            ///
            /// # Errors
            ///
            /// What the kernel answered.
            pub fn local_addr(&self) -> std::io::Result<$address> {
                self.0.io().local_addr()
            }

            /// Takes the next connection. Yields until there is one.
            ///
            /// # Errors
            ///
            /// What the kernel answered, or that the wait ended early, see [`crate::cause`]. The
            /// listener stays good after every error.
            pub fn accept(&self) -> std::io::Result<($stream, $address)> {
                $crate::net::until(&self.0, Direction::Read, || self.try_accept())
            }

            /// Takes a connection that is there. Neither waits nor yields.
            ///
            /// # Errors
            ///
            /// What the kernel answered, also when it could not watch the socket.
            pub fn try_accept(&self) -> std::io::Result<Option<($stream, $address)>> {
                let accepted = self.0.attempt(Direction::Read, |io| io.accept())?;
                Ok(accepted.map(|(io, address)| ($stream(self.0.beside(io)), address)))
            }
        }
    };
}

pub(super) use {listener_calls, read_and_write, socket_calls, stream_calls, writable_calls};
