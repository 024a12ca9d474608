//! `agent doctor`.

use fiber::Instant;
use safe_rt::Utc;

use super::{CHECKS, Options, Report, Subject, examine};
use crate::args::DoctorArgs;
use crate::exit::Exit;
use crate::out;

/// Does what `agent doctor` was asked for, and returns how it ends. Yields; runs on a fiber.
#[must_use]
pub fn run(args: &DoctorArgs) -> Exit {
    if args.list {
        out::text(&list());
        return Exit::Done;
    }
    let mut options = Options::new(Subject::Layers(Box::new(args.source.source())));
    options.takeover = args.takeover;
    options.touch = args.touch;
    options.only.clone_from(&args.only);
    options.skip.clone_from(&args.skip);
    loop {
        let began = Instant::now();
        let report = examine(options.clone());
        let Some(every) = args.watch else {
            print(args, &report);
            return report.exit(args.deny_warnings);
        };
        if !args.json {
            out::text(&format!("--- {}\n", Utc(fiber::wall_time())));
        }
        print(args, &report);
        if fiber::sleep(every.saturating_sub(began.elapsed())).is_err() {
            return report.exit(args.deny_warnings);
        }
    }
}

fn print(args: &DoctorArgs, report: &Report) {
    out::text(&match (args.json, args.verbose) {
        (true, _) => format!("{}\n", report.json()),
        (false, true) => report.text_with_evidence(),
        (false, false) => report.text(),
    });
}

/// The checks, a line each.
fn list() -> String {
    let lines = CHECKS.iter();
    let lines = lines.map(|check| format!("{:<16}  {}\n", check.id, check.looks_at));
    lines.collect()
}
