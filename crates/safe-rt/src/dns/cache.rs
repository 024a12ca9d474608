//! What look-ups found, for as long as it may be used. Pure: the time is given.

use core::net::SocketAddr;
use core::time::Duration;

use fiber::Instant;

use super::error::DnsError;

/// Names whose look-up is remembered.
pub const NAMES_MAX: usize = 64;
/// How long an answer of the system's resolver is used, which does not say how long it may be.
pub const ANSWER_LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
/// How long an answer of a name server is used at least.
pub const ANSWER_LIFETIME_MIN: Duration = Duration::from_secs(1);
/// How long an answer of a name server is used at most.
pub const ANSWER_LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// How long it is believed that there is no such name, or no address of it.
pub const NEGATIVE_LIFETIME_MAX: Duration = Duration::from_secs(5);

/// What a look-up found: addresses without a port, and for how long they may be used.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) lifetime: Duration,
}

/// How a look-up ended.
pub(super) type Outcome = Result<Vec<SocketAddr>, DnsError>;

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    until: Instant,
    /// The cache's count of uses when it was used last.
    used: u64,
}

/// Names, and how their look-ups ended.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Each name once, in no order: there are few, and a map would be five kilobytes of code.
    entries: Vec<(Box<str>, Entry)>,
    uses: u64,
}

