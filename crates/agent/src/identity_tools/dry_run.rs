//! `agent provision --dry-run`: everything up to where something would be made.

use serde_json::Value;

use super::error::ToolError;
use super::get;
use crate::args::ProvisionArgs;
use crate::exit::Exit;
use crate::provision::{self, RehearsalOutcome, Rehearsed};
use crate::{json, out};

pub(super) fn run(args: &ProvisionArgs) -> Result<Exit, ToolError> {
    let config = super::read(&args.source)?;
    let options = provision::options_of(&config)?.ok_or(ToolError::NoProvision)?;
    let folder = &config.state.dir;
    let is_running = super::is_running(&config);
    if !args.json {
        out::text(&line(
            "ok",
            "configuration",
            "read, and [provision] is there",
        ))?;
    }
    let (mut all, mut printed) = (Vec::new(), Ok(()));
    let options = options.told_to(|_| {});
    let rehearse = || {
        provision::rehearse(folder, &options, is_running, |rehearsed| {
            if !args.json {
                let text = match rehearsed.code {
                    Some(code) => format!("{code}: {}", rehearsed.text),
                    None => rehearsed.text.clone(),
                };
                let line = line(rehearsed.outcome.name(), rehearsed.id, &text);
                if printed.is_ok() {
                    printed = out::text(&line);
                }
            }
            all.push(rehearsed);
        });
    };
    let limit = args.timeout.unwrap_or(provision::REHEARSAL_TIMEOUT);
    let is_late = fiber::timeout(limit, rehearse).is_err();
    printed?;
    if get::is_in_memory(folder) {
        out::warning(format_args!("{} is in memory", folder.display()));
    }
    let bad = |rehearsed: &&Rehearsed| rehearsed.outcome == RehearsalOutcome::Bad;
    let failed = all.iter().filter(bad).count();
    if args.json {
        let checks = json::array(all.iter().map(to_json));
        let parts = [
            ("schema", "1".to_owned()),
            ("ok", (failed == 0 && !is_late).to_string()),
            ("checks", checks),
        ];
        out::text(&format!("{}\n", json::object_of(&parts)))?;
    }
    match failed {
        0 if is_late => Err(ToolError::TimedOut { last: None }),
        0 => Ok(Exit::Done),
        failed => Err(ToolError::Checks(failed)),
    }
}

fn line(outcome: &str, id: &str, text: &str) -> String {
    format!("{outcome:<5} {id:<14} {text}\n")
}

fn to_json(rehearsed: &Rehearsed) -> String {
    let mut parts = vec![
        ("id", Value::from(rehearsed.id)),
        ("outcome", rehearsed.outcome.name().into()),
        ("text", rehearsed.text.as_str().into()),
    ];
    if let Some(code) = rehearsed.code {
        parts.push(("code", code.into()));
    }
    json::object(&parts)
}
