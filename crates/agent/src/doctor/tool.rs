//! `agent doctor`.

use super::{CHECKS, Options, Subject, examine};
use crate::args::DoctorArgs;
use crate::config;
use crate::exit::Exit;
use crate::out;

/// Does what `agent doctor` was asked for, and returns how it ends. Yields; runs on a fiber.
#[must_use]
pub fn run(args: &DoctorArgs) -> Exit {
    if args.list {
        out::text(&list());
        return Exit::Done;
    }
    let mut layers = config::Source::system();
    if let Some(file) = &args.config {
        layers = layers.file(file);
    }
    let mut options = Options::new(Subject::Layers(Box::new(layers)));
    options.state_dir.clone_from(&args.state_dir);
    options.takeover = args.takeover;
    options.touch = args.touch;
    options.only.clone_from(&args.only);
    options.skip.clone_from(&args.skip);
    let report = examine(options);
    if args.json {
        out::text(&format!("{}\n", report.json()));
    } else {
        out::text(&report.text());
    }
    report.exit(args.deny_warnings)
}

/// The checks, a line each.
fn list() -> String {
    let lines = CHECKS.iter();
    let lines = lines.map(|check| format!("{:<16}  {}\n", check.id, check.looks_at));
    lines.collect()
}
