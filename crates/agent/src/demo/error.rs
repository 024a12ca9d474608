//! Why `agent demo` did not end with 0, and which exit code that is.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::process::ExitStatus;

use fiber::signal::Signal;
use fiber::{JoinError, OffloadError, SpawnError, Stopped};
use mqtt::store::{KeyLength, OpenError};
use mqtt::{BrokerError, PublishError};
use safe_rt::{EndpointError, TlsConfigError};

use super::count::Tally;
use super::verdict::Miss;
use crate::config::ConfigErrors;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identity;
use crate::local_cloud::CloudError;
use crate::out::PrintError;

/// Why a demonstration failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum DemoError {
    /// The system has no random bytes for a seed.
    Randomness(io::Error),
    /// The local cloud's certificates or services could not be made.
    Cloud(CloudError),
    /// The certificates made no TLS configuration.
    TlsConfig(TlsConfigError),
    /// The cloud cannot listen on the loopback interface.
    Listen(safe_rt::Error),
    /// The system does not tell at which port the cloud listens.
    Address(io::Error),
    /// The address of the cloud is none that a device can be given.
    Endpoint(EndpointError),
    /// The cloud's broker did not do as it was told.
    Broker(BrokerError),
    /// The device failed.
    Device(mqtt::Error),
    /// The device's identity cannot be kept or read.
    State(identity::StoreError),
    /// The device was not delivered with what it needs.
    Delivery(&'static str),
    /// The device's queue on the disk failed.
    Queue(OpenError),
    /// The number of a message is no key of its queue.
    Key(KeyLength),
    /// The device's configuration is faulty.
    Config(Box<ConfigErrors>),
    /// The folder of the demonstration cannot be made or used.
    Folder(io::Error),
    /// The line between the device and the demonstration failed.
    Line(io::Error),
    /// The device's process could not be started, killed or waited for.
    Process(io::Error),
    /// What stops a fiber found no thread.
    Offload(OffloadError),
    /// The device's fiber failed.
    Join(JoinError),
    /// The device ended by itself.
    DeviceGone(Option<ExitStatus>),
    /// The keyboard cannot be read.
    Keys(Failure),
    /// No fiber could be started.
    Spawn(SpawnError),
    /// A wait was stopped.
    Stopped(Stopped),
    /// The system does not let the program listen to signals.
    Signals(io::Error),
    /// A second signal ended it before the counts were compared.
    Signal(Signal),
    /// The standard output failed.
    Output(PrintError),
    /// Something is lost, wrongly doubled, or came from nowhere.
    NotKept(Tally),
    /// The run has shown nothing either way.
    NotShown(Miss),
}

