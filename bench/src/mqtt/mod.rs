//! What the programs of the mqtt suite share: the task of a process and the address of its server, and the
//! packets of those of them that have no client, [`sink`], [`raw`] and [`feeder`].

pub mod address;
pub mod feeder;
pub mod packets;
pub mod raw;
pub mod sink;
pub mod task;
