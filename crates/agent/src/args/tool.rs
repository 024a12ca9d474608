//! The programs in one, as a table: what each is called and what is said about it.

use super::flags::{self, Section};

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tool {
    /// `agent` itself.
    Agent,
    /// `agent run`.
    Run,
    /// `agent pub`, or `agent publish`.
    Pub,
    /// `agent sub`, or `agent subscribe`.
    Sub,
    /// `agent request`.
    Request,
    /// `agent check-config`.
    CheckConfig,
    /// `agent config`.
    Config,
    /// `agent init`.
    Init,
    /// `agent explain`.
    Explain,
    /// `agent demo`.
    Demo,
    /// `agent doctor`.
    Doctor,
    /// `agent provision`.
    Provision,
    /// `agent deprovision`.
    Deprovision,
    /// `agent cert`.
    Cert,
    /// `agent status`.
    Status,
    /// `agent fibers`.
    Fibers,
    /// `agent queue`.
    Queue,
    /// `agent wait`.
    Wait,
    /// `agent reload`.
    Reload,
    /// `agent completions`.
    Completions,
    /// `agent man`.
    Man,
}

/// What is said about a tool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct About {
    /// The words after `agent` that call it: its name first, then others that mean the same.
    pub words: &'static [&'static str],
    /// What follows the options in the line of usage.
    pub operands: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What it does, in whole sentences.
    pub text: &'static str,
    /// Which exit codes it ends with.
    pub exits: Exits,
}

/// The families of exit codes; see [`crate::exit::TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exits {
    /// Tools for a moment: `pub`, `sub`, `request`.
    Moment,
    /// Services, and what belongs to one.
    Service,
    /// `demo`.
    Demo,
}

impl Tool {
    /// All of them but `agent` itself, in the order in which they are told.
    pub const ALL: [Self; 20] = [
        Self::Run,
        Self::Pub,
        Self::Sub,
        Self::Request,
        Self::CheckConfig,
        Self::Config,
        Self::Init,
        Self::Explain,
        Self::Demo,
        Self::Provision,
        Self::Deprovision,
        Self::Cert,
        Self::Doctor,
        Self::Status,
        Self::Fibers,
        Self::Queue,
        Self::Wait,
        Self::Reload,
        Self::Completions,
        Self::Man,
    ];

