//! From words to what they mean: each word in its turn, then whether they fit together.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg;
use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, KEEP_ALIVE_DEFAULT, QoS};
use safe_rt::{Endpoint, Scheme};

use super::option::{self, Opt};
use super::will::GivenWill;
use super::{
    Command, ConnectionArgs, Credentials, KEEP_ALIVE_SECS_MIN, MessageSource, Password, PubArgs,
    Rejected, RunArgs, SubArgs, TlsArgs, Tool, UsageError,
};
use super::{control, demo, doctor};
use crate::config::parse_length;
use crate::connect::CONNECT_TIMEOUT_DEFAULT;

/// Understands all words.
pub(super) fn command(mut parser: lexopt::Parser) -> Result<Command, Rejected> {
    let tool = match choose(&mut parser) {
        Ok(Choice::Tool(tool)) => tool,
        Ok(Choice::Command(command)) => return Ok(command),
        Ok(Choice::Control(first)) => {
            let tool = Tool::Control;
            let command = control::parse(&first, &mut parser);
            return command.map_err(|error| Rejected { tool, error });
        }
        Err(error) => {
            return Err(Rejected {
                tool: Tool::Agent,
                error,
            });
        }
    };
    let command = match tool {
        Tool::Demo => demo::parse(&mut parser),
        Tool::Doctor => doctor::parse(&mut parser),
        Tool::Control => Err(UsageError::NoCommand),
        Tool::Agent | Tool::Run | Tool::Pub | Tool::Sub => parse_options(tool, &mut parser),
    };
    command.map_err(|error| Rejected { tool, error })
}

enum Choice {
    Tool(Tool),
    /// A question to a running agent, by its first word.
    Control(String),
    Command(Command),
}

/// Understands the first word.
fn choose(parser: &mut lexopt::Parser) -> Result<Choice, UsageError> {
    let Some(arg) = parser.next().map_err(UsageError::from_parser)? else {
        return Err(UsageError::NoCommand);
    };
    match arg {
        Arg::Long("help") => Ok(Choice::Command(Command::Help(Tool::Agent))),
        Arg::Long("version") => Ok(Choice::Command(Command::Version)),
        Arg::Value(word) => match word.to_str() {
            Some("run") => Ok(Choice::Tool(Tool::Run)),
            Some("pub" | "publish") => Ok(Choice::Tool(Tool::Pub)),
            Some("sub" | "subscribe") => Ok(Choice::Tool(Tool::Sub)),
            Some("demo") => Ok(Choice::Tool(Tool::Demo)),
            Some("doctor") => Ok(Choice::Tool(Tool::Doctor)),
            Some(word @ ("status" | "fibers" | "queue" | "wait" | "reload")) => {
                Ok(Choice::Control(word.to_owned()))
            }
            _ => Err(UsageError::UnknownCommand(
                word.to_string_lossy().into_owned(),
            )),
        },
        Arg::Short(_) | Arg::Long(_) => Err(UsageError::UnknownOption(option::spelled(&arg))),
    }
}

/// What was given, before it is known whether it fits together.
#[derive(Default)]
struct Given {
    config: Option<PathBuf>,
    limit: Option<Duration>,
    host: Option<String>,
    port: Option<u16>,
    user_name: Option<String>,
    password: Option<Password>,
    client_id: Option<ClientId>,
    keep_alive: Option<Duration>,
    keep_session: bool,
    will: GivenWill,
    cafile: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    alpn: Option<String>,
    /// Seconds; zero stands for ever.
    timeout_secs: Option<u32>,
    debug: bool,
    qos: QoS,
    topic: Option<TopicName>,
    filters: Vec<TopicFilter>,
    source: Option<MessageSource>,
    retain: bool,
    count: Option<NonZeroU64>,
    wait: Option<Duration>,
    verbose: bool,
}

