//! Who wants the client to keep away from the broker, and until when: the last of them counts.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::Client;

/// Why the client keeps away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// No window of the schedule is open.
    Window,
    /// The cloud asked for it.
    Blocked,
    /// The program has just begun.
    Delay,
    /// The agent is being put together.
    Start,
}

/// Times that differ by less are the same: wall clocks are slewed.
const SAME: Duration = Duration::from_secs(2);

/// The reasons of one client. Clones share them.
#[derive(Clone)]
pub(crate) struct Away(Rc<Shared>);

struct Shared {
    client: Client,
    /// By reason.
    until: [Cell<Option<Instant>>; 4],
    /// What the client was told.
    told: Cell<Option<Instant>>,
}

impl fmt::Debug for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Away").field(&self.0.told.get()).finish()
    }
}

impl Away {
    pub(crate) fn new(client: Client) -> Self {
        Self(Rc::new(Shared {
            client,
            until: Default::default(),
            told: Cell::new(None),
        }))
    }

    /// Keeps away until then for this reason, or no longer. Does not yield.
    pub(super) fn set(&self, reason: Reason, until: Option<Instant>) {
        self.0.until[reason as usize].set(until);
        let now = Instant::now();
        let times = self.0.until.iter().filter_map(Cell::get);
        let until = times.filter(|until| *until > now).max();
        let earlier = self.0.told.replace(until);
        match (earlier, until) {
            (Some(earlier), Some(until)) if is_same(earlier, until) => {
                self.0.told.set(Some(earlier));
            }
            (_, Some(until)) => self.0.client.rest_until(until),
            (Some(earlier), None) => {
                // What the program asked for itself since then goes on.
                let paused = self.0.client.paused_until();
                if paused.is_none_or(|until| is_same(until, earlier)) {
                    self.0.client.pause_until(now);
                    self.0.client.retry_now();
                }
            }
            (None, None) => {}
        }
    }

    /// Has the client be told again, after somebody else had it come and go. Does not yield.
    #[cfg(feature = "provision")]
    pub(crate) fn again(&self) {
        let now = Instant::now();
        if let Some(until) = self.0.told.get().filter(|until| *until > now) {
            self.0.client.rest_until(until);
        }
    }
}

fn is_same(one: Instant, other: Instant) -> bool {
    one.max(other) - one.min(other) < SAME
}