    /// Returns how it is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Run => "agent run",
            Self::Pub => "agent pub",
            Self::Sub => "agent sub",
            Self::Request => "agent request",
            Self::CheckConfig => "agent check-config",
            Self::Config => "agent config",
            Self::Init => "agent init",
            Self::Explain => "agent explain",
            Self::Demo => "agent demo",
            Self::Doctor => "agent doctor",
            Self::Provision => "agent provision",
            Self::Deprovision => "agent deprovision",
            Self::Cert => "agent cert",
            Self::Status => "agent status",
            Self::Fibers => "agent fibers",
            Self::Queue => "agent queue",
            Self::Wait => "agent wait",
            Self::Reload => "agent reload",
            Self::Completions => "agent completions",
            Self::Man => "agent man",
        }
    }

    /// Finds a tool by the word after `agent`.
    #[must_use]
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|tool| tool.about().words.contains(&word))
    }

    /// Its options, in the order in which they are told; sections without any are left out.
    pub fn sections(self) -> impl Iterator<Item = (&'static str, Vec<&'static flags::Flag>)> {
        flags::SECTIONS.iter().filter_map(move |section| {
            let Section { title, rows } = section;
            let own: Vec<_> = rows
                .iter()
                .filter(|row| row.tools.contains(&self))
                .collect();
            (!own.is_empty()).then_some((*title, own))
        })
    }

    /// Returns what is said about it.
    #[must_use]
    pub const fn about(self) -> About {
        match self {
            Self::Agent => About {
                words: &[],
                operands: "COMMAND [options]",
                summary: "a device agent for MQTT",
                text: "Keeps a device connected to its cloud, and is a tool for whoever looks \
                       after it.",
                exits: Exits::Service,
            },
            Self::Run => About {
                words: &["run"],
                operands: "[options]",
                summary: "connect as a configuration file says, and stay connected",
                text: "Connects as the configuration says and stays connected until SIGTERM or \
                       SIGINT: publishes telemetry and prints what arrives for its \
                       subscriptions, topic first. A message of QoS 1 or 2 is acknowledged after \
                       it was printed. SIGUSR1 prints what its fibers do to the standard error \
                       output, a line for each.",
                exits: Exits::Service,
            },
            Self::Pub => About {
                words: &["pub", "publish"],
                operands: "[options] -t TOPIC {-m TEXT | -f FILE | -l | -n | -s}",
                summary: "publish messages, as mosquitto_pub does",
                text: "Publishes messages and ends once they are delivered: at QoS 1 and 2, once \
                       the broker has acknowledged each of them. The options are those of \
                       mosquitto_pub.",
                exits: Exits::Moment,
            },
            Self::Sub => About {
                words: &["sub", "subscribe"],
                operands: "[options] {-t FILTER | -U FILTER} ...",
                summary: "subscribe and print what arrives, as mosquitto_sub does",
                text: "Prints the payload of every message that arrives, and a line end. A \
                       message of QoS 1 or 2 is acknowledged after it was printed. A connection \
                       that is lost is made again, and the subscriptions with it; SIGINT and \
                       SIGTERM end it in order. The options are those of mosquitto_sub.",
                exits: Exits::Moment,
            },
            Self::Request => About {
                words: &["request"],
                operands: "[options] -t TOPIC -e TOPIC {-m TEXT | -f FILE | -n | -s}",
                summary: "publish a request and print the response, as mosquitto_rr does",
                text: "Subscribes to the topic of the response, publishes the request, prints \
                       the first response and ends. A response that the broker had kept from \
                       before is none. The options are those of mosquitto_rr, with MQTT 3.1.1: \
                       whoever answers must know the topic of the response.",
                exits: Exits::Moment,
            },
            Self::CheckConfig => About {
                words: &["check-config"],
                operands: "[options]",
                summary: "say everything that is wrong with the configuration",
                text: "Reads the configuration in all its layers, and the files that it names, \
                       and tells every fault at once with its place and what to write instead. \
                       Nothing is started and nothing is written.",
                exits: Exits::Service,
            },
            Self::Config => About {
                words: &["config"],
                operands: "{show | get KEY | list [TABLE]} [options]",
                summary: "print what the configuration comes to, or what can be set",
                text: "`show` prints every setting that has a value, `get` one of them, and \
                       `list` the keys that there are. A secret is printed as ***.",
                exits: Exits::Service,
            },
            Self::Init => About {
                words: &["init"],
                operands: "> FILE",
                summary: "print a configuration with every key, commented",
                text: "Prints a configuration in which every key is explained, and all but the \
                       endpoint is commented out. It writes no file: `agent init > \
                       /etc/agent/agent.toml`.",
                exits: Exits::Service,
            },
            Self::Explain => About {
                words: &["explain"],
                operands: "[CODE ...]",
                summary: "say what a code means, how to check it and what helps",
                text: "Explains the codes that stand in errors, in the log and in what the \
                       doctor says, such as T021. Without a code it lists all of them.",
                exits: Exits::Service,
            },
            Self::Demo => About {
                words: &["demo"],
                operands: "[options]",
                summary: "a device, its cloud, and what may happen to both",
                text: "A device and its cloud on the loopback interface: nothing else is needed, \
                       and nothing stays. The device is a process of its own. It makes a key \
                       and has the cloud certify it, publishes telemetry, kept on the disk until \
                       the cloud has it, and obeys commands over TLS. Its link is cut inside a \
                       packet, with messages in flight; then its process is killed and started \
                       again. In the end two counts are compared: what the device published, \
                       what the cloud received.",
                exits: Exits::Demo,
            },
            Self::Doctor => About {
                words: &["doctor"],
                operands: "[--config FILE] [options]",
                summary: "what stands between this device and its broker, and what helps",
                text: "Examines everything between this device and its broker, in order and in \
                       30 s at most, and says what is found, why, what helps, and what to fix \
                       first. While the agent runs, it stops short of connecting, which would end \
                       the agent's own connection. What waits at the broker for the device with \
                       QoS 1 or 2 stays there, and what is subscribed to for the examination is \
                       unsubscribed again.",
                exits: Exits::Service,
            },
            Self::Provision => About {
                words: &["provision"],
                operands: "[options]",
                summary: "get the device its identity, or say what it has",
                text: "Gets the device an identity as the configuration says, as agent run \
                       does, and tells each step as it happens. Where there is one, it is \
                       named and stays. An interrupted order goes on where it was. A device \
                       whose identity was given up gets another one by this alone.",
                exits: Exits::Service,
            },
            Self::Deprovision => About {
                words: &["deprovision"],
                operands: "[options]",
                summary: "give the identity of the device up",
                text: "Moves the identity of the device, and one in the making, to the trash in \
                       the state directory, after it has asked twice. Device id and claim stay. \
                       agent run gets no other identity before agent provision has been called.",
                exits: Exits::Service,
            },
            Self::Cert => About {
                words: &["cert"],
                operands: "{show | needs-renewal | renew | csr} [options]",
                summary: "the certificates of the device",
                text: "`show` prints the certificates of the device, and the claim. \
                       `needs-renewal` ends with 0 if the one in use is due, and with 1 if it is \
                       not. `renew` has another one made: by the running agent, if one runs. \
                       `csr` prints a signing request for the key of the device; where there is \
                       none, one is made and kept.",
                exits: Exits::Service,
            },
            Self::Status => About {
                words: &["status"],
                operands: "[options]",
                summary: "how the running agent is",
                text: "Asks a running agent at its control socket, which only its own user and root \
                       may, how the connection stands, what waits and what is wrong.",
                exits: Exits::Service,
            },
            Self::Fibers => About {
                words: &["fibers"],
                operands: "[options]",
                summary: "what the fibers of the running agent do",
                text: "Asks a running agent at its control socket what its fibers do, a line for \
                       each.",
                exits: Exits::Service,
            },
            Self::Queue => About {
                words: &["queue"],
                operands: "{ls | export | drop {--count N | --all}} [options]",
                summary: "the messages that wait in the running agent",
                text: "Asks a running agent at its control socket for the messages that wait, the \
                       oldest first: ls lists them, export tells them with their payloads in \
                       Base64, a line of JSON for each, and drop withdraws the oldest that were \
                       not sent.",
                exits: Exits::Service,
            },
            Self::Wait => About {
                words: &["wait"],
                operands: "[options]",
                summary: "wait until the running agent is so far",
                text: "Waits for a connection of the running agent, for its identity, or until \
                       the broker has everything.",
                exits: Exits::Service,
            },
            Self::Reload => About {
                words: &["reload"],
                operands: "[options]",
                summary: "have the running agent read its configuration again",
                text: "Has a running agent read its configuration again, as SIGHUP does, and says \
                       what changed. A configuration with a fault changes nothing.",
                exits: Exits::Service,
            },
            Self::Completions => About {
                words: &["completions"],
                operands: "{bash | zsh | fish}",
                summary: "print what a shell needs to complete the options",
                text: "Prints the completions of all commands for one shell, to be put where \
                       that shell looks for them.",
                exits: Exits::Service,
            },
            Self::Man => About {
                words: &["man"],
                operands: "",
                summary: "print the manual page",
                text: "Prints the manual page agent(1), for `man -l -` or to be installed.",
                exits: Exits::Service,
            },
        }
    }
}
