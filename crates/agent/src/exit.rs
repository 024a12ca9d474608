//! The exit codes, in one table ([`TABLE`]) that the help, the manual page and the tests are made of.
//!
//! `agent pub`, `agent sub` and `agent request` end as Mosquitto's programs do where those are
//! certain: 0, the code of CONNACK, 27 when the time of `-W` is over, and what a shell says of a signal. Everything else has the
//! codes of `sysexits.h` that service managers know, where those programs have the numbers of the
//! errors of their library: 1 for a wrong command line, a missing file and no connection, 7 for a
//! connection that was lost, 8 for most failures of TLS, and 0 for a subscription that was refused.
//! Nothing here decides which code is due; that is
//! [`Failure::exit`](crate::failure::Failure::exit), and `DemoError::exit` for the demonstration.

use std::process::ExitCode;

use mqtt::ConnectReason;

use crate::args::Exits;

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// 0: everything that was asked for is done. For `demo`: the fault bit, nothing is lost and
    /// nothing doubled that must not be. For `pub -q 1` and 2: the broker acknowledged every
    /// message. For `sub -C`: every message was printed. For `sub` whose reader closed its end of
    /// the pipe: nobody wants more.
    Done,
    /// 1: for `demo`, something is lost, or doubled that must not be, or an error came. For `cert
    /// needs-renewal`, that it does not; for `deprovision`, that it was not confirmed.
    Failed,
    /// 1 to 5: the broker refused the connection, with this return code of CONNACK
    /// (MQTT3-3.2.2.3).
    Refused(ConnectReason),
    /// 3: `demo` has not shown anything: its fault did not bite, or the time was over.
    NotShown,
    /// 27: the time of `-W` is over, even if messages came.
    Expired,
    /// 64 (`EX_USAGE`): the command line is wrong.
    Usage,
    /// 65 (`EX_DATAERR`): what was given to be sent, or a file for TLS, is not usable.
    Data,
    /// 66 (`EX_NOINPUT`): a file is not there or cannot be read.
    NoInput,
    /// 69 (`EX_UNAVAILABLE`): there is no connection: unknown name, nobody listens, TLS failed, no
    /// answer in time.
    Unavailable,
    /// 70 (`EX_SOFTWARE`): the program has a fault.
    Internal,
    /// 71 (`EX_OSERR`): the system refused something that is not the network.
    System,
    /// 74 (`EX_IOERR`): the standard input or output failed.
    InputOutput,
    /// 75 (`EX_TEMPFAIL`): there was a connection, and it ended, or was too slow, before everything
    /// was done. Trying again may help.
    TryAgain,
    /// 76 (`EX_PROTOCOL`): the broker refused every subscription (MQTT3-3.9.3), or hung up on what
    /// was published or subscribed to, as brokers do that forbid it.
    Denied,
    /// 77 (`EX_NOPERM`): a password or a key is there and may not be read.
    Credentials,
    /// 78 (`EX_CONFIG`): the configuration is faulty. Starting again does not help.
    Config,
    /// 130: SIGINT ended `request` before there was an answer, or a second one `demo` before it had
    /// compared its counts.
    Interrupted,
    /// 143: likewise SIGTERM.
    Terminated,
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
            Self::Expired => 27,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::System => 71,
            Self::InputOutput => 74,
            Self::TryAgain => 75,
            Self::Denied => 76,
            Self::Credentials => 77,
            Self::Config => 78,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// What exit codes mean.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The code, or the first and the last of several.
    pub codes: (u8, u8),
    /// What it means for `pub`, `sub` and `request`; empty if they do not end with it.
    pub moment: &'static str,
    /// What it means for services and whatever belongs to one; empty if they do not.
    pub service: &'static str,
    /// What it means for `demo`; empty if it does not.
    pub demo: &'static str,
}

impl Row {
    /// What it means for a family of tools, if they end with it.
    #[must_use]
    pub const fn text(&self, exits: Exits) -> Option<&'static str> {
        let text = match exits {
            Exits::Moment => self.moment,
            Exits::Service => self.service,
            Exits::Demo => self.demo,
        };
        if text.is_empty() { None } else { Some(text) }
    }

    /// The codes as text: `27`, or `1 to 5`.
    #[must_use]
    pub fn codes_text(&self) -> String {
        match self.codes {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first} to {last}"),
        }
    }
}

