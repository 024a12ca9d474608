//! The log of the program: lines on the standard error output, with a filter that a reload of the
//! configuration changes.
//!
//! What `RUST_LOG` says comes first, and `-d`; neither is changed by a configuration.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use env_logger::{Builder, Env, Logger};
use log::{Log, Metadata, Record};

/// What writes the log, if this program started it.
static LOG: Changeable = Changeable {
    logger: RwLock::new(None),
    is_fixed: AtomicBool::new(true),
};

struct Changeable {
    logger: RwLock<Option<Logger>>,
    /// Whether the filter stays as it is.
    is_fixed: AtomicBool,
}

impl Changeable {
    fn with<T>(&self, body: impl FnOnce(&Logger) -> T) -> Option<T> {
        let logger = self.logger.read().unwrap_or_else(PoisonError::into_inner);
        logger.as_ref().map(body)
    }

    fn put(&self, logger: Logger) {
        log::set_max_level(logger.filter());
        let mut place = self.logger.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(logger);
    }
}

impl Log for Changeable {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.with(|logger| logger.enabled(metadata)) == Some(true)
    }

    fn log(&self, record: &Record<'_>) {
        self.with(|logger| logger.log(record));
    }

    fn flush(&self) {
        self.with(Log::flush);
    }
}

/// Starts the log with a filter in the form of `RUST_LOG`, which comes first where it is set; with
/// `debug` everything down to that level is logged. A log that the program has already stays. Does
/// not yield.
pub fn start(debug: bool, otherwise: &str) {
    if log::set_logger(&LOG).is_err() {
        return;
    }
    let level = if debug { "debug" } else { otherwise };
    let env = Env::default().default_filter_or(level);
    LOG.put(Builder::from_env(env).build());
    let is_fixed = debug || std::env::var_os("RUST_LOG").is_some();
    LOG.is_fixed.store(is_fixed, Ordering::Relaxed);
}

/// Has the log go by another filter; false, and nothing is changed, where `RUST_LOG` or `-d` said it, or
/// the log is another one. Does not yield.
pub(crate) fn set_filter(filter: &str) -> bool {
    let is_free = !LOG.is_fixed.load(Ordering::Relaxed);
    if is_free {
        LOG.put(Builder::new().parse_filters(filter).build());
    }
    is_free
}
