//! What fibers of one runtime tell each other: values, events, and waiting for the first of
//! several things. Nothing here locks; everything is `!Send`.

mod channel;
mod event;
mod oneshot;
mod select;

pub use self::channel::{
    Receiver, SendCause, SendError, Sender, TryRecvError, TrySendError, channel,
};
pub use self::event::Event;
pub use self::oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use self::select::{SELECT_SOURCES_MAX, Selected, Source, select};
pub(crate) use self::select::{sleep, sleep_until};
