//! What the benchmarks share: running programs in turns, counting, comparing, printing.
//!
//! A figure is measured by programs of their own, one for each side: `fibers_ours`, `fibers_peers`.
//! They are told what to do by words on the command line ([`work::Work`]) and print what they
//! measured ([`program`]). The runner (`bench_runner`) starts them in turns, under valgrind or strace
//! where it counts, and prints a line for each figure. So no side shares memory, threads or a warm
//! allocator with another, and the runner needs nothing of what it measures.
//!
//! A further suite is a module in [`suites`] and programs in `src/bin/`; nothing of another suite is
//! touched for it.

#![forbid(unsafe_code)]

pub mod budget;
pub mod child;
pub mod counts;
pub mod durable;
pub mod echo;
pub mod error;
pub mod figure;
pub mod folder;
pub mod growth;
pub mod machine;
pub mod mosquitto;
pub mod mqtt;
pub mod plot;
pub mod program;
pub mod rounds;
pub mod suites;
pub mod sweep;
pub mod symbols;
pub mod work;
