//! The options by name: which tool has which, and which of Mosquitto's are not offered.

use lexopt::Arg;

use super::Tool;
use super::error::UsageError;

/// An option, whatever its spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    Alpn,
    Cafile,
    Cert,
    ClientId,
    Config,
    Count,
    Debug,
    File,
    For,
    Help,
    Host,
    KeepAlive,
    KeepSession,
    Key,
    Lines,
    Message,
    Null,
    Password,
    Port,
    QoS,
    Retain,
    Timeout,
    Topic,
    UserName,
    Verbose,
    Version,
    Wait,
    WillPayload,
    WillQoS,
    WillRetain,
    WillTopic,
}

/// Which tools have an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    All,
    Both,
    Pub,
    Run,
    Sub,
}

impl Who {
    fn has(self, tool: Tool) -> bool {
        match self {
            Self::All => true,
            Self::Both => matches!(tool, Tool::Pub | Tool::Sub),
            Self::Pub => tool == Tool::Pub,
            Self::Run => tool == Tool::Run,
            Self::Sub => tool == Tool::Sub,
        }
    }
}

/// Every option: its spellings, and who has it.
const OPTIONS: [(&[&str], Opt, Who); 31] = [
    (&["--config"], Opt::Config, Who::Run),
    (&["--for"], Opt::For, Who::Run),
    (&["-h", "--host"], Opt::Host, Who::Both),
    (&["-p", "--port"], Opt::Port, Who::Both),
    (&["-u", "--username"], Opt::UserName, Who::Both),
    (&["-P", "--pw"], Opt::Password, Who::Both),
    (&["-t", "--topic"], Opt::Topic, Who::Both),
    (&["-m", "--message"], Opt::Message, Who::Pub),
    (&["-f", "--file"], Opt::File, Who::Pub),
    (&["-l", "--stdin-line"], Opt::Lines, Who::Pub),
    (&["-n", "--null-message"], Opt::Null, Who::Pub),
    (&["-q", "--qos"], Opt::QoS, Who::Both),
    (&["-r", "--retain"], Opt::Retain, Who::Pub),
    (&["-i", "--id"], Opt::ClientId, Who::Both),
    (&["-k", "--keepalive"], Opt::KeepAlive, Who::Both),
    (
        &["-c", "--disable-clean-session"],
        Opt::KeepSession,
        Who::Both,
    ),
    (&["-C"], Opt::Count, Who::Sub),
    (&["-W"], Opt::Wait, Who::Sub),
    (&["-v", "--verbose"], Opt::Verbose, Who::Sub),
    (&["-d", "--debug"], Opt::Debug, Who::All),
    (&["--cafile"], Opt::Cafile, Who::Both),
    (&["--cert"], Opt::Cert, Who::Both),
    (&["--key"], Opt::Key, Who::Both),
    (&["--tls-alpn"], Opt::Alpn, Who::Both),
    (&["--will-topic"], Opt::WillTopic, Who::Both),
    (&["--will-payload"], Opt::WillPayload, Who::Both),
    (&["--will-qos"], Opt::WillQoS, Who::Both),
    (&["--will-retain"], Opt::WillRetain, Who::Both),
    (&["--timeout"], Opt::Timeout, Who::Both),
    (&["--help"], Opt::Help, Who::All),
    (&["--version"], Opt::Version, Who::All),
];

/// What `mosquitto_pub` or `mosquitto_sub` 2.0 have and these tools do not.
const NOT_OFFERED: [&str; 43] = [
    "-A",
    "-D",
    "-E",
    "-F",
    "-I",
    "-L",
    "-M",
    "-N",
    "-R",
    "-S",
    "-T",
    "-U",
    "-V",
    "-s",
    "-x",
    "--capath",
    "--ciphers",
    "--filter-out",
    "--id-prefix",
    "--insecure",
    "--keyform",
    "--nodelay",
    "--pretty",
    "--property",
    "--protocol-version",
    "--proxy",
    "--psk",
    "--psk-identity",
    "--quiet",
    "--random-filter",
    "--remove-retained",
    "--repeat",
    "--repeat-delay",
    "--retain-as-published",
    "--retained-only",
    "--stdin-file",
    "--tls-engine",
    "--tls-engine-kpass-sha1",
    "--tls-use-os-certs",
    "--tls-version",
    "--unix",
    "--unsubscribe",
    "--url",
];

/// Finds an option of a tool by the name it was given with.
pub(super) fn look_up(tool: Tool, name: &str) -> Result<Opt, UsageError> {
    let found = OPTIONS
        .iter()
        .find(|(names, _, who)| names.contains(&name) && who.has(tool));
    match found {
        Some((_, option, _)) => Ok(*option),
        None if tool != Tool::Run && NOT_OFFERED.contains(&name) => {
            Err(UsageError::NotOffered(name.to_owned()))
        }
        None => Err(UsageError::UnknownOption(name.to_owned())),
    }
}

/// The argument as it was written.
pub(super) fn spelled(arg: &Arg<'_>) -> String {
    match arg {
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
        Arg::Value(word) => word.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help;

    #[test]
    fn no_name_is_there_twice() {
        let mut names: Vec<&str> = OPTIONS
            .iter()
            .flat_map(|(names, ..)| names.iter())
            .copied()
            .collect();
        names.extend(NOT_OFFERED);
        let total = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), total);
    }

    #[test]
    fn the_help_names_exactly_the_options_of_its_tool() {
        for tool in [Tool::Pub, Tool::Run, Tool::Sub] {
            let text = help::text(tool);
            for (names, _, who) in OPTIONS {
                for name in names {
                    let told = text.lines().any(|line| {
                        line.split([' ', ','])
                            .take_while(|word| !word.contains(".."))
                            .any(|word| word == *name)
                            && line.starts_with(' ')
                    });
                    assert_eq!(
                        told,
                        who.has(tool),
                        "{name} in the help of {}",
                        tool.as_str()
                    );
                }
            }
        }
    }
}
