//! `agent provision`: gets the device an identity, as `agent run` does.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use fiber::signal::{Signal, Signals};
use fiber::{FiberBuilder, Instant, Selected};
use safe_rt::Utc;
use serde_json::Value;

use super::error::ToolError;
use crate::args::ProvisionArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identity::{Loaded, Store};
use crate::provision::{self, Progress};
use crate::{json, out};

pub(super) fn run(args: &ProvisionArgs) -> Result<Exit, ToolError> {
    let signals = Signals::listen(&[Signal::Terminate, Signal::Interrupt]);
    let signals = signals.map_err(Failure::Signals)?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let config = super::read(&args.source)?;
    let options = provision::options_of(&config)?.ok_or(ToolError::NoProvision)?;
    if config.cloud.identity.is_some() {
        out::warning(
            "[cloud] names a certificate: `agent run` shows that, and not the identity in the state \
             directory",
        );
    }
    let store = super::open(&config)?;
    if let Some(active) = store.active() {
        out::plain("there is an identity already; it stays");
        print(&active, false, args.json)?;
        return Ok(Exit::Done);
    }
    if is_in_memory(&config.state.dir) {
        out::warning(format_args!(
            "{} is in memory: the identity is lost when the device is switched off",
            config.state.dir.display()
        ));
    }
    if store.state().given_up {
        out::plain("the identity was given up; this order gets another one");
        store.take_up()?;
    }
    let active = get(store, options, &signals, deadline)?;
    print(&active, true, args.json)?;
    Ok(Exit::Done)
}

/// Gets one, until a signal comes or the deadline.
fn get(
    store: Store,
    options: provision::Options,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Loaded, ToolError> {
    let last: Rc<RefCell<Option<String>>> = Rc::default();
    let failed = Rc::clone(&last);
    let options = options.told_to(move |progress| {
        out::plain(line(progress));
        if let Progress::Failed { error, .. } = progress {
            failed.replace(Some(error.to_string()));
        }
    });
    let get = move || provision::ensure_identity(&store, &options);
    let fiber = FiberBuilder::new().name("identity").spawn(get);
    let mut getting = fiber.map_err(Failure::Spawn)?;
    let error = loop {
        let found = fiber::select(&[signals, &getting], deadline);
        match found.map_err(Failure::Signals)? {
            Selected::Ready(0) => {
                if let Some(signal) = signals.try_recv() {
                    break ToolError::Signal(signal);
                }
            }
            Selected::Ready(_) => return Ok(getting.join().map_err(Failure::Join)??),
            Selected::Deadline => {
                let last = last.borrow_mut().take();
                break ToolError::TimedOut { last };
            }
        }
    };
    getting.cancel();
    // What was reached is kept.
    drop(getting.join());
    Err(error)
}

/// A line about something that happened.
fn line(progress: &Progress<'_>) -> String {
    match progress {
        Progress::Failed { error, .. } => format!("{}: {progress}", error.code()),
        progress => progress.to_string(),
    }
}

/// Names an identity.
pub(super) fn print(active: &Loaded, is_new: bool, as_json: bool) -> Result<(), Failure> {
    let facts = active.facts();
    let (client_id, certificate_id) = match active.about() {
        Some(about) => (&*about.client_id, &*about.certificate_id),
        None => (facts.subject(), ""),
    };
    if !as_json {
        let until = facts
            .not_after()
            .map(|until| format!(" until {}", Utc(until)));
        let certificate = match certificate_id {
            "" => String::new(),
            id => format!(" certificate {id}"),
        };
        let slot = active.slot();
        let until = until.unwrap_or_default();
        return out::text(&format!("{client_id}{certificate} slot {slot}{until}\n"));
    }
    let parts = [
        ("schema", Value::from(1)),
        ("new", is_new.into()),
        ("client_id", client_id.into()),
        ("certificate_id", certificate_id.into()),
        ("slot", active.slot().as_str().into()),
    ];
    out::text(&format!("{}\n", json::object(&parts)))
}

/// Whether what is kept in a folder is gone at the next start of the device.
pub(super) fn is_in_memory(folder: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let there = folder
        .ancestors()
        .find_map(|path| rustix::fs::statfs(path).ok());
    #[allow(
        clippy::unnecessary_cast,
        reason = "the type is another on other systems"
    )]
    there.is_some_and(|found| [TMPFS, RAMFS].contains(&(found.f_type as i64)))
}