const fn row(
    codes: (u8, u8),
    moment: &'static str,
    service: &'static str,
    demo: &'static str,
) -> Row {
    Row {
        codes,
        moment,
        service,
        demo,
    }
}

const USAGE: &str = "the command line is wrong";

/// Every exit code, in order.
pub const TABLE: &[Row] = &[
    row(
        (0, 0),
        "done; with pub -q 1 and 2 everything is acknowledged; a signal ended sub",
        "done; for run: ended by a signal, by --for, or because nobody reads the output",
        "nothing is lost, and nothing doubled that must not be",
    ),
    row(
        (1, 1),
        "",
        "for cert needs-renewal: not yet; for deprovision: not confirmed; else the running agent, or \
         what the program itself adds, refused",
        "something is lost or doubled, or an error came",
    ),
    row(
        (1, 5),
        "the broker refused the connection with this code",
        "",
        "",
    ),
    row(
        (3, 3),
        "",
        "",
        "it was not shown: the cut was not inside a packet, fewer than five messages were in \
         flight, or the device did not come back",
    ),
    row((27, 27), "the time of -W is over", "", ""),
    row((64, 64), USAGE, USAGE, USAGE),
    row(
        (65, 65),
        "what was to be sent, or a file for TLS, is not usable",
        "what was given is not usable",
        "",
    ),
    row(
        (66, 66),
        "a file is not there or cannot be read",
        "a file is not there or cannot be read",
        "",
    ),
    row(
        (69, 69),
        "no connection: name, port, TLS, or no answer in time",
        "a check failed, or something is not available",
        "",
    ),
    row(
        (70, 70),
        "the program has a fault",
        "the program has a fault",
        "",
    ),
    row(
        (71, 71),
        "the system refused something other than the network",
        "the system refused something other than the network",
        "",
    ),
    row(
        (74, 74),
        "the standard input or output failed",
        "the standard output failed",
        "",
    ),
    row(
        (75, 75),
        "the connection was lost or too slow; try again",
        "try again later: the time is over, or the agent runs and has the state directory; for \
         doctor: there are warnings, and --deny-warnings",
        "",
    ),
    row(
        (76, 76),
        "the broker refused the subscriptions, or hung up on what was published",
        "rights are missing",
        "",
    ),
    row(
        (77, 77),
        "a password or a key may not be read",
        "credentials may not be read, or the state directory is another user's",
        "",
    ),
    row(
        (78, 78),
        "the agent's configuration is faulty, and no broker is named",
        "the configuration is faulty",
        "",
    ),
    row(
        (130, 130),
        "SIGINT ended request before there was an answer",
        "",
        "a second SIGINT ended it at once",
    ),
    row((143, 143), "likewise SIGTERM", "", "likewise SIGTERM"),
];

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
            (Exit::Expired, 27),
            (Exit::Usage, 64),
            (Exit::Data, 65),
            (Exit::NoInput, 66),
            (Exit::Unavailable, 69),
            (Exit::Internal, 70),
            (Exit::System, 71),
            (Exit::InputOutput, 74),
            (Exit::TryAgain, 75),
            (Exit::Denied, 76),
            (Exit::Credentials, 77),
            (Exit::Config, 78),
            (Exit::Interrupted, 130),
            (Exit::Terminated, 143),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code, "{exit:?}");
            let known = TABLE
                .iter()
                .any(|row| (row.codes.0..=row.codes.1).contains(&code));
            assert!(known, "{exit:?} is not in the table");
        }
    }

    #[test]
    fn the_table_has_no_code_twice_for_anybody() {
        for exits in [Exits::Moment, Exits::Service, Exits::Demo] {
            let mut next = 0;
            for row in TABLE.iter().filter(|row| row.text(exits).is_some()) {
                assert!(row.codes.0 >= next, "{} for {exits:?}", row.codes_text());
                next = row.codes.1 + 1;
            }
        }
    }
}
