//! What `pub`, `sub` and `request` were given, before it is known whether it fits together.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use mqtt::QoS;
use mqtt::topic::{TopicFilter, TopicName};

use super::flags::Opt;
use super::link::GivenLink;
use super::words::{Value, Words, digits};
use super::{
    Command, MessageSource, OutputArgs, PubArgs, REPEAT_DELAY_MAX, RequestArgs, Retained, SubArgs,
    TakeArgs, Tool, UsageError,
};
use crate::config::parse_length;
use crate::format::Format;

/// What was given, whichever of the three tools it is for.
pub(super) struct Given {
    tool: Tool,
    link: GivenLink,
    qos: Vec<QoS>,
    topic: Option<TopicName>,
    response_topic: Option<TopicFilter>,
    filters: Vec<TopicFilter>,
    unsubscribe: Vec<TopicFilter>,
    source: Option<(&'static str, MessageSource)>,
    retain: bool,
    repeat: NonZeroU32,
    repeat_delay: Duration,
    count: Option<NonZeroU64>,
    wait: Option<Duration>,
    exit_subscribed: bool,
    hidden: Vec<TopicFilter>,
    no_retained: bool,
    retained_only: bool,
    remove_retained: bool,
    share: Option<u16>,
    output: OutputArgs,
}

impl Given {
    /// Understands the words of one of the three tools.
    pub(super) fn parse(tool: Tool, words: &mut Words) -> Result<Command, UsageError> {
        let mut given = Self {
            tool,
            link: GivenLink::default(),
            qos: Vec::new(),
            topic: None,
            response_topic: None,
            filters: Vec::new(),
            unsubscribe: Vec::new(),
            source: None,
            retain: false,
            repeat: NonZeroU32::MIN,
            repeat_delay: Duration::ZERO,
            count: None,
            wait: None,
            exit_subscribed: false,
            hidden: Vec::new(),
            no_retained: false,
            retained_only: false,
            remove_retained: false,
            share: None,
            output: OutputArgs::default(),
        };
        while let Some((opt, value)) = words.next_flag()? {
            match opt {
                Opt::Help => return Ok(Command::Help(tool)),
                Opt::Version => return Ok(Command::Version),
                opt => given.take(opt, value)?,
            }
        }
        match tool {
            Tool::Pub => given.into_pub(),
            Tool::Sub => given.into_sub(),
            _ => given.into_request(),
        }
    }

    fn take(&mut self, opt: Opt, mut value: Value<'_>) -> Result<(), UsageError> {
        match opt {
            Opt::Topic => self.topic(value.text()?)?,
            Opt::Url => {
                if let Some(topic) = self.link.url(&value.text()?)? {
                    self.topic(topic)?;
                }
            }
            Opt::ResponseTopic => {
                let topic = name(value.text()?)?;
                self.response_topic = Some(filter(topic.as_str().to_owned())?);
            }
            Opt::FilterOut => self.hidden.push(filter(value.text()?)?),
            Opt::Unsubscribe => self.unsubscribe.push(filter(value.text()?)?),
            Opt::QoS => self.qos.push(qos(&mut value, UsageError::QoS)?),
            Opt::Message => self.source("-m", MessageSource::Text(value.bytes()?))?,
            Opt::File => self.source("-f", MessageSource::File(value.path()?))?,
            Opt::Lines => self.source("-l", MessageSource::Lines)?,
            Opt::Null => self.source("-n", MessageSource::Text(Vec::new()))?,
            Opt::Stdin => self.source("-s", MessageSource::Stdin)?,
            Opt::Retain => self.retain = true,
            Opt::Repeat => self.repeat = value.number(UsageError::Repeat)?,
            Opt::RepeatDelay => self.repeat_delay = repeat_delay(&mut value)?,
            Opt::Count => self.count = Some(value.number(UsageError::Count)?),
            Opt::Wait => self.wait = Some(wait(&mut value)?),
            Opt::ExitSubscribed => self.exit_subscribed = true,
            Opt::NoRetained => self.no_retained = true,
            Opt::RetainedOnly => self.retained_only = true,
            Opt::RemoveRetained => self.remove_retained = true,
            // MQTT 3.1.1 has no such wish, and the programs of Mosquitto ignore it then.
            Opt::RetainAsPublished => {}
            Opt::RandomFilter => self.share = Some(share(&mut value)?),
            Opt::Verbose => self.output.verbose = true,
            Opt::Format => {
                let format = Format::parse(&value.bytes()?).map_err(UsageError::Format)?;
                self.output.format = Some(format);
            }
            Opt::Pretty => self.output.pretty = true,
            Opt::NoLineEnd => self.output.line_end = false,
            other => self.link.take(other, value)?,
        }
        Ok(())
    }