impl DemoError {
    /// Returns the exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NotShown(_) => Exit::NotShown,
            Self::Signal(Signal::Interrupt) => Exit::Interrupted,
            Self::Signal(_) => Exit::Terminated,
            Self::Randomness(_)
            | Self::Cloud(_)
            | Self::TlsConfig(_)
            | Self::Listen(_)
            | Self::Address(_)
            | Self::Endpoint(_)
            | Self::Broker(_)
            | Self::Device(_)
            | Self::State(_)
            | Self::Delivery(_)
            | Self::Queue(_)
            | Self::Key(_)
            | Self::Config(_)
            | Self::Folder(_)
            | Self::Line(_)
            | Self::Process(_)
            | Self::Offload(_)
            | Self::Join(_)
            | Self::DeviceGone(_)
            | Self::Keys(_)
            | Self::Spawn(_)
            | Self::Stopped(_)
            | Self::Signals(_)
            | Self::Output(_)
            | Self::NotKept(_) => Exit::Failed,
        }
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Randomness(error) => write!(f, "no random bytes for a seed: {error}"),
            Self::Cloud(error) => write!(f, "cannot make a cloud: {error}"),
            Self::State(error) => write!(f, "the device's identity: {error}"),
            Self::Delivery(expected) => write!(f, "the device was not delivered whole: {expected}"),
            Self::TlsConfig(error) => write!(f, "cannot set up TLS: {error}"),
            Self::Listen(error) => write!(f, "the cloud cannot listen: {error}"),
            Self::Address(error) => write!(f, "the cloud has no address: {error}"),
            Self::Endpoint(error) => write!(f, "the cloud's address is not usable: {error}"),
            Self::Broker(error) => write!(f, "the cloud failed: {error}"),
            Self::Device(error) => write!(f, "the device failed: {error}"),
            Self::Queue(error) => write!(f, "the device's queue failed: {error}"),
            Self::Key(error) => error.fmt(f),
            Self::Config(errors) => errors.fmt(f),
            Self::Folder(error) => write!(f, "cannot use a folder for temporary files: {error}"),
            Self::Line(error) => write!(f, "the device cannot be heard: {error}"),
            Self::Process(error) => write!(f, "the device's process: {error}"),
            Self::Offload(error) => error.fmt(f),
            Self::Join(error) => write!(f, "the device failed: {error}"),
            Self::DeviceGone(None) => f.write_str("the device ended by itself"),
            Self::DeviceGone(Some(status)) => {
                write!(f, "the device ended by itself: {status}")
            }
            Self::Keys(failure) => failure.fmt(f),
            Self::Spawn(error) => error.fmt(f),
            Self::Stopped(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "cannot listen to signals: {error}"),
            Self::Signal(signal) => write!(f, "a second {signal} ended it: nothing was compared"),
            Self::Output(error) => write!(f, "cannot write to the standard output: {error}"),
            Self::NotKept(tally) => write!(
                f,
                "{} messages lost, {} under way for ever, {} doubled that must not be, {} that \
                 nobody published, {} commands unanswered",
                tally.lost, tally.under_way, tally.wrongly_doubled, tally.unknown, tally.unanswered
            ),
            Self::NotShown(miss) => write!(f, "nothing was shown: {miss}"),
        }
    }
}

impl StdError for DemoError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Randomness(error)
            | Self::Signals(error)
            | Self::Address(error)
            | Self::Folder(error)
            | Self::Line(error)
            | Self::Process(error) => Some(error),
            Self::Queue(error) => Some(error),
            Self::Key(error) => Some(error),
            Self::Config(errors) => Some(errors),
            Self::Offload(error) => Some(error),
            Self::Join(error) => Some(error),
            Self::Keys(failure) => Some(failure),
            Self::Cloud(error) => Some(error),
            Self::State(error) => Some(error),
            Self::TlsConfig(error) => Some(error),
            Self::Listen(error) => Some(error),
            Self::Endpoint(error) => Some(error),
            Self::Broker(error) => Some(error),
            Self::Device(error) => Some(error),
            Self::Spawn(error) => Some(error),
            Self::Stopped(error) => Some(error),
            Self::Output(error) => Some(error),
            Self::NotKept(_)
            | Self::NotShown(_)
            | Self::Signal(_)
            | Self::DeviceGone(_)
            | Self::Delivery(_) => None,
        }
    }
}

impl From<TlsConfigError> for DemoError {
    fn from(error: TlsConfigError) -> Self {
        Self::TlsConfig(error)
    }
}

impl From<EndpointError> for DemoError {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}

impl From<CloudError> for DemoError {
    fn from(error: CloudError) -> Self {
        Self::Cloud(error)
    }
}

impl From<identity::StoreError> for DemoError {
    fn from(error: identity::StoreError) -> Self {
        Self::State(error)
    }
}

impl From<OpenError> for DemoError {
    fn from(error: OpenError) -> Self {
        Self::Queue(error)
    }
}

impl From<KeyLength> for DemoError {
    fn from(error: KeyLength) -> Self {
        Self::Key(error)
    }
}

impl From<PublishError> for DemoError {
    fn from(error: PublishError) -> Self {
        Self::Device(error.into())
    }
}

impl From<BrokerError> for DemoError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<mqtt::Error> for DemoError {
    fn from(error: mqtt::Error) -> Self {
        Self::Device(error)
    }
}

impl From<SpawnError> for DemoError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl From<Stopped> for DemoError {
    fn from(error: Stopped) -> Self {
        Self::Stopped(error)
    }
}

impl From<PrintError> for DemoError {
    fn from(error: PrintError) -> Self {
        Self::Output(error)
    }
}
