//! What fibers of one runtime tell each other and share: values, events, permits, time, and waiting
//! for the first of several things. Nothing here locks; everything is `!Send`.

mod channel;
mod event;
mod mutex;
mod oneshot;
mod permits;
mod select;
mod semaphore;
mod time;

pub use self::channel::{
    Receiver, SendCause, SendError, Sender, TryRecvError, TrySendError, channel,
};
pub use self::event::Event;
pub use self::mutex::{LockError, Mutex, MutexGuard};
pub use self::oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use self::permits::{AcquireError, TryAcquireError};
pub use self::select::{SELECT_SOURCES_MAX, Selected, Selector, Source, select};
pub use self::semaphore::{Acquiring, Permit, Semaphore};
pub use self::time::{Interval, Timer, interval};
pub(crate) use self::time::{sleep, sleep_until};
