//! The secrets of connections, written to a file: only in builds with the feature `keylog`.
//!
//! The file is the one that the environment's `SSLKEYLOGFILE` names when the first configuration of
//! the process is built. It is opened then, in the form of NSS, which Wireshark reads: appended to,
//! and made for its owner alone.
//!
//! This writes to the real disk in the middle of a handshake, which nothing else here does: it blocks
//! its thread for a line of some hundred bytes, and in a simulation the file is not the simulated
//! machine's. The secrets are there while rustls works on a message, where no fiber may wait, and
//! keeping them until later would be one more place to wipe. Who reads recorded traffic can bear that;
//! a device has no build with this.

use std::sync::{Arc, OnceLock};

use rustls::{KeyLog, KeyLogFile};

/// The environment variable that names the file.
const VARIABLE: &str = "SSLKEYLOGFILE";

/// Says that secrets are written, if they are; rustls says so when the file cannot be.
pub(super) fn warn() {
    if let Some(path) = std::env::var_os(VARIABLE) {
        log::warn!(
            "a TLS configuration is dangerous: whoever reads {} can decrypt its connections",
            path.display()
        );
    }
}

/// Returns what rustls tells the secrets: one file for all configurations of the process.
pub(super) fn file() -> Arc<dyn KeyLog> {
    static FILE: OnceLock<Arc<KeyLogFile>> = OnceLock::new();
    let file = FILE.get_or_init(|| Arc::new(KeyLogFile::new()));
    Arc::clone(file) as _
}
