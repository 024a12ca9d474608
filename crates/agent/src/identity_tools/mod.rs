//! `agent provision`, `agent deprovision` and `agent cert`: the identity of the device, for whoever is at
//! it.
//!
//! What changes something has the state directory for itself, and so does a running agent: one of them
//! at a time. What only looks works beside it.

mod certificates;
mod csr;
mod deprovision;
mod dry_run;
mod error;
mod get;
mod renew;
mod standing;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::fs;
use safe_rt::ClockFloor;

use crate::args::{
    CertArgs, CertOrder, DeprovisionArgs, ProvisionArgs, ProvisionOrder, SourceArgs,
};
use crate::config::{Config, Started};
use crate::exit::Exit;
use crate::identity::{State, Store, StoreError};
use crate::{out, queue};

pub use deprovision::CONFIRM_BYTES_MAX;
pub use error::ToolError;
pub use renew::RENEWAL_TIMEOUT;

/// Does what `agent provision` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`ToolError`], which knows the exit code.
pub fn provision(args: &ProvisionArgs) -> Result<Exit, ToolError> {
    match args.order {
        ProvisionOrder::Get => get::run(args),
        ProvisionOrder::DryRun => dry_run::run(args),
        ProvisionOrder::Status => standing::run(args),
    }
}

/// Does what `agent deprovision` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`ToolError`].
pub fn deprovision(args: &DeprovisionArgs) -> Result<Exit, ToolError> {
    deprovision::run(args)
}

/// Does what `agent cert` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`ToolError`].
pub fn cert(args: &CertArgs) -> Result<Exit, ToolError> {
    let config = read(&args.source)?;
    match args.order {
        CertOrder::Show => certificates::show(&config, args.json),
        CertOrder::NeedsRenewal => renew::is_due(&config),
        CertOrder::Renew => renew::run(&config),
        CertOrder::Csr => csr::run(&config),
    }
}

/// The configuration that `agent run` would start with.
fn read(source: &SourceArgs) -> Result<Box<Config>, ToolError> {
    let Started {
        effective,
        rejected,
        ..
    } = source.source().start().map_err(ToolError::config)?;
    if let Some(rejected) = rejected {
        out::warning(rejected);
    }
    Ok(Box::new(effective.into_config()))
}

/// Opens the state directory for a change.
fn open(config: &Config) -> Result<Store, ToolError> {
    let folder = &config.state.dir;
    check_owner(folder)?;
    // An agent that makes no identity of its own locks none, and has its queue to itself all the same.
    if is_running(config) {
        let path = folder.join(queue::LOCK);
        return Err(ToolError::AgentRuns { path });
    }
    let store = Store::open(folder).map_err(|error| match error {
        StoreError::InUse { path } => ToolError::AgentRuns { path },
        error => ToolError::Store(error),
    })?;
    match store.is_writable() {
        true => Ok(store),
        false => Err(ToolError::NotWritable(folder.clone())),
    }
}

/// Whether the agent runs, or cannot be said not to: one that is still on its way to an identity answers
/// nobody.
fn is_running(config: &Config) -> bool {
    renew::running(config).is_some() || queue::is_in_use(&config.state.dir).unwrap_or(true)
}

/// What root makes in the folder of another user, that user cannot read.
fn check_owner(folder: &Path) -> Result<(), ToolError> {
    let found = fs::entry(folder).ok().and_then(|entry| entry.owner);
    let Some(owner) = found else {
        // It is not there yet, or will say itself what is wrong.
        return Ok(());
    };
    let own = rustix::process::geteuid().as_raw();
    if owner == own {
        return Ok(());
    }
    Err(ToolError::Owner {
        path: folder.to_owned(),
        owner,
        own,
    })
}

/// The time, as far as it can be believed.
fn believed_now(state: &State) -> SystemTime {
    let floor = ClockFloor::new();
    if let Some(passed) = state.last_good {
        floor.raise(UNIX_EPOCH + Duration::from_secs(passed));
    }
    floor.judged_at(fiber::wall_time())
}

/// From now to a time, in words.
fn until(time: SystemTime, now: SystemTime) -> String {
    match (time.duration_since(now), now.duration_since(time)) {
        (Ok(left), _) => format!("in {}", crate::notify::spelled(left)),
        (_, Ok(since)) => format!("{} ago", crate::notify::spelled(since)),
        _ => "now".to_owned(),
    }
}

fn unix(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}
