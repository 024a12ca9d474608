//! What the programs of the mqtt suite share: the task of a process, and the packets of those two of
//! them that have no client, [`sink`] and [`raw`].

pub mod packets;
pub mod raw;
pub mod sink;
pub mod task;