fn parse_options(tool: Tool, parser: &mut lexopt::Parser) -> Result<Command, UsageError> {
    let mut given = Given::default();
    while let Some(arg) = parser.next().map_err(UsageError::from_parser)? {
        let name = option::spelled(&arg);
        if let Arg::Value(_) = arg {
            return Err(UsageError::UnknownOption(name));
        }
        let mut value = Value {
            name: &name,
            parser: &mut *parser,
        };
        match option::look_up(tool, &name)? {
            Opt::Help => return Ok(Command::Help(tool)),
            Opt::Version => return Ok(Command::Version),
            Opt::Config => given.config = Some(value.path()?),
            Opt::For => given.limit = Some(limit(value.text()?)?),
            Opt::Host => given.host = Some(value.text()?),
            Opt::Port => given.port = Some(value.number(UsageError::Port)?),
            Opt::UserName => given.user_name = Some(value.text()?),
            Opt::Password => given.password = Some(Password(value.bytes()?)),
            Opt::ClientId => given.client_id = Some(client_id(value.text()?)?),
            Opt::KeepAlive => given.keep_alive = Some(keep_alive(&mut value)?),
            Opt::KeepSession => given.keep_session = true,
            Opt::Cafile => given.cafile = Some(value.path()?),
            Opt::Cert => given.cert = Some(value.path()?),
            Opt::Key => given.key = Some(value.path()?),
            Opt::Alpn => given.alpn = Some(alpn(value.text()?)?),
            Opt::Timeout => given.timeout_secs = Some(value.number(UsageError::Timeout)?),
            Opt::Debug => given.debug = true,
            Opt::QoS => given.qos = qos(&mut value, UsageError::QoS)?,
            Opt::Topic => given.topic(tool, value.text()?)?,
            Opt::Message => given.source(MessageSource::Text(value.bytes()?))?,
            Opt::File => given.source(MessageSource::File(value.path()?))?,
            Opt::Lines => given.source(MessageSource::Lines)?,
            Opt::Null => given.source(MessageSource::Text(Vec::new()))?,
            Opt::Retain => given.retain = true,
            Opt::Count => given.count = Some(value.number(UsageError::Count)?),
            Opt::Wait => {
                let secs: NonZeroU64 = value.number(UsageError::Wait)?;
                given.wait = Some(Duration::from_secs(secs.get()));
            }
            Opt::Verbose => given.verbose = true,
            Opt::WillTopic => given.will.topic(value.text()?)?,
            Opt::WillPayload => given.will.payload(value.bytes()?)?,
            Opt::WillQoS => given.will.qos(qos(&mut value, UsageError::WillQoS)?),
            Opt::WillRetain => given.will.retain(),
        }
    }
    match tool {
        Tool::Run => given.into_run().map(Command::Run),
        Tool::Pub => given.into_pub().map(|args| Command::Pub(Box::new(args))),
        Tool::Sub => given.into_sub().map(|args| Command::Sub(Box::new(args))),
        Tool::Agent | Tool::Demo | Tool::Doctor | Tool::Control => Err(UsageError::NoCommand),
    }
}

impl Given {
    /// The last topic of `pub` counts, every one of `sub` does.
    fn topic(&mut self, tool: Tool, text: String) -> Result<(), UsageError> {
        if tool == Tool::Sub {
            match TopicFilter::new(text.as_str()) {
                Ok(filter) => self.filters.push(filter),
                Err(error) => return Err(UsageError::Filter { text, error }),
            }
        } else {
            match TopicName::new(text.as_str()) {
                Ok(topic) => self.topic = Some(topic),
                Err(error) => return Err(UsageError::Topic { text, error }),
            }
        }
        Ok(())
    }

    fn source(&mut self, source: MessageSource) -> Result<(), UsageError> {
        match self.source.replace(source) {
            None => Ok(()),
            Some(_) => Err(UsageError::SeveralMessages),
        }
    }

    fn into_run(self) -> Result<RunArgs, UsageError> {
        Ok(RunArgs {
            config: self.config.ok_or(UsageError::NoConfig)?,
            limit: self.limit,
            debug: self.debug,
        })
    }

    fn into_pub(mut self) -> Result<PubArgs, UsageError> {
        let topic = self.topic.take().ok_or(UsageError::NoTopic)?;
        let source = self.source.take().ok_or(UsageError::NoMessage)?;
        let (qos, retain) = (self.qos, self.retain);
        Ok(PubArgs {
            connection: self.into_connection()?,
            topic,
            source,
            qos,
            retain,
        })
    }

    fn into_sub(mut self) -> Result<SubArgs, UsageError> {
        if self.filters.is_empty() {
            return Err(UsageError::NoFilter);
        }
        let filters = std::mem::take(&mut self.filters);
        let Self {
            qos,
            count,
            wait,
            verbose,
            ..
        } = self;
        Ok(SubArgs {
            connection: self.into_connection()?,
            filters,
            qos,
            count,
            wait,
            verbose,
        })
    }

