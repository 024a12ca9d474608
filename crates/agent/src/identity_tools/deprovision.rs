//! `agent deprovision`: gives the identity of the device up, after it has asked twice.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use safe_rt::{ClockFloor, ClockVerdict, Utc};

use super::error::ToolError;
use crate::args::DeprovisionArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::identity::{Contents, Store, Survey, TRASH_AGE_MIN};
use crate::{out, provision};

/// Longest answer that is read, in bytes.
pub const CONFIRM_BYTES_MAX: u64 = 1_024;

pub(super) fn run(args: &DeprovisionArgs) -> Result<Exit, ToolError> {
    // Before anything else: a script learns it also where there is nothing to give up.
    if !args.yes && !is_at_terminal() {
        return Err(ToolError::NoTerminal);
    }
    let config = super::read(&args.source)?;
    let store = super::open(&config)?;
    let survey = Survey::of(&config.state.dir)?;
    tell(&config, &survey, args.now);
    if !args.yes {
        confirm(&name_of(&config, &survey), answer)?;
    }
    let options = provision::options_of(&config).unwrap_or_else(|error| {
        out::warning(format_args!("the provisioning cloud is not told: {error}"));
        None
    });
    let is_told = provision::deprovision(&store, options.as_ref());
    if is_told.map_err(ToolError::Attempt)? {
        out::plain("the provisioning cloud knows");
    }
    if args.now {
        let wiped = store.wipe_all_trash()?;
        out::plain(format_args!("wiped from the trash: {wiped}"));
    } else {
        begin_to_age(&store);
    }
    out::text("the identity is given up\n")?;
    Ok(Exit::Done)
}

/// What is in the trash counts its age from the first look at it by a believed clock.
fn begin_to_age(store: &Store) {
    let wall = fiber::wall_time();
    if ClockFloor::new().check(wall) == ClockVerdict::Plausible
        && let Err(error) = store.wipe_old_trash(wall)
    {
        out::warning(error);
    }
}

/// Says what becomes of what.
fn tell(config: &Config, survey: &Survey, now: bool) {
    let trash = config.state.dir.join("identity/trash");
    let mut lines = Vec::new();
    for (slot, contents) in &survey.slots {
        let what = match contents {
            Contents::Empty => continue,
            Contents::Begun => "an identity in the making".to_owned(),
            Contents::Whole(loaded) => {
                let facts = loaded.facts();
                let name = loaded.about().map(|about| &*about.client_id);
                let ends = facts
                    .not_after()
                    .map(|ends| format!(", until {}", Utc(ends)));
                format!(
                    "{}{}",
                    name.unwrap_or_else(|| facts.subject()),
                    ends.unwrap_or_default()
                )
            }
            Contents::Unreadable(error) => format!("something that cannot be read: {error}"),
        };
        lines.push(format!("  slot {slot}: {what}"));
    }
    if lines.is_empty() {
        let nothing = if survey.state.given_up {
            "the identity was given up before; there is no other"
        } else {
            "there is no identity, and `agent run` is not to get one"
        };
        out::plain(nothing);
    } else {
        out::plain(format_args!(
            "what this device shows of itself goes to {}:\n{}",
            trash.display(),
            lines.join("\n")
        ));
    }
    let days = TRASH_AGE_MIN.as_secs() / 86_400;
    out::plain(match now {
        true => "all that is in the trash is wiped at once".to_owned(),
        false => format!(
            "`agent run` wipes what is in the trash after {days} days; `agent deprovision --now` \
             wipes it at once"
        ),
    });
    out::plain(
        "device id and claim stay. `agent run` gets no other identity before `agent provision` has \
         been called",
    );
    if let Some(about) = survey.active.as_ref().and_then(|active| active.about()) {
        out::plain(format_args!(
            "the certificate {} stays valid until the cloud revokes it",
            about.certificate_id
        ));
    }
}

/// What the device is called.
fn name_of(config: &Config, survey: &Survey) -> String {
    let about = survey.active.as_ref().and_then(|active| active.about());
    let called = about.map(|about| about.client_id.clone());
    let configured = config.device.id.as_ref().map(|id| id.as_str().to_owned());
    let kept = survey.state.device_id.clone();
    let name = called.or(configured).or(kept);
    name.unwrap_or_else(|| "deprovision".to_owned())
}

fn is_at_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks twice.
fn confirm(
    name: &str,
    mut answer: impl FnMut(&str) -> io::Result<String>,
) -> Result<(), ToolError> {
    let first = answer("Give it up? [y/N] ").map_err(ToolError::Input)?;
    if !["y", "yes"].contains(&&*first.to_ascii_lowercase()) {
        return Err(ToolError::Declined);
    }
    let second = answer(&format!("Type {name} to be sure: ")).map_err(ToolError::Input)?;
    if second == name {
        Ok(())
    } else {
        Err(ToolError::Declined)
    }
}

/// Asks at the terminal. Yields until there is an answer.
fn answer(question: &str) -> io::Result<String> {
    out::ask(question);
    let line = fiber::offload(|| -> io::Result<String> {
        let mut line = String::new();
        let input = io::stdin().lock();
        input.take(CONFIRM_BYTES_MAX).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    });
    line.map_err(io::Error::from)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(answers: &[&str]) -> (Result<(), ToolError>, Vec<String>) {
        let mut left = answers.iter();
        let mut questions = Vec::new();
        let confirmed = confirm("meter-17", |question| {
            questions.push(question.to_owned());
            Ok((*left.next().unwrap_or(&"")).to_owned())
        });
        (confirmed, questions)
    }

    #[test]
    fn it_is_given_up_only_after_two_answers_of_which_the_second_names_the_device() {
        for yes in ["y", "Y", "yes", "YES"] {
            assert!(asked(&[yes, "meter-17"]).0.is_ok(), "{yes}");
        }
        for answers in [
            &["", ""][..],
            &["n", "meter-17"],
            &["yep", "meter-17"],
            &["y", ""],
            &["y", "y"],
            &["y", "meter-18"],
            &["y", "METER-17"],
            // The end of the input.
            &[],
            &["y"],
        ] {
            let (confirmed, _) = asked(answers);
            assert!(matches!(confirmed, Err(ToolError::Declined)), "{answers:?}");
        }
        let (_, questions) = asked(&["n", "meter-17"]);
        assert_eq!(questions.len(), 1, "nobody is asked again");
        let (_, questions) = asked(&["y", "meter-17"]);
        assert!(questions[1].contains("meter-17"));
    }
}
