//! `daemon`: whether the agent runs, and what it says of itself.

use std::env;
use std::io;
use std::path::PathBuf;

use crate::control::{Control, ControlError, Request, SOCKET_NAME};
use crate::doctor::case::Case;
use crate::doctor::finding::Finding;
use crate::doctor::view::View;
use crate::own;

pub(super) fn run(case: &Case) -> Finding {
    let mut denied = None;
    for socket in sockets(case) {
        match Control::connect(&socket) {
            Ok(control) => {
                case.agent_runs.set(true);
                return ask(case, control, &socket.display().to_string());
            }
            Err(ControlError::NoAgent(error))
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                denied.get_or_insert(socket);
            }
            Err(_) => {}
        }
    }
    if let Some(socket) = denied {
        case.agent_runs.set(true);
        return Finding::warn("an agent may run, and cannot be asked")
            .evidence(format!("{} is for another user", socket.display()))
            .remedy("Be the user of the agent, or root.");
    }
    Finding::note("the agent does not run")
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
