//! `agent demo`: a device and its cloud in one program, and a link between them that fails.
//!
//! ```text
//!   authority ──► certificates, in memory
//!   cloud  = broker + TLS listener on loopback ◄── link, cut inside a packet ──► device = client
//!     └─ counts what arrives ──────────► tally ◄────────── notes what it published ─┘
//! ```
//! Everything runs on fibers of one thread; nothing is written, and no name is looked up. The device
//! (`device`) is written as a program of a user would be; the rest is there to spoil its link, to
//! measure that this worked (`verdict`) and to count (`count`). There is no provisioning here.

mod authority;
mod cloud;
mod count;
mod device;
mod diary;
mod error;
mod news;
mod plan;
mod protocol;
mod report;
#[cfg(test)]
mod tests;
mod timeline;
mod verdict;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use safe_rt::{ClientTls, ClientTlsOptions};

use self::authority::Authority;
use self::cloud::Cloud;
use self::diary::Diary;
use self::news::News;
use self::plan::{Cut, Plan};
use self::protocol::{ALPN, DEVICE};
use self::report::Report;
use self::timeline::{Timeline, Who};
use self::verdict::{Bite, Verdict};
use crate::args::DemoArgs;
use crate::out::{self, Printer};

pub use self::authority::AuthorityError;
pub use self::count::Tally;
pub use self::error::DemoError;
pub use self::verdict::{IN_FLIGHT_MIN, Miss};

/// How long a run may take, in addition to the time that was asked for with `--for`.
pub const DEMO_TIMEOUT: Duration = Duration::from_secs(18);

/// Readings after the last cut, to show that everything goes on.
const READINGS_AFTER: u64 = 20;
/// Readings between commands while a run goes on for the time asked for.
const READINGS_PER_COMMAND: u64 = 50;
/// Time between two readings.
const PACE: Duration = Duration::from_millis(20);

/// Shows it. Yields; runs on a fiber, for [`DEMO_TIMEOUT`] at most, or as long as `--for` says
/// and that much more.
///
/// # Errors
///
/// [`DemoError`], which knows the exit code: also when something is lost or doubled, and when the
/// fault did not bite.
pub fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    let timeline = Timeline::new(Printer::to_stdout(), out::is_coloured());
    perform(&Script::new(seed, args.run_for), &timeline)
}

/// A short number, which is easily given again.
fn random_seed() -> Result<u64, DemoError> {
    let mut bytes = [0; 4];
    fiber::random::fill(&mut bytes).map_err(DemoError::Randomness)?;
    Ok(u32::from_ne_bytes(bytes).into())
}

/// What is to happen.
#[derive(Clone, Debug)]
struct Script {
    seed: u64,
    run_for: Option<Duration>,
    /// The link is cut so often at least.
    cuts_min: usize,
    pace: Duration,
    /// What is done to the link; less than all of it is for tests.
    sabotage: Sabotage,
    /// A message that the cloud does not count, for tests.
    overlooked: Option<u64>,
}

/// What is done to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "tests show that a run without the fault fails")
)]
enum Sabotage {
    None,
    /// It is cut while acknowledgements come.
    Cut,
    /// Acknowledgements stop, then it is cut.
    StallAndCut,
}

impl Script {
    const fn new(seed: u64, run_for: Option<Duration>) -> Self {
        Self {
            seed,
            run_for,
            cuts_min: 1,
            pace: PACE,
            sabotage: Sabotage::StallAndCut,
            overlooked: None,
        }
    }

    fn limit(&self) -> Duration {
        DEMO_TIMEOUT.saturating_add(self.run_for.unwrap_or_default())
    }
}

/// Makes the parts, lets them act under a time limit, and tells what the books say.
fn perform(script: &Script, timeline: &Timeline) -> Result<(), DemoError> {
    let authority = Authority::new()?;
    timeline.say(
        Who::Cloud,
        format_args!(
            "certificate authority made, in memory (seed {})",
            script.seed
        ),
    );
    let news = News::default();
    let cloud = Cloud::new(&authority, timeline, &news, script.overlooked)?;
    let stage = Stage {
        script,
        timeline,
        tls: device_tls(&authority)?,
        diary: Diary::new(timeline, &news),
        news,
        cloud,
        bites: RefCell::default(),
    };
    let acted = fiber::timeout(script.limit(), || stage.act());
    let finished = match acted {
        Ok(Ok(())) | Err(fiber::Elapsed(Ok(()))) => true,
        Err(fiber::Elapsed(Err(error))) if fiber::cause(&error).is_some() => false,
        Ok(Err(error)) | Err(fiber::Elapsed(Err(error))) => {
            // What was said before is printed first.
            timeline.finish()?;
            return Err(error);
        }
    };
    stage.judge(finished)
}

/// The device's side of TLS: its certificate, trust in the one authority, the protocol demanded.
fn device_tls(authority: &Authority) -> Result<ClientTls, DemoError> {
    Ok(ClientTlsOptions::new(authority.trust()?)
        .identity(authority.device(DEVICE)?)
        .alpn([ALPN])
        .require_alpn()
        .build()?)
}

