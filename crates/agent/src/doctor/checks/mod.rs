//! The checks in their order, and how they are run: level by level, those of one side by side.

mod clock;
mod config;
mod daemon;
mod dns;
mod identity;
mod limits;
mod link;
mod mqtt;
mod ping;
mod proxy;
mod rights;
mod state_dir;
mod tcp;
mod tls;

use std::time::Duration;

use fiber::{Instant, Stopped};

use super::Check;
use super::case::Case;
use super::finding::{Finding, Outcome};

const SECOND: Duration = Duration::from_secs(1);

const fn secs(secs: u32) -> Duration {
    SECOND.saturating_mul(secs)
}

/// The checks, in the order in which they are told.
pub static CHECKS: [Check; 18] = [
    Check {
        id: "config",
        looks_at: "the configuration and the files that it names",
        needs: &[],
        after: &[],
        timeout: secs(3),
        run: config::run,
    },
    Check {
        id: "state-dir",
        looks_at: "whether the folder for what is kept can be written, lasts and has room",
        needs: &[],
        after: &["config"],
        timeout: secs(3),
        run: state_dir::run,
    },
    Check {
        id: "daemon",
        looks_at: "whether the agent runs, and what it sees itself",
        needs: &[],
        after: &["config"],
        timeout: secs(10),
        run: daemon::run,
    },
    Check {
        id: "clock",
        looks_at: "whether the clock can be right",
        needs: &["config"],
        after: &[],
        timeout: secs(1),
        run: clock::run,
    },
    Check {
        id: "identity",
        looks_at: "the device's certificate and its dates",
        needs: &["config"],
        after: &[],
        timeout: secs(1),
        run: identity::run,
    },
    Check {
        id: "link",
        looks_at: "whether there is a default route",
        needs: &["config"],
        after: &[],
        timeout: secs(1),
        run: link::run,
    },
    Check {
        id: "dns",
        looks_at: "where the broker's name leads",
        needs: &["config"],
        after: &[],
        timeout: secs(5),
        run: dns::run,
    },
    Check {
        id: "proxy",
        looks_at: "whether the proxy connects on",
        needs: &["config"],
        after: &[],
        timeout: secs(5),
        run: proxy::run,
    },
    Check {
        id: "tcp",
        looks_at: "every address at the broker's port, and at other ports of brokers",
        needs: &["dns"],
        after: &[],
        timeout: secs(5),
        run: tcp::run,
    },
    Check {
        id: "tls",
        looks_at: "the handshake: the broker's certificate, its name, the protocols offered",
        needs: &["tcp", "proxy"],
        after: &[],
        timeout: secs(8),
        run: tls::run,
    },
    Check {
        id: "tls-client",
        looks_at: "whether the broker refuses the device's certificate after the handshake",
        needs: &["tls"],
        after: &["identity"],
        timeout: secs(5),
        run: tls::run_client,
    },
    Check {
        id: "ws",
        looks_at: "whether the server makes it a WebSocket",
        needs: &["tls"],
        after: &[],
        timeout: secs(1),
        run: tls::run_ws,
    },
    Check {
        id: "mqtt-connect",
        looks_at: "what the broker answers to CONNECT",
        needs: &["tls-client", "ws"],
        after: &["daemon"],
        timeout: secs(8),
        run: mqtt::run,
    },
    Check {
        id: "stays-up",
        looks_at: "whether the connection stays",
        needs: &["mqtt-connect"],
        after: &[],
        timeout: secs(8),
        run: mqtt::run_stays_up,
    },
    Check {
        id: "rights-subscribe",
        looks_at: "whether the device may have each of its subscriptions",
        needs: &["stays-up"],
        after: &[],
        timeout: secs(8),
        run: rights::run_subscribe,
    },
    Check {
        id: "rights-publish",
        looks_at: "whether the device may publish to each of its topics",
        needs: &["stays-up"],
        after: &["rights-subscribe"],
        timeout: secs(8),
        run: rights::run_publish,
    },
    Check {
        id: "ping",
        looks_at: "how long an answer of the broker takes",
        needs: &["stays-up"],
        after: &["rights-publish"],
        timeout: secs(5),
        run: ping::run,
    },
    Check {
        id: "limits",
        looks_at: "whether what is configured is within the limits of the profile",
        needs: &["config"],
        after: &[],
        timeout: secs(1),
        run: limits::run,
    },
];

/// Looks whether the agent runs.
pub(super) fn daemon(case: &Case) -> Finding {
    daemon::run(case)
}

