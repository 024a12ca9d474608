//! Which exit codes the errors of a connection are.

use std::io;

use mqtt::{EndCause, WaitCause};
use safe_rt::TlsError;

use crate::exit::Exit;

pub(super) fn exit_of_error(error: &mqtt::Error) -> Exit {
    match error {
        mqtt::Error::Refused(reason) => Exit::Refused(*reason),
        mqtt::Error::SubscribeRefused { .. } => Exit::Denied,
        mqtt::Error::Wait(cause) => exit_of_wait(cause),
        _ => Exit::Data,
    }
}

pub(super) fn exit_of_wait(cause: &WaitCause) -> Exit {
    match cause {
        WaitCause::ConnectionLost(end) => exit_of_end(end),
        _ => Exit::TryAgain,
    }
}

/// The end of a connection on which an answer was waited for.
pub(super) fn exit_of_hang_up(end: &EndCause) -> Exit {
    match end {
        EndCause::ClosedByPeer => Exit::Denied,
        end => exit_of_end(end),
    }
}

/// The broker may refuse our certificate only after the handshake (RFC 8446 section 4.4.2.4), so
/// the end of a connection can mean that there is none to be had.
pub(super) fn exit_of_end(end: &EndCause) -> Exit {
    match end {
        EndCause::Refused(reason) => Exit::Refused(*reason),
        EndCause::Dial(_) => Exit::Unavailable,
        EndCause::Transport(error) if TlsError::of(error).is_some() => Exit::Unavailable,
        _ => Exit::TryAgain,
    }
}

/// What a password or a key that cannot be read is.
pub(super) fn exit_of_credentials(error: &io::Error) -> Exit {
    match is_forbidden(error) {
        true => Exit::Credentials,
        false => Exit::NoInput,
    }
}

pub(super) fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
