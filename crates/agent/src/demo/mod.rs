//! `agent demo`: a device and its cloud in one program, and a link between them that fails.
//!
//! ```text
//!   this process                                                  another process, killed at times
//!   cloud  = broker + TLS listener on loopback ◄── link, cut ───► device = client + queue on the disk
//!     └─ counts what arrives ───► tally ◄── diary ◄── line ────────── told: what it published ─┘
//! ```
//! No name is looked up and nothing is left behind: what the device keeps is in a folder for temporary
//! files, which goes in the end, also where a signal makes one (`enough`). The device (`device`) is written as a program of a user would be; the
//! rest is there to spoil its link and its life (`stage`, `life`), to measure that this worked
//! (`verdict`) and to count (`count`).

mod birth;
mod cloud;
mod count;
mod device;
mod diary;
mod enough;
mod error;
mod folder;
mod keys;
mod life;
mod news;
mod plan;
mod protocol;
mod report;
mod stage;
#[cfg(test)]
mod tests;
mod timeline;
mod told;
mod verdict;
mod wire;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use fiber::fs::{self, File};
use safe_rt::Endpoint;

use self::cloud::Cloud;
use self::diary::Diary;
use self::enough::Enough;
use self::life::{Body, Life};
use self::news::News;
use self::protocol::{ALPN, DEVICE, TEMPLATE};
use self::stage::Stage;
use self::timeline::{Timeline, Who};
use crate::args::{DemoArgs, Fault, RUN_FOR_MAX};
use crate::local_cloud::{DEVICE_LIFE_DEFAULT, LocalAuthority};
use crate::out::{self, Printer};

pub use self::count::Tally;
pub use self::error::DemoError;
pub use self::verdict::{IN_FLIGHT_MIN, Miss};
pub use self::wire::DEMO_LINE_BYTES_MAX;

/// How long a round of faults may take, in addition to the time that was asked for with `--for`.
pub const DEMO_TIMEOUT: Duration = Duration::from_secs(18);

/// Time between two readings.
const PACE: Duration = Duration::from_millis(20);
/// The device's configuration, in its folder.
const CONFIG: &str = "agent.toml";

/// Shows it. Yields; runs on a fiber, for [`DEMO_TIMEOUT`] a fault at most, or as long as `--for` says
/// and that much more.
///
/// # Errors
///
/// [`DemoError`], which knows the exit code: also when something is lost or doubled, and when a fault
/// did not bite. The first SIGINT or SIGTERM has the run come to its end, the second ends it at once.
pub fn run(args: &DemoArgs) -> Result<(), DemoError> {
    if let Some(folder) = &args.device {
        return device::run(folder, PACE);
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    let program = std::env::current_exe().map_err(DemoError::Process)?;
    let mut script = Script::new(seed, args.run_for, Body::Process(program));
    if !args.faults.is_empty() {
        script.faults.clone_from(&args.faults);
    }
    script.interactive = args.interactive;
    let timeline = Timeline::new(Printer::to_stdout(), out::is_coloured());
    let enough = script.enough.clone();
    enough.at_signals(&timeline, || in_folder(&script, &timeline))
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
    /// The faults of a round, in order.
    faults: Vec<Fault>,
    /// So many rounds at least.
    rounds_min: usize,
    /// Whether the keyboard says what happens.
    interactive: bool,
    /// What is done before the link is cut; less is for tests.
    spoil: Spoil,
    /// How the device runs.
    body: Body,
    /// What is typed in the place of the keyboard, for tests.
    typed: Option<&'static str>,
    /// A message that the cloud does not count, for tests.
    overlooked: Option<u64>,
    /// Whether somebody has seen enough.
    enough: Enough,
}

/// What is done to a link before it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoil {
    /// Nothing: it is cut while acknowledgements come.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "tests show that a cut with little in flight shows nothing"
        )
    )]
    Nothing,
    /// Nothing that the cloud says reaches the device.
    Stall,
    /// Acknowledgements do not.
    DropAcks,
}

impl Script {
    fn new(seed: u64, run_for: Option<Duration>, body: Body) -> Self {
        Self {
            seed,
            run_for,
            faults: vec![Fault::Cut, Fault::PowerCut],
            rounds_min: 1,
            interactive: false,
            spoil: Spoil::Stall,
            body,
            typed: None,
            overlooked: None,
            enough: Enough::default(),
        }
    }

    fn limit(&self) -> Duration {
        if self.interactive {
            return RUN_FOR_MAX;
        }
        let faults = self.faults.len().saturating_mul(self.rounds_min).max(1);
        let faults = u32::try_from(faults).unwrap_or(u32::MAX);
        DEMO_TIMEOUT
            .saturating_mul(faults)
            .saturating_add(self.run_for.unwrap_or_default())
    }
}

/// As [`perform`], in a folder that goes afterwards, whatever happens.
fn in_folder(script: &Script, timeline: &Timeline) -> Result<(), DemoError> {
    let folder = folder::make().map_err(DemoError::Folder)?;
    let performed = perform(script, timeline, &folder);
    let removed = fiber::shield(DEMO_TIMEOUT, || folder::remove(&folder));
    performed?;
    removed
        .unwrap_or_else(|elapsed| elapsed.0)
        .map_err(DemoError::Folder)
}

/// Makes the parts, lets them act under a time limit, and tells what the books say.
fn perform(script: &Script, timeline: &Timeline, folder: &Path) -> Result<(), DemoError> {
    let authority = Rc::new(LocalAuthority::new("agent demo authority")?);
    timeline.say(
        Who::Cloud,
        format_args!(
            "certificate authority made, in memory (seed {})",
            script.seed
        ),
    );
    let news = News::default();
    let cloud = Cloud::new(&authority, timeline, &news, script.overlooked)?;
    equip(folder, &authority, cloud.endpoint())?;
    let diary = Diary::new(timeline, &news);
    let stage = Stage {
        script,
        timeline,
        life: Life::new(folder, script.body.clone(), &diary, &news)?,
        cloud,
        diary,
        news,
        bites: RefCell::default(),
        forgotten: RefCell::default(),
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

/// Puts into the folder what the device is delivered with: where its cloud is, whom to believe, and a
/// claim to introduce itself with. It has no identity.
fn equip(folder: &Path, authority: &LocalAuthority, cloud: &Endpoint) -> Result<(), DemoError> {
    let write = |name: &str, text: &str| {
        let file = File::create(folder.join(name)).map_err(DemoError::Folder)?;
        file.append(text).map_err(DemoError::Folder).map(drop)
    };
    let claim = authority.issue("claim of a batch", DEVICE_LIFE_DEFAULT)?;
    write("authority.pem", authority.certificate())?;
    write("claim.pem", &claim.chain)?;
    write("claim.key", &claim.key)?;
    let config = format!(
        r#"[device]
id = "{DEVICE}"

[cloud]
endpoint = "{cloud}"
authority = "authority.pem"
alpn = ["{ALPN}"]

[provision]
method = "aws"
template = "{TEMPLATE}"
claim_certificate = "claim.pem"
claim_key = "claim.key"
"#
    );
    write(CONFIG, &config)?;
    for made in [device::QUEUE, device::STATE] {
        fs::create_dir(folder.join(made)).map_err(DemoError::Folder)?;
    }
    Ok(())
}
