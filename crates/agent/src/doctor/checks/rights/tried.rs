//! What trying several filters or topics found.

use crate::doctor::case::Setup;
use crate::doctor::finding::Finding;
use crate::doctor::statement::{Right, Who, statement};

/// What was refused, or not seen again.
pub(super) struct Refusal {
    /// What the agent asks for, and a statement is about.
    wanted: String,
    /// What was tried.
    at: String,
    how: String,
}

impl Refusal {
    pub(super) fn new(wanted: &str, at: &str, how: String) -> Self {
        Self {
            wanted: wanted.to_owned(),
            at: at.to_owned(),
            how,
        }
    }
}

/// All of it.
#[derive(Default)]
pub(super) struct Tried {
    /// How many are allowed.
    pub(super) allowed: usize,
    pub(super) refusals: Vec<Refusal>,
    /// Acknowledged, and not seen again.
    pub(super) unseen: Vec<Refusal>,
    /// Lines about what could not be tried.
    untried: Vec<String>,
    untried_count: usize,
}

impl Tried {
    /// Notes that these could not be tried.
    pub(super) fn untried<'a>(&mut self, which: impl IntoIterator<Item = &'a str>, why: &str) {
        let which: Vec<&str> = which.into_iter().collect();
        self.untried_count += which.len();
        let count = which.len();
        let names = which.join(", ");
        self.untried
            .push(format!("{count} not tried: {names}: {why}"));
    }

    /// Whether everything was tried.
    pub(super) const fn is_whole(&self) -> bool {
        self.untried_count == 0
    }

    /// How many are allowed, and how many were not tried, in words.
    pub(super) fn counted(&self, one: &str, many: &str) -> String {
        let allowed = match self.allowed {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        match self.untried_count {
            0 => allowed,
            count => format!("{allowed}, {count} not tried"),
        }
    }

    /// Adds what was found, a line each.
    pub(super) fn told(&self, finding: Finding) -> Finding {
        let found = self.refusals.iter().chain(&self.unseen);
        let lines = found.map(|found| format!("{}: {}", found.at, found.how));
        let lines = lines.chain(self.untried.iter().cloned());
        lines.fold(finding, Finding::evidence)
    }

    /// What gives these rights to all that is refused, or to what was not seen again.
    pub(super) fn statement(&self, setup: &Setup, rights: &[Right]) -> String {
        let refused = match self.refusals.as_slice() {
            [] => &self.unseen,
            refusals => refusals,
        };
        let topics: Vec<&str> = refused.iter().map(|found| found.wanted.as_str()).collect();
        let credentials = setup.config.cloud.credentials.as_ref();
        let who = Who {
            client_id: setup.device_id().map_or("DEVICE", |id| id.as_str()),
            user_name: credentials.map(|found| found.user_name.as_str()),
        };
        let (provider, host) = (setup.profile().provider(), setup.endpoint().host());
        statement(provider, rights, &topics, who, host)
    }
}
