//! Dies of a stack that overflows, and says which fiber it was.
//!
//! `cargo run -p fiber --example overflow`, with `FIBER_GUARDS=pages` for the guards of older
//! kernels.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that is there to die"
)]

use std::hint::black_box;

fn main() {
    fiber::run(|| {
        println!("guards: {:?}", fiber::stack_guards().unwrap());
        let mut parser = fiber::FiberBuilder::new()
            .name("parser")
            .stack_size(64 * 1024)
            .spawn(|| nested(0))
            .unwrap();
        parser.join().unwrap()
    })
    .unwrap();
}

/// Goes one deeper for as long as there is stack.
fn nested(depth: u64) -> u64 {
    let frame = [depth; 32];
    if black_box(depth) == u64::MAX {
        return 0;
    }
    nested(depth + 1) + black_box(&frame)[7]
}
