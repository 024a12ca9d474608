//! Every option of every tool, as one table. The parser, the help, the manual page and the
//! completions are made from it, so that none of them knows an option that another does not.

mod connection;
mod differences;
mod messages;
mod refused;
mod service;
#[cfg(test)]
mod tests;

use super::Tool;
use super::error::UsageError;

pub use self::differences::{DIFFERENCES, Difference};
pub(super) use self::refused::{ENGINES, MQTT_5, ONLY_3_1_1, SOCKS};
pub use self::refused::{REFUSED, Refused};

/// An option of some tools.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Flag {
    /// Its spellings: letters, then words.
    pub names: &'static [&'static str],
    /// What its value is called; empty if it takes none.
    pub value: &'static str,
    /// The tools that have it.
    pub tools: &'static [Tool],
    /// What it does, in a few words.
    pub text: &'static str,
    pub(super) opt: Opt,
}

/// Options that belong together.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The options.
    pub rows: &'static [Flag],
}

/// The sections, in the order in which they are told.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Messages",
        rows: messages::MESSAGES,
    },
    Section {
        title: "Output",
        rows: messages::OUTPUT,
    },
    Section {
        title: "Service",
        rows: service::ROWS,
    },
    Section {
        title: "Connection",
        rows: connection::CONNECTION,
    },
    Section {
        title: "TLS",
        rows: connection::TLS,
    },
    Section {
        title: "Will",
        rows: connection::WILL,
    },
    Section {
        title: "General",
        rows: service::GENERAL,
    },
];

/// An option, whatever its spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    All,
    Alpn,
    BindAddress,
    Cafile,
    Capath,
    Cert,
    ClientId,
    Config,
    Count,
    Debug,
    DenyWarnings,
    Device,
    Doc,
    DryRun,
    ExitSubscribed,
    Fault,
    File,
    FilterOut,
    For,
    Format,
    Help,
    Host,
    IdPrefix,
    Insecure,
    Interactive,
    Interface,
    Json,
    KeepAlive,
    KeepSession,
    Key,
    KeyForm,
    Level,
    Lines,
    List,
    Markdown,
    Message,
    Metrics,
    NoDelay,
    NoLineEnd,
    NoRetained,
    Now,
    Null,
    Only,
    Origin,
    OsCerts,
    Password,
    PasswordEnv,
    PasswordFile,
    Port,
    Pretty,
    Protocol,
    Proxy,
    QoS,
    Quiet,
    RandomFilter,
    RemoveRetained,
    Repeat,
    RepeatDelay,
    ResponseTopic,
    Retain,
    RetainAsPublished,
    RetainedOnly,
    Root,
    Seed,
    Set,
    Skip,
    Socket,
    Standing,
    StateDir,
    Stdin,
    Takeover,
    Timeout,
    TlsVersion,
    Topic,
    Touch,
    Unix,
    Unsubscribe,
    Url,
    UserName,
    Verbose,
    Version,
    Wait,
    Watch,
    WillPayload,
    WillQoS,
    WillRetain,
    WillTopic,
    Window,
    Yes,
}

/// The tools that Mosquitto has as well.
const MOMENT: &[Tool] = &[Tool::Pub, Tool::Sub, Tool::Request];

const fn flag(
    names: &'static [&'static str],
    value: &'static str,
    tools: &'static [Tool],
    opt: Opt,
    text: &'static str,
) -> Flag {
    Flag {
        names,
        value,
        tools,
        text,
        opt,
    }
}

/// What a shell offers for the value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fill {
    /// Nothing: it can be anything.
    Nothing,
    /// Files.
    Files,
    /// Folders.
    Folders,
    /// One of these words.
    Words(&'static [&'static str]),
}

impl Flag {
    /// Returns what a shell offers for its value.
    #[must_use]
    pub const fn fill(&self) -> Fill {
        match self.value.as_bytes() {
            b"FILE" | b"PATH" => Fill::Files,
            b"DIR" => Fill::Folders,
            b"QOS" => Fill::Words(&["0", "1", "2"]),
            b"PROTOCOL" => Fill::Words(&["mqttv311"]),
            b"TLS" => Fill::Words(&["tlsv1.2", "tlsv1.3"]),
            b"FAULT" => Fill::Words(&["cut", "stall", "drop-acks", "kill-broker", "power-cut"]),
            b"LEVEL" => Fill::Words(&["syntax", "files"]),
            b"FORM" => Fill::Words(&["pem"]),
            _ => Fill::Nothing,
        }
    }
}

/// Finds an option of a tool by the name it was given with.
pub(super) fn look_up(tool: Tool, name: &str) -> Result<Opt, UsageError> {
    let found = SECTIONS
        .iter()
        .flat_map(|section| section.rows)
        .chain(service::HIDDEN)
        .find(|row| row.tools.contains(&tool) && row.names.contains(&name));
    if let Some(row) = found {
        return Ok(row.opt);
    }
    let refused = REFUSED
        .iter()
        .find(|row| MOMENT.contains(&tool) && row.names.contains(&name));
    Err(match refused {
        Some(row) => UsageError::NotOffered {
            option: name.to_owned(),
            reason: row.reason,
        },
        None => UsageError::UnknownOption(name.to_owned()),
    })
}
