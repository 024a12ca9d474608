//! `daemon`: whether the agent runs.

use std::env;
use std::path::PathBuf;

use fiber::net::UnixStream;

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

/// The control socket, in the runtime folder or the folder for what is kept.
const SOCKET: &str = "control.sock";

pub(super) fn run(case: &Case) -> Finding {
    let set = case
        .setup()
        .and_then(|setup| setup.config.control.socket.clone());
    let runtime = env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let folders = [runtime, case.state_dir()].into_iter().flatten();
    let sockets = set
        .into_iter()
        .chain(folders.map(|folder| folder.join(SOCKET)));
    match sockets
        .into_iter()
        .find(|socket| UnixStream::connect(socket).is_ok())
    {
        Some(socket) => {
            case.agent_runs.set(true);
            Finding::ok(format!(
                "the agent runs: it answers at {}",
                socket.display()
            ))
        }
        None => Finding::note("the agent does not run"),
    }
}
