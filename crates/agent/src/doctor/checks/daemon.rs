//! `daemon`: whether the agent runs, and what it says of itself.

use std::env;
use std::io;
use std::path::PathBuf;

use crate::control::{Control, ControlError, Request, SOCKET_NAME};
use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::doctor::view::View;
use crate::{own, queue};

pub(super) fn run(case: &Case) -> Finding {
    case.is_looked_for.set(true);
    let mut untold = None;
    for socket in sockets(case) {
        match Control::connect(&socket) {
            Ok(control) => {
                case.agent_runs.set(true);
                return ask(case, control, &socket.display().to_string());
            }
            Err(ControlError::NoAgent(error)) if is_nobody(&error) => {}
            Err(error) => {
                untold.get_or_insert_with(|| format!("{}: {error}", socket.display()));
            }
        }
    }
    // It may have its socket elsewhere, or none.
    let folder = case.state_dir();
    match folder.map(|folder| (queue::is_in_use(&folder), folder)) {
        Some((Ok(true), folder)) => {
            untold.get_or_insert_with(|| {
                format!("{} is locked by another process", folder.display())
            });
        }
        Some((Err(error), folder)) => {
            untold.get_or_insert_with(|| format!("{}: {error}", folder.display()));
        }
        Some((Ok(false), _)) | None => {}
    }
    match untold {
        None => Finding::note("the agent does not run"),
        // What cannot be told counts as the worse of the two.
        Some(why) => {
            case.agent_runs.set(true);
            Finding::warn("an agent may run, and cannot be asked")
                .evidence(why)
                .remedy(
                    "Be the user of the agent, or root; `--takeover` connects all the same, and ends \
                     the connection of an agent that runs.",
                )
        }
    }
}

/// Whether it is certain that nobody listens there.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
    )
}

/// Where the control socket may be.
fn sockets(case: &Case) -> Vec<PathBuf> {
    let configured = case.setup().map(|setup| own::sockets(&setup.config));
    let runtime = env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let folders = [runtime, case.state_dir()].into_iter().flatten();
    let mut sockets = configured.unwrap_or_default();
    sockets.extend(folders.map(|folder| folder.join(SOCKET_NAME)));
    sockets
}

fn ask(case: &Case, mut control: Control, place: &str) -> Finding {
    let answer = match control.ask(&Request::Doctor) {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::warn("the agent runs, and does not say how it is")
                .evidence(format!("at {place}: {error}"))
                .remedy(
                    "`agent fibers` tells what it does; an older one does not know the question.",
                );
        }
    };
    let view = View::of_answer(&answer);
    let finding = view.finding(place);
    *case.view.borrow_mut() = Some(view.into());
    finding
}