impl Cache {
    /// Returns what may be used at `now` of what is known of a name.
    pub(super) fn get(&mut self, name: &str, now: Instant) -> Option<Outcome> {
        let at = self.find(name)?;
        let (_, entry) = &mut self.entries[at];
        if entry.until <= now {
            self.entries.swap_remove(at);
            return None;
        }
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.outcome.clone())
    }

    /// Remembers how a look-up ended: an answer for its lifetime, that there is none for a moment,
    /// and a failure, which says nothing of the name, not at all.
    pub(super) fn put(&mut self, name: &str, ended: &Result<Found, DnsError>, now: Instant) {
        let (outcome, lifetime) = match ended {
            Ok(found) => (Ok(found.addresses.clone()), found.lifetime),
            Err(error) if error.is_negative() => (Err(error.clone()), NEGATIVE_LIFETIME_MAX),
            Err(_) => return,
        };
        self.forget(name);
        if self.entries.len() >= NAMES_MAX {
            self.make_room(now);
        }
        self.uses += 1;
        let entry = Entry {
            outcome,
            until: now + lifetime,
            used: self.uses,
        };
        self.entries.push((name.into(), entry));
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|(other, _)| **other == *name)
    }

    /// Forgets a name: the next look-up asks anew.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            self.entries.swap_remove(at);
        }
    }

    /// Forgets a name of which each address is one of those that failed, whatever the ports; or of which
    /// it is known that there is none.
    pub(super) fn forget_failed(&mut self, name: &str, failed: &[SocketAddr]) {
        let has_failed = |known: &SocketAddr| failed.iter().any(|of| of.ip() == known.ip());
        let leads_nowhere = |entry: &Entry| match &entry.outcome {
            Ok(addresses) => addresses.iter().all(has_failed),
            Err(_) => true,
        };
        if let Some(at) = self.find(name)
            && leads_nowhere(&self.entries[at].1)
        {
            self.entries.swap_remove(at);
        }
    }

    /// Forgets all names.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets what is over, and else the name that was not used for longest.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|(_, entry)| entry.until > now);
        if self.entries.len() < NAMES_MAX {
            return;
        }
        let used = |at: &usize| self.entries[*at].1.used;
        if let Some(oldest) = (0..self.entries.len()).min_by_key(used) {
            self.entries.swap_remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn found(last: u8, lifetime: Duration) -> Result<Found, DnsError> {
        Ok(Found {
            addresses: vec![([192, 0, 2, last], 0).into()],
            lifetime,
        })
    }

    /// An outcome as something to compare.
    fn shown(outcome: Option<Outcome>) -> String {
        format!("{outcome:?}")
    }

    #[track_caller]
    fn expect(cache: &mut Cache, name: &str, now: Instant, last: u8) {
        let expected = found(last, SECOND).map(|found| found.addresses);
        assert_eq!(shown(cache.get(name, now)), shown(Some(expected)));
    }

    #[test]
    fn each_outcome_is_kept_for_its_time() {
        let failure = || DnsError::ServerFailed {
            server: ([192, 0, 2, 1], 53).into(),
            code: 2,
        };
        let table: [(Result<Found, DnsError>, Duration); 6] = [
            (found(1, ANSWER_LIFETIME_DEFAULT), ANSWER_LIFETIME_DEFAULT),
            (found(1, SECOND), SECOND),
            (Err(DnsError::NoSuchName), NEGATIVE_LIFETIME_MAX),
            (Err(DnsError::NoAddress), NEGATIVE_LIFETIME_MAX),
            (Err(failure()), Duration::ZERO),
            (Err(DnsError::NoAnswer), Duration::ZERO),
        ];
        let now = Instant::now();
        for (ended, lifetime) in table {
            let mut cache = Cache::default();
            cache.put("broker", &ended, now);
            let moment = Duration::from_nanos(1);
            let just_before = now + lifetime.saturating_sub(moment);
            let kept =
                (lifetime > Duration::ZERO).then(|| ended.clone().map(|found| found.addresses));
            let known = cache.get("broker", just_before);
            assert_eq!(shown(known), shown(kept));
            assert!(cache.get("broker", now + lifetime).is_none(), "{ended:?}");
            assert!(cache.get("other", now).is_none());
        }
    }

    #[test]
    fn what_is_forgotten_is_asked_for_anew_and_a_new_answer_replaces_an_old_one() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put("broker", &found(1, SECOND), now);
        cache.put("broker", &found(2, SECOND), now);
        cache.put("other", &found(3, SECOND), now);
        expect(&mut cache, "broker", now, 2);
        cache.forget("broker");
        assert!(cache.get("broker", now).is_none());
        assert!(cache.get("other", now).is_some());
        cache.clear();
        assert!(cache.get("other", now).is_none());
    }

    #[test]
    fn an_answer_of_which_an_address_was_not_tried_is_kept() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let at = |last: u8| SocketAddr::from(([192, 0, 2, last], 1883));
        let both = Found {
            addresses: vec![([192, 0, 2, 1], 0).into(), ([192, 0, 2, 2], 0).into()],
            lifetime: SECOND,
        };
        cache.put("broker", &Ok(both), now);
        cache.put("nobody", &Err(DnsError::NoSuchName), now);
        for failed in [&[][..], &[at(1)], &[at(3), at(2)]] {
            cache.forget_failed("broker", failed);
            assert!(cache.get("broker", now).is_some(), "{failed:?}");
        }
        cache.forget_failed("broker", &[at(2), at(1)]);
        assert!(cache.get("broker", now).is_none());
        cache.forget_failed("nobody", &[at(1)]);
        assert!(cache.get("nobody", now).is_none());
    }

    #[test]
    fn a_full_cache_forgets_what_is_over_and_else_what_was_not_used_for_longest() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for n in 0..NAMES_MAX {
            cache.put(&format!("name-{n}"), &found(1, SECOND * 10), now);
        }
        assert!(cache.get("name-0", now).is_some());
        cache.put("one-more", &found(1, SECOND), now);
        assert_eq!(cache.entries.len(), NAMES_MAX);
        assert!(cache.get("name-1", now).is_none(), "not used for longest");
        assert!(cache.get("name-0", now).is_some(), "used since");
        // The one that is over goes first, though it was used last.
        assert!(cache.get("one-more", now).is_some());
        let later = now + SECOND;
        cache.put("another", &found(1, SECOND), later);
        assert_eq!(cache.entries.len(), NAMES_MAX);
        assert!(cache.get("name-2", later).is_some());
    }
}
