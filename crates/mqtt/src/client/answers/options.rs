//! How a request is made, and why it may have no answer.

use std::error::Error as StdError;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::Stopped;

use super::super::error::{Error, PublishError, WaitCause, WaitError};
use super::super::message::Message;
use super::{ANSWER_FILTERS_MAX, OPEN_REQUESTS_MAX, REQUEST_TIMEOUT_DEFAULT};
use crate::packet::QoS;
use crate::session::ArgumentError;

/// Tells whether a message is the answer to one request.
pub(super) type IsAnswer = Rc<dyn Fn(&Message) -> bool>;

/// Where the answer to a request comes.
#[derive(Clone)]
pub(super) enum Place {
    /// Under this prefix and the request's identifier.
    Under(String),
    /// At this filter, told by a function.
    At(String, IsAnswer),
}

/// How a request is made, and what its answer is.
///
/// # Examples
///
/// ```
/// use mqtt::RequestOptions;
/// # let token = "7f";
///
/// // Published at `store/get/ID`, answered at `meter-17/answers/ID`; the client chooses ID.
/// let by_topic = RequestOptions::reply_to("meter-17/answers");
/// // Published as it is; the answer is told by what the program has put into both.
/// let by_content = RequestOptions::answered_at("shadow/get/+", move |message| {
///     message.data.starts_with(token.as_bytes())
/// });
/// ```
#[derive(Clone)]
pub struct RequestOptions {
    pub(super) place: Place,
    pub(super) qos: QoS,
    pub(super) timeout: Duration,
}

impl fmt::Debug for RequestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Under(at) | Place::At(at, _)) = &self.place;
        f.debug_struct("RequestOptions")
            .field("answers", at)
            .field("qos", &self.qos)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl RequestOptions {
    /// The client chooses an identifier, one level of sixteen hexadecimal digits that begins at random
    /// with each client: the request is published at its topic with that level behind it, and the
    /// answer is the first message at `prefix` with that level behind it. All requests with one
    /// prefix share one subscription. The prefix has no wildcards: such a request is
    /// [`RequestError::Argument`].
    #[must_use]
    pub fn reply_to(prefix: impl Into<String>) -> Self {
        Self::new(Place::Under(prefix.into()))
    }

    /// The request is published as it is, and the answer is the first message at `filter` for which
    /// `is_answer` holds. That is asked on a fiber of the client for each message there, while the
    /// request waits; it must not wait.
    #[must_use]
    pub fn answered_at(
        filter: impl Into<String>,
        is_answer: impl Fn(&Message) -> bool + 'static,
    ) -> Self {
        Self::new(Place::At(filter.into(), Rc::new(is_answer)))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            qos: QoS::AtLeastOnce,
            timeout: REQUEST_TIMEOUT_DEFAULT,
        }
    }

    /// The quality of service of the request, 1 unless set here. Answers are subscribed to at QoS 0.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Time for the answer, and for all that is waited for before it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Why a request has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The request could never be sent, or its answer never come.
    Argument(ArgumentError),
    /// The broker refused the subscription for the answers (MQTT3-3.9.3).
    Refused {
        /// The topic filter.
        filters: Vec<String>,
    },
    /// The answer did not come in time. The request may have been carried out.
    TimedOut,
    /// [`OPEN_REQUESTS_MAX`] await their answers, or as many filters as may be are in use.
    TooMany,
    /// The wait ended early, by a scope around it or with the connection.
    Wait(WaitCause),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Refused { filters } => {
                let filters = filters.join(", ");
                write!(f, "the broker refused the subscription to {filters}")
            }
            Self::TimedOut => f.write_str("the request was not answered in time"),
            Self::TooMany => write!(
                f,
                "expected at most {OPEN_REQUESTS_MAX} open requests with {ANSWER_FILTERS_MAX} \
                 filters for their answers, found as many"
            ),
            Self::Wait(cause) => cause.fmt(f),
        }
    }
}

impl StdError for RequestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Argument(error) => Some(error),
            Self::Wait(cause) => Some(cause),
            Self::Refused { .. } | Self::TimedOut | Self::TooMany => None,
        }
    }
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        match error {
            Error::Argument(error) => Self::Argument(error),
            Error::SubscribeRefused { filters } => Self::Refused { filters },
            Error::Wait(cause) => Self::Wait(cause),
            // No subscription ends with one of these.
            _ => Self::Wait(WaitCause::Closed),
        }
    }
}

impl From<PublishError> for RequestError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Argument(error) => Self::Argument(error),
            PublishError::QueueFull => Self::TooMany,
            PublishError::StoreFailed(failure) => Self::Wait(WaitCause::StoreFailed(failure)),
            PublishError::Full(cause) | PublishError::Wait(WaitError { cause, .. }) => {
                Self::Wait(cause)
            }
        }
    }
}

impl From<Stopped> for RequestError {
    fn from(stopped: Stopped) -> Self {
        Self::Wait(stopped.into())
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Argument(error) => Self::Argument(error),
            RequestError::Refused { filters } => Self::SubscribeRefused { filters },
            RequestError::TimedOut => Stopped::TimedOut.into(),
            RequestError::TooMany => Self::TooManyRequests,
            RequestError::Wait(cause) => Self::Wait(cause),
        }
    }
}