    /// The last topic of `pub` counts, every one of `sub` does.
    fn topic(&mut self, text: String) -> Result<(), UsageError> {
        if self.tool == Tool::Sub {
            self.filters.push(filter(text)?);
        } else {
            self.topic = Some(name(text)?);
        }
        Ok(())
    }

    fn source(&mut self, option: &'static str, source: MessageSource) -> Result<(), UsageError> {
        match self.source.replace((option, source)) {
            None => Ok(()),
            Some((first, _)) => Err(UsageError::SeveralMessages([first, option])),
        }
    }

    /// The last one counts.
    fn qos(&self) -> QoS {
        self.qos.last().copied().unwrap_or_default()
    }

    fn into_pub(mut self) -> Result<Command, UsageError> {
        let topic = self.topic.take().ok_or(UsageError::NoTopic)?;
        let (_, source) = self.source.take().ok_or(UsageError::NoMessage)?;
        let args = PubArgs {
            topic,
            source,
            qos: self.qos(),
            retain: self.retain,
            repeat: self.repeat,
            repeat_delay: self.repeat_delay,
            connection: self.link.into_connection()?,
        };
        Ok(Command::Pub(Box::new(args)))
    }

    fn into_sub(self) -> Result<Command, UsageError> {
        if self.filters.is_empty() && self.unsubscribe.is_empty() {
            return Err(UsageError::NoFilter);
        }
        if self.no_retained && self.retained_only {
            return Err(UsageError::NothingRetained);
        }
        let last = self.qos();
        // Each for its own filter if there are as many, else the last for all.
        let paired = self.qos.len() == self.filters.len();
        let qos = |at: usize| self.qos.get(at).copied().filter(|_| paired);
        let subscriptions = self
            .filters
            .into_iter()
            .enumerate()
            .map(|(at, filter)| (filter, qos(at).unwrap_or(last)))
            .collect();
        let retained = match (self.no_retained, self.retained_only) {
            (true, _) => Retained::Hidden,
            (_, true) => Retained::Only,
            _ => Retained::Shown,
        };
        let args = SubArgs {
            subscriptions,
            unsubscribe: self.unsubscribe,
            exit_subscribed: self.exit_subscribed,
            wait: self.wait,
            take: TakeArgs {
                count: self.count,
                hidden: self.hidden,
                retained,
                remove_retained: self.remove_retained,
                share: self.share,
            },
            output: self.output,
            connection: self.link.into_connection()?,
        };
        Ok(Command::Sub(Box::new(args)))
    }

    fn into_request(mut self) -> Result<Command, UsageError> {
        let topic = self.topic.take().ok_or(UsageError::NoTopic)?;
        let response_topic = self.response_topic.take();
        let (_, source) = self.source.take().ok_or(UsageError::NoMessage)?;
        let args = RequestArgs {
            topic,
            response_topic: response_topic.ok_or(UsageError::NoResponseTopic)?,
            source,
            qos: self.qos(),
            wait: self.wait,
            output: self.output,
            connection: self.link.into_connection()?,
        };
        Ok(Command::Request(Box::new(args)))
    }
}

fn name(text: String) -> Result<TopicName, UsageError> {
    TopicName::new(text.as_str()).map_err(|error| UsageError::Topic { text, error })
}

fn filter(text: String) -> Result<TopicFilter, UsageError> {
    TopicFilter::new(text.as_str()).map_err(|error| UsageError::Filter { text, error })
}

/// A quality of service.
pub(super) fn qos(
    value: &mut Value<'_>,
    wrong: fn(String) -> UsageError,
) -> Result<QoS, UsageError> {
    match value.number(wrong)? {
        0_u8 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(wrong(other.to_string())),
    }
}

/// Seconds, or a number with its unit; not zero.
fn wait(value: &mut Value<'_>) -> Result<Duration, UsageError> {
    let text = value.text()?;
    let seconds = digits(&text).map(Duration::from_secs);
    match seconds.or_else(|| parse_length(&text).ok()) {
        Some(wait) if !wait.is_zero() => Ok(wait),
        _ => Err(UsageError::Wait(text)),
    }
}

fn repeat_delay(value: &mut Value<'_>) -> Result<Duration, UsageError> {
    let seconds = value.decimal(UsageError::RepeatDelay)?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|delay| *delay <= REPEAT_DELAY_MAX)
        .ok_or_else(|| UsageError::RepeatDelay(seconds.to_string()))
}

/// Per cent, in tenths.
fn share(value: &mut Value<'_>) -> Result<u16, UsageError> {
    let percent = value.decimal(UsageError::RandomFilter)?;
    let tenths = (1_u16..=1_000).rfind(|tenths| f64::from(*tenths) <= percent * 10.0);
    tenths
        .filter(|_| percent <= 100.0)
        .ok_or_else(|| UsageError::RandomFilter(percent.to_string()))
}