/// Runs the checks that are to be run, and returns what each found, in their order.
pub(super) fn run(case: &Case) -> Vec<Finding> {
    let wanted = wanted(case);
    let mut level = 0;
    loop {
        let checks: Vec<&'static Check> = CHECKS
            .iter()
            .filter(|check| level_of(check) == level)
            .collect();
        if checks.is_empty() {
            break;
        }
        let checks = checks
            .into_iter()
            .filter(|check| wanted.contains(&check.id));
        run_level(case, &checks.collect::<Vec<_>>());
        level += 1;
    }
    let mut found = case.take_findings();
    CHECKS
        .iter()
        .filter_map(|check| found.remove(check.id))
        .collect()
}

/// Those that were asked for and what they need, without those that were not wanted.
fn wanted(case: &Case) -> Vec<&'static str> {
    let options = &case.options;
    let mut wanted: Vec<&'static str> = match options.only.as_slice() {
        [] => CHECKS.iter().map(|check| check.id).collect(),
        only => only.to_vec(),
    };
    // What is needed stands before what needs it.
    for check in CHECKS.iter().rev() {
        if wanted.contains(&check.id) {
            wanted.extend(check.needs);
        }
    }
    wanted.retain(|id| !options.skip.contains(id));
    wanted
}

/// How many levels of other checks it needs.
fn level_of(check: &Check) -> usize {
    let before = check.needs.iter().chain(check.after);
    let before = before.filter_map(|id| super::check(id));
    before.map(|other| level_of(other) + 1).max().unwrap_or(0)
}

/// Runs checks side by side.
fn run_level(case: &Case, checks: &[&'static Check]) {
    // A scope around that is over is what each check has found out.
    let _: Result<(), Stopped> = fiber::scope(|scope| {
        for check in checks {
            let run = move || {
                run_one(case, check);
                Ok(())
            };
            if scope.spawn(run).is_err() {
                // Without a fiber of its own it takes its turn on this one.
                run_one(case, check);
            }
        }
        Ok(())
    });
}

fn run_one(case: &Case, check: &'static Check) {
    let began = Instant::now();
    let mut finding = if let Some(id) = case.obstacle(check.needs) {
        Finding::because_of(id)
    } else if fiber::yield_now().is_err() {
        Finding::skip("the time for the whole examination was over")
    } else {
        let found = fiber::timeout(check.timeout, || (check.run)(case));
        unless_over(found.unwrap_or_else(|late| late.0))
    };
    finding.id = check.id;
    finding.took = began.elapsed();
    case.note(finding);
}

/// What a check found, unless the time for the whole was over before it had: what was cut off then is
/// nobody's fault.
fn unless_over(found: Finding) -> Finding {
    let is_certain = found.outcome <= Outcome::Note || found.code == Some("T100");
    if is_certain || fiber::yield_now().is_ok() {
        return found;
    }
    let over = Finding::skip("the time for the whole examination was over");
    found.evidence.into_iter().fold(over, Finding::evidence)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_a_check_needs_stands_before_it() {
        let mut seen = BTreeSet::new();
        for check in &CHECKS {
            for need in check.needs.iter().chain(check.after) {
                assert!(seen.contains(need), "{} comes after {need}", check.id);
            }
            assert!(seen.insert(check.id), "{} is there twice", check.id);
        }
    }

    #[test]
    fn the_time_of_the_examination_is_nobodys_fault() {
        const SLOW: Check = Check {
            id: "tcp",
            looks_at: "for a test",
            needs: &[],
            after: &[],
            timeout: secs(5),
            run: |_| {
                let waited = fiber::sleep(secs(60));
                assert!(waited.is_err(), "somebody's time is over");
                Finding::fail_by("T031")
            },
        };
        static CHECK: Check = SLOW;
        let found = |whole| {
            let config = std::rc::Rc::new(crate::config::Config::new(
                "mqtt://127.0.0.1:1".parse().expect("an endpoint"),
            ));
            let subject = crate::doctor::Subject::Loaded(config, None);
            let case = Case::new(crate::doctor::Options::new(subject));
            let _ = fiber::timeout(whole, || run_level(&case, &[&CHECK]));
            case.take_findings().remove("tcp").expect("it was made")
        };
        let body = move || (found(secs(30)), found(secs(3)));
        let ran = fiber::Runtime::builder().paused_clock(true).run(body);
        let (own, whole) = ran.expect("it runs");
        // Its own time is over: that is what it found. The time of the whole is another matter.
        assert_eq!((own.outcome, own.code), (Outcome::Fail, Some("T031")));
        assert_eq!((whole.outcome, whole.code), (Outcome::Skip, None));
        assert!(whole.text.contains("was over"), "{}", whole.text);
    }

    #[test]
    fn no_check_takes_longer_than_the_examination() {
        for check in &CHECKS {
            assert!(
                check.timeout <= crate::doctor::DOCTOR_TIMEOUT,
                "{}",
                check.id
            );
        }
    }
}