struct Stage<'a> {
    script: &'a Script,
    timeline: &'a Timeline,
    tls: ClientTls,
    cloud: Cloud,
    diary: Rc<Diary>,
    news: News,
    bites: RefCell<Vec<Bite>>,
}

impl Stage<'_> {
    /// Lets cloud and device run, and spoils the link between them.
    fn act(&self) -> Result<(), DemoError> {
        let left = std::cell::Cell::new(false);
        fiber::scope(|scope| {
            scope.spawn(|| self.cloud.serve())?;
            scope.spawn(|| {
                self.cloud.receive();
                Ok(())
            })?;
            scope.spawn(|| {
                let (endpoint, tls) = (self.cloud.endpoint(), self.tls.clone());
                device::run(endpoint, tls, self.script.pace, &self.diary)?;
                left.set(true);
                self.news.tell();
                Ok(())
            })?;
            self.direct()?;
            self.diary.finish();
            self.news.until(|| left.get().then_some(()))?;
            scope.cancel();
            Ok(())
        })
    }

    /// What happens, in this order.
    fn direct(&self) -> Result<(), DemoError> {
        let cloud = &self.cloud;
        // The device asked for commands before it sent this, so that none finds it deaf.
        cloud.wait_until_seen(1)?;
        let mut plan = Plan::new(self.script.seed);
        if self.script.sabotage != Sabotage::None {
            while let Some(cut) = plan.next()
                && (self.bites.borrow().len() < self.script.cuts_min || self.has_time())
            {
                self.interrupt(cut)?;
            }
        }
        loop {
            cloud.command()?;
            cloud.wait_for_answers()?;
            cloud.wait_until_seen(cloud.seen() + READINGS_AFTER)?;
            if !self.has_time() {
                return Ok(());
            }
            cloud.wait_until_seen(cloud.seen() + READINGS_PER_COMMAND)?;
        }
    }

    /// Whether the time asked for is not over yet.
    fn has_time(&self) -> bool {
        let run_for = self.script.run_for.unwrap_or_default();
        self.timeline.began().elapsed() < run_for
    }

    /// One cut: telemetry and a command, then no acknowledgements any more, then the end inside a
    /// packet; a command for the device that is away; and all that goes on by itself.
    fn interrupt(&self, cut: Cut) -> Result<(), DemoError> {
        let (cloud, diary, timeline) = (&self.cloud, &self.diary, self.timeline);
        let (began, connected, lost) = (cloud.seen(), diary.connected(), diary.lost());
        cloud.wait_until_seen(began + cut.before / 2)?;
        cloud.command()?;
        cloud.wait_until_seen(began + cut.before)?;
        // So that telemetry alone is under way.
        cloud.wait_for_answers()?;

        if self.script.sabotage == Sabotage::StallAndCut {
            timeline.say(Who::Fault, "nothing reaches the device any more");
            cloud.stall()?;
        }
        cloud.wait_until_seen(cloud.seen() + cut.unacknowledged)?;
        cloud.cut(cut)?;
        let report = cloud.wait_for_cut()?;
        timeline.say(Who::Fault, report::place(&report));
        cloud.command()?;

        self.news.until(|| (diary.lost() > lost).then_some(()))?;
        let (open, had) = (diary.in_flight(), cloud.since_stall());
        let in_flight = open.intersection(&had).count();
        timeline.say(
            Who::Fault,
            format_args!(
                "{in_flight} messages in flight: the cloud has them, the device does not know"
            ),
        );
        self.bites.borrow_mut().push(Bite {
            in_flight,
            inside: report.inside,
            came_back: false,
        });

        self.news
            .until(|| (diary.connected() > connected).then_some(()))?;
        if let Some(bite) = self.bites.borrow_mut().last_mut() {
            bite.came_back = true;
        }
        let again = self.news.until(|| diary.sent_again(&open))?;
        timeline.say(
            Who::Device,
            format_args!(
                "what was open is acknowledged: {again} messages sent again that may be there \
                 twice (QoS 1), {} there once",
                open.len() - again
            ),
        );
        cloud.wait_for_answers()
    }

    /// Compares the books, prints the table, and decides.
    fn judge(&self, finished: bool) -> Result<(), DemoError> {
        let (commands, unanswered) = self.cloud.commands();
        let tally = Tally {
            unanswered,
            ..Tally::of(&self.diary.close(), &self.cloud.close())
        };
        let bites = self.bites.borrow();
        let verdict = Verdict::of(&tally, &bites, finished);
        let report = Report {
            tally,
            commands,
            obeyed: self.diary.obeyed(),
            bites: &bites,
            seed: self.script.seed,
            took: self.timeline.began().elapsed(),
        };
        self.timeline.print(&report.to_string());
        self.timeline.finish()?;
        match verdict {
            Verdict::Kept => Ok(()),
            Verdict::Broken => Err(DemoError::NotKept(tally)),
            Verdict::NotShown(miss) => Err(DemoError::NotShown(miss)),
        }
    }
}