    fn into_connection(self) -> Result<ConnectionArgs, UsageError> {
        let identity = match (self.cert, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(UsageError::CertWithoutKey),
        };
        let wants_tls = self.port == Some(Scheme::Mqtts.default_port());
        let tls = match (self.cafile, self.alpn) {
            (Some(cafile), alpn) => Some(TlsArgs {
                cafile,
                identity,
                alpn,
            }),
            // Never plain text where TLS was meant.
            (None, None) if identity.is_none() && !wants_tls => None,
            (None, _) => return Err(UsageError::TlsWithoutCafile),
        };
        let credentials = match (self.user_name, self.password) {
            (Some(user_name), password) => Some(Credentials {
                user_name,
                password,
            }),
            (None, None) => None,
            (None, Some(_)) => return Err(UsageError::PasswordWithoutUserName),
        };
        if self.keep_session && self.client_id.is_none() {
            return Err(UsageError::KeptSessionWithoutId);
        }
        let scheme = if tls.is_some() {
            Scheme::Mqtts
        } else {
            Scheme::Mqtt
        };
        let timeout = match self.timeout_secs {
            None => Some(CONNECT_TIMEOUT_DEFAULT),
            Some(0) => None,
            Some(secs) => Some(Duration::from_secs(secs.into())),
        };
        Ok(ConnectionArgs {
            endpoint: endpoint(scheme, self.host, self.port)?,
            tls,
            client_id: self.client_id,
            credentials,
            will: self.will.into_will()?,
            keep_alive: self.keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT),
            clean_start: !self.keep_session,
            timeout,
            debug: self.debug,
        })
    }
}

/// An option's value, still to be taken.
pub(super) struct Value<'a> {
    pub(super) name: &'a str,
    pub(super) parser: &'a mut lexopt::Parser,
}

impl Value<'_> {
    fn raw(&mut self) -> Result<OsString, UsageError> {
        self.parser
            .value()
            .map_err(|_| UsageError::MissingValue(self.name.to_owned()))
    }

    pub(super) fn path(&mut self) -> Result<PathBuf, UsageError> {
        self.raw().map(PathBuf::from)
    }

    /// The value as it was given, text or not.
    fn bytes(&mut self) -> Result<Vec<u8>, UsageError> {
        self.raw().map(OsString::into_encoded_bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, UsageError> {
        self.raw()?
            .into_string()
            .map_err(|_| UsageError::NotUnicode(self.name.to_owned()))
    }

    /// Digits alone: no sign, no blank, no unit.
    pub(super) fn number<T: std::str::FromStr>(
        &mut self,
        wrong: fn(String) -> UsageError,
    ) -> Result<T, UsageError> {
        let text = self.text()?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(number),
            _ => Err(wrong(text)),
        }
    }
}

fn limit(text: String) -> Result<Duration, UsageError> {
    parse_length(&text).map_err(|_| UsageError::For(text))
}

fn qos(value: &mut Value<'_>, wrong: fn(String) -> UsageError) -> Result<QoS, UsageError> {
    match value.number(wrong)? {
        0_u8 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(wrong(other.to_string())),
    }
}

fn keep_alive(value: &mut Value<'_>) -> Result<Duration, UsageError> {
    match value.number(UsageError::KeepAlive)? {
        secs @ KEEP_ALIVE_SECS_MIN.. => Ok(Duration::from_secs(secs.into())),
        secs => Err(UsageError::KeepAlive(secs.to_string())),
    }
}

fn client_id(text: String) -> Result<ClientId, UsageError> {
    if text.is_empty() {
        return Err(UsageError::EmptyClientId);
    }
    ClientId::new(text).map_err(UsageError::ClientId)
}

fn alpn(text: String) -> Result<String, UsageError> {
    match text.len() {
        1..=255 => Ok(text),
        len => Err(UsageError::Alpn(len)),
    }
}

fn endpoint(
    scheme: Scheme,
    host: Option<String>,
    port: Option<u16>,
) -> Result<Endpoint, UsageError> {
    if port == Some(0) {
        return Err(UsageError::Port("0".to_owned()));
    }
    let port = port.unwrap_or_else(|| scheme.default_port());
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    // A colon is not part of a name: with one it is an IPv6 address, which needs its brackets.
    let authority = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    Endpoint::new(scheme, &authority).map_err(|error| UsageError::Host { text: host, error })
}
