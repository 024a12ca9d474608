//! Paho's client for Python: scenarios of `tests/interop/paho/`, each a process of its own.

use std::path::Path;
use std::process::Command;

use crate::peers::Peers;
use crate::process::{ProcessError, Running};

/// Starts one scenario of a script against a port of this machine.
///
/// It ends with 0 when all was as it expected, else with one line of why.
///
/// # Errors
/// See [`ProcessError`].
pub fn scenario(
    peers: &Peers,
    script: &str,
    scenario: &str,
    port: u16,
) -> Result<Running, ProcessError> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/paho");
    // `-B`: nothing compiled is left beside the scripts.
    let mut python = Command::new(&peers.python);
    python.arg("-B").arg(scripts.join(script));
    Running::start(python.args([scenario, &port.to_string()]))
}
