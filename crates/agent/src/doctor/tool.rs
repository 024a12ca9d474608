//! `agent doctor`.

use fiber::Instant;
use safe_rt::Utc;

use super::{CHECKS, Options, Report, Subject, examine};
use crate::args::DoctorArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out;

/// Does what `agent doctor` was asked for, and returns how it ends. Yields; runs on a fiber.
#[must_use]
pub fn run(args: &DoctorArgs) -> Exit {
    if args.list {
        return ending(out::text(&list()), Exit::Done);
    }
    let mut options = Options::new(Subject::Layers(Box::new(args.source.source())));
    options.takeover = args.takeover;
    options.touch = args.touch;
    options.only.clone_from(&args.only);
    options.skip.clone_from(&args.skip);
    loop {
        let began = Instant::now();
        let report = examine(options.clone());
        let exit = report.exit(args.deny_warnings);
        let Some(every) = args.watch else {
            return ending(print(args, &report), exit);
        };
        let head = match args.json {
            true => Ok(()),
            false => out::text(&format!("--- {}\n", Utc(fiber::wall_time()))),
        };
        let printed = head.and_then(|()| print(args, &report));
        // Nobody is left to examine for, or the wait is over.
        if printed.is_err() || fiber::sleep(every.saturating_sub(began.elapsed())).is_err() {
            return ending(printed, exit);
        }
    }
}

fn print(args: &DoctorArgs, report: &Report) -> Result<(), Failure> {
    out::text(&match (args.json, args.verbose) {
        (true, _) => format!("{}\n", report.json()),
        (false, true) => report.text_with_evidence(),
        (false, false) => report.text(),
    })
}

/// How it ends: as it would, unless nobody could be told.
fn ending(printed: Result<(), Failure>, exit: Exit) -> Exit {
    match printed {
        Ok(()) | Err(Failure::Unread) => exit,
        Err(failure) => {
            out::failure(&failure);
            failure.exit()
        }
    }
}

/// The checks, a line each.
fn list() -> String {
    let lines = CHECKS.iter();
    let lines = lines.map(|check| format!("{:<16}  {}\n", check.id, check.looks_at));
    lines.collect()
}
