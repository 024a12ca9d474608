//! What a device does beside staying connected, each a function on a fiber of its own over a core that
//! is pure.
//!
//! | service | what it does |
//! |---|---|
//! | [`batch`] | readings, gathered into messages |
//! | [`command`] | what the cloud asks for by name |
//! | [`schedule`] | when the device is to be connected |
//! | [`throttle`] | what the cloud asks to be spared |
//! | [`store`] | values that the cloud keeps for the device |

mod away;
pub mod batch;
pub mod command;
mod cron;
mod readings;
mod running;
pub mod schedule;
mod state_file;
pub mod store;
pub mod throttle;
mod windows;

pub(crate) use readings::{NotTaken, Readings};
pub use running::BLOCK_BY_COMMAND_MAX;
pub(crate) use running::{Beside, ReadingsSettings, ServiceSettings, Services};
use windows::{Demand, Windows};
