//! The exit codes.
//!
//! `agent pub` and `agent sub` end with those of `mosquitto_pub` and `mosquitto_sub`, with two
//! additions: failures of TLS are always 8, where those programs answer 1, 7 or 8 depending on how
//! fast the network is; and a subscription that the broker refuses is 76, where they answer 0.
//! `agent run` has the codes that service managers know from `sysexits.h`; no failure of the network
//! ends it. So do the tools that ask a running agent. Nothing here decides which code is due; that is
//! [`Failure::exit`](crate::failure::Failure::exit), and `DemoError::exit` for the demonstration.

use std::process::ExitCode;

use mqtt::ConnectReason;

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// 0: everything that was asked for is done. For `demo`: the fault bit, nothing is lost and
    /// nothing doubled that must not be. For `pub -q 1` and 2: the broker acknowledged every
    /// message. For `sub -C`: every message was printed. For `sub` whose reader closed its end of
    /// the pipe: nobody wants more.
    Done,
    /// 1: the command line is wrong, a file cannot be read or written, or there is no connection:
    /// unknown name, nobody listens, no answer in time. For `demo`: something is lost, or doubled
    /// that must not be.
    Failed,
    /// 1 to 5: the broker refused the connection, with this return code of CONNACK
    /// (MQTT3-3.2.2.3).
    Refused(ConnectReason),
    /// 3: `demo` has not shown anything: its fault did not bite, or the time was over.
    NotShown,
    /// 7: there was a connection and it ended before everything was done.
    ConnectionLost,
    /// 8: TLS failed: the certificate of either side, its name or time, the protocol.
    Tls,
    /// 27: the seconds of `sub -W` are over, even if messages came.
    Expired,
    /// 76: the broker refused every subscription (MQTT3-3.9.3). For `doctor`: a right is missing.
    SubscriptionRefused,
    /// 69: something stands between this device and its broker, which `doctor` has found.
    Blocked,
    /// 75: `doctor` has something to warn of, and warnings count (`--deny-warnings`).
    Warned,
    /// 64: the command line of `agent run` or `agent doctor` is wrong.
    Usage,
    /// 66 (`EX_NOINPUT`): a file is not there or cannot be read.
    NoInput,
    /// 77 (`EX_NOPERM`): a password or a key is there and may not be read.
    Credentials,
    /// 69: no agent runs here, or it does not answer.
    Unavailable,
    /// 75: what `agent wait` waits for did not come about in time.
    TryAgain,
    /// 78: the configuration is faulty. Starting again does not help.
    Config,
}

impl Exit {
    /// Returns the number that the program ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Refused(reason) => reason.code(),
            Self::NotShown => 3,
            Self::ConnectionLost => 7,
            Self::Tls => 8,
            Self::Expired => 27,
            Self::SubscriptionRefused => 76,
            Self::Usage => 64,
            Self::NoInput => 66,
            Self::Credentials => 77,
            Self::Blocked => 69,
            Self::Warned => 75,
            Self::Unavailable => 69,
            Self::TryAgain => 75,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_scripts_know() {
        let table = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Refused(ConnectReason::UnacceptableProtocolVersion), 1),
            (Exit::Refused(ConnectReason::IdentifierRejected), 2),
            (Exit::Refused(ConnectReason::ServerUnavailable), 3),
            (Exit::Refused(ConnectReason::BadUserNameOrPassword), 4),
            (Exit::Refused(ConnectReason::NotAuthorized), 5),
            (Exit::NotShown, 3),
            (Exit::ConnectionLost, 7),
            (Exit::Tls, 8),
            (Exit::Expired, 27),
            (Exit::SubscriptionRefused, 76),
            (Exit::Usage, 64),
            (Exit::NoInput, 66),
            (Exit::Credentials, 77),
            (Exit::Blocked, 69),
            (Exit::Warned, 75),
            (Exit::Unavailable, 69),
            (Exit::TryAgain, 75),
            (Exit::Config, 78),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
