//! The name of a signal.

use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use std::borrow::Cow;

/// The name of a signal and the type of what it carries.
///
/// Two of the same text are the same name. Services usually share a constant; a text that is made
/// while the program runs is as good.
///
/// # Examples
/// ```
/// use safe_rt::SignalName;
///
/// /// The broker has let us in; carries how often it has.
/// const CONNECTED: SignalName<u32> = SignalName::new("mqtt:connected").latched();
/// let command: SignalName<Vec<u8>> = format!("device:command:{}", "reboot").into();
/// assert_eq!(CONNECTED.as_str(), "mqtt:connected");
/// assert_eq!(command.as_str(), "device:command:reboot");
/// ```
pub struct SignalName<T> {
    pub(super) text: Cow<'static, str>,
    /// How to keep the last payload, if it is to be kept.
    pub(super) latch: Option<fn(&T) -> T>,
    payload: PhantomData<fn(&T)>,
}

impl<T> SignalName<T> {
    /// Names a signal that carries a `T`.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            latch: None,
            payload: PhantomData,
        }
    }

    /// Keeps the last payload for those who come later. For states, as "connected", of which one
    /// wants to know how things are, and not only how they change.
    #[must_use]
    pub const fn latched(mut self) -> Self
    where
        T: Clone,
    {
        self.latch = Some(T::clone);
        self
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T> From<String> for SignalName<T> {
    fn from(text: String) -> Self {
        Self {
            text: Cow::Owned(text),
            latch: None,
            payload: PhantomData,
        }
    }
}

impl<T> fmt::Debug for SignalName<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalName")
            .field("text", &self.text)
            .field("payload", &type_name::<T>())
            .field("latched", &self.latch.is_some())
            .finish_non_exhaustive()
    }
}
